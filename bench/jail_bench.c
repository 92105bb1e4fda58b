/* jail_bench: what the jail adds to a check. Each file is judged in this process and in a jailed
 * child, turn about, so that whatever else the machine does meets both alike.
 *
 *     jail_bench [FILE…]    without a file: a text and a GIF header of its own making; then it ends with
 *                            1 if the jail adds more than GOAL_US to either */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "validate/pool.h"

enum { ROUNDS = 4000, ROUNDS_OF_BIG = 300, BIG = 64 * 1024, GOAL_US = 20 };

static const struct limits limits = { 1000, 1000, 32 * 1024 * 1024 };

static int64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double median_us(int64_t *samples, int n)
{
    qsort(samples, (size_t)n, sizeof(*samples), by_value);
    return (double)samples[n / 2] / 1000;
}

/* The same work without the jail: read, judge. The digest is left out of both. */
static void check_here(int fd, size_t size, uint8_t *data, struct verdict *v)
{
    size_t tail_len = size < 32 ? size : 32;
    struct media media = { data, size, size, data + size - tail_len, tail_len };
    struct err err;

    if (pread(fd, data, size, 0) != (ssize_t)size)
        exit(1);
    verdict_init(v, size);
    if (validator_image.check(&media, &limits, v, &err) < 0)
        exit(1);
}

/* Returns what was added, in microseconds. */
static double measure(struct pool *pool, const char *name, int fd)
{
    static int64_t here[ROUNDS], jailed[ROUNDS];
    struct stat st;
    struct verdict v;
    struct err err;
    CLEANUP(freep) uint8_t *data = NULL;
    size_t size;
    int rounds;
    double here_us, jailed_us;

    if (fd < 0 || fstat(fd, &st) < 0) {
        fprintf(stderr, "%s: cannot be opened\n", name);
        exit(1);
    }
    size = (size_t)st.st_size;
    rounds = size > BIG ? ROUNDS_OF_BIG : ROUNDS;
    data = malloc(size + 1);
    for (int i = 0; data && i < rounds; i++) {
        int64_t start = now_ns();
        check_here(fd, size, data, &v);
        here[i] = now_ns() - start;
        start = now_ns();
        if (pool_check(pool, 0, fd, size, &v, &err) < 0) {
            fprintf(stderr, "%s: %s\n", name, err.msg);
            exit(1);
        }
        jailed[i] = now_ns() - start;
    }
    here_us = median_us(here, rounds);
    jailed_us = median_us(jailed, rounds);
    printf("%-32.32s %9zu bytes  here %8.1f us  jailed %8.1f us  added %6.1f us  ratio %5.2f\n",
           name, size, here_us, jailed_us, jailed_us - here_us, jailed_us / here_us);
    return jailed_us - here_us;
}

static int file_of(const char *content, size_t len)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    return fd >= 0 && write(fd, content, len) == (ssize_t)len ? fd : -1;
}

int main(int argc, char **argv)
{
    static const char text[] = "This is no image at all.\n",
                      gif[] = "GIF89a\x20\x03\x58\x02\0\0\0;";
    const struct pool_config config = {
        .validator = &validator_image, .limits = limits, .slots = 1, .sandbox = true
    };
    struct pool *pool;
    struct err err;
    double most_us = 0;

    if (pool_new(&config, &pool, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("jail: %s\n", pool_layers(pool));
    if (argc == 1) {
        most_us = measure(pool, "a text", file_of(text, sizeof(text) - 1));
        most_us = fmax(most_us, measure(pool, "a GIF header", file_of(gif, sizeof(gif) - 1)));
        printf("goal: at most %d us added: %s\n", GOAL_US, most_us <= GOAL_US ? "met" : "MISSED");
    }
    for (int i = 1; i < argc; i++) {
        const char *name = strrchr(argv[i], '/');
        CLEANUP(closep) int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
        (void)measure(pool, name ? name + 1 : argv[i], fd);
    }
    pool_free(pool);
    return most_us <= GOAL_US ? 0 : 1;
}
