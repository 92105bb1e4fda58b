#ifndef VALIDATE_JPEG_BITS_H
#define VALIDATE_JPEG_BITS_H
/* jpeg_bits: the bit reader of the JPEG walk. It knows no end: the data are followed by JPEG_PAD
 * readable bytes, and the walk asks bits_position() after each block. No branch, no byte loop: one
 * unaligned load brings at least 56 valid bits, enough for two codes with their values (27 each). */
#include <stdint.h>
#include <string.h>

#include "validate/jpeg_internal.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

struct bits {
    uint64_t acc; /* the next bits, first one on top; n of them count, the rest are true or 0 */
    unsigned n;   /* at most 63 */
    const uint8_t *next; /* the byte behind those n bits */
};

static inline uint64_t bits_load(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* At least 56 bits. */
static inline void bits_fill(struct bits *b)
{
    b->acc |= bits_load(b->next) >> b->n;
    b->next += (63 - b->n) >> 3;
    b->n |= 56;
}

static inline void bits_start(struct bits *b, const uint8_t *data)
{
    *b = (struct bits){ 0, 0, data };
    bits_fill(b);
}

static inline void bits_skip(struct bits *b, unsigned count)
{
    b->acc <<= count;
    b->n -= count;
}

/* The next count bits (1 … 16) as a number, and skip them. */
static inline uint32_t bits_take(struct bits *b, unsigned count)
{
    uint32_t v = (uint32_t)(b->acc >> (64 - count));
    bits_skip(b, count);
    return v;
}

static inline uint64_t bits_position(const struct bits *b, const uint8_t *data)
{
    return (uint64_t)(b->next - data) * 8 - b->n;
}

/* A DC difference whose code the look-up does not have (§F.2.2.1). */
static inline enum jpeg_fault jpeg_slow_difference(struct bits *b, const struct jpeg_codes *codes,
                                                   int32_t *ret_diff)
{
    unsigned size, length = jpeg_code(codes, b->acc, &size);
    if (!length)
        return JPEG_BAD_CODE;
    bits_skip(b, length);
    if (size > 11) /* Table F.1 */
        return JPEG_DC_SIZE;
    *ret_diff = 0;
    if (size) {
        int32_t v = (int32_t)bits_take(b, size);
        *ret_diff = v < 1 << (size - 1) ? v - (1 << size) + 1 : v;
    }
    return JPEG_OK;
}

/* The next DC difference; needs 27 bits. EXTEND (figure F.12) without a branch. */
static inline enum jpeg_fault jpeg_dc_difference(struct bits *b, const struct jpeg_dc_table *dc,
                                                 int32_t *ret_diff)
{
    uint32_t entry = dc->look[b->acc >> (64 - JPEG_DC_BITS)];
    if (UNLIKELY(!entry))
        return jpeg_slow_difference(b, &dc->codes, ret_diff);
    unsigned size = entry >> 16;
    uint64_t value = b->acc << (entry >> 8 & 0xFF);
    int32_t negative = (int32_t)(~value >> 63);
    *ret_diff = (int32_t)(value >> 1 >> (63 - size)) - negative * ((1 << size) - 1);
    bits_skip(b, entry & 0xFF);
    return JPEG_OK;
}

/* A fault at seg->bit; or rather the end of the data, if the code there may lie beyond it: what was read
 * in the padding says nothing. */
static inline enum jpeg_fault jpeg_fault_at(const struct jpeg_segment *seg, enum jpeg_fault fault)
{
    bool in_code =
        fault == JPEG_BAD_CODE || fault == JPEG_BAD_SYMBOL || fault == JPEG_INDEX_OVERRUN;
    uint64_t needed = seg->bit + (in_code ? 16 : 0); /* the longest code */
    return needed > seg->len * 8 ? JPEG_ENDS_EARLY : fault;
}
#endif
