/* jpeg: is this a JPEG that every browser shows whole? Section numbers are those of ITU-T T.81.
 *
 *     SOI  (APPn COM DQT DHT DRI …)  SOFn  (… DHT …)  SOS ECS RST0 ECS …  (DHT …  SOS …)  EOI
 *
 * A walk over the marker segments (§B): each is checked as decoders rely on it, the frame header tells
 * size and flavour, every scan is handed to jpeg_scan.c. What the standard forbids but every decoder
 * shows whole is let pass: bytes between header segments, a comment shorter than its length field,
 * a restart marker behind the last block, bytes after EOI. */
#include "validate/jpeg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "validate/image.h"
#include "validate/jpeg_internal.h"

enum {
    /* Larger progressive pictures are judged by their size only: their masks would not fit into the
     * jail. A sequential one may have as many as may be looked at. */
    MOST_MASKS = 8 * 1024 * 1024,
    /* How often each block may be looked at, and all together; the real files with the most scans
     * need 20. The time of a check is bounded by this and by the bytes of the file. */
    MOST_PASSES = 128,
    MOST_VISITS = 64 * 1024 * 1024,
    /* Bytes between two segments once picture data came: more is a part of a scan gone astray. */
    MOST_JUNK = 8,
    /* Largest DC coefficient, dequantised: eight times the distance of a sample from the middle
     * (§A.3.1, §A.3.3) and a little for inexact transforms. Rounding to a multiple of the quantiser
     * comes on top. */
    DC_RANGE = 8 * 128 + 16,
    MAX_AC_SIZE = 10, /* Table F.2, 8-bit precision */
};

struct walk {
    const struct media *media;
    const struct limits *limits;
    struct verdict *verdict;
    size_t at; /* next byte to read */
    struct jpeg_frame frame;
    uint16_t quant[JPEG_TABLES][64];
    bool has_quant[JPEG_TABLES];
    struct jpeg_huffman dc[JPEG_TABLES], ac[JPEG_TABLES];
    bool any_huffman;
    uint32_t restart; /* DRI */
    unsigned scans;
    uint64_t visits;
    bool adobe;
    bool damaged; /* scans are not looked at any more, only whether the file has its end */
    bool unsupported;
    uint8_t *scratch; /* NULL until the first scan */
    struct jpeg_dc_table *dc_tables;
    struct jpeg_ac_table *ac_tables;
    bool dc_ready[JPEG_TABLES], ac_ready[JPEG_TABLES];
};

/* One marker segment without marker and length. */
struct segment {
    uint8_t marker;
    size_t offset; /* of the content */
    const uint8_t *data;
    size_t len;
};

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

__attribute__((format(printf, 4, 5))) static void report(struct walk *w, enum finding_code code,
                                                         size_t offset, const char *fmt, ...)
{
    if (code == FINDING_CORRUPT || code == FINDING_TRUNCATED)
        w->damaged = true;
    if (code == FINDING_UNSUPPORTED_JPEG)
        w->unsupported = true;
    if (verdict_has(w->verdict, code))
        return;
    struct finding *finding = verdict_add(w->verdict, code);
    finding->offset = (int64_t)offset;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(finding->detail, sizeof(finding->detail), fmt, args);
    va_end(args);
}

/* §B.2.4.1 */
static void read_dqt(struct walk *w, const struct segment *seg)
{
    size_t at = 0;
    while (at < seg->len) {
        unsigned precision = seg->data[at] >> 4, id = seg->data[at] & 15;
        size_t size = precision ? 128 : 64;
        if (precision > 1 || id >= JPEG_TABLES || seg->len - at - 1 < size)
            return report(w, FINDING_CORRUPT, seg->offset + at,
                          "a quantization table is malformed");
        at++;
        for (unsigned k = 0; k < 64; k++, at += size / 64)
            w->quant[id][k] = (uint16_t)(precision ? u16(seg->data + at) : seg->data[at]);
        w->has_quant[id] = true;
    }
}

