#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "validate/format.h"

/* The least that is recognised, with the size that it tells. */
struct sample {
    enum image_format format;
    uint32_t width, height;
    size_t len;
    const char *bytes;
};
#define SAMPLE(format, width, height, bytes)                                                       \
    {                                                                                              \
        format, width, height, sizeof(bytes) - 1, bytes                                            \
    }

#define FTYP(major, compatible)                                                                    \
    "\0\0\0\x14"                                                                                   \
    "ftyp" major "\0\0\0\0" compatible
/* meta: pitm says item 2; ipma: item 1 has property 1, item 2 has 3 and 2; ipco: ispe, hvcC, ispe */
#define HEIF_META                                                                                  \
    "\0\0\0\x7a"                                                                                   \
    "meta\0\0\0\0"                                                                                 \
    "\0\0\0\x0e"                                                                                   \
    "pitm\0\0\0\0\0\2"                                                                             \
    "\0\0\0\x60"                                                                                   \
    "iprp"                                                                                         \
    "\0\0\0\x3c"                                                                                   \
    "ipco"                                                                                         \
    "\0\0\0\x14"                                                                                   \
    "ispe\0\0\0\0\0\0\2\0\0\0\2\0"                                                                 \
    "\0\0\0\x0c"                                                                                   \
    "hvcC----"                                                                                     \
    "\0\0\0\x14"                                                                                   \
    "ispe\0\0\0\0\0\0\0\x40\0\0\0\x30"                                                             \
    "\0\0\0\x1c"                                                                                   \
    "ipma\0\0\0\0\0\0\0\2"                                                                         \
    "\0\1\1\1"                                                                                     \
    "\0\2\2\x83\2"                                                                                 \
    "\0"
#define TGA_FOOTER "\0\0\0\0\0\0\0\0TRUEVISION-XFILE.\0"
#define ENTRY(tag, type, count, value) tag type count value

