/* link: -ljpeg -Wl,--wrap=malloc -Wl,--wrap=calloc */
/* Files that cost much more than their bytes suggest, and what happens when memory runs out. Work is
 * counted in blocks looked at, never in seconds. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "test_jpeg_tools.h"
#include "validate/jpeg_internal.h"

/* The n-th allocation from here fails; 0: none does. */
static unsigned fail_in;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
    return fail_in && --fail_in == 0 ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fail_in && --fail_in == 0 ? NULL : __real_calloc(count, size);
}

/* One table for DC and AC: 0 means a difference of 0, or the end of this block; the others are
 * end-of-band runs of 8192 … and 2048 … blocks. */
static const char tables[] = "\xFF\xC4\0\x14\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                             "\xFF\xC4\0\x16\x10\1\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xD0\xB0";

static void start(struct buf *b, unsigned width, unsigned height, const char *components)
{
    unsigned count = (unsigned)strlen(components);
    buf_init(b, 64 * 1024 * 1024);
    (void)buf_add(b, "\xFF\xD8\xFF\xDB\0\x43\0", 7);
    for (unsigned i = 0; i < 64; i++)
        (void)buf_add(b, "\1", 1);
    const char sof[] = { '\xFF',
                         '\xC2',
                         0,
                         (char)(8 + 3 * count),
                         8,
                         (char)(height >> 8),
                         (char)height,
                         (char)(width >> 8),
                         (char)width,
                         (char)count };
    (void)buf_add(b, sof, sizeof(sof));
    for (unsigned i = 0; i < count; i++) {
        const char component[] = { (char)(i + 1), components[i] == '2' ? 0x22 : 0x11, 0 };
        (void)buf_add(b, component, sizeof(component));
    }
    (void)buf_add(b, tables, sizeof(tables) - 1);
}

static void scan(struct buf *b, unsigned first, unsigned count, unsigned ss, unsigned se,
                 unsigned ah, unsigned al)
{
    const char head[] = { '\xFF', '\xDA', 0, (char)(6 + 2 * count), (char)count };
    (void)buf_add(b, head, sizeof(head));
    for (unsigned i = 0; i < count; i++) {
        const char component[] = { (char)(first + i), 0 };
        (void)buf_add(b, component, sizeof(component));
    }
    const char band[] = { (char)ss, (char)se, (char)(ah << 4 | al) };
    (void)buf_add(b, band, sizeof(band));
}

/* bits zeros, then the padding. */
static void zeros(struct buf *b, unsigned bits)
{
    for (; bits >= 8; bits -= 8)
        (void)buf_add(b, "\0", 1);
    const char last = (char)(0xFF >> bits);
    if (bits)
        (void)buf_add(b, &last, 1);
}

/* An end-of-band run over blocks: 8192 … 16383 of them, or 2048 … 4095. */
static void run(struct buf *b, unsigned blocks)
{
    unsigned n = blocks >= 8192 ? 13 : 11, code = n == 13 ? 2 : 6, length = n == 13 ? 2 : 3;
    uint32_t bits = (code << n | (blocks - (1u << n))) << (16 - n - length);
    bits |= (1u << (16 - n - length)) - 1;
    for (int shift = 8; shift >= 0; shift -= 8) {
        const char byte = (char)(bits >> shift);
        (void)buf_add(b, &byte, 1);
        if (byte == '\xFF')
            (void)buf_add(b, "\0", 1);
    }
}

static const char *check_within(struct buf *b, uint32_t most, struct verdict *verdict,
                                uint64_t *ret_visits)
{
    const struct limits limits = { most, most, UINT64_MAX };
    const struct media media = { .data = (uint8_t *)b->data, .len = b->len, .file_len = b->len };
    struct err err;
    assert_false(buf_failed(b));
    verdict_init(verdict, b->len);
    assert_int_equal(jpeg_check_counted(&media, &limits, verdict, ret_visits, &err), 0);
    return findings_text(verdict);
}

static const char *check(struct buf *b, struct verdict *verdict, uint64_t *ret_visits)
{
    return check_within(b, 1000, verdict, ret_visits);
}

static void a_scan_sent_83160_times_ends_at_the_second(void **state)
{
    (void)state;
    struct verdict verdict;
    uint64_t visits;
    CLEANUP(buf_release) struct buf b;
    start(&b, 1000, 1000, "1");
    scan(&b, 1, 1, 0, 0, 0, 0);
    zeros(&b, 125 * 125);
    for (unsigned i = 0; i < 83160; i++) {
        scan(&b, 1, 1, 1, 63, 0, 0);
        run(&b, 125 * 125);
    }
    (void)buf_add(&b, "\xFF\xD9", 2);
    assert_true(b.len > 900000);
    assert_string_equal(check(&b, &verdict, &visits), "corrupt");
    assert_true(visits <= 2 * 125 * 125);
}