/* §B.2.4.2 */
static void read_dht(struct walk *w, const struct segment *seg)
{
    size_t at = 0;
    while (at < seg->len) {
        size_t offset = seg->offset + at;
        unsigned class = seg->data[at] >> 4, id = seg->data[at] & 15, total = 0;
        if (class > 1 || id >= JPEG_TABLES || seg->len - at < 17)
            return report(w, FINDING_CORRUPT, offset, "a Huffman table is malformed");
        struct jpeg_huffman *table = class ? &w->ac[id] : &w->dc[id];
        *table = (struct jpeg_huffman){ .defined = true };
        memcpy(table->counts + 1, seg->data + at + 1, 16);
        for (unsigned length = 1; length <= 16; length++)
            total += table->counts[length];
        at += 17;
        if (total > sizeof(table->symbols) || total > seg->len - at)
            return report(w, FINDING_CORRUPT, offset, "a Huffman table is malformed");
        memcpy(table->symbols, seg->data + at, total);
        at += total;
        *(class ? &w->ac_ready[id] : &w->dc_ready[id]) = false;
        w->any_huffman = true;
    }
}

static void read_sof(struct walk *w, const struct segment *seg)
{
    struct jpeg_frame *frame = &w->frame;
    if (frame->sof)
        return report(w, FINDING_CORRUPT, seg->offset, "a second frame header");
    if (seg->len < 6)
        return report(w, FINDING_CORRUPT, seg->offset, "the frame header is malformed");
    frame->sof = seg->marker;
    frame->height = u16(seg->data + 1);
    frame->width = u16(seg->data + 3);
    frame->count = seg->data[5];
    image_judge_size(w->verdict, frame->width, frame->height, w->limits);

    if (seg->marker > M_SOF2) {
        report(w, FINDING_UNSUPPORTED_JPEG, seg->offset,
               seg->marker == M_SOF55                       ? "JPEG-LS"
               : seg->marker == 0xC3                        ? "lossless coding"
               : seg->marker >= 0xC9 && seg->marker <= 0xCA ? "arithmetic coding"
               : seg->marker == 0xCB                        ? "lossless arithmetic coding"
                                                            : "hierarchical coding");
        return;
    }
    if (seg->len != 6 + 3 * (size_t)frame->count)
        return report(w, FINDING_CORRUPT, seg->offset, "the frame header is malformed");
    if (seg->data[0] != 8)
        report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "%u bits a sample", seg->data[0]);
    if (frame->count != 1 && frame->count != 3 && frame->count != 4)
        report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "%u components", frame->count);
    if (!frame->height)
        report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "the height is told behind the picture");
    else if (!frame->width)
        report(w, FINDING_CORRUPT, seg->offset, "the width is 0");
    if (w->unsupported || w->damaged)
        return;
    frame->h_max = frame->v_max = 1;
    for (unsigned i = 0; i < frame->count; i++) {
        const uint8_t *p = seg->data + 6 + 3 * i;
        struct jpeg_component *comp = &frame->comp[i];
        *comp = (struct jpeg_component){ .id = p[0], .h = p[1] >> 4, .v = p[1] & 15, .tq = p[2] };
        memset(comp->al, -1, sizeof(comp->al));
        if (!comp->h || comp->h > 4 || !comp->v || comp->v > 4)
            return report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "sampling factors %ux%u",
                          comp->h, comp->v);
        frame->h_max = comp->h > frame->h_max ? comp->h : frame->h_max;
        frame->v_max = comp->v > frame->v_max ? comp->v : frame->v_max;
    }
    for (unsigned i = 0; i < frame->count; i++) {
        struct jpeg_component *comp = &frame->comp[i];
        if (frame->h_max % comp->h || frame->v_max % comp->v)
            return report(w, FINDING_UNSUPPORTED_JPEG, seg->offset,
                          "sampling factors %ux%u of %ux%u", comp->h, comp->v, frame->h_max,
                          frame->v_max);
        uint32_t unit_w = 8 * frame->h_max, unit_h = 8 * frame->v_max; /* §A.1.1, §A.2.4 */
        comp->blocks_wide = (frame->width * comp->h + unit_w - 1) / unit_w;
        comp->blocks_high = (frame->height * comp->v + unit_h - 1) / unit_h;
        frame->blocks += (uint64_t)comp->blocks_wide * comp->blocks_high;
    }
}

