#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "validate/validator.h"

static const struct limits usual = { 1000, 1000, 32 * 1024 * 1024 };

static void the_sentences_are_those_of_the_contract(void **state)
{
    static const struct {
        enum finding_code code;
        const char *name, *sentence;
    } cases[] = {
        { FINDING_NOT_REACHABLE, "not_reachable", "is not reachable" },
        { FINDING_EMPTY, "empty", "is empty" },
        { FINDING_TOO_LARGE, "too_large", "is larger than 32 MiB" },
        { FINDING_NOT_AN_IMAGE, "not_an_image", "is not an image" },
        { FINDING_NOT_A_JPEG, "not_a_jpeg", "is not a jpeg" },
        { FINDING_TOO_WIDE, "too_wide", "has a width greater than 1000px" },
        { FINDING_TOO_HIGH, "too_high", "has a height greater than 1000px" },
        { FINDING_TRUNCATED, "truncated", "is truncated" },
        { FINDING_CORRUPT, "corrupt", "is corrupt" },
        { FINDING_UNSUPPORTED_JPEG, "unsupported_jpeg", "is not a supported jpeg" },
        { FINDING_INVALID_URL, "invalid_url", "is not a valid URL" },
        { FINDING_DISALLOWED_URL, "disallowed_url", "is not an allowed URL" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 200);
        finding_sentence(cases[i].code, &usual, &b);
        assert_string_equal(buf_str(&b), cases[i].sentence);
        assert_string_equal(finding_name(cases[i].code), cases[i].name);
        assert_true(finding_is_error(cases[i].code));
        buf_release(&b);
    }
}

static void a_limit_that_was_configured_shows_its_own_number(void **state)
{
    static const struct {
        enum finding_code code;
        struct limits limits;
        const char *sentence;
    } cases[] = {
        { FINDING_TOO_WIDE, { 64, 1, 1 }, "has a width greater than 64px" },
        { FINDING_TOO_HIGH, { 1, 4294967295u, 1 }, "has a height greater than 4294967295px" },
        { FINDING_TOO_LARGE, { 1, 1, 1 }, "is larger than 1 bytes" },
        { FINDING_TOO_LARGE, { 1, 1, 1000 }, "is larger than 1000 bytes" },
        { FINDING_TOO_LARGE, { 1, 1, 1536 }, "is larger than 1536 bytes" },
        { FINDING_TOO_LARGE, { 1, 1, 2048 }, "is larger than 2 KiB" },
        { FINDING_TOO_LARGE, { 1, 1, 1536 * 1024 }, "is larger than 1536 KiB" },
        { FINDING_TOO_LARGE, { 1, 1, 1024 * 1024 }, "is larger than 1 MiB" },
        { FINDING_TOO_LARGE, { 1, 1, 0 }, "is larger than 0 bytes" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, 200);
        finding_sentence(cases[i].code, &cases[i].limits, &b);
        assert_string_equal(buf_str(&b), cases[i].sentence);
        buf_release(&b);
    }
}

static void every_finding_has_its_words(void **state)
{
    (void)state;
    for (unsigned code = 0; code < FINDING_COUNT; code++) {
        struct buf b;
        buf_init(&b, 200);
        finding_sentence(code, &usual, &b);
        assert_true(strlen(buf_str(&b)) > 0);
        assert_non_null(finding_name(code));
        assert_true(strlen(finding_remedy(code)) > 0);
        assert_int_equal(finding_is_error(code), code < FINDING_ROTATED);
        buf_release(&b);
    }
}

static void every_format_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_null(image_format_name(IMAGE_UNKNOWN));
    assert_null(image_format_name((enum image_format)IMAGE_FORMATS));
    assert_null(image_format_name((enum image_format) - 1));
    for (unsigned i = 1; i < IMAGE_FORMATS; i++) {
        assert_non_null(image_format_name(i));
        for (unsigned k = 1; k < i; k++)
            assert_string_not_equal(image_format_name(i), image_format_name(k));
    }
}

