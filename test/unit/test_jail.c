#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "support/emulated.h"
#include "validate/jail.h"

/* What a hijacked child might try. Each returns when it was refused, or ends with _exit(ESCAPED). */
enum { ESCAPED = 42, REFUSED = 7, NO_JAIL = 8, MEMORY = 256 * 1024 * 1024 };

static void *page; /* mapped before the jail is entered */
static pid_t parent;

static void escaped_if(bool worked)
{
    if (worked)
        _exit(ESCAPED);
}

static void open_a_file(void)
{
    escaped_if(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) >= 0);
}

static void openat2_a_file(void)
{
    struct open_how how = { .flags = O_RDONLY };

    escaped_if(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", &how, sizeof(how)) >= 0);
}

static void stat_a_path(void)
{
    struct stat st;

    escaped_if(fstatat(AT_FDCWD, "/etc/passwd", &st, 0) == 0);
}

static void statx_a_path(void)
{
    struct statx st;

    escaped_if(statx(AT_FDCWD, "/etc/passwd", 0, STATX_SIZE, &st) == 0);
}

static void fstat_a_descriptor(void)
{
    struct stat st;

    escaped_if(fstat(JAIL_SOCKET, &st) == 0); /* glibc's is a call that takes paths too */
}

static void make_a_socket(void)
{
    escaped_if(socket(AF_INET, SOCK_STREAM, 0) >= 0);
}

static void connect_its_socket(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(1) };

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)connect(JAIL_SOCKET, (struct sockaddr *)&to, sizeof(to));
    escaped_if(errno == ECONNREFUSED);
}

static void send_on_another_descriptor(void)
{
    struct msghdr msg = { 0 };

    escaped_if(sendmsg(1, &msg, 0) >= 0 || errno == ENOTSOCK);
}

static void fork_a_process(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    escaped_if(pid > 0);
}

static void clone3_a_process(void)
{
    uint64_t args[11] = { 0 };
    long pid = syscall(SYS_clone3, args, sizeof(args));

    escaped_if(pid >= 0);
}

static void execute_a_program(void)
{
    char *const argv[] = { "/bin/true", NULL };

    (void)execve(argv[0], argv, argv + 1);
}

static void trace_the_parent(void)
{
    escaped_if(ptrace(PTRACE_ATTACH, parent, NULL, NULL) == 0);
}

static void signal_the_parent(void)
{
    escaped_if(kill(parent, 0) == 0);
}

static void signal_itself(void)
{
    (void)raise(SIGUSR1);
}

static void map_code(void)
{
    escaped_if(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
               MAP_FAILED);
}

