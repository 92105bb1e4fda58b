#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "validate/validator.h"

static const struct limits limits = { .max_width = 1000,
                                      .max_height = 1000,
                                      .max_bytes = 32 * 1024 * 1024 };

static struct media media_of(const void *data, size_t len)
{
    size_t tail_len = len < 32 ? len : 32;

    return (struct media){ .data = data,
                           .len = len,
                           .file_len = len,
                           .tail = (const uint8_t *)data + len - tail_len,
                           .tail_len = tail_len };
}

static struct verdict judge_media(const struct media *media)
{
    struct verdict v;
    struct err err;

    verdict_init(&v, media->file_len);
    assert_int_equal(0, validator_image.check(media, &limits, &v, &err));
    assert_true(verdict_is_sane(&v));
    return v;
}

static struct verdict judge(const void *data, size_t len)
{
    struct media media = media_of(data, len);

    return judge_media(&media);
}

/* The names of the findings, in the order of their codes. */
static const char *findings_of(const struct verdict *v)
{
    static char text[256];

    text[0] = '\0';
    for (unsigned code = 0; code < FINDING_COUNT; code++)
        if (verdict_has(v, code)) {
            if (text[0])
                strcat(text, " ");
            strcat(text, finding_name(code));
        }
    return text;
}

static const char *detail_of(const struct verdict *v, enum finding_code code)
{
    for (uint32_t i = 0; i < v->finding_count; i++)
        if (v->findings[i].code == code)
            return v->findings[i].detail;
    return "";
}

static void an_empty_file_is_empty_and_nothing_else(void **state)
{
    struct verdict v = judge("", 0);

    (void)state;
    assert_string_equal(findings_of(&v), "empty");
    assert_int_equal(v.format, IMAGE_UNKNOWN);
}

static void what_is_no_image_is_no_jpeg_either(void **state)
{
    struct verdict v = judge("hello", 5);

    (void)state;
    assert_string_equal(findings_of(&v), "not_an_image not_a_jpeg");
    assert_string_equal(detail_of(&v, FINDING_NOT_AN_IMAGE), "this is plain text");
}

static void impostors_are_named(void **state)
{
    static const struct {
        const char *data, *detail;
    } cases[] = {
        { "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer" },
        { "\n <!DOCTYPE html><title>403</title>", "HTML page" },
        { "<html lang=en>", "HTML page" },
        { "{\"error\":\"AccessDenied\"}", "JSON" },
        { "\x1f\x8b\x08", "gzip" },
        { "PK\3\4", "zip archive" },
        { "%PDF-1.4", "PDF" },
        { "....ftypisom....isom", "video" },
        { "/9j/4AAQSkZJRg", "base64" },
        { "\n\xff\xd8\xff\xe0", "a JPEG begins only after 1 other bytes" },
        { "Warning: in x.php\n\xff\xd8\xff\xe0", "a JPEG begins only after 18 other bytes" },
        { " \r\n", "nothing but white space" },
        { "--x\r\nContent-Disposition: form-data", "multipart upload" },
        { "caf\xe9", "plain text" },
        { "\xff\xff\xff\xff", "nothing but bytes FF" },
        { "no text\xff", "" },
        { "one\1two", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict v = judge(cases[i].data, strlen(cases[i].data));
        assert_string_equal(findings_of(&v), "not_an_image not_a_jpeg");
        const char *detail = detail_of(&v, FINDING_NOT_AN_IMAGE);
        if (*cases[i].detail ? !strstr(detail, cases[i].detail) : *detail != '\0')
            fail_msg("case %zu: %s", i, detail);
    }
}

static void a_file_of_zeros_is_named_unless_something_is_in_it(void **state)
{
    static uint8_t zeros[4096];
    struct verdict v = judge(zeros, sizeof(zeros));

    (void)state;
    assert_string_equal(findings_of(&v), "not_an_image not_a_jpeg");
    assert_string_equal(detail_of(&v, FINDING_NOT_AN_IMAGE),
                        "this is nothing but zero bytes, perhaps of an unfinished transfer");
    const struct media beginning = { .data = zeros, .len = 100, .file_len = sizeof(zeros) };
    v = judge_media(&beginning);
    assert_string_equal(detail_of(&v, FINDING_NOT_AN_IMAGE), "");
    zeros[sizeof(zeros) - 1] = 1;
    v = judge(zeros, sizeof(zeros));
    assert_string_equal(detail_of(&v, FINDING_NOT_AN_IMAGE), "");
}

static void an_image_of_another_format_is_measured_too(void **state)
{
    static const uint8_t gif[] = "GIF89a\xe9\x03\xe8\x03"; /* 1001 by 1000 */
    struct verdict v = judge(gif, sizeof(gif) - 1);

    (void)state;
    assert_string_equal(findings_of(&v), "not_a_jpeg too_wide");
    assert_int_equal(v.format, IMAGE_GIF);
    assert_int_equal(v.width, 1001);
    assert_int_equal(v.height, 1000);
}

static void a_file_over_the_limit_is_still_looked_at(void **state)
{
    static const uint8_t gif[] = "GIF89a\xe9\x03\xe9\x03";
    struct media media = media_of(gif, sizeof(gif) - 1);
    struct verdict v;

    (void)state;
    media.file_len = limits.max_bytes + 1;
    v = judge_media(&media);
    assert_string_equal(findings_of(&v), "too_large not_a_jpeg too_wide too_high");
    assert_int_equal(v.findings[0].measured, limits.max_bytes + 1);
    assert_int_equal(v.findings[0].allowed, limits.max_bytes);
    media.file_len = limits.max_bytes;
    v = judge_media(&media);
    assert_false(verdict_has(&v, FINDING_TOO_LARGE));
}

/* The corpus: what each file truly is was settled by other means than this code. */

static uint8_t *read_file(const char *path, size_t *ret_len)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    uint8_t *data;

    assert_non_null(f);
    assert_int_equal(0, fstat(fileno(f), &st));
    data = malloc(st.st_size ? (size_t)st.st_size : 1); /* exactly: sanitizers watch its end */
    assert_non_null(data);
    *ret_len = fread(data, 1, (size_t)st.st_size, f);
    (void)fclose(f);
    return data;
}

