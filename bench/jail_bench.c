/* link: -ljpeg */
/* jail_bench: what the jail adds to a check. Each file is judged in this process and in a jailed
 * child, turn about, so that whatever else the machine does meets both alike; and on one core, as a busy
 * machine's are: on an idle one, what is measured is how long another core takes to wake (some 40 us in a
 * virtual machine).
 *
 *     jail_bench [FILE…]    without a file: a text and a GIF header, which are refused at once, and two
 *                            JPEGs, all of its own making; then it ends with 1 if a goal is missed */
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include <jpeglib.h>

#include "base/cleanup.h"
#include "validate/pool.h"

enum { ROUNDS = 4000, ROUNDS_OF_BIG = 300, BIG = 64 * 1024, GOAL_US = 20 };

static const double GOAL_SMALL = 1.10, GOAL_LARGE = 1.05; /* of 500 x 400, 1000 x 1000 */

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

/* What was added, in microseconds, and as a ratio. */
struct added {
    double us, ratio;
};

static struct added measure(struct pool *pool, const char *name, int fd)
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
    return (struct added){ jailed_us - here_us, jailed_us / here_us };
}

static int file_of(const char *content, size_t len)
{
    int fd = memfd_create("file", MFD_CLOEXEC);

    return fd >= 0 && write(fd, content, len) == (ssize_t)len ? fd : -1;
}

/* A colour picture with the detail of a photograph: smooth shapes and noise. */
static int jpeg_of(unsigned width, unsigned height)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long len = 0;
    uint32_t random = 1;
    CLEANUP(freep) JSAMPLE *row = malloc((size_t)width * 3);
    int fd;

    if (!row)
        return -1;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, &len);
    c.image_width = width;
    c.image_height = height;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 91, TRUE); /* a third of a byte a pixel, as real photographs have */
    jpeg_start_compress(&c, TRUE);
    for (unsigned y = 0; y < height; y++) {
        for (unsigned x = 0; x < width * 3; x++) {
            random = random * 1664525 + 1013904223;
            row[x] = (JSAMPLE)(110 + 60 * sin(x / 90.0) * cos(y / 40.0) + (random >> 27));
        }
        (void)jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    fd = file_of((const char *)data, len);
    free(data);
    return fd;
}

static void measure_own(struct pool *pool, bool *ret_met)
{
    static const char text[] = "This is no image at all.\n",
                      gif[] = "GIF89a\x20\x03\x58\x02\0\0\0;";
    double most_us = measure(pool, "a text", file_of(text, sizeof(text) - 1)).us;
    double small, large;

    most_us = fmax(most_us, measure(pool, "a GIF header", file_of(gif, sizeof(gif) - 1)).us);
    small = measure(pool, "a JPEG of 500 x 400", jpeg_of(500, 400)).ratio;
    large = measure(pool, "a JPEG of 1000 x 1000", jpeg_of(1000, 1000)).ratio;
    *ret_met = most_us <= GOAL_US && small <= GOAL_SMALL && large <= GOAL_LARGE;
    printf("goals: at most %d us added, ratios at most %.2f and %.2f: %s\n", GOAL_US, GOAL_SMALL,
           GOAL_LARGE, *ret_met ? "met" : "MISSED");
}

int main(int argc, char **argv)
{
    const struct pool_config config = {
        .validator = &validator_image, .limits = limits, .slots = 1, .sandbox = true
    };
    struct pool *pool;
    struct err err;
    bool met = true;
    cpu_set_t here;

    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    (void)sched_setaffinity(0, sizeof(here), &here); /* the children inherit it */
    if (pool_new(&config, &pool, &err) < 0 || pool_ready(pool, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("jail: %s\n", pool_layers(pool));
    if (argc == 1)
        measure_own(pool, &met);
    for (int i = 1; i < argc; i++) {
        const char *name = strrchr(argv[i], '/');
        CLEANUP(closep) int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
        (void)measure(pool, name ? name + 1 : argv[i], fd);
    }
    pool_free(pool);
    return met ? 0 : 1;
}
