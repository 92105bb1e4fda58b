/* link: -ljpeg */
/* jpeg_bench: the JPEG check beside a full decode to RGB by libjpeg-turbo, in memory, in processor time,
 * over photographs of the shared corpus. Both read each file in turn, so that the machine's moods
 * strike both; a round is all files; the ratio is of the rounds' sums. */
#include <stdio.h>
#include <time.h>

#include "../test/unit/test_jpeg_tools.h"

enum { MOST_PHOTOS = 80, EACH_SOURCE = 8, ROUNDS = 15 };

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *title, const struct bytes *photos, size_t count)
{
    double ratio[ROUNDS], check_us[ROUNDS], decode_us[ROUNDS];
    static uint8_t pixels[1000 * 1000 * 3];
    size_t bytes = 0;
    if (!count) {
        printf("%-24s no photographs\n", title);
        return;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        check_us[round] = decode_us[round] = 0;
        bytes = 0;
        for (size_t i = 0; i < count; i++) {
            struct verdict verdict;
            size_t size;
            double t0 = cpu_us();
            check_jpeg(photos[i].data, photos[i].len, 1000, &verdict);
            double t1 = cpu_us();
            (void)oracle_decode(photos[i].data, photos[i].len, pixels, sizeof(pixels), &size);
            double t2 = cpu_us();
            if (!verdict_is_valid(&verdict))
                printf("photograph %zu is refused: %s\n", i, verdict.findings[0].detail);
            check_us[round] += t1 - t0;
            decode_us[round] += t2 - t1;
            bytes += photos[i].len;
        }
        ratio[round] = check_us[round] / decode_us[round];
    }
    qsort(ratio, ROUNDS, sizeof(ratio[0]), ascending);
    qsort(check_us, ROUNDS, sizeof(check_us[0]), ascending);
    qsort(decode_us, ROUNDS, sizeof(decode_us[0]), ascending);
    printf(
        "%-24s %3zu photos %5.2f MB  check %7.1f us  decode %7.1f us  ratio %.3f (%.3f ... %.3f)\n",
        title, count, (double)bytes / 1e6, check_us[ROUNDS / 2] / (double)count,
        decode_us[ROUNDS / 2] / (double)count, ratio[ROUNDS / 2], ratio[0], ratio[ROUNDS - 1]);
}

int main(void)
{
    static struct bytes baseline[MOST_PHOTOS], made[MOST_PHOTOS], wild[MOST_PHOTOS];
    size_t count = corpus_photos(0xC0, baseline, MOST_PHOTOS, EACH_SOURCE), made_count = 0;
    for (size_t i = 0; i < count; i++) {
        made[made_count] = oracle_progressive(baseline[i]);
        made_count += made[made_count].data != NULL;
    }
    measure("baseline", baseline, count);
    measure("the same, progressive", made, made_count);
    measure("progressive as found", wild, corpus_photos(0xC2, wild, MOST_PHOTOS, MOST_PHOTOS));
    return 0;
}