static const struct sample samples[] = {
    SAMPLE(IMAGE_JPEG, 0, 0, "\xff\xd8\xff"),
    SAMPLE(IMAGE_JPEG, 0, 0, "\xff\xd8"),
    SAMPLE(IMAGE_PNG, 640, 480, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\2\x80\0\0\1\xe0"),
    SAMPLE(IMAGE_PNG, 640, 480,
           "\x89PNG\r\n\x1a\n\0\0\0\4CgBI----++++\0\0\0\rIHDR\0\0\2\x80\0\0\1\xe0"),
    SAMPLE(IMAGE_PNG, 0, 0, "\x89PNG\r\n\x1a\n\0\0\0\4tEXt----"),
    SAMPLE(IMAGE_GIF, 640, 480, "GIF89a\x80\2\xe0\1"),
    SAMPLE(IMAGE_GIF, 640, 480, "GIF87a\x80\2\xe0\1"),
    SAMPLE(IMAGE_WEBP, 640, 480, "RIFF----WEBPVP8 ----\x30\1\0\x9d\1\x2a\x80\2\xe0\1"),
    SAMPLE(IMAGE_WEBP, 640, 480, "RIFF----WEBPVP8L----\x2f\x7f\xc2\x77\0"),
    SAMPLE(IMAGE_WEBP, 640, 480, "RIFF----WEBPVP8X----\0\0\0\0\x7f\2\0\xdf\1\0"),
    SAMPLE(IMAGE_WEBP, 0, 0, "RIFF----WEBP"),
    SAMPLE(IMAGE_BMP, 640, 480, "BM----\0\0\0\0\x36\0\0\0\x28\0\0\0\x80\2\0\0\xe0\1\0\0"),
    SAMPLE(IMAGE_BMP, 640, 480, "BM----\0\0\0\0\x36\0\0\0\x28\0\0\0\x80\2\0\0\x20\xfe\xff\xff"),
    SAMPLE(IMAGE_BMP, 640, 480, "BM----\0\0\0\0\x1a\0\0\0\x0c\0\0\0\x80\2\xe0\1"),
    SAMPLE(IMAGE_TIFF, 640, 480,
           "II\x2a\0\x08\0\0\0\2\0" ENTRY("\0\1", "\3\0", "\1\0\0\0", "\x80\2\0\0")
               ENTRY("\1\1", "\4\0", "\1\0\0\0", "\xe0\1\0\0")),
    SAMPLE(IMAGE_TIFF, 640, 480,
           "MM\0\x2a\0\0\0\x08\0\2" ENTRY("\1\0", "\0\3", "\0\0\0\1", "\2\x80\0\0")
               ENTRY("\1\1", "\0\4", "\0\0\0\1", "\0\0\1\xe0")),
    SAMPLE(IMAGE_TIFF, 640, 480,
           "II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"
           "\0\1\3\0\1\0\0\0\0\0\0\0\x80\2\0\0\0\0\0\0"
           "\1\1\3\0\1\0\0\0\0\0\0\0\xe0\1\0\0\0\0\0\0"),
    SAMPLE(IMAGE_DNG, 0, 0,
           "II\x2a\0\x08\0\0\0\1\0" ENTRY("\x12\xc6", "\1\0", "\4\0\0\0", "\1\4\0\0")),
    /* a thumbnail, its maker, and a SubIFD with the picture itself */
    SAMPLE(IMAGE_NEF, 640, 480,
           "II\x2a\0\x08\0\0\0\3\0" ENTRY("\xfe\0", "\4\0", "\1\0\0\0", "\1\0\0\0")
               ENTRY("\x0f\1", "\2\0", "\6\0\0\0", "\x32\0\0\0")
                   ENTRY("\x4a\1", "\4\0", "\1\0\0\0",
                         "\x38\0\0\0") "\0\0\0\0"
                                       "NIKON\0"
                                       "\2\0" ENTRY("\0\1", "\3\0", "\1\0\0\0", "\x80\2\0\0")
                                           ENTRY("\1\1", "\3\0", "\1\0\0\0", "\xe0\1\0\0")),
    SAMPLE(IMAGE_CR2, 0, 0, "II\x2a\0\x10\0\0\0CR\2\0----"),
    SAMPLE(IMAGE_RW2, 0, 0, "IIU\0\x18\0\0\0"),
    SAMPLE(IMAGE_ORF, 0, 0, "IIRO\x08\0\0\0"),
    SAMPLE(IMAGE_RAF, 0, 0, "FUJIFILMCCD-RAW 0201"),
    SAMPLE(IMAGE_CR3, 0, 0, FTYP("crx ", "isom")),
    SAMPLE(IMAGE_ICO, 256, 256,
           "\0\0\1\0\2\0\x10\x20\0\0\1\0\x20\0\1\0\0\0\x26\0\0\0"
           "\0\0\0\0\1\0\x20\0\1\0\0\0\x27\0\0\0"),
    SAMPLE(IMAGE_CUR, 16, 32, "\0\0\2\0\1\0\x10\x20\0\0\1\0\x20\0\1\0\0\0\x16\0\0\0"),
    SAMPLE(IMAGE_AVIF, 0, 0, FTYP("avif", "mif1")),
    SAMPLE(IMAGE_AVIF, 0, 0, FTYP("mif1", "avif")),
    SAMPLE(IMAGE_HEIC, 64, 48, FTYP("heic", "mif1") HEIF_META),
    SAMPLE(IMAGE_AVIF, 256, 256,
           "\0\0\0\x10"
           "ftypmif3avif\0\0\0\x0e"
           "mini\x08\xf8\x80\xff\1\xfe"),
    SAMPLE(IMAGE_HEIC, 64, 48,
           "\0\0\0\x10"
           "ftypmif3heic\0\0\0\x0e"
           "mini\0\0\x3f\x5e\0\0"),
    SAMPLE(IMAGE_JP2, 640, 480,
           "\0\0\0\x0cjP  \r\n\x87\n"
           "\0\0\0\x18"
           "jp2h\0\0\0\x10"
           "ihdr\0\0\1\xe0\0\0\2\x80"),
    SAMPLE(IMAGE_JP2, 640, 480, "\xff\x4f\xff\x51\0\x2f\0\0\0\0\2\x84\0\0\1\xe8\0\0\0\4\0\0\0\x08"),
    SAMPLE(IMAGE_JXL, 8, 8, "\xff\x0a\x41\0"),
    SAMPLE(IMAGE_JXL, 8, 8,
           "\0\0\0\x0cJXL \r\n\x87\n"
           "\0\0\0\x0cjxlc\xff\x0a\x41\0"),
    SAMPLE(IMAGE_JXL, 8, 8,
           "\0\0\0\x0cJXL \r\n\x87\n"
           "\0\0\0\x10jxlp\0\0\0\0\xff\x0a\x41\0"),
    SAMPLE(IMAGE_JXR, 640, 480,
           "II\xbc\1\x08\0\0\0\2\0" ENTRY("\x80\xbc", "\4\0", "\1\0\0\0", "\x80\2\0\0")
               ENTRY("\x81\xbc", "\4\0", "\1\0\0\0", "\xe0\1\0\0")),
    SAMPLE(IMAGE_PSD, 640, 480, "8BPS\0\1\0\0\0\0\0\0\0\3\0\0\1\xe0\0\0\2\x80"),
    SAMPLE(IMAGE_PSD, 640, 480, "8BPS\0\2\0\0\0\0\0\0\0\3\0\0\1\xe0\0\0\2\x80"),
    SAMPLE(IMAGE_SVG, 0, 0, "<svg>"),
    SAMPLE(IMAGE_SVG, 640, 480, "<svg width='640' height=\"480px\"/>"),
    SAMPLE(IMAGE_SVG, 641, 480, "<svg\n\theight = '480.0'\n\twidth = '640.2' >"),
    SAMPLE(IMAGE_SVG, 0, 0, "<svg width='100%' height='480'/>"),
    SAMPLE(IMAGE_SVG, 0, 0, "<svg width='6in' height='480'/>"),
    SAMPLE(IMAGE_SVG, 0, 0, "<svg data-width='1' style='width:1' height='480'/>"),
    SAMPLE(IMAGE_SVG, 5, 6,
           "\xef\xbb\xbf<?xml version='1.0'?>\n<!-- <html> --><!DOCTYPE svg PUBLIC '>' \"]\" [ "
           "<!ENTITY "
           "a '>'> <!-- ] --> ]>\r\n<svg width='5' height='6'>"),
    SAMPLE(IMAGE_SVG, 5, 6, "<svg:svg width='5' height='6' xmlns:svg='x'>"),
    SAMPLE(IMAGE_SVG, 0, 0, "\xff\xfe<\0s\0v\0g\0>\0"),
    SAMPLE(IMAGE_PNM, 640, 480, "P6\n# by hand\n640 #wide\n480\n255\n"),
    SAMPLE(IMAGE_PNM, 640, 480, "P1 640 480 0"),
    SAMPLE(IMAGE_PNM, 640, 480, "PF\n640 480\n-1.0\n"),
    SAMPLE(IMAGE_PNM, 640, 480, "P7\n# x\nHEIGHT 480\nWIDTH 640\nDEPTH 3\nMAXVAL 255\nENDHDR\n"),
    SAMPLE(IMAGE_QOI, 640, 480, "qoif\0\0\2\x80\0\0\1\xe0"),
    SAMPLE(IMAGE_HDR, 640, 480, "#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 480 +X 640\n"),
    SAMPLE(IMAGE_HDR, 640, 480, "#?RGBE\n\n+X 640 -Y 480\n"),
    SAMPLE(IMAGE_EXR, 640, 480,
           "\x76\x2f\x31\1\2\0\0\0channels\0chlist\0\2\0\0\0--dataWindow\0box2i\0\x10\0\0\0"
           "\xfe\xff\xff\xff\1\0\0\0\x7d\2\0\0\xe0\1\0\0"),
    SAMPLE(IMAGE_DDS, 640, 480, "DDS \x7c\0\0\0\7\x10\0\0\xe0\1\0\0\x80\2\0\0"),
    SAMPLE(IMAGE_ICNS, 128, 128, "icns\0\0\0\x18it32\0\0\0\x08is32\0\0\0\x08"),
    SAMPLE(IMAGE_TGA, 2, 1, "\0\0\2\0\0\0\0\0\0\0\0\0\2\0\1\0\x18\x20------"),
    SAMPLE(IMAGE_TGA, 2, 1, "\0\0\x0a\0\0\0\0\0\0\0\0\0\2\0\1\0\x18\x20----" TGA_FOOTER),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, ""),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "\xff\xd8\x01"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "\n\xff\xd8\xff"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "\x89PNG\n\x1a\n\0\0\0\rIHDR"), /* sent as text */
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "GIF88a\x80\2\xe0\1"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "RIFF----AVI LIST"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "BMW is a maker of cars."),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "BM"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, FTYP("isom", "avc1")),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, FTYP("qt  ", "qt  ")),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "\0\0\1\xba\x44\0\4\0\4\1--------------"), /* MPEG */
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "\0\0\1\0\0\0----------------"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "P6 is a processor"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "P6\n0 480\n255\n"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "P7 332\n"), /* a thumbnail of xv */
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "P8\n640 480\n255\n"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<html><svg></svg></html>"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<!doctype html><svg></svg>"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<!DOCTYPE html><svg></svg>"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<svgs>"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<sv"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<?xml version='1.0'"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "<!-- <svg> "),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "text <svg>"),
    SAMPLE(IMAGE_UNKNOWN, 0, 0, "TRUEVISION-XFILE.\0"),
};

