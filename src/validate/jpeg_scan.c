/* jpeg_scan: one scan: its entropy-coded data, cut into restart segments and freed of byte stuffing
 * (§B.1.1.5), so that the walk of the blocks need not think of either.
 *
 *     scan data:  ECS0 RST0 ECS1 RST1 … ECSn  then the next marker that is no RSTm
 *
 * Every segment must end with its own last block: a decoder resynchronises at the next restart marker
 * and hides what was lost. */
#include "validate/jpeg_internal.h"

#include <string.h>

/* Bytes that real files have behind the last block: of a sequential scan, and of a restart segment
 * inside one. Progressive scans have none. */
enum { LEFT_OVER_LAST = 8, LEFT_OVER_INNER = 1 };

/* The bytes from data[at] to the next marker into scratch, FF 00 as FF. What is behind them there does
 * not matter: a block that reaches into it ends early, whatever it reads.
 * Returns where the marker's FF is, or len. */
static size_t unstuff(const uint8_t *data, size_t len, size_t at, uint8_t *scratch,
                      struct jpeg_segment *seg)
{
    uint8_t *out = scratch;
    while (at < len) {
        const uint8_t *ff = memchr(data + at, 0xFF, len - at);
        size_t n = (ff ? (size_t)(ff - data) : len) - at;
        memcpy(out, data + at, n);
        out += n;
        at += n;
        if (!ff)
            break;
        size_t code = at + 1;
        while (code < len && data[code] == 0xFF) /* fill bytes (§B.1.1.2) */
            code++;
        if (code == len || data[code] != 0)
            break;
        *out++ = 0xFF;
        at = code + 1;
    }
    *seg = (struct jpeg_segment){ .data = scratch, .len = (size_t)(out - scratch) };
    return at;
}

/* Where in the file byte index of the segment that begins at data[at] lies. */
static size_t file_offset(const uint8_t *data, size_t len, size_t at, size_t index)
{
    for (; index && at < len; index--)
        if (data[at++] == 0xFF)
            while (at < len && data[at++] == 0xFF)
                ;
    return at;
}

static enum jpeg_fault walk_segment(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus)
{
    if (scan->ss == 0 && !scan->ah)
        scan->visits += mcus * scan->mcu_blocks; /* the others count for themselves */
    if (!scan->progressive)
        return jpeg_walk_sequential(scan, seg, mcus);
    if (scan->ss == 0)
        return scan->ah ? jpeg_walk_dc_refine(scan, seg, mcus)
                        : jpeg_walk_dc_first(scan, seg, mcus);
    return scan->ah ? jpeg_walk_ac_refine(scan, seg, mcus) : jpeg_walk_ac_first(scan, seg, mcus);
}

/* Is what is left over picture data, because blocks were lost before it? Junk hardly ever reads as a
 * block that is there to its last bit. */
static bool is_lost_block(const struct jpeg_scan *scan, const struct jpeg_segment *seg)
{
    struct jpeg_scan probe = *scan;
    struct jpeg_segment rest = *seg;
    probe.skip_bits = (unsigned)(seg->bit & 7);
    rest.data += seg->bit / 8;
    rest.len -= (size_t)(seg->bit / 8);
    probe.mcu_blocks = 1;
    return jpeg_walk_sequential(&probe, &rest, 1) == JPEG_OK;
}

/* All blocks of the segment were read; what is behind the last? */
static enum jpeg_fault check_tail(const struct jpeg_scan *scan, const struct jpeg_segment *seg,
                                  bool last, size_t *ret_left_over)
{
    size_t left_over = seg->len - (size_t)((seg->bit + 7) / 8);
    *ret_left_over = left_over;
    if (left_over && (scan->progressive || left_over > (last ? LEFT_OVER_LAST : LEFT_OVER_INNER) ||
                      is_lost_block(scan, seg)))
        return JPEG_LEFT_OVER;
    return JPEG_OK;
}

/* The code of the marker at data[at]; 0: the data end there. */
static uint8_t marker_code(const uint8_t *data, size_t len, size_t at)
{
    while (at < len && data[at] == 0xFF)
        at++;
    return at < len ? data[at] : 0;
}

/* Behind a marker at data[at], fill bytes included. */
static size_t behind_marker(const uint8_t *data, size_t len, size_t at)
{
    while (at < len && data[at] == 0xFF)
        at++;
    return at < len ? at + 1 : len;
}

void jpeg_walk_scan(struct jpeg_scan *scan, const uint8_t *data, size_t len, size_t at,
                    uint32_t restart, uint8_t *scratch, struct jpeg_scan_end *end)
{
    uint64_t left = scan->mcus;
    for (unsigned number = 0;; number++) {
        struct jpeg_segment seg;
        uint64_t mcus = restart && restart < left ? restart : left;
        *end = (struct jpeg_scan_end){ .marker_at = unstuff(data, len, at, scratch, &seg) };
        end->found = marker_code(data, len, end->marker_at);
        memset(scan->pred, 0, sizeof(scan->pred));
        end->fault = walk_segment(scan, &seg, mcus);
        if (end->fault == JPEG_OK)
            end->fault = check_tail(scan, &seg, mcus == left, &end->left_over);
        if (end->fault != JPEG_OK) {
            end->offset = end->fault == JPEG_ENDS_EARLY
                              ? end->marker_at
                              : file_offset(data, len, at, (size_t)(seg.bit / 8));
            return;
        }
        left -= mcus;
        if (!left)
            return;
        end->expected = (uint8_t)(M_RST0 + number % 8);
        if (end->found != end->expected) {
            bool over = !end->found || end->found == M_EOI;
            end->fault = over ? JPEG_ENDS_EARLY : JPEG_RESTART;
            end->offset = end->marker_at;
            return;
        }
        at = behind_marker(data, len, end->marker_at);
    }
}