static const char *field(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));

    return s ? s : "";
}

static const char *expected_findings(const char *verdict)
{
    if (strcmp(verdict, "empty") == 0)
        return "empty";
    if (strcmp(verdict, "not an image") == 0)
        return "not_an_image not_a_jpeg";
    return strcmp(verdict, "image but not jpeg") == 0 ? "not_a_jpeg" : NULL;
}

/* Without the findings about the size. */
static const char *kind_of(const struct verdict *v)
{
    return verdict_has(v, FINDING_EMPTY)          ? "empty"
           : verdict_has(v, FINDING_NOT_AN_IMAGE) ? "not_an_image not_a_jpeg"
                                                  : "not_a_jpeg";
}

static bool size_fits(const json_t *row, const struct verdict *v)
{
    json_int_t width = json_integer_value(json_object_get(row, "width"));
    json_int_t height = json_integer_value(json_object_get(row, "height"));

    return width == 0 || v->width == 0 || (width == v->width && height == v->height) ||
           (width == v->height && height == v->width);
}

static void the_corpus_is_recognised(void **state)
{
    const char *shared = getenv("ASSAY_SHARED");
    char path[4096], line[65536];
    unsigned files = 0, wrong = 0;
    FILE *manifest;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/corpus/manifest.jsonl", shared ? shared : "../shared");
    manifest = fopen(path, "r");
    if (!manifest) {
        print_message("skipped: no corpus at %s\n", path);
        skip();
    }
    while (fgets(line, sizeof(line), manifest)) {
        json_t *row = json_loads(line, 0, NULL);
        const char *expected = expected_findings(field(row, "verdict"));
        if (expected) {
            size_t len;
            CLEANUP(freep) uint8_t *data = NULL;
            struct verdict v;
            bool is_certain = json_is_true(json_object_get(row, "certain"));
            (void)snprintf(path, sizeof(path), "%s/corpus/files/%s", shared ? shared : "../shared",
                           field(row, "file"));
            data = read_file(path, &len);
            v = judge(data, len);
            files++;
            if (getenv("ASSAY_VERBOSE"))
                print_message("%-5s %ux%u %s %s: %s [%s]\n", image_format_name(v.format), v.width,
                              v.height, field(row, "file"), field(row, "path"),
                              field(row, "verdict"), detail_of(&v, FINDING_NOT_AN_IMAGE));
            if ((is_certain && strcmp(kind_of(&v), expected) != 0) || !size_fits(row, &v)) {
                wrong++;
                print_message("%s (%s): %s, is %s %s %ux%u\n", field(row, "file"),
                              field(row, "path"), field(row, "verdict"), findings_of(&v),
                              image_format_name(v.format), v.width, v.height);
            }
        }
        json_decref(row);
    }
    (void)fclose(manifest);
    print_message("%u files that are no JPEG, %u wrong\n", files, wrong);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_is_empty_and_nothing_else),
        cmocka_unit_test(what_is_no_image_is_no_jpeg_either),
        cmocka_unit_test(impostors_are_named),
        cmocka_unit_test(a_file_of_zeros_is_named_unless_something_is_in_it),
        cmocka_unit_test(an_image_of_another_format_is_measured_too),
        cmocka_unit_test(a_file_over_the_limit_is_still_looked_at),
        cmocka_unit_test(the_corpus_is_recognised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
