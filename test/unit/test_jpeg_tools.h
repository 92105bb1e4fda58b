#ifndef TEST_JPEG_TOOLS_H
#define TEST_JPEG_TOOLS_H
/* What the tests and the bench of the JPEG check share: libjpeg as the oracle (decode, transcode), and
 * photographs from the shared corpus. Link with -ljpeg and jansson. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <jpeglib.h>

#include "validate/jpeg.h"

struct bytes {
    uint8_t *data;
    size_t len;
};

enum oracle { ORACLE_CLEAN, ORACLE_WARNED, ORACLE_FATAL };

/* libjpeg ends a failing call through error_exit; it must not return. */
struct oracle_errors {
    struct jpeg_error_mgr mgr;
    jmp_buf fatal;
};

static void oracle_exit(j_common_ptr cinfo)
{
    longjmp(((struct oracle_errors *)cinfo->err)->fatal, 1);
}

static void oracle_silence(j_common_ptr cinfo)
{
    (void)cinfo;
}

static struct jpeg_error_mgr *oracle_errors(struct oracle_errors *errors)
{
    jpeg_std_error(&errors->mgr);
    errors->mgr.error_exit = oracle_exit;
    errors->mgr.output_message = oracle_silence;
    return &errors->mgr;
}

/* Decode all of data to RGB (grey stays grey, four components become CMYK). pixels: at least pixels_max
 * bytes, or NULL for none to be kept; *ret_size is how many there are. */
static __attribute__((unused)) enum oracle
oracle_decode(const uint8_t *data, size_t len, uint8_t *pixels, size_t pixels_max, size_t *ret_size)
{
    struct jpeg_decompress_struct cinfo;
    struct oracle_errors errors;
    static uint8_t row[65536 * 4];
    cinfo.err = oracle_errors(&errors);
    jpeg_create_decompress(&cinfo);
    if (setjmp(errors.fatal)) {
        jpeg_destroy_decompress(&cinfo);
        return ORACLE_FATAL;
    }
    jpeg_mem_src(&cinfo, data, len);
    (void)jpeg_read_header(&cinfo, TRUE);
    if (cinfo.num_components == 3)
        cinfo.out_color_space = JCS_RGB;
    (void)jpeg_start_decompress(&cinfo);
    size_t stride = (size_t)cinfo.output_width * (size_t)cinfo.output_components;
    *ret_size = stride * cinfo.output_height;
    bool keep = pixels && *ret_size <= pixels_max;
    while (cinfo.output_scanline < cinfo.output_height) {
        JSAMPROW to = keep ? pixels + stride * cinfo.output_scanline : row;
        (void)jpeg_read_scanlines(&cinfo, &to, 1);
    }
    (void)jpeg_finish_decompress(&cinfo);
    enum oracle result = errors.mgr.num_warnings ? ORACLE_WARNED : ORACLE_CLEAN;
    jpeg_destroy_decompress(&cinfo);
    return result;
}

static __attribute__((unused)) bool oracle_header(const uint8_t *data, size_t len)
{
    struct jpeg_decompress_struct cinfo;
    struct oracle_errors errors;
    cinfo.err = oracle_errors(&errors);
    jpeg_create_decompress(&cinfo);
    if (setjmp(errors.fatal)) {
        jpeg_destroy_decompress(&cinfo);
        return false;
    }
    jpeg_mem_src(&cinfo, data, len);
    (void)jpeg_read_header(&cinfo, TRUE);
    jpeg_destroy_decompress(&cinfo);
    return true;
}

/* The same picture with the usual progression and tables of its own; NULL data: it cannot be read. */
static __attribute__((unused)) struct bytes oracle_progressive(struct bytes in)
{
    struct jpeg_decompress_struct from;
    struct jpeg_compress_struct to;
    struct oracle_errors errors;
    unsigned char *out = NULL;
    unsigned long out_len = 0;
    from.err = to.err = oracle_errors(&errors);
    jpeg_create_decompress(&from);
    jpeg_create_compress(&to);
    if (setjmp(errors.fatal)) {
        jpeg_destroy_decompress(&from);
        jpeg_destroy_compress(&to);
        free(out);
        return (struct bytes){ NULL, 0 };
    }
    jpeg_mem_src(&from, in.data, in.len);
    (void)jpeg_read_header(&from, TRUE);
    jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&from);
    jpeg_copy_critical_parameters(&from, &to);
    jpeg_simple_progression(&to);
    jpeg_mem_dest(&to, &out, &out_len);
    jpeg_write_coefficients(&to, coefficients);
    jpeg_finish_compress(&to);
    (void)jpeg_finish_decompress(&from);
    jpeg_destroy_compress(&to);
    jpeg_destroy_decompress(&from);
    return (struct bytes){ out, out_len };
}

