#include "validate/verdict.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "validate/validator.h"

static const struct {
    const char *name;
    bool is_error;
    const char *sentence; /* NULL: it names a limit, see finding_sentence() */
    const char *remedy;
} findings[FINDING_COUNT] = {
    [FINDING_NOT_REACHABLE] = { "not_reachable", true, "is not reachable",
                                "Check that the path names a readable, regular file beneath the "
                                "service's root." },
    [FINDING_EMPTY] = { "empty", true, "is empty",
                        "The file has no bytes: export or upload it again." },
    [FINDING_TOO_LARGE] = { "too_large", true, NULL,
                            "Compress the image harder or reduce its size." },
    [FINDING_NOT_AN_IMAGE] = { "not_an_image", true, "is not an image",
                               "The content is no image, whatever the name says: send the image "
                               "itself." },
    [FINDING_NOT_A_JPEG] = { "not_a_jpeg", true, "is not a jpeg",
                             "Convert it to JPEG; renaming it is not enough." },
    [FINDING_TOO_WIDE] = { "too_wide", true, NULL, "Scale the image down to the allowed width." },
    [FINDING_TOO_HIGH] = { "too_high", true, NULL, "Scale the image down to the allowed height." },
    [FINDING_TRUNCATED] = { "truncated", true, "is truncated",
                            "The end of the picture is missing: transfer the file again." },
    [FINDING_CORRUPT] = { "corrupt", true, "is corrupt",
                          "The compressed data are damaged: export the image again from its "
                          "source." },
    [FINDING_UNSUPPORTED_JPEG] = { "unsupported_jpeg", true, "is not a supported jpeg",
                                   "Browsers do not show this kind of JPEG: save it as baseline or "
                                   "progressive JPEG with 8 bits." },
    [FINDING_INVALID_URL] = { "invalid_url", true, "is not a valid URL",
                              "Give an absolute http or https URL." },
    [FINDING_DISALLOWED_URL] = { "disallowed_url", true, "is not an allowed URL",
                                 "The address is refused by the service's webhook policy: use "
                                 "another one, or have it allowed." },
    [FINDING_ROTATED] = { "rotated", false, "is stored rotated",
                          "Viewers turn the picture as its EXIF orientation says; labels made on "
                          "the stored pixels will not fit." },
    [FINDING_AMBIGUOUS_CMYK] = { "ambiguous_cmyk", false, "has ambiguous CMYK colours",
                                 "Without an Adobe marker viewers guess the ink polarity: convert "
                                 "the image to RGB." },
    [FINDING_TRAILING_BYTES] = { "trailing_bytes", false, "has bytes after the end of the image",
                                 "They are ignored by viewers; save the image again to drop "
                                 "them." },
    [FINDING_MULTI_PICTURE] = { "multi_picture", false, "holds more than one picture",
                                "Only the first picture is shown and judged." },
};

const char *finding_name(enum finding_code code)
{
    return findings[code].name;
}

bool finding_is_error(enum finding_code code)
{
    return findings[code].is_error;
}

const char *finding_remedy(enum finding_code code)
{
    return findings[code].remedy;
}

static void byte_limit_sentence(uint64_t max_bytes, struct buf *out)
{
    static const uint64_t kib = 1024, mib = 1024 * 1024;

    if (max_bytes >= mib && max_bytes % mib == 0)
        (void)buf_addf(out, "is larger than %" PRIu64 " MiB", max_bytes / mib);
    else if (max_bytes >= kib && max_bytes % kib == 0)
        (void)buf_addf(out, "is larger than %" PRIu64 " KiB", max_bytes / kib);
    else
        (void)buf_addf(out, "is larger than %" PRIu64 " bytes", max_bytes);
}

void finding_sentence(enum finding_code code, const struct limits *limits, struct buf *out)
{
    if (findings[code].sentence)
        (void)buf_adds(out, findings[code].sentence);
    else if (code == FINDING_TOO_LARGE)
        byte_limit_sentence(limits->max_bytes, out);
    else if (code == FINDING_TOO_WIDE)
        (void)buf_addf(out, "has a width greater than %" PRIu32 "px", limits->max_width);
    else
        (void)buf_addf(out, "has a height greater than %" PRIu32 "px", limits->max_height);
}

