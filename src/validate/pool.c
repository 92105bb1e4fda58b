#include "validate/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "validate/jail.h"
#include "validate/pool_parts.h"

enum {
    DEADLINE_MS = 2000,
    START_MS = 10 * 1000, /* for the zygote to answer, and for a child to be ready */
    RECYCLE_AFTER = 10 * 1000,
    DEATHS_MAX = 2, /* of children over one file */
};

/* Used by one thread at a time. */
struct slot {
    int socket; /* -1: no child */
    pid_t pid;  /* of the child that has not been reaped yet; 0: none */
    unsigned served;
    uint64_t serial;
    struct stage *stage;
};

struct pool {
    struct pool_work work;
    struct slot *slots;
    char layers[64];
    pid_t zygote_pid;
    _Atomic uint64_t deaths[POOL_SIGNALS];
    pthread_mutex_t lock; /* of what follows */
    int zygote;           /* socket; -1: it is gone, and with it every child */
};

DEFINE_FREEP(struct pool *, pool_free)

/* Address space of a child: the program, the decoder's blocks; the file itself comes on top. */
static const uint64_t MEMORY_BASE = 224 * 1024 * 1024;

static int set_receive_timeout(int socket, int ms, struct err *err)
{
    const struct timeval t = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0)
        return err_errno(err, errno, "setsockopt");
    return 0;
}

/* NULL: no request; what it says first, unasked. Under the lock, once there are threads. */
static int ask_zygote(struct pool *pool, const struct zygote_request *request,
                      struct zygote_reply *ret_reply, int *ret_socket, struct err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { ret_reply, sizeof(*ret_reply) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof(control.room) };
    const struct cmsghdr *c;
    ssize_t n = -1;

    if (pool->zygote >= 0 && (!request || send(pool->zygote, request, sizeof(*request),
                                               MSG_NOSIGNAL) == (ssize_t)sizeof(*request)))
        do
            n = recvmsg(pool->zygote, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(*ret_reply)) {
        /* Half an exchange: its next reply would answer the wrong request. */
        closep(&pool->zygote);
        pool->zygote = -1;
        return err_set(err, ERR_IO, "the zygote is gone: no file can be judged any more");
    }
    c = CMSG_FIRSTHDR(&msg);
    *ret_socket = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_socket, CMSG_DATA(c), sizeof(int));
    return 0;
}

/* Wait for a whole reply of the child. 1: there is one; 0: it died; -1: the time is up. */
static int receive_reply(int socket, int64_t until_ms, struct check_reply *ret_reply)
{
    for (;;) {
        ssize_t n = recv(socket, ret_reply, sizeof(*ret_reply), 0);
        if (n == (ssize_t)sizeof(*ret_reply))
            return 1;
        if (n >= 0)
            return 0;
        if (errno != EINTR)
            return errno == EAGAIN ? -1 : 0;
        if (clock_mono_ms() >= until_ms)
            return -1;
    }
}

static void count_death(struct pool *pool, int status)
{
    int signal = status == -1 ? SIGKILL : WIFSIGNALED(status) ? WTERMSIG(status) : 0;

    if (signal < POOL_SIGNALS)
        atomic_fetch_add_explicit(&pool->deaths[signal], 1, memory_order_relaxed);
}

static void name_layers(struct pool *pool, unsigned layers)
{
    const char *text = "off (sanitizer build)";

    if (layers & JAIL_SECCOMP)
        text = layers & JAIL_LANDLOCK ? "seccomp,landlock,rlimits" : "seccomp,rlimits";
    (void)snprintf(pool->layers, sizeof(pool->layers), "%s", text);
}