/* A picture that libjpeg writes; what is 0 takes its usual value. */
struct recipe {
    unsigned width, height;
    unsigned components; /* 0: 3 (YCbCr); 1 grey, 4 CMYK as Adobe's */
    unsigned h, v;       /* sampling of the first component, 0: 1 */
    unsigned quality;    /* 0: 80 */
    unsigned restart;    /* MCUs */
    bool progressive, optimize, arithmetic, no_adobe, rgb;
};

/* Neighbouring pixels are alike, with an edge here and there: something that compresses like a photo. */
static __attribute__((unused)) uint8_t recipe_sample(unsigned x, unsigned y, unsigned c)
{
    uint32_t noise = (x * 2654435761u) ^ (y * 2246822519u) ^ (c * 3266489917u);
    noise ^= noise >> 15;
    unsigned slope = x * (2 + c) + y * 3, step = (x / 23 + y / 17) % 5 * 20;
    return (uint8_t)(40 + slope % 100 + step + (noise & 7));
}

static __attribute__((unused)) struct bytes make_jpeg(const struct recipe *r)
{
    struct jpeg_compress_struct cinfo;
    struct oracle_errors errors;
    unsigned char *out = NULL;
    unsigned long out_len = 0;
    unsigned components = r->components ? r->components : 3;
    static uint8_t row[65536 * 4];
    cinfo.err = oracle_errors(&errors);
    jpeg_create_compress(&cinfo);
    if (setjmp(errors.fatal)) {
        jpeg_destroy_compress(&cinfo);
        free(out);
        return (struct bytes){ NULL, 0 };
    }
    jpeg_mem_dest(&cinfo, &out, &out_len);
    cinfo.image_width = r->width;
    cinfo.image_height = r->height;
    cinfo.input_components = (int)components;
    cinfo.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_set_defaults(&cinfo);
    if (r->rgb)
        jpeg_set_colorspace(&cinfo, JCS_RGB);
    jpeg_set_quality(&cinfo, r->quality ? (int)r->quality : 80, TRUE);
    for (unsigned c = 0; c < components; c++)
        cinfo.comp_info[c].h_samp_factor = cinfo.comp_info[c].v_samp_factor = 1;
    cinfo.comp_info[0].h_samp_factor = r->h ? (int)r->h : 1;
    cinfo.comp_info[0].v_samp_factor = r->v ? (int)r->v : 1;
    cinfo.restart_interval = r->restart;
    cinfo.optimize_coding = r->optimize;
    cinfo.arith_code = r->arithmetic;
    if (r->no_adobe)
        cinfo.write_Adobe_marker = FALSE;
    if (r->progressive)
        jpeg_simple_progression(&cinfo);
    jpeg_start_compress(&cinfo, TRUE);
    while (cinfo.next_scanline < cinfo.image_height) {
        for (unsigned i = 0; i < r->width * components; i++)
            row[i] = recipe_sample(i / components, cinfo.next_scanline, i % components);
        JSAMPROW from = row;
        (void)jpeg_write_scanlines(&cinfo, &from, 1);
    }
    jpeg_finish_compress(&cinfo);
    jpeg_destroy_compress(&cinfo);
    return (struct bytes){ out, out_len };
}

/* The errors and warnings of a verdict in the order of their codes, joined by spaces. */
static __attribute__((unused)) const char *findings_text(const struct verdict *verdict)
{
    static char text[512];
    text[0] = '\0';
    for (int code = 0; code < FINDING_COUNT; code++)
        if (verdict_has(verdict, (enum finding_code)code)) {
            (void)strcat(text, *text ? " " : "");
            (void)strcat(text, finding_name((enum finding_code)code));
        }
    return text;
}

