#include "store/redis_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

enum { REQUEST_MAX = 256 << 20, KEEP_MEMORY = 4 << 20 };

/* ---- requests ---- */

void redis_request_init(struct redis_request *r)
{
    buf_init(&r->body, REQUEST_MAX);
    r->args = 0;
}

void redis_request_release(struct redis_request *r)
{
    buf_release(&r->body);
}

void redis_request_begin(struct redis_request *r)
{
    if (r->body.cap > KEEP_MEMORY)
        buf_release(&r->body);
    buf_clear(&r->body);
    r->args = 0;
}

/* "$len\r\n…\r\n" (the Redis serialization protocol, bulk strings). */
void redis_add(struct redis_request *r, const void *data, size_t len)
{
    char head[24], *at = head + sizeof(head);
    *--at = '\n';
    *--at = '\r';
    size_t rest = len;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    *--at = '$';
    size_t head_len = (size_t)(head + sizeof(head) - at);
    char *room = buf_room(&r->body, head_len + len + 2);
    if (!room)
        return;
    memcpy(room, at, head_len);
    if (len)
        memcpy(room + head_len, data, len);
    memcpy(room + head_len + len, "\r\n", 2);
    buf_grew(&r->body, head_len + len + 2);
    r->args++;
}

void redis_adds(struct redis_request *r, const char *text)
{
    redis_add(r, text, text ? strlen(text) : 0);
}

void redis_add_int(struct redis_request *r, int64_t value)
{
    char text[24];
    redis_add(r, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)value));
}

/* ---- answers ---- */

int64_t redis_number(const redisReply *r)
{
    if (!r)
        return 0;
    return r->type == REDIS_REPLY_INTEGER ? r->integer
           : redis_is_text(r)             ? strtoll(r->str, NULL, 10)
                                          : 0;
}

static int connection_failed(const redisContext *c, struct err *err)
{
    if (c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT))
        return err_set(err, ERR_TIMEOUT, "Redis does not answer");
    return err_set(err, ERR_IO, "Redis: %s", c->errstr);
}

static int refused(const redisReply *reply, struct err *err)
{
    static const struct {
        const char *word;
        enum err_code code;
    } words[] = {
        { "OOM ", ERR_FULL },
        { "NOAUTH ", ERR_DENIED },
        { "WRONGPASS ", ERR_DENIED },
        { "NOPERM ", ERR_DENIED },
        { "DENIED ", ERR_DENIED },
        { "ERR invalid password", ERR_DENIED },
        { "ERR Client sent AUTH, but no password is set", ERR_DENIED },
        { "ERR AUTH ", ERR_DENIED },
        { "ERR Function not found", ERR_ABSENT },
    };
    enum err_code code = ERR_IO;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strncmp(reply->str, words[i].word, strlen(words[i].word)) == 0)
            code = words[i].code;
    return err_set(err, code, "Redis: %s", reply->str);
}

static int append(redisContext *c, const struct redis_request *r, struct err *err)
{
    char head[32];
    int head_len = snprintf(head, sizeof(head), "*%zu\r\n", r->args);
    if (buf_failed(&r->body))
        return err_set(err, ERR_NOMEM, "a request to Redis is too large");
    if (redisAppendFormattedCommand(c, head, (size_t)head_len) != REDIS_OK ||
        redisAppendFormattedCommand(c, r->body.data, r->body.len) != REDIS_OK)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

int redis_send(redisContext *c, const struct redis_request *r, struct err *err)
{
    int done = 0;
    if (append(c, r, err) < 0)
        return -1;
    errno = 0;
    while (!done)
        if (redisBufferWrite(c, &done) != REDIS_OK)
            return connection_failed(c, err);
    return 0;
}

int redis_ask(redisContext *c, const struct redis_request *r, redisReply **ret, struct err *err)
{
    void *reply = NULL;
    if (append(c, r, err) < 0)
        return -1;
    errno = 0;
    if (redisGetReply(c, &reply) != REDIS_OK)
        return connection_failed(c, err);
    CLEANUP(redis_reply_freep) redisReply *answer = reply;
    if (answer->type == REDIS_REPLY_ERROR)
        return refused(answer, err);
    *ret = TAKE(answer);
    return 0;
}

/* ---- connecting ---- */

static int ask_words(redisContext *c, struct err *err, size_t n, const char *const words[])
{
    CLEANUP(redis_request_release) struct redis_request r = { 0 };
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    redis_request_init(&r);
    for (size_t i = 0; i < n; i++)
        redis_adds(&r, words[i]);
    return redis_ask(c, &r, &reply, err);
}

static int introduce(redisContext *c, const struct redis_url *url, struct err *err)
{
    char db[16];
    (void)snprintf(db, sizeof(db), "%d", url->db);
    if (url->password && url->user &&
        ask_words(c, err, 3, (const char *const[]){ "AUTH", url->user, url->password }) < 0)
        return -1;
    if (url->password && !url->user &&
        ask_words(c, err, 2, (const char *const[]){ "AUTH", url->password }) < 0)
        return -1;
    return ask_words(c, err, 2, (const char *const[]){ "SELECT", db });
}

/* A peer that went away without a word is noticed within seconds also while nothing is asked. */
static void watch_peer(int fd)
{
    int on = 1, idle_s = 5, interval_s = 2, probes = 3;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int redis_connect(const struct redis_url *url, redisContext **ret, struct err *err)
{
    struct timeval connect_time = { .tv_sec = REDIS_CONNECT_MS / 1000 };
    struct timeval answer_time = { .tv_sec = REDIS_ANSWER_MS / 1000 };
    CLEANUP(redis_disconnectp)
    redisContext *c = redisConnectWithTimeout(url->host, url->port, connect_time);
    if (!c)
        return err_set(err, ERR_NOMEM, "out of memory");
    if (c->err)
        return err_set(err, ERR_IO, "connect to %s:%d: %s", url->host, url->port, c->errstr);
    watch_peer(c->fd);
    if (redisSetTimeout(c, answer_time) != REDIS_OK)
        return err_set(err, ERR_IO, "Redis: %s", c->errstr);
    if (introduce(c, url, err) < 0)
        return -1;
    *ret = TAKE(c);
    return 0;
}