/* The first word of a child: the jail is entered, or cannot be. */
static int greet_child(struct pool *pool, struct slot *slot, struct err *err)
{
    struct check_reply hello;

    if (set_receive_timeout(slot->socket, START_MS, err) < 0)
        return -1;
    if (receive_reply(slot->socket, clock_mono_ms() + START_MS, &hello) != 1)
        return err_set(err, ERR_IO, "a child did not start");
    if (hello.outcome != CHECK_READY) {
        hello.err.msg[sizeof(hello.err.msg) - 1] = '\0';
        return err_set(err, ERR_UNSUPPORTED, "a child is not fit: %s", hello.err.msg);
    }
    if (!pool->layers[0]) /* by pool_ready(), before anybody asks */
        name_layers(pool, hello.layers);
    return set_receive_timeout(slot->socket, pool->work.config.deadline_ms, err);
}

/* Make the zygote's new child, behind socket, the slot's. */
static int take_child(struct pool *pool, struct slot *slot, const struct zygote_reply *reply,
                      int socket, struct err *err)
{
    slot->socket = socket;
    slot->pid = reply->new_pid;
    slot->served = 0;
    if (reply->new_pid == 0)
        return err_errno(err, reply->errnum, "the zygote cannot make a child");
    if (slot->socket < 0)
        return err_set(err, ERR_NOMEM, "no descriptor left for a child's socket");
    if (greet_child(pool, slot, err) < 0) {
        closep(&slot->socket);
        slot->socket = -1;
        return -1;
    }
    return 0;
}

/* A fresh child for the slot. The old one's end is *ret_status, as of waitpid(), and is_death says
 * whether it counts as a death. */
static int replace_child(struct pool *pool, struct slot *slot, bool is_death, int *ret_status,
                         struct err *err)
{
    const struct zygote_request request = { .old_pid = slot->pid,
                                            .slot = (uint32_t)(slot - pool->slots) };
    struct zygote_reply reply;
    /* Closed when the child is reaped: it would see the end and exit before it is killed. */
    CLEANUP(closep) int old_socket = TAKE_FD(slot->socket);
    int socket, r;

    (void)old_socket;
    (void)pthread_mutex_lock(&pool->lock);
    r = ask_zygote(pool, &request, &reply, &socket, err);
    (void)pthread_mutex_unlock(&pool->lock);
    if (r < 0)
        return -1;
    *ret_status = reply.old_status;
    if (is_death)
        count_death(pool, reply.old_status);
    return take_child(pool, slot, &reply, socket, err);
}

static bool send_file(struct slot *slot, int fd, uint64_t size)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct check_request request = { .serial = ++slot->serial, .size = size };
    struct iovec iov = { &request, sizeof(request) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof(control.room) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    return sendmsg(slot->socket, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(request);
}

/* Can this be the honest answer of a check? */
static bool reply_is_sane(const struct check_reply *reply, const struct slot *slot, uint64_t size)
{
    const struct verdict *v = &reply->verdict;

    if (reply->serial != slot->serial)
        return false;
    switch (reply->outcome) {
    case CHECK_JUDGED:
        return verdict_is_sane(v) && v->bytes <= size && !verdict_has(v, FINDING_NOT_REACHABLE) &&
               !verdict_has(v, FINDING_INVALID_URL) && !verdict_has(v, FINDING_DISALLOWED_URL);
    case CHECK_FAULT:
        return (unsigned)reply->err.code <= ERR_UNSUPPORTED &&
               memchr(reply->err.msg, '\0', sizeof(reply->err.msg));
    case CHECK_NOMEM:
        return true;
    case CHECK_READY:
    case CHECK_UNFIT:
        break;
    }
    return false;
}

enum attempt {
    ATTEMPT_ANSWERED,
    ATTEMPT_FAULT,    /* the child is well */
    ATTEMPT_NO_CHILD, /* it died before it got the file */
    ATTEMPT_STALLED,  /* it waits for the storage or for a processor: no fault of the file */
    ATTEMPT_DIED,
    ATTEMPT_LATE,
    ATTEMPT_NONSENSE,
    ATTEMPT_NOMEM,
};

/* Time of a processor that the process has used; a great deal if that cannot be told. */
static int64_t cpu_ms(pid_t pid)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
        return INT64_MAX;
    return used.tv_sec * INT64_C(1000) + used.tv_nsec / 1000000;
}