static void a_finding_is_there_once_and_the_first_is_kept(void **state)
{
    struct verdict v;
    struct finding *f;

    (void)state;
    verdict_init(&v, 7);
    assert_int_equal(7, v.bytes);
    f = verdict_add(&v, FINDING_CORRUPT);
    assert_int_equal(-1, f->offset);
    assert_int_equal(-1, f->measured);
    assert_int_equal(-1, f->allowed);
    assert_string_equal("", f->detail);
    f->offset = 5;
    assert_ptr_equal(f, verdict_add(&v, FINDING_CORRUPT));
    assert_int_equal(5, f->offset);
    assert_int_equal(1, v.finding_count);
}

static void all_findings_together_fit(void **state)
{
    struct verdict v;

    (void)state;
    verdict_init(&v, 1);
    for (int round = 0; round < 2; round++)
        for (unsigned code = 0; code < FINDING_COUNT; code++)
            verdict_add(&v, code);
    assert_int_equal(FINDING_COUNT, v.finding_count);
    assert_true(verdict_is_sane(&v));
}

static void warnings_fail_nothing(void **state)
{
    struct verdict v;

    (void)state;
    verdict_init(&v, 1);
    assert_true(verdict_is_valid(&v));
    verdict_add(&v, FINDING_ROTATED);
    verdict_add(&v, FINDING_TRAILING_BYTES);
    assert_true(verdict_is_valid(&v));
    verdict_add(&v, FINDING_TOO_HIGH);
    assert_false(verdict_is_valid(&v));
    assert_true(verdict_has(&v, FINDING_TOO_HIGH));
    assert_false(verdict_has(&v, FINDING_TOO_WIDE));
}

/* Each of them spoils one thing. */
static void spoil_format(struct verdict *v)
{
    v->format = (enum image_format)IMAGE_FORMATS;
}
static void spoil_orientation(struct verdict *v)
{
    v->orientation = 9;
}
static void spoil_bool(struct verdict *v)
{
    memset(&v->has_sha256, 2, 1);
}
static void spoil_count(struct verdict *v)
{
    v->finding_count = VERDICT_FINDINGS + 1;
}
static void spoil_code(struct verdict *v)
{
    v->findings[1].code = (enum finding_code)FINDING_COUNT;
}
static void spoil_code_below(struct verdict *v)
{
    v->findings[1].code = (enum finding_code) - 1;
}
static void repeat_code(struct verdict *v)
{
    v->findings[1].code = v->findings[0].code;
}
static void spoil_measured(struct verdict *v)
{
    v->findings[0].measured = -2;
}
static void spoil_allowed(struct verdict *v)
{
    v->findings[0].allowed = INT64_MIN;
}
static void spoil_offset(struct verdict *v)
{
    v->findings[0].offset = -2;
}
static void leave_text_open(struct verdict *v)
{
    memset(v->findings[0].detail, 'x', sizeof(v->findings[0].detail));
}
static void put_control_character(struct verdict *v)
{
    strcpy(v->findings[0].detail, "a\nb");
}

static void nothing_out_of_range_is_sane(void **state)
{
    static void (*const spoilers[])(struct verdict *) = {
        spoil_format,  spoil_orientation, spoil_bool,      spoil_count,
        spoil_code,    spoil_code_below,  repeat_code,     spoil_measured,
        spoil_allowed, spoil_offset,      leave_text_open, put_control_character,
    };

    (void)state;
    for (size_t i = 0; i <= ARRAY_LEN(spoilers); i++) {
        struct verdict v;
        verdict_init(&v, 100);
        verdict_add(&v, FINDING_CORRUPT);
        verdict_add(&v, FINDING_TOO_WIDE);
        if (i < ARRAY_LEN(spoilers))
            spoilers[i](&v);
        if (verdict_is_sane(&v) != (i == ARRAY_LEN(spoilers)))
            fail_msg("spoiler %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sentences_are_those_of_the_contract),
        cmocka_unit_test(a_limit_that_was_configured_shows_its_own_number),
        cmocka_unit_test(every_finding_has_its_words),
        cmocka_unit_test(every_format_has_a_name_of_its_own),
        cmocka_unit_test(a_finding_is_there_once_and_the_first_is_kept),
        cmocka_unit_test(all_findings_together_fit),
        cmocka_unit_test(warnings_fail_nothing),
        cmocka_unit_test(nothing_out_of_range_is_sane),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
