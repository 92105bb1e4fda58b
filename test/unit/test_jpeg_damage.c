/* link: -ljpeg */
/* The check beside libjpeg, over damage made here: what libjpeg cannot read is refused; what it reads
 * without a warning, with every pixel as it was, is accepted; and of the damage that one sees in the
 * picture, how much does the check notice? EACH=n damages every photograph n times in each way,
 * SEED=n begins elsewhere. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "test_jpeg_tools.h"

enum { MOST_PIXELS = 1000 * 1000 * 4, MOST_PHOTOS = 60, EACH_SOURCE = 6 };

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % n;
}

static uint64_t setting(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : usual;
}

/* --- ways of damage: change *b, which has room for 1000 bytes more, from byte `from` on --- */

typedef void damage(struct bytes *b, size_t from);

static size_t place(const struct bytes *b, size_t from, size_t len)
{
    return b->len > from + len ? from + random_below(b->len - from - len) : from;
}

static void remove_bytes(struct bytes *b, size_t at, size_t len)
{
    len = len < b->len - at ? len : b->len - at;
    memmove(b->data + at, b->data + at + len, b->len - at - len);
    b->len -= len;
}

static void flip_bit(struct bytes *b, size_t from)
{
    b->data[place(b, from, 2)] ^= (uint8_t)(1u << random_below(8));
}

static void scramble_512(struct bytes *b, size_t from)
{
    for (size_t at = place(b, from, 512), i = 0; i < 512 && at + i < b->len; i++)
        b->data[at + i] = (uint8_t)random_below(256);
}

static void zero_512(struct bytes *b, size_t from)
{
    size_t at = place(b, from, 512);
    memset(b->data + at, 0, b->len - at < 512 ? b->len - at : 512);
}

static void lose_1(struct bytes *b, size_t from)
{
    remove_bytes(b, place(b, from, 2), 1);
}

static void lose_1000(struct bytes *b, size_t from)
{
    remove_bytes(b, place(b, from, 1000), 1000);
}

static void repeat_1000(struct bytes *b, size_t from)
{
    size_t at = place(b, from, 1000), len = b->len - at < 1000 ? b->len - at : 1000;
    memmove(b->data + at + len, b->data + at, b->len - at);
    b->len += len;
}

static void cut(struct bytes *b, size_t from)
{
    b->len = place(b, from, 2);
}

static void cut_and_end(struct bytes *b, size_t from)
{
    cut(b, from);
    memcpy(b->data + b->len, "\xFF\xD9", 2);
    b->len += 2;
}

static void zero_tail(struct bytes *b, size_t from)
{
    size_t at = place(b, from, 2);
    memset(b->data + at, 0, b->len - at);
}

static void cut_1_to_8(struct bytes *b, size_t from)
{
    (void)from;
    b->len -= 1 + random_below(8);
}

static void swap_blocks(struct bytes *b, size_t from)
{
    size_t at = place(b, from, 256), to = place(b, from, 256);
    for (size_t i = 0; i < 128 && at + i < b->len && to + i < b->len; i++) {
        uint8_t byte = b->data[at + i];
        b->data[at + i] = b->data[to + i];
        b->data[to + i] = byte;
    }
}

static const struct {
    const char *name;
    damage *apply;
} ways[] = {
    { "1 bit flipped", flip_bit },
    { "512 random bytes", scramble_512 },
    { "512 zero bytes", zero_512 },
    { "1 byte lost", lose_1 },
    { "1000 bytes lost", lose_1000 },
    { "1000 bytes twice", repeat_1000 },
    { "cut", cut },
    { "cut, EOI added", cut_and_end },
    { "zero tail", zero_tail },
    { "last 1-8 bytes cut", cut_1_to_8 },
    { "two parts swapped", swap_blocks },
};

static struct bytes damaged(struct bytes b, damage *apply, size_t from)
{
    struct bytes copy = { malloc(b.len + 1000), b.len };
    assert_non_null(copy.data);
    memcpy(copy.data, b.data, b.len);
    apply(&copy, from);
    return copy;
}

/* --- the oracle's word --- */

struct decoded {
    enum oracle result;
    uint8_t *pixels;
    size_t size;
};

static void decode(struct bytes b, struct decoded *d)
{
    d->size = 0;
    d->result = oracle_decode(b.data, b.len, d->pixels, MOST_PIXELS, &d->size);
}