static enum attempt attempt(struct pool *pool, struct slot *slot, int fd, uint64_t size,
                            struct check_reply *ret_reply, struct err *err)
{
    const int deadline_ms = pool->work.config.deadline_ms;
    int r;

    atomic_store_explicit(&slot->stage->is_reading, 1, memory_order_relaxed);
    if (!send_file(slot, fd, size)) {
        if (errno == EPIPE || errno == ECONNRESET)
            return ATTEMPT_NO_CHILD;
        (void)err_errno(err, errno, "send a file to be judged");
        return ATTEMPT_FAULT;
    }
    slot->served++;
    r = receive_reply(slot->socket, clock_mono_ms() + deadline_ms, ret_reply);
    if (r < 0 && atomic_load_explicit(&slot->stage->is_reading, memory_order_relaxed)) {
        (void)err_set(err, ERR_TIMEOUT, "the file could not be read within %d ms", deadline_ms);
        return ATTEMPT_STALLED;
    }
    /* A fresh child has done nothing else: what it used of a processor, it used for this file. A tenth of
     * the deadline is far more than any sound image takes. */
    if (r < 0 && slot->served == 1 && cpu_ms(slot->pid) < deadline_ms / 10) {
        (void)err_set(err, ERR_TIMEOUT, "no processor was free to check the file within %d ms",
                      deadline_ms);
        return ATTEMPT_STALLED;
    }
    if (r <= 0)
        return r < 0 ? ATTEMPT_LATE : ATTEMPT_DIED;
    if (!reply_is_sane(ret_reply, slot, size))
        return ATTEMPT_NONSENSE;
    if (ret_reply->outcome == CHECK_NOMEM)
        return ATTEMPT_NOMEM;
    if (ret_reply->outcome == CHECK_FAULT) {
        *err = ret_reply->err;
        return ATTEMPT_FAULT;
    }
    return ATTEMPT_ANSWERED;
}

