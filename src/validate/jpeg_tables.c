/* jpeg_tables: Huffman tables as DHT defines them → look-ups for the walk (§C, §F.2.2.3).
 *
 * A Huffman code is short and most values behind it are, so that the next JPEG_AC_BITS bits often hold
 * two to four whole symbols. As the walk needs no values, an entry just says how many bits and how many
 * coefficients all of them take. It is made in two steps: what is the first symbol; then twice: what
 * follows it, as far as the bits still tell. */
#include "validate/jpeg_internal.h"

#include <string.h>

/* Codes are consecutive within a length (§C.2, figure C.2). No code may be all ones (§C.2), and
 * libjpeg refuses tables that have one. */
bool jpeg_codes(const struct jpeg_huffman *huffman, struct jpeg_codes *codes)
{
    uint32_t code = 0;
    int32_t index = 0;
    unsigned at = 0;
    for (unsigned length = 1; length <= 16; length++) {
        codes->first[length] = index - (int32_t)code;
        code += huffman->counts[length];
        index += huffman->counts[length];
        if (huffman->counts[length] && code >= 1u << length)
            return false;
        if (length <= JPEG_CODE_BITS)
            for (unsigned i = huffman->counts[length]; i; i--)
                for (unsigned n = 1u << (JPEG_CODE_BITS - length); n; n--)
                    codes->look[at++] = (uint16_t)(length | huffman->symbols[index - i] << 8);
        codes->limit[length] = code << (16 - length);
        code <<= 1;
    }
    memset(codes->look + at, 0, sizeof(codes->look) - at * sizeof(codes->look[0]));
    codes->limit[17] = 65536;
    codes->symbols = huffman->symbols;
    return index <= 256;
}

unsigned jpeg_long_code(const struct jpeg_codes *codes, uint64_t bits, unsigned *ret_symbol)
{
    uint32_t top = (uint32_t)(bits >> 48);
    unsigned length = 1;
    while (top >= codes->limit[length])
        length++;
    if (length > 16)
        return 0;
    *ret_symbol = codes->symbols[(int32_t)(top >> (16 - length)) + codes->first[length]];
    return length;
}

static void fill(uint32_t *look, unsigned from, unsigned count, uint32_t entry)
{
    for (unsigned i = 0; i < count; i++)
        look[from + i] = entry;
}

bool jpeg_dc_table(const struct jpeg_huffman *huffman, struct jpeg_dc_table *table)
{
    if (!jpeg_codes(huffman, &table->codes))
        return false;
    unsigned at = 0;
    const uint8_t *symbol = huffman->symbols;
    for (unsigned length = 1; length <= 16; length++)
        for (unsigned i = 0; i < huffman->counts[length]; i++, symbol++) {
            if (*symbol > 15)
                return false;
            if (length > JPEG_DC_BITS)
                continue;
            unsigned count = 1u << (JPEG_DC_BITS - length);
            uint32_t entry = (length + *symbol) | length << 8 | (uint32_t)*symbol << 16;
            fill(table->look, at, count, *symbol > 11 ? 0 : entry); /* Table F.1: 0 … 11 */
            at += count;
        }
    fill(table->look, at, (1u << JPEG_DC_BITS) - at, 0);
    return true;
}

/* While a table is made an entry also has in bits 16-23 how many bits must be known to tell it: up to
 * the end of its last code; the value behind that may lie further on. */
enum { KNOWN = 16, SLOW_ENTRY = AC_SLOW << 8 };

static uint32_t first_symbol(unsigned symbol, unsigned length, unsigned max_size)
{
    unsigned run = symbol >> 4, size = symbol & 15;
    if (size > max_size)
        return SLOW_ENTRY;
    if (size)
        return (length + size) | (run + 1) << 8 | length << KNOWN;
    if (run == 15) /* ZRL: sixteen zeros */
        return length | 16u << 8 | length << KNOWN;
    if (run == 0) /* EOB, EOB0 */
        return length | AC_END << 8 | length << KNOWN;
    return SLOW_ENTRY; /* EOBn of a progressive scan; undefined in a sequential one */
}

static bool can_follow(uint32_t entry, uint32_t next)
{
    return !(next & SLOW_ENTRY) && (entry & 0xFF) + (next >> KNOWN) <= JPEG_AC_BITS &&
           (entry >> 8 & 0x3F) + (next >> 8 & 0x3F) < AC_SLOW;
}

