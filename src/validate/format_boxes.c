/* format_boxes: files made of boxes (ISO/IEC 14496-12 §4.2): 4 bytes length, 4 bytes type, content;
 * length 1: the true one follows in 8 bytes; 0: to the end of the file. HEIF and AVIF (ISO/IEC
 * 23008-12), CR3, JPEG 2000 (ITU-T T.800 annexes A and I), JPEG XL (ISO/IEC 18181-1, -2). */
#include "validate/format_parts.h"

enum { MAX_BOXES = 4096, MAX_BRANDS = 64, MAX_ITEM_PROPERTIES = 64 };

/* A walk over the boxes that lie in s, side by side. */
struct boxes {
    struct span s;
    uint64_t at;
    unsigned seen;
    char type[4]; /* of the box just read */
    struct span body;
};

static bool next_box(struct boxes *b)
{
    uint64_t len = span_be32(b->s, b->at), head = 8;

    if (b->seen++ >= MAX_BOXES || !span_has(b->s, b->at, head))
        return false;
    memcpy(b->type, b->s.data + b->at + 4, 4);
    if (len == 1) {
        head = 16;
        len = span_number(b->s, b->at + 8, 8, true);
    } else if (len == 0) {
        len = b->s.len - b->at;
    }
    if (len < head)
        return false;
    b->body = span_part(b->s, b->at + head, len - head); /* as much of it as there is */
    b->at = len < b->s.len - b->at ? b->at + len : b->s.len;
    return true;
}

static bool find_box(struct span s, const char *type, struct span *ret_body)
{
    struct boxes b = { .s = s };

    while (next_box(&b))
        if (memcmp(b.type, type, 4) == 0) {
            *ret_body = b.body;
            return true;
        }
    return false;
}

static bool brand_is_avif(const uint8_t *brand)
{
    return memcmp(brand, "avif", 4) == 0 || memcmp(brand, "avis", 4) == 0;
}

static bool brand_is_heif(const uint8_t *brand)
{
    static const char brands[][5] = {
        "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "mif2",
        "mif3", "msf1", "msf2", "miaf", "heif", "avci", "avcs", "jpeg", "jpgs", "j2ki",
        "j2is", "vvic", "vvis", "evbi", "evbs", "evmi", "evms", "unif", "uncv",
    };

    for (size_t i = 0; i < sizeof(brands) / sizeof(brands[0]); i++)
        if (memcmp(brand, brands[i], 4) == 0)
            return true;
    return false;
}

enum image_format boxes_kind(struct span s)
{
    struct boxes b = { .s = s };
    bool is_heif = false;
    uint64_t second;

    if (!next_box(&b) || memcmp(b.type, "ftyp", 4) != 0 || b.body.len < 4)
        return IMAGE_UNKNOWN;
    if (span_says(b.body, 0, "crx "))
        return IMAGE_CR3;
    /* The major brand, its version (no brand, except that mif3 has the codec's there), then the
     * compatible ones. */
    second = span_says(b.body, 0, "mif3") ? 4 : 8;
    for (uint64_t at = 0; at < 4 * MAX_BRANDS && span_has(b.body, at, 4); at += at ? 4 : second) {
        if (brand_is_avif(b.body.data + at))
            return IMAGE_AVIF;
        is_heif |= brand_is_heif(b.body.data + at);
    }
    return is_heif ? IMAGE_HEIC : IMAGE_UNKNOWN;
}

/* The numbers (counted from 1) of the properties of one item. ipma: ISO/IEC 23008-12 §9.3.2. */
struct item_properties {
    unsigned count;
    uint16_t index[MAX_ITEM_PROPERTIES];
};

static void read_item_properties(struct span ipma, uint32_t item, struct item_properties *ret)
{
    const unsigned id_len = span_u8(ipma, 0) < 1 ? 2 : 4, index_len = span_u8(ipma, 3) & 1 ? 2 : 1;
    uint32_t entries = span_be32(ipma, 4);
    uint64_t at = 8;

    ret->count = 0;
    for (uint32_t i = 0; i < entries && span_has(ipma, at, id_len + 1); i++) {
        uint32_t id = (uint32_t)span_number(ipma, at, id_len, true);
        unsigned count = span_u8(ipma, at + id_len);
        at += id_len + 1;
        if (id != item) {
            at += count * index_len;
            continue;
        }
        for (; ret->count < count && ret->count < MAX_ITEM_PROPERTIES; at += index_len)
            ret->index[ret->count++] =
                (uint16_t)span_number(ipma, at, index_len, true) & (index_len == 2 ? 0x7fff : 0x7f);
        return;
    }
}

static bool has_property(const struct item_properties *p, unsigned index)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->index[i] == index)
            return true;
    return false;
}

/* The "low-overhead" layout of a single picture (mini): flags in 16 bits, then whether the two numbers
 * behind have 15 bits or 7. */
static bool mini_size(struct span mini, struct picture_size *ret_size)
{
    uint32_t bits = span_be32(mini, 2);

    if (!span_has(mini, 0, 6))
        return false;
    if (bits >> 31)
        *ret_size = (struct picture_size){ (bits >> 16 & 0x7fff) + 1, (bits >> 1 & 0x7fff) + 1 };
    else
        *ret_size = (struct picture_size){ (bits >> 24 & 0x7f) + 1, (bits >> 17 & 0x7f) + 1 };
    return true;
}

