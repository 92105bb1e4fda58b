#ifndef BASE_HASH_H
#define BASE_HASH_H
/* hash: FNV-1a of 32 bits, for tables and against accidents. Not against people: whoever may choose what is
 * hashed can make it collide. */
#include <stddef.h>
#include <stdint.h>

#define FNV1A_BEGIN UINT32_C(2166136261)

/* Go on from hash, which is FNV1A_BEGIN at first. */
static inline uint32_t fnv1a(uint32_t hash, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)data[i]) * UINT32_C(16777619);
    return hash;
}
#endif