static struct media media_of(const uint8_t *data, size_t len)
{
    size_t tail_len = len < 32 ? len : 32;

    return (struct media){ data, len, len, data + len - tail_len, tail_len };
}

/* A copy in a block of exactly that size, so that sanitizers see a step beyond it. */
static uint8_t *copy_of(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void every_format_is_known_by_its_content(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const struct sample *s = &samples[i];
        CLEANUP(freep) uint8_t *data = copy_of(s->bytes, s->len);
        struct media media = media_of(data, s->len);
        enum image_format format = format_sniff(&media);
        uint32_t width = 0, height = 0;
        bool tells = format_size(format, &media, &width, &height);
        if (format != s->format || tells != (s->width != 0) || width != s->width ||
            height != s->height) {
            const char *name = image_format_name(s->format), *found = image_format_name(format);
            print_message("sample %zu, %s %ux%u: found %s %ux%u\n", i, name ? name : "unknown",
                          s->width, s->height, found ? found : "unknown", width, height);
            wrong++;
        }
    }
    assert_int_equal(0, wrong);
}

static void look_at(const uint8_t *data, size_t len)
{
    struct media media = media_of(data, len);
    uint32_t width = 1, height = 1;

    for (unsigned format = 0; format < IMAGE_FORMATS; format++)
        if (format_size(format, &media, &width, &height))
            assert_true(width > 0 && height > 0);
    (void)format_sniff(&media);
}

