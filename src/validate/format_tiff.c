/* format_tiff: TIFF 6.0, BigTIFF, and the camera raws that are TIFFs inside. Only the first directory
 * (IFD0) and those that its SubIFDs tag names are read; a walk is bounded by MAX_ENTRIES.
 *
 *     0  "II" or "MM": the byte order of all that follows
 *     2  42 (43: BigTIFF)
 *     4  offset of IFD0: count, then entries of tag, type, count, value or its offset */
#include "validate/format_parts.h"

#include <strings.h>

enum {
    MAX_ENTRIES = 512,
    MAX_SUB_IFDS = 8,

    TAG_NEW_SUBFILE_TYPE = 0x00fe,
    TAG_IMAGE_WIDTH = 0x0100,
    TAG_IMAGE_LENGTH = 0x0101,
    TAG_MAKE = 0x010f,
    TAG_SUB_IFDS = 0x014a,
    TAG_DNG_VERSION = 0xc612,
    TAG_DNG_PRIVATE_DATA = 0xc634, /* Sony keeps its SR2 data here */

    TYPE_SHORT = 3,
};

struct tiff {
    struct span s;
    bool big_endian, big_tiff;
};

/* What one directory says, of the few tags that matter here. */
struct ifd {
    struct picture_size size;
    bool is_reduced; /* a thumbnail of another one */
    bool has_dng_version, has_private_data;
    char make[8];
    unsigned sub_count;
    uint64_t sub_at[MAX_SUB_IFDS];
};

static uint64_t number(const struct tiff *t, uint64_t at, unsigned n)
{
    return span_number(t->s, at, n, t->big_endian);
}

static unsigned type_len(uint64_t type)
{
    static const uint8_t lens[] = { 0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8 };

    return type < sizeof(lens) ? lens[type] : 0;
}

bool tiff_begins(struct span s)
{
    return span_is(s, 0, "II\x2a\0", 4) || span_is(s, 0, "MM\0\x2a", 4) ||
           span_is(s, 0, "II\x2b\0\x08\0\0\0", 8) || span_is(s, 0, "MM\0\x2b\0\x08\0\0", 8);
}

static void read_entry(const struct tiff *t, uint64_t at, struct ifd *ifd)
{
    const unsigned word = t->big_tiff ? 8 : 4;
    uint64_t tag = number(t, at, 2), type = number(t, at + 2, 2), count = number(t, at + 4, word);
    uint64_t value_at = at + 4 + word;
    unsigned len = type_len(type);

    if (!len || count == 0)
        return;
    if (count > word / len)
        value_at = number(t, value_at, word);
    switch (tag) {
    case TAG_NEW_SUBFILE_TYPE:
        ifd->is_reduced = number(t, value_at, len) & 1;
        break;
    case TAG_IMAGE_WIDTH:
        ifd->size.width = (uint32_t)number(t, value_at, len);
        break;
    case TAG_IMAGE_LENGTH:
        ifd->size.height = (uint32_t)number(t, value_at, len);
        break;
    case TAG_MAKE:
        for (unsigned i = 0; i < sizeof(ifd->make) - 1 && i < count; i++)
            ifd->make[i] = (char)span_u8(t->s, value_at + i);
        break;
    case TAG_SUB_IFDS:
        while (ifd->sub_count < MAX_SUB_IFDS && ifd->sub_count < count) {
            ifd->sub_at[ifd->sub_count] = number(t, value_at + ifd->sub_count * len, len);
            ifd->sub_count++;
        }
        break;
    case TAG_DNG_VERSION:
        ifd->has_dng_version = true;
        break;
    case TAG_DNG_PRIVATE_DATA:
        ifd->has_private_data = true;
        break;
    default:
        break;
    }
}

static void read_ifd(const struct tiff *t, uint64_t at, struct ifd *ret_ifd)
{
    const unsigned count_len = t->big_tiff ? 8 : 2, entry_len = t->big_tiff ? 20 : 12;
    uint64_t count;

    memset(ret_ifd, 0, sizeof(*ret_ifd));
    if (at > t->s.len) /* also: no sum below can overflow */
        return;
    count = number(t, at, count_len);
    at += count_len;
    for (unsigned i = 0; i < count && i < MAX_ENTRIES; i++, at += entry_len) {
        if (!span_has(t->s, at, entry_len))
            return;
        read_entry(t, at, ret_ifd);
    }
}

static void read_first_ifd(struct span s, struct tiff *ret_tiff, struct ifd *ret_ifd)
{
    struct tiff t = { .s = s, .big_endian = span_u8(s, 0) == 'M' };

    t.big_tiff = number(&t, 2, 2) == 43;
    *ret_tiff = t;
    read_ifd(&t, t.big_tiff ? number(&t, 8, 8) : number(&t, 4, 4), ret_ifd);
}

enum image_format tiff_kind(struct span s)
{
    struct tiff t;
    struct ifd ifd;

    if (span_is(s, 8, "CR\x02", 3))
        return IMAGE_CR2;
    read_first_ifd(s, &t, &ifd);
    if (ifd.has_dng_version)
        return IMAGE_DNG;
    /* A TIFF that was developed from a raw keeps its Make: in a raw IFD0 is but a thumbnail, and the
     * sensor's data are in a SubIFD. */
    if (ifd.sub_count > 0 && ifd.is_reduced) {
        if (strncasecmp(ifd.make, "NIKON", 5) == 0)
            return IMAGE_NEF;
        if (strncasecmp(ifd.make, "SONY", 4) == 0)
            return IMAGE_ARW;
    }
    if (ifd.has_private_data && strncasecmp(ifd.make, "SONY", 4) == 0)
        return IMAGE_ARW;
    return IMAGE_TIFF;
}

bool tiff_size(struct span s, struct picture_size *ret_size)
{
    struct tiff t;
    struct ifd first, sub;

    read_first_ifd(s, &t, &first);
    if (first.is_reduced)
        for (unsigned i = 0; i < first.sub_count; i++) {
            read_ifd(&t, first.sub_at[i], &sub);
            if (!sub.is_reduced && sub.size.width && sub.size.height) {
                *ret_size = sub.size;
                return true;
            }
        }
    if (!first.size.width || !first.size.height || (first.is_reduced && first.sub_count > 0))
        return false;
    *ret_size = first.size;
    return true;
}
