#ifndef VALIDATE_POOL_PARTS_H
#define VALIDATE_POOL_PARTS_H
/* pool_parts: the processes of a pool, and what they say to each other. Private to validate/.
 *
 *     caller ──zygote_request──▸ zygote      fork (and bury) a child
 *            ◂─zygote_reply + socket──       the caller's end of the child's socket; first of all,
 *                                            unasked, one for each slot
 *     caller ──check_request + file──▸ child
 *            ◂─check_reply────────────       first of all, unasked: CHECK_READY or CHECK_UNFIT
 *
 * All sockets are SOCK_SEQPACKET: one message, one packet. The messages are structs as they are in
 * memory: both ends are the same program. A child is never trusted: the caller checks every field. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "validate/pool.h"

/* Where a child of the slot stands, in a page that it shares with the caller. It tells a file that
 * cannot be read in time (the storage's fault) from one that cannot be judged in time (its own). */
struct stage {
    _Atomic uint32_t is_reading;
};

struct zygote_request {
    pid_t old_pid; /* kill and reap this child first; 0: there is none */
    uint32_t slot;
};

struct zygote_reply {
    int old_status; /* as of waitpid(); -1: none, or it cannot be had */
    pid_t new_pid;  /* 0: none, see errnum */
    int errnum;
};

struct check_request {
    uint64_t serial; /* comes back in the reply, so that no reply is taken for another */
    uint64_t size;
};

enum check_outcome {
    CHECK_READY,  /* the jail is entered; layers is set */
    CHECK_UNFIT,  /* it cannot be entered; err says why */
    CHECK_JUDGED, /* verdict is set */
    CHECK_FAULT,  /* the file could not be read; err says why */
    CHECK_NOMEM,  /* memory ran out */
};

struct check_reply {
    uint64_t serial;
    enum check_outcome outcome;
    uint32_t layers;
    struct err err;
    struct verdict verdict;
};

/* What the zygote and the children work with. */
struct pool_work {
    struct pool_config config;
    struct stage **stages; /* one a slot, each in a page of its own */
    uint64_t memory;       /* address space of a child */
};

/* pool_zygote.c. Never returns. socket: the zygote's end; parent: the process that forks it. */
_Noreturn void zygote_run(const struct pool_work *work, int socket, pid_t parent);
/* pool_child.c. Never returns. socket: the child's end. */
_Noreturn void child_run(const struct pool_work *work, uint32_t slot, int socket);
/* In the zygote: libcrypto's sha256, fetched and used once, so that nothing is left for a child to load
 * in the jail. A failure shows in every child's first word. */
void child_prepare_digest(void);
#endif
