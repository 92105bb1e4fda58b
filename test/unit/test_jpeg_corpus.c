/* link: -ljpeg */
/* The whole check over real files with known answers, and how often it errs. The corpus is not part of
 * the project: ASSAY_SHARED names the folder that holds it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "test_jpeg_tools.h"

enum kind { WORKING, CORRUPT, UNSUPPORTED, OTHER_IMAGE, NO_IMAGE, EMPTY, KINDS };

static const char *const kinds[KINDS] = {
    [WORKING] = "working jpeg",
    [CORRUPT] = "corrupt/truncated jpeg",
    [UNSUPPORTED] = "unsupported jpeg flavour",
    [OTHER_IMAGE] = "image but not jpeg",
    [NO_IMAGE] = "not an image",
    [EMPTY] = "empty",
};

/* Who judges a file that begins like a JPEG: is it a working one? */
struct witness {
    const json_t *row; /* of the manifest, which holds what browsers did */
    enum oracle full;
    bool header;
};

static bool browser(const struct witness *w, const char *name, const char *call)
{
    return json_is_true(json_object_get(json_object_get(w->row, name), call));
}

static bool libjpeg_header(const struct witness *w)
{
    return w->header;
}

static bool libjpeg_no_error(const struct witness *w)
{
    return w->full != ORACLE_FATAL;
}

static bool libjpeg_no_warning(const struct witness *w)
{
    return w->full == ORACLE_CLEAN;
}

static bool chromium_img(const struct witness *w)
{
    return browser(w, "chromium", "img");
}

static bool chromium_bitmap(const struct witness *w)
{
    return browser(w, "chromium", "bitmap");
}

static bool firefox_decode(const struct witness *w)
{
    return browser(w, "firefox", "decode");
}

static const struct {
    const char *name;
    bool (*accepts)(const struct witness *w);
} rivals[] = {
    { "libjpeg header: no error", libjpeg_header },
    { "libjpeg full decode: no error", libjpeg_no_error },
    { "libjpeg full decode: no error, no warning", libjpeg_no_warning },
    { "img load event (Chromium)", chromium_img },
    { "createImageBitmap (Chromium)", chromium_bitmap },
    { "img.decode (Firefox)", firefox_decode },
};

struct count {
    unsigned files[KINDS], wrong[KINDS];
    unsigned rival[ARRAY_LEN(rivals)][KINDS];
};

static enum kind kind_of(const char *verdict)
{
    enum kind kind = WORKING;
    while (kind < KINDS && strcmp(kinds[kind], verdict) != 0)
        kind++;
    return kind;
}

static void check_file(struct bytes b, struct verdict *verdict)
{
    /* Larger than any picture in the corpus: its rule of size is the server's business. */
    const struct limits limits = { 100000, 100000, UINT64_MAX };
    size_t tail_len = b.len < 32 ? b.len : 32;
    const struct media media = { b.data, b.len, b.len, b.data + b.len - tail_len, tail_len };
    struct err err;
    verdict_init(verdict, b.len);
    assert_int_equal(validator_image.check(&media, &limits, verdict, &err), 0);
    assert_true(verdict_is_sane(verdict));
}

static void ask_rivals(const json_t *row, struct bytes b, enum kind kind, struct count *count)
{
    size_t size;
    struct witness w = { .row = row };
    bool looks = b.len > 2 && !memcmp(b.data, "\xFF\xD8\xFF", 3);
    if (looks) {
        w.full = oracle_decode(b.data, b.len, NULL, 0, &size);
        w.header = oracle_header(b.data, b.len);
    }
    for (size_t i = 0; i < ARRAY_LEN(rivals); i++) {
        bool accepted = looks && rivals[i].accepts(&w);
        count->rival[i][kind] += accepted != (kind == WORKING);
    }
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
        explain(name, kinds[kind], verdict);
    return right;
}

static void print_row(const char *name, const unsigned wrong[static KINDS])
{
    printf("| %s | %u | %u | %u | %u | %u |\n", name, wrong[CORRUPT], wrong[UNSUPPORTED],
           wrong[OTHER_IMAGE], wrong[NO_IMAGE] + wrong[EMPTY], wrong[WORKING]);
}

static void print_table(const char *title, const struct count *count)
{
    printf(
        "%s: working %u, corrupt %u, unsupported %u, other image %u, not an image %u, empty %u\n",
        title, count->files[WORKING], count->files[CORRUPT], count->files[UNSUPPORTED],
        count->files[OTHER_IMAGE], count->files[NO_IMAGE], count->files[EMPTY]);
    printf("| tool | false accept: corrupt | unsupported | other image | not image/empty | false "
           "reject of working |\n| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < ARRAY_LEN(rivals); i++)
        print_row(rivals[i].name, count->rival[i]);
    print_row("assay", count->wrong);
}

static void files_with_known_answers_get_them(void **state)
{
    (void)state;
    struct count wild = { 0 }, derived = { 0 };
    char path[4096], line[65536];
    (void)snprintf(path, sizeof(path), "%s/corpus/manifest.jsonl", shared_folder());
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
            CLEANUP(freep) uint8_t *data = NULL;
            struct bytes b = corpus_file(name);
            if (!b.data)
                fail_msg("no file '%s'", name);
            data = b.data;
            check_file(b, &verdict);
            ask_rivals(row, b, kind, count);
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
