/* pool_child: receives a file, reads it, judges it, answers; again and again, until its socket ends. From
 * child_run() on hostile bytes are read here and nowhere else. */
#include "validate/pool_parts.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "validate/jail.h"

enum {
    TAIL_MAX = 32,
    HEAD_MAX = 1024 * 1024, /* read of a file over the byte limit */
    KEEP_MAX = 1024 * 1024, /* a larger buffer is given back when the file is judged */
};

struct child {
    const struct pool_work *work;
    struct stage *stage;
    uint8_t *data;
    size_t cap;
    uint8_t tail[TAIL_MAX];
};

/* Of this process: made by the zygote, before it forks children. */
static EVP_MD *sha256;
static EVP_MD_CTX *sha256_ctx;
static bool digest_works;

static bool make_digest(const void *data, size_t len, uint8_t ret_digest[static SHA256_LEN])
{
    return EVP_DigestInit_ex2(sha256_ctx, sha256, NULL) == 1 &&
           EVP_DigestUpdate(sha256_ctx, data, len) == 1 &&
           EVP_DigestFinal_ex(sha256_ctx, ret_digest, NULL) == 1;
}

void child_prepare_digest(void)
{
    uint8_t digest[SHA256_LEN];

    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha256_ctx = EVP_MD_CTX_new();
    digest_works = sha256 && sha256_ctx && make_digest("", 0, digest);
}

/* Read n bytes, fewer only at the end of the file: how many there were; -1: errno says why. */
static ssize_t read_at(int fd, void *data, size_t n, uint64_t at)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = pread(fd, (uint8_t *)data + done, n - done, (off_t)(at + done));
        if (r == 0)
            break;
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static bool make_room(struct child *c, size_t n)
{
    if (n <= c->cap)
        return true;
    free(c->data);
    c->cap = 0;
    c->data = malloc(n);
    if (c->data)
        c->cap = n;
    return c->data != NULL;
}

/* Big files are rare and memory is shared by many children: hand it back to the kernel. */
static void give_room_back(struct child *c)
{
    if (c->cap <= KEEP_MAX)
        return;
    free(c->data);
    c->data = NULL;
    c->cap = 0;
    (void)malloc_trim(0);
}

/* The whole file, or the head and tail of one that is over the limit. -1: *reply says why. */
static int read_file(struct child *c, int fd, uint64_t size, struct media *ret_media,
                     struct check_reply *reply)
{
    const bool is_over = size > c->work->config.limits.max_bytes;
    const size_t want = is_over && size > HEAD_MAX ? HEAD_MAX : (size_t)size;
    ssize_t len, tail_len;

    if (!make_room(c, want ? want : 1)) {
        reply->outcome = CHECK_NOMEM;
        return -1;
    }
    len = read_at(fd, c->data, want, 0);
    if (len >= 0 && is_over && (size_t)len == want) {
        tail_len = read_at(fd, c->tail, TAIL_MAX, size > TAIL_MAX ? size - TAIL_MAX : 0);
        *ret_media = (struct media){ c->data, (size_t)len, size, c->tail, (size_t)tail_len };
        if (tail_len < 0)
            len = -1;
    } else if (len >= 0) { /* it may have shrunk since: what was read is what is judged */
        size_t n = len < TAIL_MAX ? (size_t)len : TAIL_MAX;
        *ret_media = (struct media){ c->data, (size_t)len, (uint64_t)len, c->data + len - n, n };
    }
    if (len < 0) {
        reply->outcome = CHECK_FAULT;
        return err_errno(&reply->err, errno, "read");
    }
    return 0;
}

static void judge(struct child *c, int fd, uint64_t size, struct check_reply *reply)
{
    const struct pool_config *config = &c->work->config;
    struct verdict *v = &reply->verdict;
    struct media media;

    atomic_store_explicit(&c->stage->is_reading, 1, memory_order_relaxed);
    if (read_file(c, fd, size, &media, reply) < 0)
        return;
    atomic_store_explicit(&c->stage->is_reading, 0, memory_order_relaxed);
    verdict_init(v, media.file_len);
    if (config->digest && media.len == media.file_len)
        v->has_sha256 = make_digest(media.data, media.len, v->sha256);
    reply->outcome = CHECK_JUDGED;
    if (config->validator->check(&media, &config->limits, v, &reply->err) < 0)
        reply->outcome = reply->err.code == ERR_NOMEM ? CHECK_NOMEM : CHECK_FAULT;
}

/* The next request and its file. False: the service closed the socket. */
static bool receive(struct check_request *ret_request, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { ret_request, sizeof(*ret_request) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof(control.room) };
    const struct cmsghdr *c;
    ssize_t n;

    do
        n = recvmsg(JAIL_SOCKET, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof(*ret_request))
        return false;
    c = CMSG_FIRSTHDR(&msg);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return false;
    memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    return true;
}

static bool answer(const struct check_reply *reply)
{
    struct iovec iov = { (void *)reply, sizeof(*reply) };
    const struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    return sendmsg(JAIL_SOCKET, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(*reply);
}

/* Keep descriptor 3, the page of this slot, and no more. */
static void keep_own_things(const struct pool_work *work, uint32_t slot, int socket)
{
    if (socket != JAIL_SOCKET)
        (void)dup2(socket, JAIL_SOCKET);
    jail_close_from(JAIL_SOCKET + 1);
    if (work->config.sandbox && !JAIL_HAS_SANITIZER)
        for (int fd = 0; fd < JAIL_SOCKET; fd++)
            (void)close(fd);
    for (uint32_t i = 0; i < work->config.slots; i++)
        if (i != slot)
            (void)munmap(work->stages[i], (size_t)sysconf(_SC_PAGESIZE));
}

static int enter(const struct pool_work *work, uint32_t *ret_layers, struct err *err)
{
    if (work->config.digest && !digest_works)
        return err_set(err, ERR_UNSUPPORTED, "libcrypto has no sha256");
    return work->config.sandbox ? jail_enter(work->memory, ret_layers, err) : 0;
}

void child_run(const struct pool_work *work, uint32_t slot, int socket)
{
    static struct child c;
    static struct check_reply reply;
    struct check_request request;
    int fd;

    (void)prctl(PR_SET_NAME, "assay-check", 0, 0, 0);
    keep_own_things(work, slot, socket);
    c.work = work;
    c.stage = work->stages[slot];
    /* Fixed, so that a big block does not make the next ones stay in the heap. */
    (void)mallopt(M_MMAP_THRESHOLD, 8 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
    if (enter(work, &reply.layers, &reply.err) < 0)
        reply.outcome = CHECK_UNFIT;
    else
        reply.outcome = CHECK_READY;
    if (!answer(&reply) || reply.outcome == CHECK_UNFIT)
        _exit(1);
    while (receive(&request, &fd)) {
        memset(&reply, 0, sizeof(reply));
        reply.serial = request.serial;
        judge(&c, fd, request.size, &reply);
        (void)close(fd);
        give_room_back(&c);
        if (!answer(&reply))
            break;
    }
    _exit(0);
}