/* Nothing is read beyond the end, whatever is missing or wrong: for the sanitizers to see. */
static void cut_and_damaged_headers_are_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        const struct sample *s = &samples[i];
        for (size_t len = 0; len <= s->len; len++) {
            CLEANUP(freep) uint8_t *data = copy_of(s->bytes, len);
            look_at(data, len);
        }
        for (size_t at = 0; at < s->len; at++) {
            static const uint8_t bytes[] = { 0, 1, 0x7f, 0x80, 0xff };
            for (size_t k = 0; k < sizeof(bytes); k++) {
                CLEANUP(freep) uint8_t *data = copy_of(s->bytes, s->len);
                data[at] = bytes[k];
                look_at(data, s->len);
            }
        }
    }
}

static void a_directory_that_names_itself_ends(void **state)
{
    /* IFD0's SubIFD is IFD0 */
    static const char tiff[] = "II\x2a\0\x08\0\0\0\2\0\xfe\0\4\0\1\0\0\0\1\0\0\0"
                               "\x4a\1\4\0\1\0\0\0\x08\0\0\0";
    struct media media = media_of((const uint8_t *)tiff, sizeof(tiff) - 1);
    uint32_t width, height;

    (void)state;
    assert_false(format_size(IMAGE_TIFF, &media, &width, &height));
}

static void a_tga_is_known_by_its_footer_even_without_its_body(void **state)
{
    static const uint8_t head[] = { 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 48, 0, 24, 0 };
    struct media media = { head, sizeof(head), 40000000, (const uint8_t *)TGA_FOOTER, 26 };
    uint32_t width, height;

    (void)state;
    assert_int_equal(IMAGE_TGA, format_sniff(&media));
    assert_true(format_size(IMAGE_TGA, &media, &width, &height));
    assert_int_equal(64, width);
    assert_int_equal(48, height);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_known_by_its_content),
        cmocka_unit_test(cut_and_damaged_headers_are_harmless),
        cmocka_unit_test(a_directory_that_names_itself_ends),
        cmocka_unit_test(a_tga_is_known_by_its_footer_even_without_its_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
