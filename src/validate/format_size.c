/* format_size: the size of a picture by its header, for each format. The numbers are those that are
 * stored; a file that turns the picture when it is shown is not turned here. */
#include "validate/format_parts.h"

#include <stdlib.h>

/* Is the picture as large as one of them, or larger? */
static void keep_larger(struct picture_size *best, uint32_t width, uint32_t height)
{
    if ((uint64_t)width * height > (uint64_t)best->width * best->height)
        *best = (struct picture_size){ width, height };
}

/* RFC 2083 §11.2.1: IHDR comes first; Apple's variant puts a CgBI chunk in front. */
static struct picture_size png_size(struct span s)
{
    uint64_t at = 8;

    if (span_says(s, at + 4, "CgBI"))
        at += 12 + (uint64_t)span_be32(s, at);
    if (!span_says(s, at + 4, "IHDR"))
        return (struct picture_size){ 0, 0 };
    return (struct picture_size){ span_be32(s, at + 8), span_be32(s, at + 12) };
}

/* RFC 9649 §2.5 … 2.7: the first chunk tells. */
static struct picture_size webp_size(struct span s)
{
    struct picture_size size = { 0, 0 };

    if (span_says(s, 12, "VP8 ") && span_is(s, 23, "\x9d\x01\x2a", 3)) {
        size = (struct picture_size){ span_le16(s, 26) & 0x3fff, span_le16(s, 28) & 0x3fff };
    } else if (span_says(s, 12, "VP8L") && span_u8(s, 20) == 0x2f && span_has(s, 21, 4)) {
        uint32_t bits = span_le32(s, 21);
        size = (struct picture_size){ (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1 };
    } else if (span_says(s, 12, "VP8X") && span_has(s, 24, 6)) {
        size = (struct picture_size){ (uint32_t)span_number(s, 24, 3, false) + 1,
                                      (uint32_t)span_number(s, 27, 3, false) + 1 };
    }
    return size;
}

/* A negative height: the rows are stored from the top. */
static struct picture_size bmp_size(struct span s)
{
    if (span_le32(s, 14) == 12)
        return (struct picture_size){ span_le16(s, 18), span_le16(s, 20) };
    return (struct picture_size){ (uint32_t)llabs((int32_t)span_le32(s, 18)),
                                  (uint32_t)llabs((int32_t)span_le32(s, 22)) };
}

/* The largest of the directory's pictures; 0 means 256, or more, as the PNG inside tells. */
static struct picture_size icon_size(struct span s)
{
    struct picture_size best = { 0, 0 };

    for (unsigned i = 0, n = span_le16(s, 4); i < n && span_has(s, 6 + 16 * i, 16); i++) {
        uint32_t width = span_u8(s, 6 + 16 * i), height = span_u8(s, 7 + 16 * i);
        keep_larger(&best, width ? width : 256, height ? height : 256);
    }
    return best;
}

/* A list of attributes: name, type, length, value. The data window is a box2i, its corners included. */
static struct picture_size exr_size(struct span s)
{
    uint64_t at = 8;

    s = span_part(s, 0, 64 * 1024);
    while (span_u8(s, at) != 0) {
        const uint8_t *name_end = memchr(s.data + at, 0, s.len - at), *type_end;
        uint64_t name = at, type, len;
        if (!name_end)
            break;
        type = (uint64_t)(name_end - s.data) + 1;
        type_end = type < s.len ? memchr(s.data + type, 0, s.len - type) : NULL;
        if (!type_end)
            break;
        at = (uint64_t)(type_end - s.data) + 1;
        len = span_le32(s, at);
        at += 4;
        if (span_is(s, name, "dataWindow", 11) && span_is(s, type, "box2i", 6) &&
            span_has(s, at, 16)) {
            int64_t width = (int64_t)(int32_t)span_le32(s, at + 8) - (int32_t)span_le32(s, at) + 1;
            int64_t height =
                (int64_t)(int32_t)span_le32(s, at + 12) - (int32_t)span_le32(s, at + 4) + 1;
            if (width > 0 && height > 0 && width <= INT32_MAX && height <= INT32_MAX)
                return (struct picture_size){ (uint32_t)width, (uint32_t)height };
            break;
        }
        at += len;
    }
    return (struct picture_size){ 0, 0 };
}

/* Blocks of type and length; the type names the size. */
static struct picture_size icns_size(struct span s)
{
    static const struct {
        char type[5];
        uint16_t side;
    } types[] = {
        { "ICON", 32 },  { "ICN#", 32 },  { "icm#", 16 },  { "icm4", 16 },  { "icm8", 16 },
        { "ics#", 16 },  { "ics4", 16 },  { "ics8", 16 },  { "is32", 16 },  { "s8mk", 16 },
        { "icl4", 32 },  { "icl8", 32 },  { "il32", 32 },  { "l8mk", 32 },  { "ich#", 48 },
        { "ich4", 48 },  { "ich8", 48 },  { "ih32", 48 },  { "h8mk", 48 },  { "it32", 128 },
        { "t8mk", 128 }, { "icp4", 16 },  { "icp5", 32 },  { "icp6", 64 },  { "ic04", 16 },
        { "ic05", 32 },  { "ic07", 128 }, { "ic08", 256 }, { "ic09", 512 }, { "ic10", 1024 },
        { "ic11", 32 },  { "ic12", 64 },  { "ic13", 256 }, { "ic14", 512 }, { "icsb", 18 },
        { "icsB", 36 },  { "sb24", 24 },  { "SB24", 48 },
    };
    struct picture_size best = { 0, 0 };
    uint64_t at = 8;