/* §B.2.3: which components, in the order of the frame. */
static bool read_scan_header(struct walk *w, const struct segment *seg, struct jpeg_scan *scan)
{
    struct jpeg_frame *frame = &w->frame;
    unsigned count = seg->len ? seg->data[0] : 0, next = 0;
    if (count < 1 || count > JPEG_COMPONENTS || seg->len != 4 + 2 * (size_t)count) {
        report(w, FINDING_CORRUPT, seg->offset, "the header of scan %u is malformed", w->scans);
        return false;
    }
    scan->count = count;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *p = seg->data + 1 + 2 * i;
        while (next < frame->count && frame->comp[next].id != p[0])
            next++;
        if (next == frame->count) {
            report(w, FINDING_UNSUPPORTED_JPEG, seg->offset,
                   "scan %u: component %u is none of the frame's, or out of order", w->scans, p[0]);
            return false;
        }
        scan->comp[i] = &frame->comp[next++];
        scan->td[i] = p[1] >> 4;
        scan->ta[i] = p[1] & 15;
    }
    const uint8_t *p = seg->data + 1 + 2 * count;
    scan->ss = p[0], scan->se = p[1], scan->ah = p[2] >> 4, scan->al = p[2] & 15;
    scan->progressive = frame->sof == M_SOF2;
    if (!scan->progressive) /* junk here is met, and no reader minds it */
        scan->ss = 0, scan->se = 63, scan->ah = 0, scan->al = 0;
    return true;
}

/* §G.1.1.1: each coefficient's bits are sent from the highest to the lowest, DC first, none twice. */
static bool check_progression(struct walk *w, const struct segment *seg, struct jpeg_scan *scan)
{
    const char *wrong = NULL;
    if (scan->ss > scan->se || scan->se > 63 || (scan->ss == 0 && scan->se != 0) ||
        (scan->ss && scan->count > 1) || scan->al > 13 || (scan->ah && scan->ah != scan->al + 1))
        wrong = "its band is malformed";
    for (unsigned i = 0; i < scan->count && !wrong; i++) {
        int8_t *al = scan->comp[i]->al;
        if (scan->ss && al[0] < 0)
            wrong = "it comes before the DC scan";
        for (unsigned k = scan->ss; k <= scan->se && !wrong; k++) {
            if (scan->ah ? al[k] != (int)scan->ah : al[k] >= 0)
                wrong = "it is out of order or sent twice";
            al[k] = (int8_t)scan->al;
        }
    }
    if (wrong)
        report(w, FINDING_CORRUPT, seg->offset, "scan %u (component %u, %u-%u, bits %u-%u): %s",
               w->scans, scan->comp[0]->id, scan->ss, scan->se, scan->ah, scan->al, wrong);
    return !wrong;
}

/* A sequential scan needs a DC and an AC table, the first pass of a progressive one of them. */
static bool ready_tables(struct walk *w, const struct segment *seg, struct jpeg_scan *scan,
                         unsigned i)
{
    unsigned td = scan->td[i], ta = scan->ta[i];
    bool dc = scan->ss == 0 && scan->ah == 0, ac = scan->se != 0;
    if ((dc && (td >= JPEG_TABLES || !w->dc[td].defined)) ||
        (ac && (ta >= JPEG_TABLES || !w->ac[ta].defined))) {
        report(w, FINDING_CORRUPT, seg->offset, "scan %u: its Huffman table was not defined",
               w->scans);
        return false;
    }
    bool good = true;
    if (dc && !w->dc_ready[td])
        good = w->dc_ready[td] = jpeg_dc_table(&w->dc[td], &w->dc_tables[td]);
    if (!scan->progressive) {
        if (good && !w->ac_ready[ta])
            good = w->ac_ready[ta] =
                jpeg_ac_table(&w->ac[ta], JPEG_AC_SEQUENTIAL, MAX_AC_SIZE, &w->ac_tables[ta]);
    } else if (ac) {
        unsigned max_size = scan->al < MAX_AC_SIZE ? MAX_AC_SIZE - scan->al : 0;
        good = scan->ah ? jpeg_codes(&w->ac[ta], &scan->refine)
                        : jpeg_ac_table(&w->ac[ta], JPEG_AC_FIRST, max_size, &w->ac_tables[ta]);
    }
    if (!good)
        report(w, FINDING_CORRUPT, seg->offset, "scan %u: its Huffman table is no prefix code",
               w->scans);
    return good;
}

