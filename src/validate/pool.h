#ifndef VALIDATE_POOL_H
#define VALIDATE_POOL_H
/* pool: jailed children that judge files, one for each slot. A zygote, forked before any thread
 * exists, makes and reaps them; a child that dies or exceeds its deadline is replaced at once.
 *
 *     caller ──socket: size + descriptor──▸ child (seccomp, Landlock, rlimits) ──struct verdict──▸ caller
 */
#include <stdbool.h>
#include <stdint.h>

#include "validate/validator.h"

struct pool;

enum { POOL_SIGNALS = 65 };

struct pool_config {
    const struct validator *validator;
    struct limits limits;
    unsigned slots;  /* ≥ 1: how many checks may run at once */
    int deadline_ms; /* 0: 2000 */
    bool sandbox; /* false: children run without the jail (ASSAY_SANDBOX=off, sanitizer builds) */
    bool digest;  /* make the sha256 of each file */
};

/* Fork the zygote, which then makes one child a slot. No thread may exist yet. */
int pool_new(const struct pool_config *config, struct pool **ret_pool, struct err *err);
/* Wait until every child is in its jail; once, before the first check. ERR_UNSUPPORTED: the jail cannot
 * be had here (no seccomp), and config asked for it. */
int pool_ready(struct pool *pool, struct err *err);
void pool_free(struct pool *pool);
/* Which layers hold, for the start line and /readyz: "seccomp,landlock,rlimits", or "off". */
const char *pool_layers(const struct pool *pool);
/* Judge the file behind fd (size bytes) in the child of slot. Blocks for twice the deadline at most.
 * One thread a slot at a time. 0: *ret_verdict is set; a file that kills two children, or is not judged
 * in time, is corrupt. -1: a fault (no child could be had, or the file could not be read). */
int pool_check(struct pool *pool, unsigned slot, int fd, uint64_t size, struct verdict *ret_verdict,
               struct err *err);
/* How many children died of each signal so far (index 0: by exit). Any thread. */
void pool_deaths(struct pool *pool, uint64_t ret_deaths[static POOL_SIGNALS]);
#endif
