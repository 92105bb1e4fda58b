/* http_log ADDRESS FILE: the accept path with the barest durable store there is behind it. One thread
 * takes every body that waits, appends them to FILE with one write, calls fdatasync, and has all of them
 * answered. No queue, no record, nothing that could be read back: the disk's own limit. */
#include <errno.h>
#include <fcntl.h>

#include "accepting.h"
#include "base/mailbox.h"

struct log {
    struct acceptor acceptor;
    int fd;
    struct mailbox box; /* bodies to append; the log thread's */
};

/* One HTTP thread's own. */
struct log_client {
    struct log *log;
    struct mailbox box;        /* appended ones */
    struct mail *first, *last; /* to be appended, handed over when the turn is over */
};

/* A request that waits for the disk; lives in its exchange. */
struct entry {
    struct mail mail;
    struct log_client *client;
    struct http_exchange *x;
    struct http_slice body;
    bool durable;
};

/* All of data, then on the disk. */
static bool append(int fd, const struct buf *data)
{
    size_t done = 0;
    while (done < data->len) {
        ssize_t n = write(fd, data->data + done, data->len - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return !buf_failed(data) && fdatasync(fd) == 0;
}

static void give_back(struct mail *first, bool durable)
{
    while (first) { /* a chain for each client; here neighbours nearly always have the same one */
        struct log_client *client = MAIL_ENTRY(first, struct entry, mail)->client;
        struct mail *last = first;
        for (struct mail *m = first; m; m = m->next) {
            struct entry *e = MAIL_ENTRY(m, struct entry, mail);
            if (e->client != client)
                break;
            e->durable = durable;
            last = m;
        }
        struct mail *rest = last->next;
        mailbox_post(&client->box, first, last);
        first = rest;
    }
}

static void *log_run(void *arg)
{
    struct log *log = arg;
    CLEANUP(buf_release) struct buf data;
    buf_init(&data, 64 << 20);
    for (;;) {
        struct mail *first = mailbox_wait(&log->box, -1);
        for (struct mail *m = first; m; m = m->next) {
            struct entry *e = MAIL_ENTRY(m, struct entry, mail);
            (void)buf_add(&data, e->body.data, e->body.len);
            (void)buf_add(&data, "\n", 1);
        }
        if (first)
            give_back(first, append(log->fd, &data));
        buf_clear(&data);
    }
    return NULL;
}

static int thread_start(void *app, void **ret_ctx, int *ret_wake_fd, struct err *err)
{
    struct log_client *client = calloc(1, sizeof(*client));
    if (!client)
        return err_set(err, ERR_NOMEM, "out of memory");
    client->log = app;
    if (mailbox_init(&client->box, err) < 0) {
        free(client);
        return -1;
    }
    *ret_ctx = client;
    *ret_wake_fd = client->box.fd;
    return 0;
}

static void thread_stop(void *ctx)
{
    struct log_client *client = ctx;
    mailbox_release(&client->box);
    free(client);
}

static void handle(void *ctx, struct http_exchange *x, const struct http_request *request)
{
    struct log_client *client = ctx;
    int refused = acceptor_read(&client->log->acceptor, request);
    if (refused) {
        acceptor_reply(&client->log->acceptor, x, refused);
        return;
    }
    struct entry *e = http_app_data(x);
    *e = (struct entry){ .client = client, .x = x, .body = request->body };
    if (client->first)
        client->last->next = &e->mail;
    else
        client->first = &e->mail;
    client->last = &e->mail;
}

static void turn_over(void *ctx)
{
    struct log_client *client = ctx;
    if (client->first)
        mailbox_post(&client->log->box, client->first, client->last);
    client->first = client->last = NULL;
}

static void wake(void *ctx)
{
    struct log_client *client = ctx;
    for (struct mail *m = mailbox_take(&client->box), *next; m; m = next) {
        struct entry *e = MAIL_ENTRY(m, struct entry, mail);
        next = m->next; /* the answer frees the entry */
        acceptor_reply(&client->log->acceptor, e->x, e->durable ? 202 : 503);
    }
}

static const struct http_app app = { .thread_start = thread_start,
                                     .thread_stop = thread_stop,
                                     .handle = handle,
                                     .wake = wake,
                                     .turn_over = turn_over,
                                     .problem = acceptor_problem };

int main(int argc, char *argv[])
{
    static struct log log;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: http_log ADDRESS FILE\n");
        return 2;
    }
    struct err err;
    log.fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log.fd < 0 || mailbox_init(&log.box, &err) < 0) {
        (void)fprintf(stderr, "http_log: cannot open %s\n", argv[2]);
        return 1;
    }
    pthread_t thread; /* ends with the process: there is nothing to give back */
    if (pthread_create(&thread, NULL, log_run, &log) != 0)
        return 1;
    return acceptor_run(&log.acceptor, argv[1], &app, &log);
}
