/* link: -ljpeg */
/* JPEGs that libjpeg writes here, sound and then changed by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "test_jpeg_tools.h"
#include "validate/jpeg_internal.h"

static const char *check(struct bytes b, struct verdict *verdict)
{
    check_jpeg(b.data, b.len, 1000, verdict);
    assert_true(verdict_is_sane(verdict));
    return findings_text(verdict);
}

static struct bytes make(struct recipe recipe)
{
    struct bytes b = make_jpeg(&recipe);
    if (!b.data)
        fail_msg("libjpeg does not write this picture");
    return b;
}

/* Where the first marker is, from byte `from` on, segment by segment; b.len: there is none. */
static size_t find_marker(struct bytes b, uint8_t wanted, size_t from)
{
    for (size_t at = from; at + 4 <= b.len;) {
        uint8_t code = b.data[at + 1];
        if (b.data[at] != 0xFF || code == 0 || (code >= M_RST0 && code <= M_RST7))
            at++; /* picture data */
        else if (code == wanted)
            return at;
        else
            at += 2 + (size_t)(b.data[at + 2] << 8 | b.data[at + 3]);
    }
    return b.len;
}

static size_t marker(struct bytes b, uint8_t code)
{
    size_t at = find_marker(b, code, 2);
    assert_true(at < b.len);
    return at;
}

/* len bytes more at offset `at`. */
static void insert(struct bytes *b, size_t at, const void *data, size_t len)
{
    b->data = realloc(b->data, b->len + len);
    assert_non_null(b->data);
    memmove(b->data + at + len, b->data + at, b->len - at);
    memcpy(b->data + at, data, len);
    b->len += len;
}

static void drop(struct bytes *b, size_t at, size_t len)
{
    memmove(b->data + at, b->data + at + len, b->len - at - len);
    b->len -= len;
}

static void sound_pictures_of_every_kind_are_valid(void **state)
{
    (void)state;
    static const unsigned sizes[][2] = { { 1, 1 },  { 8, 8 },   { 9, 7 },    { 16, 17 },
                                         { 33, 5 }, { 64, 48 }, { 100, 75 }, { 257, 123 } };
    static const unsigned sampling[][2] = { { 1, 1 }, { 2, 1 }, { 2, 2 },
                                            { 4, 1 }, { 1, 2 }, { 4, 2 } };
    static const unsigned components[] = { 1, 3, 4 };
    static const unsigned restarts[] = { 0, 1, 7 };
    for (unsigned i = 0; i < 8 * 6 * 3 * 3 * 4; i++) {
        unsigned n = i / 4;
        struct recipe r = { .progressive = i & 1, .optimize = i >> 1 & 1 };
        r.restart = restarts[n % 3], n /= 3;
        r.components = components[n % 3], n /= 3;
        r.h = sampling[n % 6][0], r.v = sampling[n % 6][1], n /= 6;
        r.width = sizes[n][0], r.height = sizes[n][1];
        r.quality = 20 + i % 80;
        if (r.h * r.v + r.components - 1 > JPEG_MCU_BLOCKS)
            continue;
        CLEANUP(freep) uint8_t *data = NULL;
        struct bytes b = make(r);
        struct verdict verdict;
        data = b.data;
        assert_string_equal(check(b, &verdict), "");
        assert_int_equal(verdict.width, r.width);
        assert_int_equal(verdict.height, r.height);
        assert_int_equal(verdict.format, IMAGE_JPEG);
    }
}

static void size_is_judged_beside_damage(void **state)
{
    (void)state;
    static const struct {
        unsigned width, height;
        bool cut;
        const char *findings;
    } cases[] = {
        { 1000, 1000, false, "" },
        { 1001, 1000, false, "too_wide" },
        { 1000, 1001, false, "too_high" },
        { 1600, 1200, false, "too_wide too_high" },
        { 1600, 1200, true, "too_wide too_high truncated" },
        { 1000, 1000, true, "truncated" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases) * 2; i++) {
        size_t n = i / 2;
        struct verdict verdict;
        struct bytes b = make((struct recipe){
            .width = cases[n].width, .height = cases[n].height, .progressive = i & 1 });
        b.len -= cases[n].cut ? b.len / 2 : 0;
        assert_string_equal(check(b, &verdict), cases[n].findings);
        free(b.data);
    }
}