/* §A.2: one block a time of a single component; else the MCU holds h x v blocks of each. */
static bool lay_out_mcu(struct walk *w, const struct segment *seg, struct jpeg_scan *scan)
{
    const struct jpeg_frame *frame = &w->frame;
    for (unsigned i = 0; i < scan->count; i++) {
        const struct jpeg_component *comp = scan->comp[i];
        unsigned blocks = scan->count == 1 ? 1 : comp->h * comp->v;
        struct jpeg_block block = { (uint8_t)i, &w->dc_tables[scan->td[i] & 3],
                                    &w->ac_tables[scan->ta[i] & 3] };
        if (scan->mcu_blocks + blocks > JPEG_MCU_BLOCKS) {
            report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "more than 10 blocks in an MCU");
            return false;
        }
        while (blocks--)
            scan->block[scan->mcu_blocks++] = block;
    }
    uint32_t unit_w = 8 * frame->h_max, unit_h = 8 * frame->v_max;
    scan->mcus = scan->count == 1
                     ? (uint64_t)scan->comp[0]->blocks_wide * scan->comp[0]->blocks_high
                     : (uint64_t)((frame->width + unit_w - 1) / unit_w) *
                           ((frame->height + unit_h - 1) / unit_h);
    return true;
}

static bool prepare_scan(struct walk *w, const struct segment *seg, struct jpeg_scan *scan)
{
    /* Motion-JPEG leaves the usual tables out; decoders look for that in sequential frames only. */
    if (!w->any_huffman && w->frame.sof != M_SOF2) {
        jpeg_standard_tables(w->dc, w->ac);
        w->any_huffman = true;
    }
    if (!read_scan_header(w, seg, scan))
        return false;
    if (scan->progressive && !check_progression(w, seg, scan))
        return false;
    for (unsigned i = 0; i < scan->count; i++) {
        struct jpeg_component *comp = scan->comp[i];
        if (!scan->progressive && comp->has_data) {
            report(w, FINDING_CORRUPT, seg->offset, "scan %u: component %u comes twice", w->scans,
                   comp->id);
            return false;
        }
        comp->has_data = true;
        if (!comp->has_quant) {
            if (comp->tq >= JPEG_TABLES || !w->has_quant[comp->tq]) {
                report(w, FINDING_CORRUPT, seg->offset,
                       "scan %u: quantization table %u was not defined", w->scans, comp->tq);
                return false;
            }
            memcpy(comp->quant, w->quant[comp->tq], sizeof(comp->quant));
            comp->has_quant = true;
        }
        /* The point transform of a negative value rounds down (§G.1.2.1). */
        uint32_t step = comp->quant[0];
        scan->dc_limit[i] = step ? ((DC_RANGE + step) / step >> scan->al) + (scan->al > 0) : 65535;
        if (!ready_tables(w, seg, scan, i))
            return false;
    }
    return lay_out_mcu(w, seg, scan);
}