static const char *const format_names[IMAGE_FORMATS] = {
    [IMAGE_JPEG] = "jpeg", [IMAGE_PNG] = "png",   [IMAGE_GIF] = "gif", [IMAGE_WEBP] = "webp",
    [IMAGE_BMP] = "bmp",   [IMAGE_TIFF] = "tiff", [IMAGE_ICO] = "ico", [IMAGE_CUR] = "cur",
    [IMAGE_AVIF] = "avif", [IMAGE_HEIC] = "heic", [IMAGE_JP2] = "jp2", [IMAGE_JXL] = "jxl",
    [IMAGE_JXR] = "jxr",   [IMAGE_PSD] = "psd",   [IMAGE_SVG] = "svg", [IMAGE_PNM] = "pnm",
    [IMAGE_QOI] = "qoi",   [IMAGE_HDR] = "hdr",   [IMAGE_EXR] = "exr", [IMAGE_DDS] = "dds",
    [IMAGE_ICNS] = "icns", [IMAGE_TGA] = "tga",   [IMAGE_CR2] = "cr2", [IMAGE_CR3] = "cr3",
    [IMAGE_NEF] = "nef",   [IMAGE_ARW] = "arw",   [IMAGE_DNG] = "dng", [IMAGE_RAF] = "raf",
    [IMAGE_RW2] = "rw2",   [IMAGE_ORF] = "orf",
};

const char *image_format_name(enum image_format format)
{
    return (unsigned)format < IMAGE_FORMATS ? format_names[format] : NULL;
}

void verdict_init(struct verdict *v, uint64_t bytes)
{
    memset(v, 0, sizeof(*v)); /* padding too: it is sent as it is */
    v->bytes = bytes;
}

struct finding *verdict_add(struct verdict *v, enum finding_code code)
{
    struct finding *f;

    for (uint32_t i = 0; i < v->finding_count; i++)
        if (v->findings[i].code == code)
            return &v->findings[i];
    /* One of each code at the most, and there is room for every code. */
    _Static_assert((int)VERDICT_FINDINGS >= (int)FINDING_COUNT, "a verdict holds every code");
    f = &v->findings[v->finding_count++];
    memset(f, 0, sizeof(*f));
    f->code = code;
    f->measured = f->allowed = f->offset = -1;
    return f;
}

bool verdict_has(const struct verdict *v, enum finding_code code)
{
    for (uint32_t i = 0; i < v->finding_count; i++)
        if (v->findings[i].code == code)
            return true;
    return false;
}

bool verdict_is_valid(const struct verdict *v)
{
    for (uint32_t i = 0; i < v->finding_count; i++)
        if (finding_is_error(v->findings[i].code))
            return false;
    return true;
}

/* Terminated, and no control character that could upset a reader of the log. */
static bool text_is_sane(const char *text, size_t size)
{
    const char *end = memchr(text, '\0', size);

    if (!end)
        return false;
    for (const char *p = text; p < end; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

bool verdict_is_sane(const struct verdict *v)
{
    uint8_t has_sha256;
    uint64_t seen = 0;

    /* As a byte: a bool that is neither 0 nor 1 must not be read as a bool. */
    memcpy(&has_sha256, (const uint8_t *)v + offsetof(struct verdict, has_sha256), 1);
    if (has_sha256 > 1 || (unsigned)v->format >= IMAGE_FORMATS || v->orientation > 8 ||
        v->finding_count > VERDICT_FINDINGS)
        return false;
    for (uint32_t i = 0; i < v->finding_count; i++) {
        const struct finding *f = &v->findings[i];
        if ((unsigned)f->code >= FINDING_COUNT || (seen & (UINT64_C(1) << f->code)))
            return false;
        seen |= UINT64_C(1) << f->code;
        if (f->measured < -1 || f->allowed < -1 || f->offset < -1 ||
            !text_is_sane(f->detail, sizeof(f->detail)))
            return false;
    }
    return true;
}
