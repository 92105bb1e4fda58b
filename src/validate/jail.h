#ifndef VALIDATE_JAIL_H
#define VALIDATE_JAIL_H
/* jail: the calling process gives up everything that reading one descriptor and answering on one
 * socket does not need. There is no way back. Private to validate/.
 *
 *     seccomp    a list of the system calls that are left; any other one kills the process
 *     Landlock   no path can be opened, no TCP port reached, no process outside signalled
 *     rlimits    memory, descriptors, no file, no core, no process
 *     always     no new privileges; not dumpable, so that no process of this user can trace it */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define JAIL_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define JAIL_HAS_SANITIZER 1
#endif
#endif
#ifndef JAIL_HAS_SANITIZER
#define JAIL_HAS_SANITIZER 0 /* 1: their runtime needs calls and memory that the jail denies */
#endif

/* The layers that hold, as bits. */
enum { JAIL_SECCOMP = 1, JAIL_LANDLOCK = 2, JAIL_RLIMITS = 4 };

/* The only descriptor on which the jailed process may send and receive. */
enum { JAIL_SOCKET = 3 };

/* Close every descriptor from first on. */
void jail_close_from(int first);
/* Landlock without any rule: true if this kernel has it. Sets no_new_privs. Children inherit it. */
bool jail_landlock(void);
/* Enter the jail, with memory bytes of address space. ret_layers: those that hold. ERR_UNSUPPORTED: this
 * kernel has no seccomp filters. In sanitizer builds it does nothing, and no layer holds. */
int jail_enter(uint64_t memory, unsigned *ret_layers, struct err *err);
/* The name of the i-th system call that is left, or NULL: a filter needs each of them to exist on
 * every architecture. */
const char *jail_call_name(unsigned i);
#endif