/* Pixels that differ by more than 12 levels, in 1000 of all; 1000: it is another picture, or none. */
static unsigned visible_permille(const struct decoded *a, const struct decoded *b)
{
    size_t changed = 0;
    if (b->result == ORACLE_FATAL || a->size != b->size)
        return 1000;
    for (size_t i = 0; i + 3 <= a->size; i += 3) {
        int most = 0;
        for (size_t k = 0; k < 3; k++) {
            int difference = abs(a->pixels[i + k] - b->pixels[i + k]);
            most = difference > most ? difference : most;
        }
        changed += most > 12;
    }
    return (unsigned)(changed * 3 * 1000 / a->size);
}

/* What the check refuses though libjpeg reads every pixel without a warning; see docs/decisions. */
static bool is_stricter_on_purpose(const struct verdict *verdict)
{
    static const char *const rules[] = { "left over",    "scans are missing",
                                         "out of range", "impossible value",
                                         "components",   "out of order or sent twice",
                                         "comes twice" };
    for (uint32_t i = 0; i < verdict->finding_count; i++)
        for (size_t k = 0; k < ARRAY_LEN(rules); k++)
            if (strstr(verdict->findings[i].detail, rules[k]))
                return true;
    return false;
}

static void agree(struct bytes b, const struct decoded *sound, const struct decoded *now,
                  const char *what)
{
    struct verdict verdict;
    check_jpeg(b.data, b.len, 65535, &verdict);
    bool valid = verdict_is_valid(&verdict);
    bool same = sound->size == now->size && now->size <= MOST_PIXELS &&
                !memcmp(sound->pixels, now->pixels, now->size);
    if (now->result == ORACLE_FATAL && valid)
        fail_msg("%s: libjpeg cannot read it, the check accepts it", what);
    if (now->result == ORACLE_CLEAN && same && !valid && !is_stricter_on_purpose(&verdict))
        fail_msg("%s: libjpeg reads it whole, the check refuses it: %s", what,
                 verdict.findings[0].detail);
}

/* --- tests --- */

static struct decoded sound, now;

static void made_pictures_are_judged_as_libjpeg_reads_them(void **state)
{
    (void)state;
    uint64_t each = setting("EACH", 40);
    random_state = setting("SEED", 88172645463325252u);
    for (unsigned i = 0; i < 24; i++) {
        const struct recipe recipe = { .width = 40 + i * 3,
                                       .height = 90 - i * 2,
                                       .components = i % 4 == 3 ? 1 : 3,
                                       .h = 1 + i % 2,
                                       .v = 1 + i / 2 % 2,
                                       .quality = 30 + i * 3,
                                       .restart = i % 3 == 2 ? 3 : 0,
                                       .progressive = i / 4 % 2,
                                       .optimize = i / 8 % 2 };
        struct bytes b = make_jpeg(&recipe);
        assert_non_null(b.data);
        decode(b, &sound);
        agree(b, &sound, &sound, "sound");
        for (uint64_t n = 0; n < each * ARRAY_LEN(ways); n++) {
            char what[80];
            size_t way = n % ARRAY_LEN(ways);
            struct bytes copy = damaged(b, ways[way].apply, n % 2 ? 600 : 2);
            (void)snprintf(what, sizeof(what), "picture %u, %s, round %zu", i, ways[way].name,
                           (size_t)(n / ARRAY_LEN(ways)));
            decode(copy, &now);
            agree(copy, &sound, &now, what);
            free(copy.data);
        }
        free(b.data);
    }
}

static void the_corpus_is_judged_as_libjpeg_reads_it(void **state)
{
    (void)state;
    char path[4096];
    static char line[65536];
    unsigned fatal = 0, clean = 0, stricter = 0;
    (void)snprintf(path, sizeof(path), "%s/corpus/manifest.jsonl", shared_folder());
    FILE *manifest = fopen(path, "r");
    if (!manifest)
        skip();
    while (fgets(line, sizeof(line), manifest)) {
        json_t *row = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(row, "file"));
        CLEANUP(freep) uint8_t *data = NULL;
        struct bytes b = corpus_file(name);
        data = b.data;
        if (b.len > 3 && !memcmp(b.data, "\xFF\xD8\xFF", 3)) {
            struct verdict verdict;
            size_t size;
            enum oracle result = oracle_decode(b.data, b.len, NULL, 0, &size);
            check_jpeg(b.data, b.len, 65535, &verdict);
            bool valid = verdict_is_valid(&verdict);
            if (result == ORACLE_FATAL && valid)
                fail_msg("%s: libjpeg cannot read it, the check accepts it", name);
            fatal += result == ORACLE_FATAL;
            clean += result == ORACLE_CLEAN;
            if (result == ORACLE_CLEAN && !valid) {
                stricter++;
                printf("    %s: clean to libjpeg, but %s: %s\n", name, findings_text(&verdict),
                       verdict.findings[0].detail);
            }
        }
        json_decref(row);
    }
    (void)fclose(manifest);
    printf("    fatal to libjpeg: %u, all refused; clean: %u, %u of them refused\n", fatal, clean,
           stricter);
}

