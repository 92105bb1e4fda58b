#ifndef VALIDATE_JPEG_INTERNAL_H
#define VALIDATE_JPEG_INTERNAL_H
/* jpeg_internal: what the files of the JPEG check share. Section numbers are those of ITU-T T.81.
 *
 *     jpeg.c ──marker segments──▸ jpeg_tables.c   Huffman tables, and the look-ups made from them
 *        │  └────APP1, APP2─────▸ jpeg_exif.c     orientation, multi-picture
 *        └──scan──▸ jpeg_scan.c                   one scan: restart segments, stuffing, what is left over
 *                       ├──▸ jpeg_sequential.c    entropy-coded blocks of baseline and extended frames
 *                       └──▸ jpeg_progressive.c   the four kinds of progressive scan
 *
 * Nothing is reconstructed. The walk reads every code, keeps the DC predictions, and of progressive
 * frames one bit per coefficient (is it nonzero?), because refinement scans cannot be read without. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "validate/validator.h"

enum {
    JPEG_COMPONENTS = 4,  /* most that are supported; the frame header could say 255 */
    JPEG_TABLES = 4,      /* destinations 0 … 3 (§B.2.4) */
    JPEG_MCU_BLOCKS = 10, /* §B.2.3: the most blocks in an MCU of an interleaved scan */
    JPEG_BULK = 16, /* so many blocks of an end-of-band run cost as much as one that has codes */
    JPEG_PAD = 512, /* readable bytes behind entropy-coded data: more than a block can take */
};

/* Marker codes, Table B.1. */
enum jpeg_marker {
    M_TEM = 0x01,
    M_SOF0 = 0xC0,
    M_SOF1 = 0xC1,
    M_SOF2 = 0xC2,
    M_DHT = 0xC4,
    M_JPG = 0xC8,
    M_DAC = 0xCC,
    M_SOF15 = 0xCF,
    M_RST0 = 0xD0,
    M_RST7 = 0xD7,
    M_SOI = 0xD8,
    M_EOI = 0xD9,
    M_SOS = 0xDA,
    M_DQT = 0xDB,
    M_DNL = 0xDC,
    M_DRI = 0xDD,
    M_APP0 = 0xE0,
    M_APP1 = 0xE1,
    M_APP2 = 0xE2,
    M_APP14 = 0xEE,
    M_APP15 = 0xEF,
    M_SOF55 = 0xF7, /* JPEG-LS, ITU-T T.87 */
    M_COM = 0xFE,
};

/* A table as DHT defines it (§B.2.4.2). */
struct jpeg_huffman {
    bool defined;
    uint8_t counts[17]; /* codes of each length, 1 … 16 */
    uint8_t symbols[256];
};

/* A table ready for reading code by code (§F.2.2.3): codes are left-aligned in 16 bits, and those of
 * length n lie below limit[n]. Behind the last code limit[17] is 65536. Short ones are looked up. */
enum { JPEG_CODE_BITS = 8 };
struct jpeg_codes {
    /* By the next 8 bits: length of the code | symbol << 8; 0: a longer one, or none. */
    uint16_t look[1 << JPEG_CODE_BITS];
    uint32_t limit[18];
    int32_t first[17]; /* symbol index of a code of length n is (code >> (16 - n)) + first[n] */
    const uint8_t *symbols;
};

/* The next code at the top of bits: its length, and *ret_symbol; 0: no such code. */
unsigned jpeg_long_code(const struct jpeg_codes *codes, uint64_t bits, unsigned *ret_symbol);
static inline unsigned jpeg_code(const struct jpeg_codes *codes, uint64_t bits,
                                 unsigned *ret_symbol)
{
    unsigned entry = codes->look[bits >> (64 - JPEG_CODE_BITS)];
    if (!entry)
        return jpeg_long_code(codes, bits, ret_symbol);
    *ret_symbol = entry >> 8;
    return entry & 0xFF;
}

/* DC look-up: what the next 10 bits begin with: bits of code and value together in 0-7, length of the
 * code in 8-15, size of the value in 16-23. 0: a longer code or none. */
enum { JPEG_DC_BITS = 10 };
struct jpeg_dc_table {
    struct jpeg_codes codes;
    uint32_t look[1 << JPEG_DC_BITS];
};

/* AC look-up: as many whole symbols as the next bits tell. Bits 0-7: how many bits they take, values
 * included. Bits 8-15: how many coefficients they pass over; plus AC_END when the last of them ends the
 * block; AC_SLOW alone when the first must be read by itself (a long code, an end-of-band run, none). */
enum { JPEG_AC_BITS = 11, AC_SLOW = 64, AC_END = 128 };
struct jpeg_ac_table {
    struct jpeg_codes codes;
    uint32_t look[1 << JPEG_AC_BITS];
    /* Progressive: which of the coefficients passed are nonzero. */
    uint32_t nonzero[1 << JPEG_AC_BITS];
};

enum jpeg_ac_use { JPEG_AC_SEQUENTIAL, JPEG_AC_FIRST };

/* false: the lengths make no prefix code, or (DC) a size is over 15. */
bool jpeg_dc_table(const struct jpeg_huffman *huffman, struct jpeg_dc_table *table);
/* max_size: larger values cannot occur in an 8-bit picture, their symbols count as wrong. */
bool jpeg_ac_table(const struct jpeg_huffman *huffman, enum jpeg_ac_use use, unsigned max_size,
                   struct jpeg_ac_table *table);