/* The verdict on a file that no child survives, or none comes to an end with. */
static void condemn(struct verdict *v, uint64_t size, enum attempt how, int status, int deadline_ms)
{
    char *detail;

    verdict_init(v, size);
    detail = verdict_add(v, FINDING_CORRUPT)->detail;
    if (how == ATTEMPT_LATE)
        (void)snprintf(detail, sizeof(v->findings->detail), "the check was stopped after %g s",
                       deadline_ms / 1000.0);
    else if (how == ATTEMPT_NOMEM)
        (void)snprintf(detail, sizeof(v->findings->detail),
                       "the check needs more memory than it may have");
    else if (how == ATTEMPT_NONSENSE)
        (void)snprintf(detail, sizeof(v->findings->detail),
                       "the checker gave an answer that makes no sense");
    else
        (void)snprintf(detail, sizeof(v->findings->detail), "killed its checker (signal %d)",
                       status != -1 && WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

int pool_check(struct pool *pool, unsigned n, int fd, uint64_t size, struct verdict *ret_verdict,
               struct err *err)
{
    struct slot *slot = &pool->slots[n];
    struct check_reply reply;
    unsigned deaths = 0, absences = 0;
    int status = -1;

    assert(n < pool->work.config.slots);
    if ((slot->socket < 0 || slot->served >= RECYCLE_AFTER) &&
        replace_child(pool, slot, false, &status, err) < 0)
        return -1;
    for (;;) {
        struct err replace_err;
        enum attempt how = attempt(pool, slot, fd, size, &reply, err);
        int r;
        if (how == ATTEMPT_ANSWERED) {
            *ret_verdict = reply.verdict;
            return 0;
        }
        if (how == ATTEMPT_FAULT)
            return -1;
        r = replace_child(pool, slot, how != ATTEMPT_NOMEM, &status, &replace_err);
        if (how == ATTEMPT_STALLED)
            return -1;
        if (how == ATTEMPT_NO_CHILD)
            absences++;
        else if (++deaths == DEATHS_MAX) {
            condemn(ret_verdict, size, how, status, pool->work.config.deadline_ms);
            return 0;
        }
        if (r < 0) {
            *err = replace_err;
            return -1;
        }
        if (absences > DEATHS_MAX)
            return err_set(err, ERR_IO, "the children do not live long enough to get a file");
    }
}

void pool_deaths(struct pool *pool, uint64_t ret_deaths[static POOL_SIGNALS])
{
    for (unsigned i = 0; i < POOL_SIGNALS; i++)
        ret_deaths[i] = atomic_load_explicit(&pool->deaths[i], memory_order_relaxed);
}

const char *pool_layers(const struct pool *pool)
{
    return pool->layers;
}

static int map_stages(struct pool_work *work, struct err *err)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    work->stages = calloc(work->config.slots, sizeof(struct stage *));
    if (!work->stages)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (unsigned i = 0; i < work->config.slots; i++) {
        void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return err_errno(err, errno, "mmap");
        work->stages[i] = p;
    }
    return 0;
}

static int fork_zygote(struct pool *pool, struct err *err)
{
    const pid_t parent = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(err, errno, "socketpair");
    pool->zygote = pair[0];
    pool->zygote_pid = fork();
    if (pool->zygote_pid == 0)
        zygote_run(&pool->work, pair[1], parent);
    (void)close(pair[1]);
    if (pool->zygote_pid < 0) {
        pool->zygote_pid = 0;
        return err_errno(err, errno, "fork the zygote");
    }
    return set_receive_timeout(pool->zygote, START_MS, err);
}

int pool_new(const struct pool_config *config, struct pool **ret_pool, struct err *err)
{
    CLEANUP(pool_freep) struct pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        return err_set(err, ERR_NOMEM, "out of memory");
    pool->zygote = -1;
    (void)pthread_mutex_init(&pool->lock, NULL);
    pool->work.config = *config;
    if (!config->sandbox)
        (void)snprintf(pool->layers, sizeof(pool->layers), "off");
    if (pool->work.config.deadline_ms == 0)
        pool->work.config.deadline_ms = DEADLINE_MS;
    pool->work.memory = MEMORY_BASE + config->limits.max_bytes;
    pool->slots = calloc(config->slots, sizeof(*pool->slots));
    if (!pool->slots)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (unsigned i = 0; i < config->slots; i++)
        pool->slots[i].socket = -1;
    if (map_stages(&pool->work, err) < 0)
        return -1;
    for (unsigned i = 0; i < config->slots; i++)
        pool->slots[i].stage = pool->work.stages[i];
    if (fork_zygote(pool, err) < 0)
        return -1;
    *ret_pool = TAKE(pool);
    return 0;
}

int pool_ready(struct pool *pool, struct err *err)
{
    for (unsigned i = 0; i < pool->work.config.slots; i++) {
        struct zygote_reply reply;
        int socket;
        if (ask_zygote(pool, NULL, &reply, &socket, err) < 0 ||
            take_child(pool, &pool->slots[i], &reply, socket, err) < 0)
            return -1;
    }
    return 0;
}

void pool_free(struct pool *pool)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (!pool)
        return;
    for (unsigned i = 0; pool->slots && i < pool->work.config.slots; i++)
        closep(&pool->slots[i].socket); /* the child sees it and ends */
    closep(&pool->zygote);
    if (pool->zygote_pid > 0)
        while (waitpid(pool->zygote_pid, NULL, 0) < 0 && errno == EINTR)
            ;
    for (unsigned i = 0; pool->work.stages && i < pool->work.config.slots; i++)
        if (pool->work.stages[i])
            (void)munmap(pool->work.stages[i], page);
    free(pool->work.stages);
    free(pool->slots);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}