static void report_scan(struct walk *w, const struct jpeg_scan *scan,
                        const struct jpeg_scan_end *end)
{
    char what[64];
    unsigned c = scan->comp_at;
    const char *class = scan->in_dc ? "DC" : "AC";
    unsigned table = scan->in_dc ? scan->td[c] : scan->ta[c];
    enum finding_code code = FINDING_CORRUPT;
    switch (end->fault) {
    case JPEG_OK:
        return;
    case JPEG_ENDS_EARLY:
        (void)snprintf(what, sizeof(what), "the data end before it");
        if (!end->found || end->found == M_EOI)
            code = FINDING_TRUNCATED;
        break;
    case JPEG_BAD_CODE:
        (void)snprintf(what, sizeof(what), "code not in Huffman table %s %u", class, table);
        break;
    case JPEG_BAD_SYMBOL:
        (void)snprintf(what, sizeof(what), "impossible value from Huffman table %s %u", class,
                       table);
        break;
    case JPEG_INDEX_OVERRUN:
        (void)snprintf(what, sizeof(what), "more coefficients than it has");
        break;
    case JPEG_DC_SIZE:
        (void)snprintf(what, sizeof(what), "DC difference of more than 11 bits");
        break;
    case JPEG_DC_RANGE:
        (void)snprintf(what, sizeof(what), "DC value out of range");
        break;
    case JPEG_RUN_OVERRUN:
        (void)snprintf(what, sizeof(what), "end-of-band run passes the end of the segment");
        break;
    case JPEG_LEFT_OVER:
        (void)snprintf(what, sizeof(what), "%zu bytes left over behind the last block",
                       end->left_over);
        break;
    case JPEG_RESTART:
        (void)snprintf(what, sizeof(what), "marker %02X where %02X should be", end->found,
                       end->expected);
        break;
    }
    report(w, code, end->offset, "scan %u, block %llu of component %u: %s", w->scans,
           (unsigned long long)scan->done, scan->comp[c]->id, what);
}

/* Memory for the scans, at the first of them. 0, or -1: there is none. */
static int prepare_memory(struct walk *w, struct err *err)
{
    if (w->scratch)
        return 0;
    w->scratch = calloc(1, w->media->len - w->at + JPEG_PAD);
    w->dc_tables = malloc(JPEG_TABLES * sizeof(*w->dc_tables));
    w->ac_tables = malloc(JPEG_TABLES * sizeof(*w->ac_tables));
    bool all = w->scratch && w->dc_tables && w->ac_tables;
    for (unsigned i = 0; i < w->frame.count && w->frame.sof == M_SOF2 && all; i++) {
        struct jpeg_component *comp = &w->frame.comp[i];
        comp->nonzero = calloc((size_t)comp->blocks_wide * comp->blocks_high, sizeof(uint64_t));
        all = comp->nonzero != NULL;
    }
    return all ? 0
               : err_set(err, ERR_NOMEM, "no memory for a picture of %ux%u", w->frame.width,
                         w->frame.height);
}

static bool is_too_large(const struct jpeg_frame *frame)
{
    return frame->blocks > (frame->sof == M_SOF2 ? MOST_MASKS : MOST_VISITS);
}

/* Scan after scan, or more blocks than the jail has memory or time for. If the size is wrong anyway, that
 * is all there is to say. */
static void give_up(struct walk *w, const struct segment *seg)
{
    static const enum finding_code sizes[] = { FINDING_TOO_WIDE, FINDING_TOO_HIGH };
    bool too_large = false;
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++)
        if (verdict_has(w->verdict, sizes[i])) {
            struct finding *finding = verdict_add(w->verdict, sizes[i]);
            (void)snprintf(finding->detail, sizeof(finding->detail),
                           "so large that its scans were not looked at from scan %u on", w->scans);
            too_large = true;
        }
    if (!too_large)
        report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "scan %u: %s", w->scans,
               is_too_large(&w->frame) ? "too many blocks to be looked at"
                                       : "more work than a picture of this size can need");
    w->unsupported = true;
}

static int read_scan(struct walk *w, const struct segment *seg, struct err *err)
{
    const struct media *media = w->media;
    struct jpeg_scan scan = { 0 };
    struct jpeg_scan_end end;
    w->scans++;
    if (!w->frame.sof) {
        report(w, FINDING_CORRUPT, seg->offset, "a scan before the frame header");
        return 0;
    }
    if (w->unsupported || w->damaged)
        return 0;
    if (is_too_large(&w->frame) || w->visits > MOST_VISITS ||
        w->visits > MOST_PASSES * w->frame.blocks)
        return give_up(w, seg), 0;
    if (prepare_memory(w, err) < 0)
        return -1;
    if (!prepare_scan(w, seg, &scan))
        return 0;
    jpeg_walk_scan(&scan, media->data, media->len, w->at, w->restart, w->scratch, &end);
    w->visits += scan.visits;
    w->at = end.marker_at;
    report_scan(w, &scan, &end);
    return 0;
}