static __attribute__((unused)) const struct finding *finding_of(const struct verdict *verdict,
                                                                enum finding_code code)
{
    for (uint32_t i = 0; i < verdict->finding_count; i++)
        if (verdict->findings[i].code == code)
            return &verdict->findings[i];
    return NULL;
}

/* The check with limits, over data alone. */
static __attribute__((unused)) void check_jpeg(const uint8_t *data, size_t len, uint32_t most,
                                               struct verdict *verdict)
{
    const struct limits limits = { most, most, UINT64_MAX };
    const struct media media = { .data = data, .len = len, .file_len = len };
    struct err err;
    verdict_init(verdict, len);
    if (jpeg_check(&media, &limits, verdict, &err) < 0)
        abort();
}

static __attribute__((unused)) const char *shared_folder(void)
{
    const char *path = getenv("ASSAY_SHARED");
    return path ? path : "../shared";
}

static __attribute__((unused)) struct bytes corpus_file(const char *name)
{
    char path[4096];
    struct bytes b = { NULL, 0 };
    (void)snprintf(path, sizeof(path), "%s/corpus/files/%s", shared_folder(), name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) < 0)
        return b;
    b.len = (size_t)ftell(file);
    rewind(file);
    b.data = malloc(b.len + 1);
    if (!b.data || fread(b.data, 1, b.len, file) != b.len)
        abort();
    (void)fclose(file);
    return b;
}

/* The marker code of the first frame header, 0: none found. */
static __attribute__((unused)) uint8_t frame_marker(struct bytes b)
{
    for (size_t at = 2; at + 4 < b.len && b.data[at] == 0xFF;) {
        uint8_t marker = b.data[at + 1];
        if (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC)
            return marker;
        at += 2 + (size_t)(b.data[at + 2] << 8 | b.data[at + 3]);
    }
    return 0;
}

/* Up to most photographs of the corpus with frame header sof: of three components, working for certain,
 * ≤ 1000 pixels, over 20,000 bytes, at most each of one source. Returns how many; 0 without a corpus. */
static __attribute__((unused)) size_t corpus_photos(uint8_t sof, struct bytes *photos, size_t most,
                                                    unsigned each)
{
    char path[4096];
    static char line[65536];
    size_t count = 0;
    char sources[256][64];
    unsigned used[256], known = 0;
    (void)snprintf(path, sizeof(path), "%s/corpus/manifest.jsonl", shared_folder());
    FILE *manifest = fopen(path, "r");
    if (!manifest)
        return 0;
    while (count < most && fgets(line, sizeof(line), manifest)) {
        json_t *row = json_loads(line, 0, NULL);
        const char *source = json_string_value(json_object_get(row, "source"));
        unsigned i = 0;
        while (i < known && strcmp(sources[i], source))
            i++;
        if (i == known && known < 256) {
            (void)snprintf(sources[known], sizeof(sources[known]), "%s", source);
            used[known++] = 0;
        }
        if (!strcmp(json_string_value(json_object_get(row, "verdict")), "working jpeg") &&
            json_is_true(json_object_get(row, "certain")) && strcmp(source, "derived") != 0 &&
            json_is_true(json_object_get(row, "within_1000")) && used[i] < each &&
            json_integer_value(json_object_get(row, "bytes")) > 20000) {
            struct bytes b = corpus_file(json_string_value(json_object_get(row, "file")));
            struct verdict verdict;
            if (b.data && frame_marker(b) == sof) {
                static uint8_t pixels[1000 * 1000 * 4];
                size_t size;
                check_jpeg(b.data, b.len, 1000, &verdict);
                if (verdict_is_valid(&verdict) &&
                    oracle_decode(b.data, b.len, pixels, sizeof(pixels), &size) == ORACLE_CLEAN &&
                    size == 3 * (size_t)verdict.width * verdict.height) {
                    photos[count++] = b;
                    used[i]++;
                    b.data = NULL;
                }
            }
            free(b.data);
        }
        json_decref(row);
    }
    (void)fclose(manifest);
    return count;
}
#endif
