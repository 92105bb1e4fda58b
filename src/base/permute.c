#include "base/permute.h"

#include <string.h>

/* LAST_LEN: the range of 13 characters, 10·36^12, is more than 64 bits hold. */
enum { FIRST_LEN = 7, LAST_LEN = 12, ROUNDS = 8 };

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

/* Inlined, v lives in registers: half the cost of a name. */
static inline __attribute__((always_inline)) void sip_round(uint64_t v[static 4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-2-4 of the eight bytes of word (Aumasson and Bernstein, 2012). */
static uint64_t siphash(const uint64_t key[static 2], uint64_t word)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                      key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
    const uint64_t blocks[2] = { word, (uint64_t)8 << 56 };
    for (int i = 0; i < 2; i++) {
        v[3] ^= blocks[i];
        sip_round(v);
        sip_round(v);
        v[0] ^= blocks[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void permute_init(struct permute *p, const uint8_t key[static PERMUTE_KEY_LEN])
{
    for (int i = 0; i < 2; i++) {
        p->key[i] = 0;
        for (int j = 0; j < 8; j++)
            p->key[i] |= (uint64_t)key[8 * i + j] << (8 * j);
    }
}

/* The least number whose square is at least size, which is below 2^62. */
static uint64_t root_of(uint64_t size)
{
    uint64_t root = 0; /* the greatest whose square is below it, bit by bit */
    for (uint64_t bit = (uint64_t)1 << 30; bit; bit >>= 1)
        if ((root | bit) * (root | bit) < size)
            root |= bit;
    return root + 1;
}

/* One pass of the network over the pairs of numbers below half. Run backwards it is its own inverse. */
static uint64_t feistel(const struct permute *p, uint64_t x, uint64_t half, bool backwards)
{
    uint64_t left = x / half, right = x % half;
    for (int i = 0; i < ROUNDS; i++) {
        int round = backwards ? ROUNDS - 1 - i : i;
        /* a function of its own for each round and length; the halves are below 2^31 */
        uint64_t tweak = (uint64_t)round << 60 ^ half << 31;
        if (backwards) {
            uint64_t old_left = (right + half - siphash(p->key, tweak ^ left) % half) % half;
            right = left;
            left = old_left;
        } else {
            uint64_t new_right = (left + siphash(p->key, tweak ^ right) % half) % half;
            left = right;
            right = new_right;
        }
    }
    return left * half + right;
}

/* Halves that just hold the range: hardly ever does a pass lead out of it and has to be repeated. */
static uint64_t permute_within(const struct permute *p, uint64_t x, uint64_t size, bool backwards)
{
    uint64_t half = root_of(size);
    do
        x = feistel(p, x, half, backwards);
    while (x >= size);
    return x;
}

void permute_name(const struct permute *p, uint64_t number,
                  char ret_name[static PERMUTE_NAME_LEN + 1])
{
    uint64_t size = (uint64_t)10 * 36 * 36 * 36 * 36 * 36 * 36;
    int len = FIRST_LEN;
    while (number >= size && len < LAST_LEN) {
        number -= size;
        size *= 36;
        len++;
    }
    uint64_t x = permute_within(p, number, size, false);
    ret_name[len] = '\0';
    for (int i = len - 1; i >= 0; i--) {
        ret_name[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[x % 36];
        x /= 36;
    }
}

bool permute_number(const struct permute *p, const char *name, uint64_t *ret_number)
{
    size_t len = strnlen(name, LAST_LEN + 1);
    if (len < FIRST_LEN || len > LAST_LEN || name[0] < '0' || name[0] > '9')
        return false;
    uint64_t x = 0;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9')
            x = x * 36 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'z')
            x = x * 36 + (uint64_t)(c - 'a') + 10;
        else
            return false;
    }
    uint64_t size = (uint64_t)10 * 36 * 36 * 36 * 36 * 36 * 36, before = 0;
    for (size_t l = FIRST_LEN; l < len; l++) {
        before += size;
        size *= 36;
    }
    *ret_number = before + permute_within(p, x, size, true);
    return true;
}
