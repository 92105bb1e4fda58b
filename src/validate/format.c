#include "validate/format.h"

#include "validate/format_parts.h"

/* Formats that their first bytes name beyond doubt. */
static const struct {
    enum image_format format;
    uint8_t len;
    const char *bytes;
} signatures[] = {
    { IMAGE_JPEG, 3, "\xff\xd8\xff" },
    { IMAGE_PNG, 8, "\x89PNG\r\n\x1a\n" },
    { IMAGE_GIF, 6, "GIF87a" },
    { IMAGE_GIF, 6, "GIF89a" },
    { IMAGE_RW2, 4, "IIU\0" },
    { IMAGE_ORF, 4, "IIRO" },
    { IMAGE_ORF, 4, "IIRS" },
    { IMAGE_ORF, 4, "MMOR" },
    { IMAGE_JXR, 3, "II\xbc" },
    { IMAGE_RAF, 15, "FUJIFILMCCD-RAW" },
    { IMAGE_JP2, 12, "\0\0\0\x0cjP  \r\n\x87\n" },
    { IMAGE_JP2, 4, "\xff\x4f\xff\x51" },
    { IMAGE_JXL, 12, "\0\0\0\x0cJXL \r\n\x87\n" },
    { IMAGE_JXL, 2, "\xff\x0a" },
    { IMAGE_PSD, 6, "8BPS\0\1" },
    { IMAGE_PSD, 6, "8BPS\0\2" },
    { IMAGE_QOI, 4, "qoif" },
    { IMAGE_HDR, 10, "#?RADIANCE" },
    { IMAGE_HDR, 6, "#?RGBE" },
    { IMAGE_EXR, 4, "\x76\x2f\x31\x01" },
    { IMAGE_DDS, 8, "DDS \x7c\0\0\0" },
    { IMAGE_ICNS, 4, "icns" },
};

/* "BM" is also how a text may begin. Behind the file header (14 bytes) stands the length of a header that
 * some version has; or, if that is damaged, the file header's own numbers still make sense. */
static bool bmp_begins(struct span s)
{
    uint32_t header_len = span_le32(s, 14), reserved = span_le32(s, 6),
             pixels_at = span_le32(s, 10);

    if (!span_says(s, 0, "BM") || !span_has(s, 14, 4))
        return false;
    return (header_len >= 12 && header_len <= 256) ||
           (reserved == 0 && pixels_at >= 26 && pixels_at <= 4096);
}

/* A directory of pictures: 0, 1 (icon) or 2 (cursor), their number; 16 bytes each. The first entry
 * must have bytes, and they must lie behind the directory. */
static enum image_format icon_kind(struct span s)
{
    uint16_t kind = span_le16(s, 2), count = span_le16(s, 4);
    uint32_t len = span_le32(s, 14), at = span_le32(s, 18);

    if (!span_has(s, 0, 22) || span_le16(s, 0) != 0 || (kind != 1 && kind != 2) || count == 0 ||
        len == 0 || at < 6 + 16u * count)
        return IMAGE_UNKNOWN;
    return kind == 1 ? IMAGE_ICO : IMAGE_CUR;
}

enum image_format format_sniff(const struct media *media)
{
    struct span s = media_span(media);
    struct picture_size size;
    enum image_format kind;

    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++)
        if (span_is(s, 0, signatures[i].bytes, signatures[i].len))
            return signatures[i].format;
    if (media->file_len == 2 && span_is(s, 0, "\xff\xd8", 2))
        return IMAGE_JPEG; /* one that ends behind its start of image */
    if (span_says(s, 0, "RIFF") && span_says(s, 8, "WEBP"))
        return IMAGE_WEBP;
    if (tiff_begins(s))
        return tiff_kind(s);
    if (bmp_begins(s))
        return IMAGE_BMP;
    if ((kind = boxes_kind(s)) != IMAGE_UNKNOWN)
        return kind;
    if ((kind = icon_kind(s)) != IMAGE_UNKNOWN)
        return kind;
    if (pnm_size(s, &size))
        return IMAGE_PNM;
    if (svg_begins(s))
        return IMAGE_SVG;
    return tga_is(media) ? IMAGE_TGA : IMAGE_UNKNOWN;
}