static void of_a_file_over_the_limit_only_the_size_is_told(void **state)
{
    (void)state;
    const struct limits limits = { 1000, 1000, 1000 };
    struct bytes b = make((struct recipe){ .width = 1200, .height = 900 });
    struct media media = { .data = b.data, .len = 1000, .file_len = b.len };
    struct verdict verdict;
    struct err err;
    verdict_init(&verdict, b.len);
    assert_int_equal(jpeg_check(&media, &limits, &verdict, &err), 0);
    assert_string_equal(findings_text(&verdict), "too_wide");
    assert_int_equal(verdict.height, 900);
    /* The head ends before the frame header: nothing is known, nothing is claimed. */
    media.len = 100;
    verdict_init(&verdict, b.len);
    assert_int_equal(jpeg_check(&media, &limits, &verdict, &err), 0);
    assert_string_equal(findings_text(&verdict), "");
    assert_int_equal(verdict.width, 0);
    free(b.data);
}

/* --- the header: patch one byte of the segment of a marker --- */

static const struct {
    uint8_t marker;
    unsigned at; /* behind the marker's two bytes and the two of the length */
    uint8_t value;
    const char *findings;
} patches[] = {
    { M_SOF0, 0, 12, "unsupported_jpeg" },   /* precision */
    { M_SOF0, 5, 2, "corrupt" },             /* components do not fit the length */
    { M_SOF0, 7, 0x01, "unsupported_jpeg" }, /* sampling 0x1 */
    { M_SOF0, 7, 0x51, "unsupported_jpeg" }, /* sampling 5x1 */
    { M_SOF0, 10, 0x21, "corrupt" },         /* other sampling: other blocks */
    { M_SOF0, 8, 3, "corrupt" },             /* table that is not there */
    { M_SOF0, 8, 9, "corrupt" },             /* table that cannot be there */
    { M_DHT, 0, 0x20, "corrupt" },           /* table class */
    { M_DHT, 0, 0x04, "corrupt" },           /* table destination */
    { M_DHT, 1, 3, "corrupt" },              /* no prefix code, and too long */
    { M_DQT, 0, 0x20, "corrupt" },           /* precision */
    { M_DQT, 0, 0x10, "corrupt" },           /* 16 bits do not fit the length */
    { M_DQT, 0, 0x07, "corrupt" },           /* destination */
    { M_SOS, 0, 5, "corrupt" },              /* components */
    { M_SOS, 1, 99, "unsupported_jpeg" },    /* component that is not there */
    { M_SOS, 2, 0x22, "corrupt" },           /* table that is not there */
    { M_SOS, 2, 0x44, "corrupt" },           /* table that cannot be there */
    { M_SOS, 7, 1, "" },                     /* spectral selection: ignored in baseline */
    { M_APP0, 5, 9, "" },                    /* JFIF version */
};

static void a_wrong_byte_in_a_header_is_judged_by_what_it_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(patches); i++) {
        struct verdict verdict;
        struct bytes b = make((struct recipe){ .width = 40, .height = 40 });
        b.data[marker(b, patches[i].marker) + 4 + patches[i].at] = patches[i].value;
        const char *found = check(b, &verdict);
        if (strcmp(found, patches[i].findings) != 0)
            fail_msg("marker %02X byte %u = %u: '%s' (%s), not '%s'", patches[i].marker,
                     patches[i].at, patches[i].value, found, verdict.findings[0].detail,
                     patches[i].findings);
        free(b.data);
    }
}