/* Is everything there that the frame header promised? */
static void check_complete(struct walk *w, size_t offset)
{
    const struct jpeg_frame *frame = &w->frame;
    if (w->unsupported || w->damaged)
        return;
    if (!frame->sof || !w->scans)
        return report(w, FINDING_CORRUPT, offset, frame->sof ? "no scan" : "no frame header");
    for (unsigned i = 0; i < frame->count; i++) {
        const struct jpeg_component *comp = &frame->comp[i];
        if (!comp->has_data)
            return report(w, FINDING_TRUNCATED, offset, "component %u has no data", comp->id);
        for (unsigned k = 0; k < 64 && frame->sof == M_SOF2; k++)
            if (comp->al[k] != 0)
                return report(w, FINDING_TRUNCATED, offset,
                              "scans are missing: component %u, coefficient %u, %s", comp->id, k,
                              comp->al[k] < 0 ? "was never sent" : "lacks its last bits");
    }
}

static void read_app(struct walk *w, const struct segment *seg)
{
    if (seg->marker == M_APP1 && !w->verdict->orientation) {
        w->verdict->orientation = jpeg_exif_orientation(seg->data, seg->len);
        if (w->verdict->orientation > 1)
            report(w, FINDING_ROTATED, seg->offset, "EXIF orientation %u", w->verdict->orientation);
    } else if (seg->marker == M_APP2) {
        unsigned pictures = jpeg_mpf_pictures(seg->data, seg->len);
        if (pictures > 1)
            report(w, FINDING_MULTI_PICTURE, seg->offset, "%u pictures", pictures);
    } else if (seg->marker == M_APP14 && seg->len >= 12 && !memcmp(seg->data, "Adobe", 5)) {
        w->adobe = true;
    }
}

/* DAC (§B.2.4.3) means nothing here, but decoders refuse a malformed one. */
static void read_dac(struct walk *w, const struct segment *seg)
{
    for (size_t at = 0; at + 1 < seg->len; at += 2) {
        uint8_t id = seg->data[at], value = seg->data[at + 1];
        if (id >= 32 || (id < 16 && (value & 15) > value >> 4))
            report(w, FINDING_CORRUPT, seg->offset + at, "arithmetic conditioning is malformed");
    }
    if (seg->len % 2)
        report(w, FINDING_CORRUPT, seg->offset, "arithmetic conditioning is malformed");
}

static int read_segment(struct walk *w, const struct segment *seg, struct err *err)
{
    switch (seg->marker) {
    case M_DQT:
        return read_dqt(w, seg), 0;
    case M_DHT:
        return read_dht(w, seg), 0;
    case M_DAC:
        return read_dac(w, seg), 0;
    case M_SOS:
        return read_scan(w, seg, err);
    case M_DRI: /* §B.2.4.4 */
        if (seg->len == 2)
            w->restart = u16(seg->data);
        else
            report(w, FINDING_CORRUPT, seg->offset, "the restart interval is malformed");
        return 0;
    case M_DNL:
    case M_COM:
        return 0;
    case M_SOF55:
        return read_sof(w, seg), 0;
    }
    if (seg->marker >= M_APP0 && seg->marker <= M_APP15)
        return read_app(w, seg), 0;
    if (seg->marker >= M_SOF0 && seg->marker <= M_SOF15 && seg->marker != M_JPG)
        return read_sof(w, seg), 0;
    if (seg->marker == 0xDE || seg->marker == 0xDF) /* DHP, EXP: §B.3 */
        report(w, FINDING_UNSUPPORTED_JPEG, seg->offset, "hierarchical coding");
    else
        report(w, FINDING_CORRUPT, seg->offset, "marker %02X, which no decoder knows", seg->marker);
    return 0;
}

