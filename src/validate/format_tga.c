/* format_tga: Truevision TGA 2.0. It has no signature in front; version 2 ends with a footer of 26
 * bytes: two offsets, "TRUEVISION-XFILE.", NUL.
 *
 *     0 length of the id   1 has a colour map   2 type   3 colour map: first, count, bits (5 bytes)
 *     8 x, y   12 width, height   16 bits a pixel   17 flags */
#include "validate/format_parts.h"

enum { HEADER_LEN = 18, FOOTER_LEN = 26, TYPE_TRUE_COLOUR = 2 };

/* Uncompressed true colour without id or colour map says so in its first bytes, and its length
 * follows from them: nothing else looks like that. */
static bool header_leaves_no_doubt(const struct media *media)
{
    struct span s = media_span(media);
    uint8_t depth = span_u8(s, 16);
    uint64_t pixels = (uint64_t)span_le16(s, 12) * span_le16(s, 14);

    return span_is(s, 0, "\0\0\2\0\0\0\0\0", 8) && pixels > 0 &&
           (depth == 15 || depth == 16 || depth == 24 || depth == 32) &&
           (span_u8(s, 17) & 0xc0) == 0 &&
           media->file_len >= HEADER_LEN + pixels * ((depth + 7) / 8);
}

bool tga_is(const struct media *media)
{
    struct span tail = { media->tail, media->tail_len };

    if (media->file_len >= HEADER_LEN + FOOTER_LEN && tail.len >= FOOTER_LEN &&
        span_says(tail, tail.len - 18, "TRUEVISION-XFILE."))
        return true;
    return header_leaves_no_doubt(media);
}

bool tga_size(struct span s, struct picture_size *ret_size)
{
    *ret_size = (struct picture_size){ span_le16(s, 12), span_le16(s, 14) };
    return ret_size->width && ret_size->height;
}