static void flavours_that_browsers_do_not_show_are_unsupported(void **state)
{
    (void)state;
    static const struct {
        uint8_t sof;
        const char *detail;
    } cases[] = {
        { 0xC3, "lossless coding" },
        { 0xC5, "hierarchical coding" },
        { 0xC6, "hierarchical coding" },
        { 0xC7, "hierarchical coding" },
        { 0xC9, "arithmetic coding" },
        { 0xCA, "arithmetic coding" },
        { 0xCB, "lossless arithmetic coding" },
        { 0xCD, "hierarchical coding" },
        { 0xF7, "JPEG-LS" },
    };
    struct verdict verdict;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes b = make((struct recipe){ .width = 40, .height = 30 });
        b.data[marker(b, M_SOF0) + 1] = cases[i].sof;
        assert_string_equal(check(b, &verdict), "unsupported_jpeg");
        assert_string_equal(verdict.findings[0].detail, cases[i].detail);
        assert_int_equal(verdict.width, 40);
        free(b.data);
    }
    struct recipe arithmetic = { .width = 40, .height = 30, .arithmetic = true };
    struct bytes b = make_jpeg(&arithmetic);
    if (b.data) /* libjpeg may be built without */
        assert_string_equal(check(b, &verdict), "unsupported_jpeg");
    free(b.data);
}

static void a_height_told_behind_the_picture_is_unsupported(void **state)
{
    (void)state;
    struct verdict verdict;
    struct bytes b = make((struct recipe){ .width = 1200, .height = 30 });
    size_t sof = marker(b, M_SOF0);
    b.data[sof + 5] = b.data[sof + 6] = 0;
    assert_string_equal(check(b, &verdict), "too_wide unsupported_jpeg");
    free(b.data);
}

/* --- what real files have and every decoder shows --- */