struct row {
    unsigned cases, visible, noticed, hidden, hidden_noticed, libjpeg;
};

static void detect(struct bytes b, damage *apply, struct row *row)
{
    struct verdict verdict;
    size_t from = b.len;
    for (size_t at = 2; at + 4 < b.len && from == b.len;
         at += 2 + (size_t)(b.data[at + 2] << 8 | b.data[at + 3]))
        if (b.data[at + 1] == 0xDA)
            from = at + 2 + (size_t)(b.data[at + 2] << 8 | b.data[at + 3]);
    struct bytes copy = damaged(b, apply, from);
    decode(copy, &now);
    check_jpeg(copy.data, copy.len, 1000, &verdict);
    bool noticed = !verdict_is_valid(&verdict);
    row->cases++;
    if (visible_permille(&sound, &now) > 3) {
        row->visible++;
        row->noticed += noticed;
        row->libjpeg += now.result != ORACLE_CLEAN;
    } else {
        row->hidden++;
        row->hidden_noticed += noticed;
    }
    free(copy.data);
}

/* Per cent of visible damage noticed, for one bit flipped. */
static double detection_table(const char *title, const struct bytes *photos, size_t count,
                              uint64_t each)
{
    double flips = 0;
    printf("    %-18s  cases visible  noticed: check libjpeg | of the invisible: check\n", title);
    for (size_t way = 0; way < ARRAY_LEN(ways); way++) {
        struct row row = { 0 };
        for (size_t i = 0; i < count; i++) {
            decode(photos[i], &sound);
            for (uint64_t n = 0; n < each; n++)
                detect(photos[i], ways[way].apply, &row);
        }
        double visible = row.visible ? row.visible : 1;
        printf("    %-18s %6u %7u %14.1f%% %6.1f%% | %u: %u\n", ways[way].name, row.cases,
               row.visible, 100 * row.noticed / visible, 100 * row.libjpeg / visible, row.hidden,
               row.hidden_noticed);
        if (ways[way].apply == flip_bit)
            flips = 100 * row.noticed / visible;
    }
    return flips;
}

static void visible_damage_to_photographs_is_noticed(void **state)
{
    (void)state;
    static struct bytes baseline[MOST_PHOTOS], progressive[MOST_PHOTOS];
    uint64_t each = setting("EACH", 3);
    size_t count = 0, found = corpus_photos(0xC0, baseline, MOST_PHOTOS, EACH_SOURCE);
    random_state = setting("SEED", 88172645463325252u);
    for (size_t i = 0; i < found; i++) {
        struct verdict verdict;
        check_jpeg(baseline[i].data, baseline[i].len, 1000, &verdict);
        if (verdict.width * verdict.height < 100000)
            free(baseline[i].data); /* a block of a thumbnail is more than 0.3 % of it */
        else
            baseline[count++] = baseline[i];
    }
    if (count < 20)
        skip();
    for (size_t i = 0; i < count; i++) {
        progressive[i] = oracle_progressive(baseline[i]);
        assert_non_null(progressive[i].data);
    }
    printf("    %zu photographs, each damaged %u times in each way\n", count, (unsigned)each);
    double flips = detection_table("baseline", baseline, count, each);
    double progressive_flips = detection_table("progressive", progressive, count, each);
    for (size_t i = 0; i < count; i++) {
        free(baseline[i].data);
        free(progressive[i].data);
    }
    assert_true(flips > 70);
    assert_true(progressive_flips > 88);
}

static int set_up(void **state)
{
    (void)state;
    sound.pixels = malloc(MOST_PIXELS);
    now.pixels = malloc(MOST_PIXELS);
    return sound.pixels && now.pixels ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(sound.pixels);
    free(now.pixels);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_pictures_are_judged_as_libjpeg_reads_them),
        cmocka_unit_test(the_corpus_is_judged_as_libjpeg_reads_it),
        cmocka_unit_test(visible_damage_to_photographs_is_noticed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