/* Canon's CR3 keeps a TIFF directory with the picture's size in a box of its own. */
bool cr3_size(struct span s, struct picture_size *ret_size)
{
    static const uint8_t canon[16] = { 0x85, 0xc0, 0xb6, 0x87, 0x82, 0x0f, 0x11, 0xe0,
                                       0x81, 0x11, 0xf4, 0xce, 0x46, 0x2b, 0x6a, 0x48 };
    struct span moov, directory;
    struct boxes b;

    if (!find_box(s, "moov", &moov))
        return false;
    b = (struct boxes){ .s = moov };
    while (next_box(&b))
        if (memcmp(b.type, "uuid", 4) == 0 && span_is(b.body, 0, canon, sizeof(canon)))
            return find_box(span_part(b.body, 16, b.body.len), "CMT1", &directory) &&
                   tiff_size(directory, ret_size);
    return false;
}

/* The spatial extents (ispe) of the primary item; where it cannot be found, the largest ones. */
bool heif_size(struct span s, struct picture_size *ret_size)
{
    struct span meta, pitm, iprp, ipco, ipma;
    struct item_properties primary = { 0 };
    struct picture_size largest = { 0, 0 };
    struct boxes b;

    if (!find_box(s, "meta", &meta))
        return find_box(s, "mini", &meta) && mini_size(meta, ret_size);
    meta = span_part(meta, 4, meta.len); /* version and flags */
    if (!find_box(meta, "iprp", &iprp) || !find_box(iprp, "ipco", &ipco))
        return false;
    if (find_box(meta, "pitm", &pitm) && find_box(iprp, "ipma", &ipma))
        read_item_properties(ipma, span_u8(pitm, 0) == 0 ? span_be16(pitm, 4) : span_be32(pitm, 4),
                             &primary);
    b = (struct boxes){ .s = ipco };
    while (next_box(&b)) {
        struct picture_size size = { span_be32(b.body, 4), span_be32(b.body, 8) };
        if (memcmp(b.type, "ispe", 4) != 0 || !size.width || !size.height)
            continue;
        if (has_property(&primary, b.seen)) {
            *ret_size = size;
            return true;
        }
        if ((uint64_t)size.width * size.height > (uint64_t)largest.width * largest.height)
            largest = size;
    }
    *ret_size = largest;
    return largest.width != 0;
}

/* A codestream: SOC, then SIZ (ITU-T T.800 §A.5.1): the area from the image's offset on. */
static bool codestream_size(struct span s, struct picture_size *ret_size)
{
    uint32_t right = span_be32(s, 8), bottom = span_be32(s, 12);
    uint32_t left = span_be32(s, 16), top = span_be32(s, 20);

    if (!span_is(s, 0, "\xff\x4f\xff\x51", 4) || !span_has(s, 0, 24) || right <= left ||
        bottom <= top)
        return false;
    *ret_size = (struct picture_size){ right - left, bottom - top };
    return true;
}

bool jp2_size(struct span s, struct picture_size *ret_size)
{
    struct span header, ihdr, codestream;

    if (span_u8(s, 0) == 0xff)
        return codestream_size(s, ret_size);
    if (find_box(s, "jp2h", &header) && find_box(header, "ihdr", &ihdr) && span_has(ihdr, 0, 8)) {
        *ret_size =
            (struct picture_size){ .width = span_be32(ihdr, 4), .height = span_be32(ihdr, 0) };
        if (ret_size->width && ret_size->height)
            return true;
    }
    return find_box(s, "jp2c", &codestream) && codestream_size(codestream, ret_size);
}

/* The fields of a JPEG XL header: bits, the lowest of each byte first. */
struct bits {
    struct span s;
    uint64_t at; /* counted in bits */
};

static uint32_t take_bits(struct bits *b, unsigned n)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < n; i++, b->at++)
        v |= (uint32_t)(span_u8(b->s, b->at / 8) >> (b->at % 8) & 1) << i;
    return v;
}

static uint32_t take_length(struct bits *b, bool is_small)
{
    static const uint8_t widths[] = { 9, 13, 18, 30 };

    if (is_small)
        return 8 * (1 + take_bits(b, 5));
    return 1 + take_bits(b, widths[take_bits(b, 2)]);
}

/* SizeHeader: ISO/IEC 18181-1 §D.2. */
static bool jxl_codestream_size(struct span s, struct picture_size *ret_size)
{
    static const struct {
        uint8_t num, den;
    } ratios[] = {
        { 0, 1 }, { 1, 1 }, { 12, 10 }, { 4, 3 }, { 3, 2 }, { 16, 9 }, { 5, 4 }, { 2, 1 }
    };
    struct bits b = { s, 16 };
    uint64_t width, height;
    bool is_small;
    unsigned ratio;

    if (!span_is(s, 0, "\xff\x0a", 2))
        return false;
    is_small = take_bits(&b, 1);
    height = take_length(&b, is_small);
    ratio = take_bits(&b, 3);
    width = ratio ? height * ratios[ratio].num / ratios[ratio].den : take_length(&b, is_small);
    if (b.at > s.len * 8 || !width)
        return false;
    *ret_size = (struct picture_size){ (uint32_t)width, (uint32_t)height };
    return true;
}

bool jxl_size(struct span s, struct picture_size *ret_size)
{
    struct span part;

    if (span_u8(s, 0) == 0xff)
        return jxl_codestream_size(s, ret_size);
    if (find_box(s, "jxlc", &part))
        return jxl_codestream_size(part, ret_size);
    if (find_box(s, "jxlp", &part)) /* the first part: its number, then the codestream */
        return jxl_codestream_size(span_part(part, 4, part.len), ret_size);
    return false;
}