/* from → to: join each entry with what from (or else base) tells of the bits behind it. */
static void join(const uint32_t *base, const uint32_t *base_nonzero, const uint32_t *from,
                 const uint32_t *from_nonzero, uint32_t *to, uint32_t *to_nonzero)
{
    const unsigned mask = (1u << JPEG_AC_BITS) - 1;
    for (unsigned i = 0; i <= mask; i++) {
        uint32_t entry = from[i], nonzero = from_nonzero ? from_nonzero[i] : 0;
        unsigned bits = entry & 0xFF, passed = entry >> 8 & 0x3F;
        if (!(entry & (AC_SLOW | AC_END) << 8) && bits < JPEG_AC_BITS) {
            unsigned j = i << bits & mask;
            const uint32_t *next = can_follow(entry, from[j]) ? from : base;
            const uint32_t *more = next == from ? from_nonzero : base_nonzero;
            bool fits = can_follow(entry, next[j]);
            if (fits && more) {
                uint64_t shifted = (uint64_t)more[j] << passed;
                fits = !(shifted >> 32);
                nonzero |= fits ? (uint32_t)shifted : 0;
            }
            if (fits)
                entry = ((entry + next[j]) & 0xFFFF) | (bits + (next[j] >> KNOWN)) << KNOWN;
        }
        to[i] = entry;
        if (to_nonzero)
            to_nonzero[i] = nonzero;
    }
}

bool jpeg_ac_table(const struct jpeg_huffman *huffman, enum jpeg_ac_use use, unsigned max_size,
                   struct jpeg_ac_table *table)
{
    uint32_t one[1 << JPEG_AC_BITS], two[1 << JPEG_AC_BITS];
    uint32_t one_nonzero[1 << JPEG_AC_BITS], two_nonzero[1 << JPEG_AC_BITS];
    if (!jpeg_codes(huffman, &table->codes))
        return false;
    bool marks = use == JPEG_AC_FIRST;
    unsigned at = 0;
    const uint8_t *symbol = huffman->symbols;
    for (unsigned length = 1; length <= JPEG_AC_BITS; length++)
        for (unsigned i = 0; i < huffman->counts[length]; i++, symbol++) {
            unsigned count = 1u << (JPEG_AC_BITS - length);
            fill(one, at, count, first_symbol(*symbol, length, max_size));
            if (marks)
                fill(one_nonzero, at, count, *symbol & 15 ? 1u << (*symbol >> 4) : 0);
            at += count;
        }
    fill(one, at, (1u << JPEG_AC_BITS) - at, SLOW_ENTRY);
    if (marks)
        fill(one_nonzero, at, (1u << JPEG_AC_BITS) - at, 0);
    join(one, marks ? one_nonzero : NULL, one, marks ? one_nonzero : NULL, two,
         marks ? two_nonzero : NULL);
    join(one, marks ? one_nonzero : NULL, two, marks ? two_nonzero : NULL, table->look,
         marks ? table->nonzero : NULL);
    return true;
}

void jpeg_standard_tables(struct jpeg_huffman dc[static 2], struct jpeg_huffman ac[static 2])
{
    static const uint8_t dc_counts[2][16] = {
        { 0, 1, 5, 1, 1, 1, 1, 1, 1 },       /* Table K.3 */
        { 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, /* Table K.4 */
    };
    static const uint8_t ac_counts[2][16] = {
        { 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125 }, /* Table K.5 */
        { 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119 }, /* Table K.6 */
    };
    static const uint8_t ac_symbols[2][162] = {
        { 0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61,
          0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52,
          0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25,
          0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45,
          0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64,
          0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
          0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
          0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6,
          0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3,
          0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8,
          0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa },
        { 0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61,
          0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33,
          0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18,
          0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44,
          0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63,
          0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
          0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97,
          0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4,
          0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca,
          0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7,
          0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa },
    };
    for (unsigned id = 0; id < 2; id++) {
        dc[id] = (struct jpeg_huffman){ .defined = true };
        ac[id] = (struct jpeg_huffman){ .defined = true };
        memcpy(dc[id].counts + 1, dc_counts[id], 16);
        memcpy(ac[id].counts + 1, ac_counts[id], 16);
        for (uint8_t size = 0; size < 12; size++)
            dc[id].symbols[size] = size;
        memcpy(ac[id].symbols, ac_symbols[id], sizeof(ac_symbols[id]));
    }
}