static void oddities_that_harm_nothing_are_let_pass(void **state)
{
    (void)state;
    static const struct {
        uint8_t before;
        const char *bytes;
        size_t len;
        const char *findings;
    } cases[] = {
        { M_DQT, "\0\0junk between segments\0", 24, "" },
        { M_DQT, "\xFF\xFE\0\1", 4, "" },       /* a comment shorter than its length field */
        { M_DQT, "\xFF\xFF\xFF", 3, "" },       /* fill bytes (§B.1.1.2) */
        { M_DQT, "\xFF\xE5\0\4hi", 6, "" },     /* an application's own */
        { M_DQT, "\xFF\xCC\0\4\x10\5", 6, "" }, /* arithmetic conditioning, of no use here */
        { M_DQT, "\xFF\xCC\0\4\x40\5", 6, "corrupt" },
        { M_DQT, "\xFF\xD8", 2, "corrupt" },              /* another start of image */
        { M_DQT, "\xFF\xF0\0\2", 4, "corrupt" },          /* a marker that nobody knows */
        { M_DQT, "\xFF\xDE\0\2", 4, "unsupported_jpeg" }, /* DHP */
        { M_DQT, "\xFF\xDD\0\3\0", 5, "corrupt" },        /* DRI of the wrong length */
        { M_EOI, "\xFF\xD3", 2, "" },          /* a restart marker behind the last block */
        { M_EOI, "\xFF\xDC\0\4\0\50", 6, "" }, /* DNL */
        { M_EOI, "\xFF\x01", 2, "" },          /* TEM */
        { M_EOI, "\xFF\xDB\0\3\x44", 5, "corrupt" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict verdict;
        struct bytes b = make((struct recipe){ .width = 40, .height = 40 });
        size_t at = cases[i].before == M_EOI ? b.len - 2 : marker(b, cases[i].before);
        insert(&b, at, cases[i].bytes, cases[i].len);
        const char *found = check(b, &verdict);
        if (strcmp(found, cases[i].findings) != 0)
            fail_msg("case %zu: '%s' (%s), not '%s'", i, found, verdict.findings[0].detail,
                     cases[i].findings);
        free(b.data);
    }
}

static void motion_jpeg_without_tables_takes_the_usual_ones(void **state)
{
    (void)state;
    struct verdict verdict;
    struct bytes b = make((struct recipe){ .width = 64, .height = 40, .h = 2 });
    for (size_t at; (at = find_marker(b, M_DHT, 2)) < b.len;)
        drop(&b, at, 2 + (size_t)(b.data[at + 2] << 8 | b.data[at + 3]));
    assert_string_equal(check(b, &verdict), "");
    free(b.data);
}

/* One of the usual tables of luminance as a DHT segment at offset `at`. */
static void insert_usual_table(struct bytes *b, size_t at, unsigned class)
{
    struct jpeg_huffman dc[2], ac[2];
    uint8_t segment[2 + 2 + 17 + 256] = { 0xFF, M_DHT };
    size_t total = 0;
    jpeg_standard_tables(dc, ac);
    const struct jpeg_huffman *table = class ? &ac[0] : &dc[0];
    for (unsigned length = 1; length <= 16; length++)
        total += table->counts[length];
    segment[3] = (uint8_t)(2 + 17 + total);
    segment[4] = (uint8_t)(class << 4);
    memcpy(segment + 5, table->counts + 1, 16);
    memcpy(segment + 21, table->symbols, total);
    insert(b, at, segment, 21 + total);
}

/* There is no progressive Motion-JPEG, and decoders look for no tables there. */
static void a_progressive_picture_without_tables_is_damage(void **state)
{
    (void)state;
    /* 8x8 grey: DC difference 0, then the end of the block, in the codes of the usual tables. */
    static const uint8_t frame[] = "\xFF\xC2\0\13\10\0\10\0\10\1\1\x11\0",
                         scans[] = "\xFF\xDA\0\10\1\1\0\0\0\0\x3F"
                                   "\xFF\xDA\0\10\1\1\0\1\x3F\0\xAF\xFF\xD9";
    struct verdict verdict;
    size_t size;
    struct bytes b = make((struct recipe){ .width = 8, .height = 8, .components = 1 });
    size_t at = marker(b, M_SOF0);
    b.len = at; /* all up to the quantization table stays */
    insert(&b, b.len, frame, sizeof(frame) - 1);
    at = b.len;
    insert(&b, b.len, scans, sizeof(scans) - 1);
    assert_int_equal(oracle_decode(b.data, b.len, NULL, 0, &size), ORACLE_FATAL);
    assert_string_equal(check(b, &verdict), "corrupt");
    assert_string_equal(verdict.findings[0].detail, "scan 1: its Huffman table was not defined");
    for (unsigned class = 0; class < 2; class ++)
        insert_usual_table(&b, at, class);
    assert_int_equal(oracle_decode(b.data, b.len, NULL, 0, &size), ORACLE_CLEAN);
    assert_string_equal(check(b, &verdict), "");
    free(b.data);
}

static void some_tables_but_not_all_are_damage(void **state)
{
    (void)state;
    struct verdict verdict;
    struct bytes b = make((struct recipe){ .width = 64, .height = 40 });
    size_t at = marker(b, M_DHT);
    drop(&b, at, 2 + (size_t)(b.data[at + 2] << 8 | b.data[at + 3]));
    assert_string_equal(check(b, &verdict), "corrupt");
    free(b.data);
}

static void warnings_fail_nothing(void **state)
{
    (void)state;
    static const char exif[] = "\xFF\xE1\0\x22"
                               "Exif\0\0MM\0\x2A\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0";
    static const char mpf[] = "\xFF\xE2\0\x20"
                              "MPF\0II\x2A\0\x08\0\0\0\1\0\1\xB0\4\0\1\0\0\0\2\0\0\0\0\0\0\0";
    struct verdict verdict;
    struct bytes b = make((struct recipe){ .width = 40, .height = 40 });
    insert(&b, 2, exif, sizeof(exif) - 1);
    assert_string_equal(check(b, &verdict), "rotated");
    assert_int_equal(verdict.orientation, 6);
    insert(&b, 2, mpf, sizeof(mpf) - 1);
    assert_string_equal(check(b, &verdict), "rotated multi_picture");
    insert(&b, b.len, "after the end", 13);
    assert_string_equal(check(b, &verdict), "rotated trailing_bytes multi_picture");
    assert_int_equal(finding_of(&verdict, FINDING_TRAILING_BYTES)->measured, 13);
    assert_int_equal(finding_of(&verdict, FINDING_TRAILING_BYTES)->offset, b.len - 13);
    assert_true(verdict_is_valid(&verdict));
    free(b.data);

    b = make((struct recipe){ .width = 40, .height = 40, .components = 4, .no_adobe = true });
    assert_string_equal(check(b, &verdict), "ambiguous_cmyk");
    assert_true(verdict_is_valid(&verdict));
    free(b.data);
}

static void a_malformed_exif_segment_tells_nothing(void **state)
{
    (void)state;
    static const char exif[] = "Exif\0\0II\x2A\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0";
    uint8_t copy[sizeof(exif) - 1];
    assert_int_equal(jpeg_exif_orientation((const uint8_t *)exif, sizeof(copy)), 6);
    for (size_t len = 0; len < 6 + 8 + 2 + 12; len++) {
        CLEANUP(freep) uint8_t *part = malloc(len + 1); /* so that a read past it is seen */
        memcpy(part, exif, len);
        assert_int_equal(jpeg_exif_orientation(part, len), 0);
    }
    for (size_t i = 0; i < sizeof(copy); i++) {
        memcpy(copy, exif, sizeof(copy));
        copy[i] ^= 0xFF;
        assert_true(jpeg_exif_orientation(copy, sizeof(copy)) <= 8);
    }
}

/* --- scans --- */

static void damage_in_a_scan_says_what_and_where(void **state)
{
    (void)state;
    struct verdict verdict;
    struct bytes b = make((struct recipe){ .width = 200, .height = 200, .restart = 5 });
    size_t scan = marker(b, M_SOS), rst = scan + 14;
    while (b.data[rst] != 0xFF || b.data[rst + 1] != M_RST0)
        rst++;
    b.data[rst + 1] = M_RST0 + 5;
    assert_string_equal(check(b, &verdict), "corrupt");
    assert_string_equal(verdict.findings[0].detail,
                        "scan 1, block 15 of component 1: marker D5 where D0 should be");
    assert_int_equal(verdict.findings[0].offset, rst);
    b.data[rst + 1] = M_EOI; /* cut, and an end added */
    assert_string_equal(check(b, &verdict), "truncated trailing_bytes");
    free(b.data);
}

static void restart_markers_without_an_interval_are_damage(void **state)
{
    (void)state;
    struct verdict verdict;
    struct bytes b = make((struct recipe){ .width = 200, .height = 200, .restart = 5 });
    size_t dri = marker(b, M_DRI);
    drop(&b, dri, 6);
    assert_string_equal(check(b, &verdict), "corrupt");
    free(b.data);
}

static void left_over_bytes_are_damage_unless_few_and_junk(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool progressive;
        const char *findings;
    } cases[] = {
        { "\xFF\0", 2, false, "" },
        { "\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0", 16, false, "" },
        { "\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0\xFF\0", 18, false, "corrupt" },
        { "\xFF\0", 2, true, "corrupt" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict verdict;
        struct bytes b =
            make((struct recipe){ .width = 64, .height = 64, .progressive = cases[i].progressive });
        insert(&b, b.len - 2, cases[i].bytes, cases[i].len);
        assert_string_equal(check(b, &verdict), cases[i].findings);
        free(b.data);
    }
}

static void a_block_too_much_is_damage_though_it_is_a_few_bytes(void **state)
{
    (void)state;
    struct verdict verdict;
    struct bytes b =
        make((struct recipe){ .width = 72, .height = 8, .components = 1, .quality = 10 });
    size_t sof = marker(b, M_SOF0);
    b.data[sof + 8] = 65; /* nine blocks, as before */
    assert_string_equal(check(b, &verdict), "");
    b.data[sof + 8] = 64;
    assert_string_equal(check(b, &verdict), "corrupt");
    unsigned bytes = 0;
    assert_int_equal(sscanf(verdict.findings[0].detail,
                            "scan 1, block 8 of component 1: %u bytes left over", &bytes),
                     1);
    assert_in_range(bytes, 1, 8);
    free(b.data);
}

static void every_scan_of_a_progressive_picture_is_needed(void **state)
{
    (void)state;
    struct bytes whole = make((struct recipe){ .width = 100, .height = 80, .progressive = true });
    struct verdict verdict;
    unsigned scans = 0;
    for (size_t at = find_marker(whole, M_SOS, 2); at < whole.len;) {
        size_t next = find_marker(whole, M_SOS, at + 2 + (size_t)whole.data[at + 3]);
        struct bytes b = { malloc(whole.len), whole.len };
        assert_non_null(b.data);
        memcpy(b.data, whole.data, whole.len);
        size_t end = at + 2 + (size_t)whole.data[at + 3];
        while (b.data[end] != 0xFF || b.data[end + 1] == 0)
            end++;
        drop(&b, at, end - at);
        check_jpeg(b.data, b.len, 1000, &verdict);
        assert_false(verdict_is_valid(&verdict));
        free(b.data);
        at = next;
        scans++;
    }
    assert_int_equal(scans, 10);
    free(whole.data);
}

static void a_scan_that_comes_twice_is_damage(void **state)
{
    (void)state;
    for (unsigned progressive = 0; progressive < 2; progressive++) {
        struct verdict verdict;
        struct bytes b = make((struct recipe){
            .width = 100, .height = 80, .components = 1, .progressive = progressive });
        size_t at = marker(b, M_SOS), end = at + 10;
        while (b.data[end] != 0xFF || b.data[end + 1] == 0)
            end++;
        CLEANUP(freep) uint8_t *scan = malloc(end - at);
        memcpy(scan, b.data + at, end - at);
        insert(&b, at, scan, end - at);
        assert_string_equal(check(b, &verdict), "corrupt");
        free(b.data);
    }
}

/* --- properties --- */

static void any_prefix_of_a_working_file_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct bytes b = make((struct recipe){
            .width = 120, .height = 90, .progressive = i & 1, .restart = i & 2 ? 4 : 0 });
        for (size_t len = 3; len < b.len; len++) {
            struct verdict verdict;
            CLEANUP(freep) uint8_t *part = malloc(len);
            memcpy(part, b.data, len);
            check_jpeg(part, len, 1000, &verdict);
            if (strcmp(findings_text(&verdict), "truncated") != 0)
                fail_msg("%zu of %zu bytes: %s", len, b.len, findings_text(&verdict));
        }
        free(b.data);
    }
}

