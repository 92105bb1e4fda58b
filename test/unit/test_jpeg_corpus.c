/* The whole check over real files with known answers, and how often it errs. The corpus is not part of
 * the project: ASSAY_SHARED names the folder that holds it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "validate/validator.h"

enum kind { WORKING, CORRUPT, UNSUPPORTED, OTHER_IMAGE, NO_IMAGE, EMPTY, KINDS };

static const struct {
    const char *verdict; /* in the manifest */
    const char *column;
} kinds[KINDS] = {
    [WORKING] = { "working jpeg", "false reject of working" },
    [CORRUPT] = { "corrupt/truncated jpeg", "corrupt" },
    [UNSUPPORTED] = { "unsupported jpeg flavour", "unsupported" },
    [OTHER_IMAGE] = { "image but not jpeg", "other image" },
    [NO_IMAGE] = { "not an image", "not image" },
    [EMPTY] = { "empty", "empty" },
};

struct count {
    unsigned files[KINDS], wrong[KINDS];
};

static enum kind kind_of(const char *verdict)
{
    enum kind kind = WORKING;
    while (kind < KINDS && strcmp(kinds[kind].verdict, verdict) != 0)
        kind++;
    return kind;
}

static const char *shared(void)
{
    const char *path = getenv("ASSAY_SHARED");
    return path ? path : "../shared";
}

static uint8_t *read_file(const char *name, size_t *ret_len)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/corpus/files/%s", shared(), name);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("no file '%s'", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *ret_len = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*ret_len + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *ret_len, file), *ret_len);
    (void)fclose(file);
    return data;
}

static void check_file(const char *name, struct verdict *verdict)
{
    /* Larger than any picture in the corpus: its rule of size is the server's business. */
    const struct limits limits = { 100000, 100000, UINT64_MAX };
    size_t len;
    CLEANUP(freep) uint8_t *data = read_file(name, &len);
    size_t tail_len = len < 32 ? len : 32;
    const struct media media = { data, len, len, data + len - tail_len, tail_len };
    struct err err;
    verdict_init(verdict, len);
    assert_int_equal(validator_image.check(&media, &limits, verdict, &err), 0);
}

static void explain(const char *name, const char *wanted, const struct verdict *verdict)
{
    printf("    %s: %s, but:", name, wanted);
    for (uint32_t i = 0; i < verdict->finding_count; i++)
        printf(" %s (%s)", finding_name(verdict->findings[i].code), verdict->findings[i].detail);
    printf("\n");
}

/* The verdict of the manifest beside ours. */
static bool judge(const json_t *row, const char *name, enum kind kind,
                  const struct verdict *verdict)
{
    bool is_jpeg = verdict->format == IMAGE_JPEG;
    bool size_right = true;
    if (kind == WORKING || kind == UNSUPPORTED) {
        size_right =
            (json_int_t)verdict->width == json_integer_value(json_object_get(row, "width")) &&
            (json_int_t)verdict->height == json_integer_value(json_object_get(row, "height"));
        if (json_integer_value(json_object_get(row, "width")) == 0)
            size_right = true; /* the manifest does not know */
    }
    bool right = false;
    switch (kind) {
    case WORKING:
        right = verdict_is_valid(verdict) && is_jpeg && size_right;
        break;
    case CORRUPT:
    case UNSUPPORTED:
        right = !verdict_is_valid(verdict) && size_right;
        break;
    case OTHER_IMAGE:
        right = verdict_has(verdict, FINDING_NOT_A_JPEG) &&
                !verdict_has(verdict, FINDING_NOT_AN_IMAGE) && verdict->format != IMAGE_UNKNOWN;
        break;
    case NO_IMAGE:
        right = verdict_has(verdict, FINDING_NOT_AN_IMAGE);
        break;
    case EMPTY:
        right = verdict_has(verdict, FINDING_EMPTY);
        break;
    case KINDS:
        break;
    }
    if (!right)
        explain(name, kinds[kind].verdict, verdict);
    return right;
}

static void print_table(const char *title, const struct count *count)
{
    printf(
        "%s: working %u, corrupt %u, unsupported %u, other image %u, not an image %u, empty %u\n",
        title, count->files[WORKING], count->files[CORRUPT], count->files[UNSUPPORTED],
        count->files[OTHER_IMAGE], count->files[NO_IMAGE], count->files[EMPTY]);
    printf("| tool | false accept: corrupt | unsupported | other image | not image/empty | false "
           "reject of working |\n| --- | --- | --- | --- | --- | --- |\n");
    printf("| assay | %u | %u | %u | %u | %u |\n", count->wrong[CORRUPT], count->wrong[UNSUPPORTED],
           count->wrong[OTHER_IMAGE], count->wrong[NO_IMAGE] + count->wrong[EMPTY],
           count->wrong[WORKING]);
}

static void files_with_known_answers_get_them(void **state)
{
    (void)state;
    struct count wild = { 0 }, derived = { 0 };
    char path[4096], line[65536];
    (void)snprintf(path, sizeof(path), "%s/corpus/manifest.jsonl", shared());
    FILE *manifest = fopen(path, "r");
    if (!manifest) {
        printf("    skipped: there is no '%s'\n", path);
        skip();
    }
    while (fgets(line, sizeof(line), manifest)) {
        json_t *row = json_loads(line, 0, NULL);
        assert_non_null(row);
        const char *name = json_string_value(json_object_get(row, "file"));
        enum kind kind = kind_of(json_string_value(json_object_get(row, "verdict")));
        assert_int_not_equal(kind, KINDS);
        if (json_is_true(json_object_get(row, "certain"))) {
            bool made = !strcmp(json_string_value(json_object_get(row, "source")), "derived");
            struct count *count = made ? &derived : &wild;
            struct verdict verdict;
            check_file(name, &verdict);
            assert_true(verdict_is_sane(&verdict));
            count->files[kind]++;
            count->wrong[kind] += !judge(row, name, kind, &verdict);
        }
        json_decref(row);
    }
    (void)fclose(manifest);
    print_table("wild", &wild);
    print_table("derived", &derived);
    unsigned accepted = 0;
    for (enum kind kind = CORRUPT; kind < KINDS; kind++)
        accepted += wild.wrong[kind] + derived.wrong[kind];
    assert_true(wild.wrong[WORKING] + derived.wrong[WORKING] <= 1);
    assert_true(accepted <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_with_known_answers_get_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