    for (unsigned n = 0; n < 256 && span_has(s, at, 8); n++) {
        uint32_t len = span_be32(s, at + 4);
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            if (span_is(s, at, types[i].type, 4))
                keep_larger(&best, types[i].side, types[i].side);
        if (len < 8)
            break;
        at += len;
    }
    return best;
}

/* ITU-T T.832 §A.7: a TIFF-like directory, little-endian, with tags of its own. */
static struct picture_size jxr_size(struct span s)
{
    struct picture_size size = { 0, 0 };
    uint64_t at = span_le32(s, 4);
    unsigned n = span_le16(s, at);

    for (unsigned i = 0; i < n && i < 256 && span_has(s, at + 2 + 12 * i, 12); i++) {
        uint64_t entry = at + 2 + 12 * i;
        uint32_t value =
            span_le16(s, entry + 2) == 3 ? span_le16(s, entry + 8) : span_le32(s, entry + 8);
        if (span_le16(s, entry) == 0xbc80)
            size.width = value;
        else if (span_le16(s, entry) == 0xbc81)
            size.height = value;
    }
    return size;
}

static struct picture_size size_of(enum image_format format, struct span s)
{
    const struct picture_size none = { 0, 0 };
    struct picture_size size = none;

    switch (format) {
    case IMAGE_PNG:
        return png_size(s);
    case IMAGE_GIF:
        return (struct picture_size){ span_le16(s, 6), span_le16(s, 8) };
    case IMAGE_WEBP:
        return webp_size(s);
    case IMAGE_BMP:
        return bmp_size(s);
    case IMAGE_ICO:
    case IMAGE_CUR:
        return icon_size(s);
    case IMAGE_PSD:
        return (struct picture_size){ .width = span_be32(s, 18), .height = span_be32(s, 14) };
    case IMAGE_QOI:
        return (struct picture_size){ span_be32(s, 4), span_be32(s, 8) };
    case IMAGE_DDS:
        return (struct picture_size){ .width = span_le32(s, 16), .height = span_le32(s, 12) };
    case IMAGE_EXR:
        return exr_size(s);
    case IMAGE_ICNS:
        return icns_size(s);
    case IMAGE_JXR:
        return jxr_size(s);
    case IMAGE_TIFF:
    case IMAGE_CR2:
    case IMAGE_NEF:
    case IMAGE_ARW:
    case IMAGE_DNG:
    case IMAGE_ORF:
        return tiff_size(s, &size) ? size : none;
    case IMAGE_AVIF:
    case IMAGE_HEIC:
        return heif_size(s, &size) ? size : none;
    case IMAGE_CR3:
        return cr3_size(s, &size) ? size : none;
    case IMAGE_JP2:
        return jp2_size(s, &size) ? size : none;
    case IMAGE_JXL:
        return jxl_size(s, &size) ? size : none;
    case IMAGE_SVG:
        return svg_size(s, &size) ? size : none;
    case IMAGE_PNM:
        return pnm_size(s, &size) ? size : none;
    case IMAGE_HDR:
        return hdr_size(s, &size) ? size : none;
    case IMAGE_TGA:
        return tga_size(s, &size) ? size : none;
    case IMAGE_UNKNOWN:
    case IMAGE_JPEG:
    case IMAGE_RAF: /* only inside of their data */
    case IMAGE_RW2:
        return none;
    }
    return none;
}

bool format_size(enum image_format format, const struct media *media, uint32_t *ret_width,
                 uint32_t *ret_height)
{
    struct picture_size size = size_of(format, media_span(media));

    if (size.width == 0 || size.height == 0)
        return false;
    *ret_width = size.width;
    *ret_height = size.height;
    return true;
}