/* Only the codes (refinement scans). */
bool jpeg_codes(const struct jpeg_huffman *huffman, struct jpeg_codes *codes);
/* The tables of §K.3.3, which Motion-JPEG frames leave out. id 0: luminance, 1: chrominance. */
void jpeg_standard_tables(struct jpeg_huffman dc[static 2], struct jpeg_huffman ac[static 2]);

struct jpeg_component {
    uint8_t id, h, v, tq;              /* §B.2.2 */
    uint32_t blocks_wide, blocks_high; /* of a scan of this component alone (§A.2.2) */
    bool has_quant;                    /* quant holds the table that the first scan found */
    uint16_t quant[64];                /* zigzag order */
    bool has_data;                     /* a scan of it was read */
    int8_t al[64];     /* progressive: lowest bit sent of each coefficient, -1: none */
    uint64_t *nonzero; /* progressive: of each block the coefficients that are not zero */
};

struct jpeg_frame {
    uint8_t sof; /* 0: no frame header yet */
    uint32_t width, height;
    unsigned count; /* components */
    struct jpeg_component comp[JPEG_COMPONENTS];
    unsigned h_max, v_max;
    uint64_t blocks; /* of all components */
};

/* What stopped the walk of entropy-coded data. */
enum jpeg_fault {
    JPEG_OK,
    JPEG_ENDS_EARLY,
    JPEG_BAD_CODE,
    JPEG_BAD_SYMBOL,
    JPEG_INDEX_OVERRUN,
    JPEG_DC_SIZE,
    JPEG_DC_RANGE,
    JPEG_RUN_OVERRUN,
    JPEG_LEFT_OVER,
    JPEG_RESTART,
};

/* One block of an MCU: which component, with which tables. */
struct jpeg_block {
    uint8_t comp;
    const struct jpeg_dc_table *dc;
    const struct jpeg_ac_table *ac;
};

/* A scan while it is walked. */
struct jpeg_scan {
    unsigned count;
    struct jpeg_component *comp[JPEG_COMPONENTS];
    uint8_t td[JPEG_COMPONENTS], ta[JPEG_COMPONENTS];
    uint8_t ss, se, ah, al;
    bool progressive;

    struct jpeg_block block[JPEG_MCU_BLOCKS];
    unsigned mcu_blocks;
    uint64_t mcus;
    uint32_t dc_limit[JPEG_COMPONENTS]; /* largest DC value, in units of the quantiser */
    int32_t pred[JPEG_COMPONENTS];      /* §F.1.1.5.1 */
    struct jpeg_codes refine;           /* AC table of a refinement scan */
    uint32_t eob_run;                   /* blocks that are still ended (§G.1.2.2) */
    uint64_t done;                      /* blocks before this one, in the whole scan */
    uint64_t visits;                    /* work done: blocks looked at one by one */

    unsigned skip_bits; /* a sequential walk begins so many bits on */

    unsigned comp_at; /* where it stopped: component and table of the fault */
    bool in_dc;
};

/* Entropy-coded data of one restart segment, stuffing removed, JPEG_PAD bytes readable behind. The
 * walk starts at bit 0 and leaves in bit where it stopped. */
struct jpeg_segment {
    const uint8_t *data;
    size_t len;
    uint64_t bit;
};

enum jpeg_fault jpeg_walk_sequential(struct jpeg_scan *scan, struct jpeg_segment *seg,
                                     uint64_t mcus);
enum jpeg_fault jpeg_walk_dc_first(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus);
enum jpeg_fault jpeg_walk_dc_refine(struct jpeg_scan *scan, struct jpeg_segment *seg,
                                    uint64_t mcus);
enum jpeg_fault jpeg_walk_ac_first(struct jpeg_scan *scan, struct jpeg_segment *seg, uint64_t mcus);
enum jpeg_fault jpeg_walk_ac_refine(struct jpeg_scan *scan, struct jpeg_segment *seg,
                                    uint64_t mcus);

/* Where and why the walk of a scan ended. */
struct jpeg_scan_end {
    enum jpeg_fault fault;
    size_t marker_at; /* the marker behind the scan's data; len: there is none */
    size_t offset;    /* of the fault */
    size_t left_over; /* JPEG_LEFT_OVER: bytes behind the last block */
    uint8_t found;    /* code of that marker, 0: there is none */
    uint8_t expected; /* JPEG_RESTART: the one that should be there */
};

/* Walk the entropy-coded segments of a scan that begin at data[at]. scratch: len - at + JPEG_PAD bytes.
 * restart: MCUs between restart markers, 0: none (§B.2.4.4). */
void jpeg_walk_scan(struct jpeg_scan *scan, const uint8_t *data, size_t len, size_t at,
                    uint32_t restart, uint8_t *scratch, struct jpeg_scan_end *end);

/* jpeg_check(), and how many blocks it looked at: what tests hold against the budget. */
int jpeg_check_counted(const struct media *media, const struct limits *limits,
                       struct verdict *verdict, uint64_t *ret_visits, struct err *err);

/* EXIF orientation of an APP1 segment's content (1 … 8), or 0. */
unsigned jpeg_exif_orientation(const uint8_t *data, size_t len);
/* How many pictures an APP2 segment's multi-picture index (CIPA DC-007) lists, or 0. */
unsigned jpeg_mpf_pictures(const uint8_t *data, size_t len);

#endif
