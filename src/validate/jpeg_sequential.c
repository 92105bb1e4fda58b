/* jpeg_sequential: the entropy-coded data of baseline and extended sequential frames (§F.2.2). */
#include "validate/jpeg_internal.h"
#include "validate/jpeg_bits.h"

/* The rest of a block from coefficient k on, symbol by symbol (§F.2.2.2). */
static enum jpeg_fault slow_ac(struct bits *b, const struct jpeg_codes *codes, unsigned k)
{
    while (k < 64) {
        unsigned symbol, length;
        bits_fill(b);
        length = jpeg_code(codes, b->acc, &symbol);
        if (!length)
            return JPEG_BAD_CODE;
        unsigned run = symbol >> 4, size = symbol & 15;
        if (!size && !run)
            return bits_skip(b, length), JPEG_OK;
        if ((!size && run != 15) || size > 10)
            return JPEG_BAD_SYMBOL; /* Table F.2; figure F.1 */
        k += run + 1;
        if (k > 64)
            return JPEG_INDEX_OVERRUN;
        bits_skip(b, length + size);
    }
    return JPEG_OK;
}

/* The AC coefficients of a block; at least 28 bits are in the reader. */
static inline enum jpeg_fault walk_ac(struct bits *b, const struct jpeg_ac_table *ac)
{
    unsigned k = 1, next;
    for (;;) {
        uint32_t entry = ac->look[b->acc >> (64 - JPEG_AC_BITS)];
        next = k + (entry >> 8 & 0xFF);
        if (next >= 64)
            goto last;
    again:
        bits_skip(b, entry & 0x3F);
        k = next;
        bits_fill(b);
        entry = ac->look[b->acc >> (64 - JPEG_AC_BITS)];
        next = k + (entry >> 8 & 0xFF);
        if (next < 64) {
            bits_skip(b, entry & 0x3F);
            k = next;
            entry = ac->look[b->acc >> (64 - JPEG_AC_BITS)];
            next = k + (entry >> 8 & 0xFF);
            if (next < 64)
                goto again;
        }
    last:
        /* Ended by a code, before or at the 63rd coefficient; or the 63rd was the last passed. */
        if (LIKELY(next == 64 || next - AC_END < 64)) {
            bits_skip(b, entry & 0x3F);
            return JPEG_OK;
        }
        return slow_ac(b, &ac->codes, k);
    }
}

enum jpeg_fault jpeg_walk_sequential(struct jpeg_scan *scan, struct jpeg_segment *seg,
                                     uint64_t mcus)
{
    const uint8_t *end = seg->data + seg->len;
    enum jpeg_fault fault;
    struct bits b;
    bits_start(&b, seg->data);
    bits_skip(&b, scan->skip_bits);
    for (uint64_t mcu = 0; mcu < mcus; mcu++)
        for (unsigned i = 0; i < scan->mcu_blocks; i++) {
            const struct jpeg_block *block = &scan->block[i];
            unsigned c = block->comp;
            int32_t diff;
            scan->in_dc = true;
            bits_fill(&b);
            fault = jpeg_dc_difference(&b, block->dc, &diff);
            if (UNLIKELY(fault != JPEG_OK))
                goto stop;
            scan->pred[c] += diff;
            if (UNLIKELY((uint32_t)(scan->pred[c] + (int32_t)scan->dc_limit[c]) >
                         2 * scan->dc_limit[c])) {
                fault = JPEG_DC_RANGE;
                goto stop;
            }
            scan->in_dc = false;
            fault = walk_ac(&b, block->ac);
            if (UNLIKELY(fault != JPEG_OK))
                goto stop;
            if (UNLIKELY(b.next > end) && bits_position(&b, seg->data) > seg->len * 8) {
                fault = JPEG_ENDS_EARLY;
                goto stop;
            }
            scan->done++;
            continue;
        stop:
            scan->comp_at = c;
            seg->bit = bits_position(&b, seg->data);
            return jpeg_fault_at(seg, fault);
        }
    seg->bit = bits_position(&b, seg->data);
    return JPEG_OK;
}
