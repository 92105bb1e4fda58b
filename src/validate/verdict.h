#ifndef VALIDATE_VERDICT_H
#define VALIDATE_VERDICT_H
/* verdict: all that a check found out about one file. Of fixed size and without pointers, so that a
 * jailed child can send it as it is and the parent can check every field (verdict_is_sane()). */
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

enum finding_code {
    FINDING_NOT_REACHABLE,
    FINDING_EMPTY,
    FINDING_TOO_LARGE,
    FINDING_NOT_AN_IMAGE,
    FINDING_NOT_A_JPEG,
    FINDING_TOO_WIDE,
    FINDING_TOO_HIGH,
    FINDING_TRUNCATED,
    FINDING_CORRUPT,
    FINDING_UNSUPPORTED_JPEG,
    FINDING_INVALID_URL,
    FINDING_DISALLOWED_URL,
    /* Warnings: facts that a labeller should know and that fail nothing. */
    FINDING_ROTATED,        /* EXIF orientation is not 1: shown otherwise than stored */
    FINDING_AMBIGUOUS_CMYK, /* CMYK without an Adobe marker: browsers guess the ink polarity */
    FINDING_TRAILING_BYTES, /* bytes after the end of the image */
    FINDING_MULTI_PICTURE,  /* an MPO or Ultra HDR file: only the first picture is judged */
};
enum { FINDING_COUNT = FINDING_MULTI_PICTURE + 1 };

/* The stable code ("too_wide"), whether it fails the asset, and what one can do about it. */
const char *finding_name(enum finding_code code);
bool finding_is_error(enum finding_code code);
const char *finding_remedy(enum finding_code code);

/* The names that the contract fixes; IMAGE_UNKNOWN: none of them. */
enum image_format {
    IMAGE_UNKNOWN,
    IMAGE_JPEG,
    IMAGE_PNG,
    IMAGE_GIF,
    IMAGE_WEBP,
    IMAGE_BMP,
    IMAGE_TIFF,
    IMAGE_ICO,
    IMAGE_CUR,
    IMAGE_AVIF,
    IMAGE_HEIC,
    IMAGE_JP2,
    IMAGE_JXL,
    IMAGE_JXR,
    IMAGE_PSD,
    IMAGE_SVG,
    IMAGE_PNM,
    IMAGE_QOI,
    IMAGE_HDR,
    IMAGE_EXR,
    IMAGE_DDS,
    IMAGE_ICNS,
    IMAGE_TGA,
    IMAGE_CR2,
    IMAGE_CR3,
    IMAGE_NEF,
    IMAGE_ARW,
    IMAGE_DNG,
    IMAGE_RAF,
    IMAGE_RW2,
    IMAGE_ORF,
};
enum { IMAGE_FORMATS = IMAGE_ORF + 1 };
const char *image_format_name(enum image_format format); /* "jpeg" …; NULL for IMAGE_UNKNOWN */

struct finding {
    enum finding_code code;
    int64_t measured, allowed; /* pixels or bytes, as the code says; -1: does not apply */
    int64_t offset;            /* of the byte where it was seen; -1: does not apply */
    char detail[120];          /* what exactly, for a person; "" if the code says it all */
};

enum { VERDICT_FINDINGS = 16, SHA256_LEN = 32 };

struct verdict {
    enum image_format format;
    uint32_t width, height; /* pixels as stored; 0: unknown */
    uint32_t orientation;   /* EXIF 1 … 8; 0: unknown */
    uint64_t bytes;         /* size of the whole file */
    bool has_sha256;
    uint8_t sha256[SHA256_LEN];
    uint32_t finding_count;
    struct finding findings[VERDICT_FINDINGS]; /* one of each code at the most, in no order */
};

void verdict_init(struct verdict *v, uint64_t bytes);
/* Add a finding of code unless there is one already (the first is kept: it is nearest to the cause).
 * Returns it for measured, allowed, offset and detail to be filled in; never NULL. */
struct finding *verdict_add(struct verdict *v, enum finding_code code);
bool verdict_has(const struct verdict *v, enum finding_code code);
/* No finding of severity error. */
bool verdict_is_valid(const struct verdict *v);
/* Every field within its range and every text terminated: what the parent asks of a child's answer. */
bool verdict_is_sane(const struct verdict *v);

struct buf;
/* The sentence of the contract ("has a width greater than 1000px"), limits as configured. */
struct limits;
void finding_sentence(enum finding_code code, const struct limits *limits, struct buf *out);
#endif
