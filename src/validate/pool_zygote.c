/* pool_zygote: a small process without threads that makes the children and reaps them. They are its
 * own children, and it reaps one only when asked to: so no process id is ever used again too soon. */
#include "validate/pool_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "validate/jail.h"

enum { REAP_MS = 200, MAX_ABANDONED = 64 };

static void wait_ms(long ms)
{
    const struct timespec t = { 0, ms * 1000000 };

    (void)nanosleep(&t, NULL);
}

/* Children that would not die in time: they hang in a read that no signal interrupts. */
struct abandoned {
    pid_t pids[MAX_ABANDONED];
    unsigned n;
};

static void reap_abandoned(struct abandoned *a)
{
    for (unsigned i = 0; i < a->n;)
        if (waitpid(a->pids[i], NULL, WNOHANG) != 0)
            a->pids[i] = a->pids[--a->n];
        else
            i++;
}

/* Kill the child and say how it ended, -1 if that is not known within REAP_MS. One that is dead already
 * keeps the status that it died with. */
static int bury(struct abandoned *a, pid_t pid)
{
    int status;

    (void)kill(pid, SIGKILL);
    for (int i = 0; i < REAP_MS; i++) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid)
            return status;
        if (r < 0 && errno != EINTR)
            return -1;
        if (i > 0) /* the first time it is most often just about to be gone */
            wait_ms(1);
        else
            (void)sched_yield();
    }
    if (a->n < MAX_ABANDONED)
        a->pids[a->n++] = pid;
    return -1;
}

/* A child, and *ret_socket, the caller's end of its socket. 0: errno says why not. */
static pid_t make_child(const struct pool_work *work, uint32_t slot, int *ret_socket)
{
    const pid_t zygote = getpid();
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != zygote)
            _exit(1);
        child_run(work, slot, pair[1]);
    }
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        return 0;
    }
    *ret_socket = pair[0];
    return pid;
}

static bool send_reply(int socket, const struct zygote_reply *reply, int fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { (void *)reply, sizeof(*reply) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd >= 0) {
        struct cmsghdr *c;
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof(control.room);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(*reply);
}

/* Nothing of the service stays: no descriptor but the socket and stderr, no environment (there are
 * secrets in it), no file. The terminal's Ctrl-C is the service's business: it drains, and the children
 * are needed for that. */
static void give_up_everything(int socket)
{
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGPIPE };
    sigset_t no_signals;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        (void)signal(ignored[i], SIG_IGN);
    sigemptyset(&no_signals);
    (void)sigprocmask(SIG_SETMASK, &no_signals, NULL);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO);
    if (socket != JAIL_SOCKET)
        (void)dup2(socket, JAIL_SOCKET);
    jail_close_from(JAIL_SOCKET + 1);
    for (char **e = environ; e && *e; e++)
        explicit_bzero(*e, strlen(*e));
    (void)clearenv();
}

/* Bury the old child, make a new one, say so. false: nobody hears it. */
static bool exchange(const struct pool_work *work, const struct zygote_request *request, int socket,
                     struct abandoned *abandoned)
{
    struct zygote_reply reply = { .old_status = -1 };
    int fd = -1;
    bool sent;

    reap_abandoned(abandoned);
    if (request->old_pid > 0)
        reply.old_status = bury(abandoned, request->old_pid);
    reply.new_pid = make_child(work, request->slot, &fd);
    reply.errnum = reply.new_pid ? 0 : errno;
    sent = send_reply(socket, &reply, fd);
    if (fd >= 0)
        (void)close(fd);
    return sent;
}

void zygote_run(const struct pool_work *work, int socket, pid_t parent)
{
    struct abandoned abandoned = { .n = 0 };
    struct zygote_request request = { .old_pid = 0 };
    bool heard = true;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
        _exit(1);
    (void)prctl(PR_SET_NAME, "assay-zygote", 0, 0, 0);
    if (work->config.digest)
        child_prepare_digest();
    give_up_everything(socket);
    socket = JAIL_SOCKET;
    if (work->config.sandbox && !JAIL_HAS_SANITIZER)
        (void)jail_landlock();
    for (; heard && request.slot < work->config.slots; request.slot++)
        heard = exchange(work, &request, socket, &abandoned);
    while (heard && recv(socket, &request, sizeof(request), 0) == (ssize_t)sizeof(request))
        heard = exchange(work, &request, socket, &abandoned);
    /* The service is gone: the children see the end of their sockets; those that do not die with us. */
    for (int i = 0; i < REAP_MS && waitpid(-1, NULL, WNOHANG) >= 0; i++)
        wait_ms(1);
    _exit(0);
}
