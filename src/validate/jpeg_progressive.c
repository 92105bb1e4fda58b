/* jpeg_progressive: the four kinds of scan of a progressive frame (§G.1.2, §G.2). DC scans may be
 * interleaved; AC scans never are (§G.1.1.1.1), so their MCU is one block. */
#include "validate/jpeg_internal.h"
#include "validate/jpeg_bits.h"

static enum jpeg_fault stop(struct jpeg_scan *scan, struct jpeg_segment *seg, const struct bits *b,
                            unsigned comp, enum jpeg_fault fault)
{
    scan->comp_at = comp;
    seg->bit = bits_position(b, seg->data);
    return jpeg_fault_at(seg, fault);
}

/* §G.1.2.1: as in a sequential scan, but the value is shifted down by al. */
enum jpeg_fault jpeg_walk_dc_first(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus)
{
    const uint8_t *end = seg->data + seg->len;
    struct bits b;
    bits_start(&b, seg->data);
    scan->in_dc = true;
    for (uint64_t mcu = 0; mcu < mcus; mcu++) {
        for (unsigned i = 0; i < scan->mcu_blocks; i++) {
            const struct jpeg_block *block = &scan->block[i];
            unsigned c = block->comp;
            int32_t diff;
            bits_fill(&b);
            enum jpeg_fault fault = jpeg_dc_difference(&b, block->dc, &diff);
            if (UNLIKELY(fault != JPEG_OK))
                return stop(scan, seg, &b, c, fault);
            scan->pred[c] += diff;
            if ((uint32_t)(scan->pred[c] + (int32_t)scan->dc_limit[c]) > 2 * scan->dc_limit[c])
                return stop(scan, seg, &b, c, JPEG_DC_RANGE);
            if (UNLIKELY(b.next > end) && bits_position(&b, seg->data) > seg->len * 8)
                return stop(scan, seg, &b, c, JPEG_ENDS_EARLY);
            scan->done++;
        }
    }
    seg->bit = bits_position(&b, seg->data);
    return JPEG_OK;
}

/* §G.1.2.1: one bit a block, any bit is right. */
enum jpeg_fault jpeg_walk_dc_refine(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus)
{
    uint64_t bits = mcus * scan->mcu_blocks, have = seg->len * 8;
    scan->in_dc = true;
    seg->bit = bits < have ? bits : have;
    scan->done += seg->bit;
    if (bits <= have)
        return JPEG_OK;
    scan->comp_at = scan->block[0].comp;
    return JPEG_ENDS_EARLY;
}

/* EOBn: this block and a run of others have no more coefficients in this band (§G.1.2.2). */
static inline uint32_t eob_run(struct bits *b, unsigned n)
{
    return n ? (1u << n) + bits_take(b, n) : 1;
}

/* The rest of a block's band from coefficient k on, symbol by symbol; k counts so that the band ends
 * at 63. eob: set to the length of an end-of-band run. */
static enum jpeg_fault first_slow(struct bits *b, const struct jpeg_codes *codes, unsigned max_size,
                                  unsigned k, uint64_t *nonzero, uint32_t *eob)
{
    while (k < 64) {
        unsigned symbol, length;
        bits_fill(b);
        length = jpeg_code(codes, b->acc, &symbol);
        if (!length)
            return JPEG_BAD_CODE;
        unsigned run = symbol >> 4, size = symbol & 15;
        if (size > max_size)
            return JPEG_BAD_SYMBOL;
        bits_skip(b, length + size);
        if (!size && run < 15) {
            *eob = eob_run(b, run);
            return JPEG_OK;
        }
        k += run + 1;
        if (k > 64)
            return JPEG_INDEX_OVERRUN;
        if (size)
            *nonzero |= 1ull << (k - 1);
    }
    return JPEG_OK;
}

enum jpeg_fault jpeg_walk_ac_first(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus)
{
    const struct jpeg_ac_table *ac = scan->block[0].ac;
    const uint8_t *end = seg->data + seg->len;
    const unsigned shift = 63u - scan->se, start = shift + scan->ss;
    uint64_t *mask = scan->comp[0]->nonzero + scan->done;
    enum jpeg_fault fault = JPEG_OK;
    uint64_t at = 0;
    struct bits b;
    bits_start(&b, seg->data);
    scan->in_dc = false;
    while (at < mcus) {
        unsigned k = start;
        uint64_t nonzero = 0;
        uint32_t eob = 0;
        for (;;) {
            bits_fill(&b);
            unsigned i = (unsigned)(b.acc >> (64 - JPEG_AC_BITS));
            uint32_t entry = ac->look[i];
            unsigned next = k + (entry >> 8 & 0xFF);
            if (LIKELY(next < 64)) {
                nonzero |= (uint64_t)ac->nonzero[i] << k;
                bits_skip(&b, entry & 0x3F);
                k = next;
                continue;
            }
            if (LIKELY(next == 64 || next - AC_END < 64)) {
                nonzero |= (uint64_t)ac->nonzero[i] << k;
                bits_skip(&b, entry & 0x3F);
            } else {
                fault = first_slow(&b, &ac->codes, 10u - scan->al, k, &nonzero, &eob);
            }
            break;
        }
        scan->visits++;
        if (UNLIKELY(fault != JPEG_OK ||
                     (b.next > end && bits_position(&b, seg->data) > seg->len * 8))) {
            scan->done += at;
            return stop(scan, seg, &b, 0, fault == JPEG_OK ? JPEG_ENDS_EARLY : fault);
        }
        mask[at] |= nonzero >> shift;
        at += eob ? eob : 1;
    }
    if (at > mcus) {
        scan->done += mcus;
        return stop(scan, seg, &b, 0, JPEG_RUN_OVERRUN);
    }
    scan->done += mcus;
    seg->bit = bits_position(&b, seg->data);
    return JPEG_OK;
}

