#ifndef BASE_PERMUTE_H
#define BASE_PERMUTE_H
/* permute: short public names for consecutive numbers. A keyed permutation of the number space, so
 * that names cannot collide, need no index, and tell nobody who lacks the key how many there are.
 *
 * A name is [0-9][a-z0-9]{6,11}. Numbers 0 … 10·36^6-1 have names of 7 characters, the next 10·36^7
 * names of 8, and so on to 12. Within a length: a Feistel network of 8 rounds with SipHash-2-4 as
 * round function, cycle-walked into the length's range (Black and Rogaway, "Ciphers with arbitrary
 * finite domains", 2002). */
#include <stdbool.h>
#include <stdint.h>

enum { PERMUTE_NAME_LEN = 13, PERMUTE_KEY_LEN = 16 };

struct permute {
    uint64_t key[2];
};

void permute_init(struct permute *p, const uint8_t key[static PERMUTE_KEY_LEN]);
/* number's name, NUL-terminated. number < 10·(36^6 + … + 36^11), some 1.35·10^18. */
void permute_name(const struct permute *p, uint64_t number,
                  char ret_name[static PERMUTE_NAME_LEN + 1]);
/* The number behind name; false: name is not of the form, or too large to be one. */
bool permute_number(const struct permute *p, const char *name, uint64_t *ret_number);
#endif