static void turn_data_into_code(void)
{
    escaped_if(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
}

static void set_up_io_uring(void)
{
    struct io_uring_params params = { 0 };

    escaped_if(syscall(SYS_io_uring_setup, 4, &params) >= 0);
}

static void become_dumpable(void)
{
    escaped_if(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
}

static void raise_its_limits(void)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    escaped_if(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void make_a_memory_file(void)
{
    escaped_if(syscall(SYS_memfd_create, "code", 0) >= 0);
}

static void enter_a_namespace(void)
{
    escaped_if(unshare(CLONE_NEWUSER) == 0);
}

static void load_another_filter(void)
{
    escaped_if(syscall(SYS_seccomp, 0, 0, NULL) == 0 || errno == EFAULT || errno == EINVAL);
}

static void read_memory_of_the_parent(void)
{
    struct iovec here = { page, 16 }, there = { page, 16 };

    escaped_if(syscall(SYS_process_vm_readv, parent, &here, 1, &there, 1, 0) >= 0);
}

static void take_a_lot_of_memory(void)
{
    escaped_if(mmap(NULL, MEMORY, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

static void write_to_stderr(void)
{
    escaped_if(syscall(SYS_write, 2, "", 0) == 0);
}

#ifdef __x86_64__
static void call_by_the_32_bit_gate(void)
{
    long r;

    /* 20: getpid there. Its number here is writev's. */
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
    escaped_if(r > 0);
}

static void call_by_the_x32_abi(void)
{
    escaped_if(syscall(0x40000000 | SYS_pread64, JAIL_SOCKET, page, 1, 0) >= 0 || errno == ESPIPE);
}
#endif

static const struct {
    const char *name;
    void (*attempt)(void);
    bool may_be_refused; /* or killed; all others are killed */
} escapes[] = {
    { "open a file", open_a_file, false },
    { "openat2 a file", openat2_a_file, false },
    { "stat a path", stat_a_path, false },
    { "statx a path", statx_a_path, false },
    { "fstat a descriptor", fstat_a_descriptor, false },
    { "make a socket", make_a_socket, false },
    { "connect its socket", connect_its_socket, false },
    { "send on another descriptor", send_on_another_descriptor, false },
    { "fork a process", fork_a_process, false },
    { "clone3 a process", clone3_a_process, false },
    { "execute a program", execute_a_program, false },
    { "trace the parent", trace_the_parent, false },
    { "signal the parent", signal_the_parent, false },
    { "signal itself", signal_itself, false },
    { "map code", map_code, false },
    { "turn data into code", turn_data_into_code, false },
    { "set up io_uring", set_up_io_uring, false },
    { "become dumpable", become_dumpable, false },
    { "raise its limits", raise_its_limits, false },
    { "make a memory file", make_a_memory_file, false },
    { "enter a namespace", enter_a_namespace, false },
    { "load another filter", load_another_filter, false },
    { "read memory of the parent", read_memory_of_the_parent, false },
    { "take a lot of memory", take_a_lot_of_memory, true },
    { "write to stderr", write_to_stderr, false },
#ifdef __x86_64__
    { "call by the 32-bit gate", call_by_the_32_bit_gate, false },
    { "call by the x32 ABI", call_by_the_x32_abi, false },
#endif
};

/* How a process ended that entered the jail and then tried. */
static int end_of(void (*attempt)(void))
{
    int status;
    pid_t pid;

    parent = getpid();
    pid = fork();
    if (pid == 0) {
        unsigned layers;
        struct err err;
        int pair[2];
        page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || dup2(pair[0], JAIL_SOCKET) < 0 ||
            jail_enter(MEMORY, &layers, &err) < 0 || !(layers & JAIL_SECCOMP))
            _exit(NO_JAIL);
        attempt();
        _exit(REFUSED);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    return status;
}

static void every_escape_is_held(void **state)
{
    unsigned wrong = 0;

    (void)state;
    if (JAIL_HAS_SANITIZER || emulated())
        skip();
    for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
        int status = end_of(escapes[i].attempt);
        bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
        bool is_refused = WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
        if (!is_killed && !(is_refused && escapes[i].may_be_refused)) {
            print_message("%s: status %#x\n", escapes[i].name, status);
            wrong++;
        }
    }
    assert_int_equal(0, wrong);
}

/* The same with Landlock alone: it must hold by itself, as seccomp must (above). */
static void landlock_alone_keeps_files_and_ports_away(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (JAIL_HAS_SANITIZER || emulated())
        skip();
    parent = getpid();
    pid = fork();
    if (pid == 0) {
        if (!jail_landlock())
            _exit(NO_JAIL);
        escaped_if(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES);
        escaped_if(open("/tmp/assay-test-jail", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0);
        escaped_if(mkdir("/tmp/assay-test-jail", 0700) == 0);
        _exit(REFUSED);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_JAIL)
        skip();
    assert_int_equal(REFUSED, WEXITSTATUS(status));
}

static void work_as_usual(void)
{
    struct iovec iov = { page, 16 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    char *blocks[64];

    /* Small and large blocks, more than there is room for, and all of it given back. */
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
            blocks[i] = malloc((size_t)1024 << i % 18);
            if (blocks[i])
                memset(blocks[i], 1, 1024);
        }
        for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
            free(blocks[i]);
    }
    if (sendmsg(JAIL_SOCKET, &msg, MSG_NOSIGNAL) != 16)
        _exit(ESCAPED);
    _exit(0);
}

static void what_a_check_needs_is_left(void **state)
{
    (void)state;
    if (JAIL_HAS_SANITIZER || emulated())
        skip();
    assert_int_equal(0, end_of(work_as_usual));
}

static void a_process_of_the_same_user_cannot_look_inside(void **state)
{
    int pair[2], status;
    unsigned layers;
    struct err err;
    pid_t pid;
    char byte;

    (void)state;
    if (JAIL_HAS_SANITIZER || emulated())
        skip();
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
    pid = fork();
    if (pid == 0) {
        struct iovec iov = { &byte, 1 };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        (void)dup2(pair[1], JAIL_SOCKET);
        (void)close_range(JAIL_SOCKET + 1, ~0u, 0);
        if (jail_enter(MEMORY, &layers, &err) < 0)
            _exit(NO_JAIL);
        byte = 1;
        (void)sendmsg(JAIL_SOCKET, &msg, 0);
        (void)recvmsg(JAIL_SOCKET, &msg, 0);
        _exit(0);
    }
    (void)close(pair[1]);
    assert_int_equal(1, read(pair[0], &byte, 1));
    {
        char path[64];
        struct stat st;
        (void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
        assert_int_equal(0, stat(path, &st));
        assert_int_equal(0, st.st_uid); /* not dumpable: root's, whoever runs it */
    }
    (void)close(pair[0]);
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
}

static void every_call_that_is_left_exists_on_every_architecture(void **state)
{
    static const uint32_t architectures[] = { SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64 };

    (void)state;
    assert_non_null(jail_call_name(0));
    for (size_t i = 0; i < ARRAY_LEN(architectures); i++)
        for (unsigned k = 0; jail_call_name(k); k++)
            if (seccomp_syscall_resolve_name_arch(architectures[i], jail_call_name(k)) < 0)
                fail_msg("%s", jail_call_name(k));
}

static void no_descriptor_stays_open(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        (void)dup2(2, 100);
        jail_close_from(50);
        _exit(fcntl(100, F_GETFD) >= 0);
    }
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_int_equal(0, status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_escape_is_held),
        cmocka_unit_test(landlock_alone_keeps_files_and_ports_away),
        cmocka_unit_test(what_a_check_needs_is_left),
        cmocka_unit_test(every_call_that_is_left_exists_on_every_architecture),
        cmocka_unit_test(no_descriptor_stays_open),
        cmocka_unit_test(a_process_of_the_same_user_cannot_look_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