static void bytes_after_the_end_change_nothing_but_a_warning(void **state)
{
    (void)state;
    struct bytes b = make((struct recipe){ .width = 60, .height = 40 });
    struct bytes other = make((struct recipe){ .width = 2000, .height = 2000, .arithmetic = true });
    struct verdict verdict;
    insert(&b, b.len, other.data, other.len);
    assert_string_equal(check(b, &verdict), "trailing_bytes");
    assert_int_equal(verdict.width, 60);
    free(b.data);
    free(other.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_pictures_of_every_kind_are_valid),
        cmocka_unit_test(size_is_judged_beside_damage),
        cmocka_unit_test(of_a_file_over_the_limit_only_the_size_is_told),
        cmocka_unit_test(a_wrong_byte_in_a_header_is_judged_by_what_it_means),
        cmocka_unit_test(flavours_that_browsers_do_not_show_are_unsupported),
        cmocka_unit_test(a_height_told_behind_the_picture_is_unsupported),
        cmocka_unit_test(oddities_that_harm_nothing_are_let_pass),
        cmocka_unit_test(motion_jpeg_without_tables_takes_the_usual_ones),
        cmocka_unit_test(a_progressive_picture_without_tables_is_damage),
        cmocka_unit_test(some_tables_but_not_all_are_damage),
        cmocka_unit_test(warnings_fail_nothing),
        cmocka_unit_test(a_malformed_exif_segment_tells_nothing),
        cmocka_unit_test(damage_in_a_scan_says_what_and_where),
        cmocka_unit_test(restart_markers_without_an_interval_are_damage),
        cmocka_unit_test(left_over_bytes_are_damage_unless_few_and_junk),
        cmocka_unit_test(a_block_too_much_is_damage_though_it_is_a_few_bytes),
        cmocka_unit_test(every_scan_of_a_progressive_picture_is_needed),
        cmocka_unit_test(a_scan_that_comes_twice_is_damage),
        cmocka_unit_test(any_prefix_of_a_working_file_is_refused),
        cmocka_unit_test(bytes_after_the_end_change_nothing_but_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