/* The next marker; false: the data end first. Whatever is before it is passed over. */
static bool next_marker(struct walk *w, uint8_t *ret_marker)
{
    const struct media *media = w->media;
    size_t from = w->at;
    for (;;) {
        const uint8_t *ff =
            w->at < media->len ? memchr(media->data + w->at, 0xFF, media->len - w->at) : NULL;
        if (!ff)
            return false;
        w->at = (size_t)(ff - media->data);
        size_t junk = w->at - from;
        while (w->at < media->len && media->data[w->at] == 0xFF)
            w->at++;
        if (w->at == media->len)
            return false;
        *ret_marker = media->data[w->at++];
        if (*ret_marker == 0)
            continue;
        if (w->scans && junk > MOST_JUNK && !w->damaged && !w->unsupported)
            report(w, FINDING_CORRUPT, from, "%zu bytes between two segments", junk);
        return true;
    }
}

/* The content of the segment at w->at; false: it is not all there. */
static bool next_segment(struct walk *w, uint8_t marker, struct segment *seg)
{
    const struct media *media = w->media;
    if (media->len - w->at < 2)
        return false;
    size_t length = u16(media->data + w->at); /* counts itself (§B.1.1.4) */
    bool lenient = marker == M_COM || marker == M_DNL || (marker >= M_APP0 && marker <= M_APP15);
    if (length < 2) {
        if (!lenient)
            report(w, FINDING_CORRUPT, w->at, "segment %02X has a length of %zu", marker, length);
        length = 2;
    }
    if (length > media->len - w->at)
        return false;
    *seg = (struct segment){ marker, w->at + 2, media->data + w->at + 2, length - 2 };
    w->at += length;
    return true;
}

static int walk_segments(struct walk *w, struct err *err)
{
    const struct media *media = w->media;
    bool partial = media->file_len > media->len;
    uint8_t marker;
    while (next_marker(w, &marker)) {
        struct segment seg;
        if (marker == M_EOI) {
            check_complete(w, w->at - 2);
            if (w->at < media->len) {
                report(w, FINDING_TRAILING_BYTES, w->at, "bytes after the end of the image");
                verdict_add(w->verdict, FINDING_TRAILING_BYTES)->measured =
                    (int64_t)(media->len - w->at);
            }
            return 0;
        }
        if (w->scans && (w->damaged || w->unsupported))
            continue; /* among picture data that are not read any more: is there an end? */
        if (marker == M_TEM || (marker >= M_RST0 && marker <= M_RST7))
            continue;
        if (marker == M_SOI) {
            report(w, FINDING_CORRUPT, w->at - 2, "a second start of image");
            continue;
        }
        if (partial && marker == M_SOS)
            return 0;
        if (!next_segment(w, marker, &seg))
            break;
        if (read_segment(w, &seg, err) < 0)
            return -1;
    }
    if (!partial && !verdict_has(w->verdict, FINDING_TRUNCATED))
        report(w, FINDING_TRUNCATED, media->len, "the data end before the end of the image");
    return 0;
}

static void walk_release(struct walk *w)
{
    for (unsigned i = 0; i < JPEG_COMPONENTS; i++)
        free(w->frame.comp[i].nonzero);
    free(w->scratch);
    free(w->dc_tables);
    free(w->ac_tables);
}

int jpeg_check_counted(const struct media *media, const struct limits *limits,
                       struct verdict *verdict, uint64_t *ret_visits, struct err *err)
{
    CLEANUP(walk_release)
    struct walk w = { .media = media, .limits = limits, .verdict = verdict, .at = 2 };
    verdict->format = IMAGE_JPEG;
    if (walk_segments(&w, err) < 0)
        return -1;
    if (w.frame.count == 4 && !w.adobe)
        report(&w, FINDING_AMBIGUOUS_CMYK, 0, "four components without an Adobe marker");
    *ret_visits = w.visits;
    return 0;
}

int jpeg_check(const struct media *media, const struct limits *limits, struct verdict *verdict,
               struct err *err)
{
    uint64_t visits;
    return jpeg_check_counted(media, limits, verdict, &visits, err);
}
