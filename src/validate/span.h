#ifndef VALIDATE_SPAN_H
#define VALIDATE_SPAN_H
/* span: bounds-checked reading of a header. A number that lies (partly) beyond the end reads as 0, so
 * that a header which is cut short tells "nothing" instead of something. Private to validate/. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    uint64_t len;
};

static inline bool span_has(struct span s, uint64_t at, uint64_t n)
{
    return at <= s.len && n <= s.len - at;
}

static inline bool span_is(struct span s, uint64_t at, const void *bytes, size_t n)
{
    return span_has(s, at, n) && memcmp(s.data + at, bytes, n) == 0;
}

/* Does the text (without its NUL) stand at this place? */
#define span_says(s, at, text) span_is(s, at, text, sizeof(text) - 1)

/* The part from at on, n bytes at the most; empty beyond the end. */
static inline struct span span_part(struct span s, uint64_t at, uint64_t n)
{
    struct span part = { s.data, 0 };

    if (at >= s.len)
        return part;
    part.data = s.data + at;
    part.len = n < s.len - at ? n : s.len - at;
    return part;
}

static inline uint8_t span_u8(struct span s, uint64_t at)
{
    return at < s.len ? s.data[at] : 0;
}

static inline uint64_t span_number(struct span s, uint64_t at, unsigned n, bool big)
{
    uint64_t v = 0;

    if (!span_has(s, at, n))
        return 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | s.data[at + (big ? i : n - 1 - i)];
    return v;
}

static inline uint16_t span_be16(struct span s, uint64_t at)
{
    return (uint16_t)span_number(s, at, 2, true);
}

static inline uint32_t span_be32(struct span s, uint64_t at)
{
    return (uint32_t)span_number(s, at, 4, true);
}

static inline uint16_t span_le16(struct span s, uint64_t at)
{
    return (uint16_t)span_number(s, at, 2, false);
}

static inline uint32_t span_le32(struct span s, uint64_t at)
{
    return (uint32_t)span_number(s, at, 4, false);
}
#endif
