/* jpeg_exif: the two facts of application segments that matter to a labeller. */
#include "validate/jpeg_internal.h"

#include <string.h>

/* A TIFF structure in memory (TIFF 6.0 §2): either byte order, offsets from its own beginning. */
struct tiff {
    const uint8_t *data;
    size_t len;
    bool big_endian;
};

static uint32_t tiff_u16(const struct tiff *t, size_t at)
{
    const uint8_t *p = t->data + at;
    return t->big_endian ? (uint32_t)(p[0] << 8 | p[1]) : (uint32_t)(p[1] << 8 | p[0]);
}

static uint32_t tiff_u32(const struct tiff *t, size_t at)
{
    return t->big_endian ? tiff_u16(t, at) << 16 | tiff_u16(t, at + 2)
                         : tiff_u16(t, at + 2) << 16 | tiff_u16(t, at);
}

/* Find tag in the first directory. Returns where its 12-byte entry is, or 0. */
static size_t tiff_entry(const struct tiff *t, uint32_t tag)
{
    size_t at = tiff_u32(t, 4);
    if (at < 8 || at > t->len || t->len - at < 2)
        return 0;
    size_t count = tiff_u16(t, at);
    at += 2;
    for (; count && t->len - at >= 12; count--, at += 12)
        if (tiff_u16(t, at) == tag)
            return at;
    return 0;
}

static bool tiff_open(struct tiff *t, const uint8_t *data, size_t len)
{
    if (len < 8 || (memcmp(data, "II", 2) && memcmp(data, "MM", 2)))
        return false;
    *t = (struct tiff){ data, len, data[0] == 'M' };
    return tiff_u16(t, 2) == 42;
}

/* Exif 2.32 §4.6.4 A, tag 0x0112: one SHORT, 1 … 8. */
unsigned jpeg_exif_orientation(const uint8_t *data, size_t len)
{
    struct tiff t;
    if (len < 6 || memcmp(data, "Exif\0", 5) || !tiff_open(&t, data + 6, len - 6))
        return 0;
    size_t at = tiff_entry(&t, 0x0112);
    if (!at || tiff_u16(&t, at + 2) != 3 || tiff_u32(&t, at + 4) != 1)
        return 0;
    uint32_t value = tiff_u16(&t, at + 8);
    return value >= 1 && value <= 8 ? value : 0;
}

/* CIPA DC-007 §5.2.3.1: tag 0xB001, NumberOfImages, one LONG. */
unsigned jpeg_mpf_pictures(const uint8_t *data, size_t len)
{
    struct tiff t;
    if (len < 4 || memcmp(data, "MPF", 4) || !tiff_open(&t, data + 4, len - 4))
        return 0;
    size_t at = tiff_entry(&t, 0xB001);
    return at ? tiff_u32(&t, at + 8) : 0;
}