/* Positions in entropy-coded data as a bit number: a refinement skips more than 64 bits at times. */
static inline uint64_t peek(const struct jpeg_segment *seg, uint64_t bit)
{
    return bits_load(seg->data + (bit >> 3)) << (bit & 7);
}

/* The bit of set that has n others below it, 0: there is none. */
typedef uint64_t nth_bit(uint64_t set, unsigned n);

static inline uint64_t nth_bit_portable(uint64_t set, unsigned n)
{
    while (n--)
        set &= set - 1;
    return set & -set;
}

/* The band of one block (§G.1.2.3, figure G.7). Every coefficient that was nonzero before this scan is
 * followed by a correction bit when it is passed. All coefficients between two symbols are passed at
 * once: they are the zeros that the run counts, and the nonzero ones among them. */
static inline __attribute__((always_inline)) enum jpeg_fault
refine_block(const struct jpeg_codes *codes, const struct jpeg_segment *seg, uint64_t band,
             uint64_t *nonzero, uint64_t *bit, uint32_t *eob, nth_bit *nth)
{
    const uint64_t history = *nonzero & band;
    uint64_t left = band;
    while (left) {
        uint64_t bits = peek(seg, *bit);
        unsigned symbol, length = jpeg_code(codes, bits, &symbol);
        if (UNLIKELY(!length))
            return JPEG_BAD_CODE;
        unsigned run = symbol >> 4, size = symbol & 15;
        if (!size && run < 15) { /* EOBn: the rest of this block, and of others behind it */
            *bit += length + run + (unsigned)__builtin_popcountll(left & history);
            *eob = run ? (1u << run) + (uint32_t)(bits << length >> (64 - run)) - 1 : 0;
            return JPEG_OK;
        }
        if (UNLIKELY(size > 1))
            return JPEG_BAD_SYMBOL;
        /* The coefficient that the symbol is about; all before it are passed. */
        uint64_t target = nth(left & ~history, run);
        if (UNLIKELY(!target))
            return JPEG_INDEX_OVERRUN;
        uint64_t passed = left & (target - 1);
        *bit += length + size + (unsigned)__builtin_popcountll(passed) - run;
        left &= ~(passed | target);
        *nonzero |= size ? target : 0;
    }
    return JPEG_OK;
}

static inline __attribute__((always_inline)) enum jpeg_fault
refine(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus, nth_bit *nth)
{
    const uint64_t band = (~0ull >> (63 - scan->se)) & (~0ull << scan->ss);
    uint64_t *mask = scan->comp[0]->nonzero + scan->done;
    enum jpeg_fault fault = JPEG_OK;
    uint64_t at = 0, bit = 0;
    uint32_t eob = 0;
    scan->in_dc = false;
    while (at < mcus && fault == JPEG_OK) {
        uint64_t count = 1;
        if (eob) {
            count = eob < mcus - at ? eob : mcus - at;
            for (uint64_t i = 0; i < count; i++)
                bit += (unsigned)__builtin_popcountll(mask[at + i] & band);
            eob -= (uint32_t)count;
        } else {
            fault = refine_block(&scan->refine, seg, band, &mask[at], &bit, &eob, nth);
        }
        scan->visits += 1 + count / JPEG_BULK;
        if (UNLIKELY(bit > seg->len * 8))
            fault = JPEG_ENDS_EARLY;
        at += fault == JPEG_OK ? count : 0;
    }
    if (eob && fault == JPEG_OK)
        fault = JPEG_RUN_OVERRUN;
    scan->done += at;
    scan->comp_at = 0;
    seg->bit = bit;
    return fault == JPEG_OK ? fault : jpeg_fault_at(seg, fault);
}

#ifdef __x86_64__
/* A fifth less time, where the processor has these instructions and is quick at them: the compiler must
 * serve older ones. */
#define BMI2 __attribute__((target("popcnt,bmi,bmi2")))

BMI2 static inline uint64_t nth_bit_bmi2(uint64_t set, unsigned n)
{
    return __builtin_ia32_pdep_di(1ull << n, set);
}

BMI2 static enum jpeg_fault refine_bmi2(struct jpeg_scan *scan, struct jpeg_segment *seg,
                                        uint64_t mcus)
{
    return refine(scan, seg, mcus, nth_bit_bmi2);
}

static bool has_bmi2(void)
{
    return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
           !__builtin_cpu_is("amdfam17h"); /* pdep takes up to 289 cycles there */
}
#endif

enum jpeg_fault jpeg_walk_ac_refine(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus)
{
#ifdef __x86_64__
    if (has_bmi2())
        return refine_bmi2(scan, seg, mcus);
#endif
    return refine(scan, seg, mcus, nth_bit_portable);
}
