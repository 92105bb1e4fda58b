#include "validate/jail.h"

#include <errno.h>
#include <malloc.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

DEFINE_FREEP(scmp_filter_ctx, seccomp_release)

/* Landlock's own header may be older than the kernel: rights by the version that brought them. */
enum { LANDLOCK_GET_VERSION = 1 };

struct landlock_rights {
    uint64_t files, ports, scopes; /* scopes: abstract sockets, signals */
};

static struct landlock_rights rights_of(long version)
{
    struct landlock_rights r = { .files = (1u << 13) - 1 }; /* execute … make a link */

    if (version >= 2)
        r.files |= 1u << 13; /* move to another folder */
    if (version >= 3)
        r.files |= 1u << 14; /* truncate */
    if (version >= 4)
        r.ports = 3; /* bind, connect */
    if (version >= 5)
        r.files |= 1u << 15; /* ioctl of a device */
    if (version >= 6)
        r.scopes = 3;
    return r;
}

void jail_close_from(int first)
{
    if (close_range((unsigned)first, ~0u, 0) == 0)
        return;
    /* An older kernel, or a container's filter that does not know the call. */
    for (int fd = first, end = (int)sysconf(_SC_OPEN_MAX); fd < end; fd++)
        (void)close(fd);
}

bool jail_landlock(void)
{
    CLEANUP(closep) int ruleset = -1;
    struct landlock_rights rights;
    size_t size = sizeof(rights);
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_GET_VERSION);

    if (version < 1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return false;
    rights = rights_of(version);
    if (version < 6)
        size = version < 4 ? offsetof(struct landlock_rights, ports)
                           : offsetof(struct landlock_rights, scopes);
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &rights, size, 0);
    return ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}

static int set_rlimits(uint64_t memory, struct err *err)
{
    const struct {
        __rlimit_resource_t what;
        rlim_t value;
    } limits[] = {
        { RLIMIT_AS, memory }, { RLIMIT_NOFILE, 8 }, { RLIMIT_FSIZE, 0 },
        { RLIMIT_CORE, 0 },    { RLIMIT_NPROC, 0 },
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit limit = { limits[i].value, limits[i].value }, now;
        /* What the service was given may be less than that, and cannot be raised. */
        if (getrlimit(limits[i].what, &now) == 0 && now.rlim_max < limit.rlim_max)
            limit.rlim_cur = limit.rlim_max = now.rlim_max;
        if (setrlimit(limits[i].what, &limit) < 0)
            return err_errno(err, errno, "setrlimit");
    }
    return 0;
}

/* What serving one request after the other takes, and what malloc and libcrypto need meanwhile. Not
 * here on purpose: fstat (glibc makes it newfstatat, which tells of any path), read and write (pread
 * and the socket are enough), poll, and whatever makes a thread, a descriptor or a signal. */
static const char *const allowed_calls[] = {
    "pread64", "close", "exit",         "exit_group",      "brk",           "munmap",    "mremap",
    "madvise", "futex", "rt_sigreturn", "restart_syscall", "clock_gettime", "getrandom",
};
static const char *const socket_calls[] = { "recvmsg", "sendmsg" };
static const char *const memory_calls[] = { "mmap", "mprotect" }; /* third: the protection */

const char *jail_call_name(unsigned i)
{
    if (i < ARRAY_LEN(allowed_calls))
        return allowed_calls[i];
    i -= ARRAY_LEN(allowed_calls);
    if (i < ARRAY_LEN(socket_calls))
        return socket_calls[i];
    i -= ARRAY_LEN(socket_calls);
    return i < ARRAY_LEN(memory_calls) ? memory_calls[i] : NULL;
}

static int allow(scmp_filter_ctx filter, const char *name, unsigned n,
                 struct scmp_arg_cmp condition)
{
    int call = seccomp_syscall_resolve_name(name);

    return call == __NR_SCMP_ERROR ? -ENOSYS
                                   : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, n, condition);
}

static int load_filter(struct err *err)
{
    const struct scmp_arg_cmp none = { 0 };
    CLEANUP(seccomp_releasep) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r;

    if (!filter)
        return err_set(err, ERR_NOMEM, "out of memory");
    r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(allowed_calls); i++)
        r = allow(filter, allowed_calls[i], 0, none);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(socket_calls); i++)
        r = allow(filter, socket_calls[i], 1, SCMP_A0(SCMP_CMP_EQ, JAIL_SOCKET, 0));
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(memory_calls); i++)
        r = allow(filter, memory_calls[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (r == 0)
        r = seccomp_load(filter);
    if (r < 0)
        return err_set(err, ERR_UNSUPPORTED, "the seccomp filter cannot be had (error %d)", -r);
    return 0;
}

int jail_enter(uint64_t memory, unsigned *ret_layers, struct err *err)
{
    unsigned layers = 0;

    if (JAIL_HAS_SANITIZER) {
        *ret_layers = 0;
        return 0;
    }
    /* A second arena would ask for the number of processors, which is a call too many. */
    (void)mallopt(M_ARENA_MAX, 1);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return err_errno(err, errno, "prctl");
    if (jail_landlock())
        layers |= JAIL_LANDLOCK;
    if (set_rlimits(memory, err) < 0)
        return -1;
    layers |= JAIL_RLIMITS;
    if (load_filter(err) < 0)
        return -1;
    *ret_layers = layers | JAIL_SECCOMP;
    return 0;
}
