#ifndef SUPPORT_EMULATED_H
#define SUPPORT_EMULATED_H
/* emulated: are we run by an emulator of another processor (qemu-user)? It has no seccomp and does not
 * hold us to all our resource limits, so what is tested of these is skipped. Every kernel that assay
 * runs on answers this question with 0, 1 or 2; the emulator knows it not. */
#include <stdbool.h>
#include <sys/prctl.h>

static inline bool emulated(void)
{
    return prctl(PR_GET_SECCOMP) < 0;
}

#endif