static void the_longest_progression_is_read_within_the_budget(void **state)
{
    (void)state;
    struct verdict verdict;
    uint64_t visits;
    CLEANUP(buf_release) struct buf b;
    start(&b, 1000, 1000, "211");
    for (unsigned al = 14; al-- > 0;) {
        scan(&b, 1, 3, 0, 0, al == 13 ? 0 : al + 1, al);
        zeros(&b, 63 * 63 * 6);
    }
    for (unsigned c = 1; c <= 3; c++)
        for (unsigned k = 1; k < 64; k++)
            for (unsigned al = 14; al-- > 0;) {
                scan(&b, c, 1, k, k, al == 13 ? 0 : al + 1, al);
                run(&b, c == 1 ? 125 * 125 : 63 * 63);
            }
    (void)buf_add(&b, "\xFF\xD9", 2);
    assert_string_equal(check(&b, &verdict, &visits), "");
    assert_true(visits < 128 * 23563);
}

/* The same, but each block says for itself that its band is empty: nothing is skipped in bulk. Where the
 * size is wrong, that is all that is said, with a word on what was left out. */
static void a_progression_over_the_budget_is_not_read_to_its_end(void **state)
{
    (void)state;
    static const struct {
        unsigned width, height; /* 10,000 blocks */
        const char *findings;
    } cases[] = { { 800, 800, "unsupported_jpeg" }, { 1600, 400, "too_wide" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict verdict;
        uint64_t visits;
        CLEANUP(buf_release) struct buf b;
        start(&b, cases[i].width, cases[i].height, "1");
        scan(&b, 1, 1, 0, 0, 0, 0);
        zeros(&b, 10000);
        for (unsigned k = 1; k < 64; k++)
            for (unsigned al = 14; al-- > 0;) {
                scan(&b, 1, 1, k, k, al == 13 ? 0 : al + 1, al);
                zeros(&b, 10000);
            }
        (void)buf_add(&b, "\xFF\xD9", 2);
        assert_string_equal(check(&b, &verdict, &visits), cases[i].findings);
        assert_string_not_equal(verdict.findings[0].detail, "");
        assert_true(visits <= 130 * 10000);
    }
}

static void a_huge_frame_costs_nothing(void **state)
{
    (void)state;
    struct verdict verdict;
    uint64_t visits;
    CLEANUP(buf_release) struct buf b;
    start(&b, 65500, 65500, "211");
    scan(&b, 1, 3, 0, 0, 0, 0);
    (void)buf_add(&b, "\0\0\xFF\xD9", 4);
    assert_string_equal(check(&b, &verdict, &visits), "too_wide too_high");
    assert_string_not_equal(finding_of(&verdict, FINDING_TOO_WIDE)->detail, "");
    assert_int_equal(visits, 0);
}

/* Where an operator allows pictures of 576 million pixels, a sequential one is read whole: it needs no
 * memory by the block. */
static void a_sequential_picture_may_have_more_blocks_than_a_progressive_one(void **state)
{
    (void)state;
    static const struct {
        uint8_t sof;
        bool cut; /* the last blocks are missing */
        const char *findings;
    } cases[] = {
        { M_SOF0, false, "" },
        { M_SOF0, true, "truncated" },
        { M_SOF2, false, "unsupported_jpeg" },
    };
    const unsigned blocks = 3000 * 3000;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict verdict;
        uint64_t visits;
        CLEANUP(buf_release) struct buf b;
        start(&b, 24000, 24000, "1");
        uint8_t *sof = memmem(b.data, b.len, "\xFF\xC2", 2);
        assert_non_null(sof);
        sof[1] = cases[i].sof;
        scan(&b, 1, 1, 0, 0, 0, 0);
        zeros(&b, 2 * (blocks - cases[i].cut * 100)); /* a DC and an AC code each */
        (void)buf_add(&b, "\xFF\xD9", 2);
        assert_string_equal(check_within(&b, 24000, &verdict, &visits), cases[i].findings);
        assert_true(visits == (cases[i].sof == M_SOF0 ? blocks : 0));
    }
}

static void no_memory_is_a_fault_and_no_verdict(void **state)
{
    (void)state;
    const struct limits limits = { 1000, 1000, UINT64_MAX };
    struct bytes b = make_jpeg(&(struct recipe){ .width = 64, .height = 64, .progressive = true });
    const struct media media = { .data = b.data, .len = b.len, .file_len = b.len };
    unsigned failed = 0;
    for (int result = -1; result < 0; failed++) {
        struct verdict verdict;
        struct err err;
        verdict_init(&verdict, b.len);
        fail_in = failed + 1;
        result = jpeg_check(&media, &limits, &verdict, &err);
        if (result < 0)
            assert_int_equal(err.code, ERR_NOMEM);
    }
    fail_in = 0;
    assert_int_equal(failed,
                     6 + 1); /* the data, two kinds of table, three components; then it passes */
    free(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_sent_83160_times_ends_at_the_second),
        cmocka_unit_test(the_longest_progression_is_read_within_the_budget),
        cmocka_unit_test(a_progression_over_the_budget_is_not_read_to_its_end),
        cmocka_unit_test(a_huge_frame_costs_nothing),
        cmocka_unit_test(a_sequential_picture_may_have_more_blocks_than_a_progressive_one),
        cmocka_unit_test(no_memory_is_a_fault_and_no_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
