/* webhook_bench: how fast one sender is, over a store that costs next to nothing.
 *
 *     webhook_bench all PORT EVENTS HOSTS     EVENTS are due at once, for 127.0.0.1 … 127.0.0.HOSTS
 *     webhook_bench pace PORT RATE SECONDS HOLES
 *         RATE events a second for 127.0.0.1, and after a second one for each of HOLES receivers that
 *         accept and never answer
 *
 * Prints one line of JSON. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "webhook/sender.h"

enum { RETRY_FAR_MS = 3600 * 1000, HOLES_AFTER_MS = 1000 };

/* Events 0 … n-1, leased in this order; those that are given back untried come again. */
struct outbox {
    struct store base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned n, hosts, port, holes, hole_port;
    int64_t begin_ms;         /* wall clock */
    double per_ms;            /* 0: all are due at once */
    unsigned next_hole, next; /* the first of either kind that was never leased */
    unsigned *back;           /* given back, as a ring of n */
    int64_t *back_due_ms;     /* when each is due again */
    unsigned first_back, n_back;
    unsigned delivered, wanted, failed;
    uint32_t *took_us; /* of each delivered one that is no hole's */
};

static int64_t wall_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int64_t due_ms(const struct outbox *o, unsigned i)
{
    if (i < o->holes)
        return o->begin_ms + HOLES_AFTER_MS;
    if (o->per_ms <= 0)
        return o->begin_ms;
    return o->begin_ms + (int64_t)((i - o->holes) / o->per_ms);
}

static struct event *make_event(const struct outbox *o, unsigned i)
{
    struct event *event = calloc(1, sizeof(*event));
    char url[128];
    event->key = i;
    event->notify = NOTIFY_SUCCESS;
    (void)snprintf(event->asset_id, sizeof(event->asset_id), "4k%06u", i % 1000000);
    (void)snprintf(event->webhook_id, sizeof(event->webhook_id), "%s_1_success", event->asset_id);
    if (i < o->holes)
        (void)snprintf(url, sizeof(url), "http://127.1.%u.%u:%u/hook", i / 250, i % 250 + 1,
                       o->hole_port);
    else
        (void)snprintf(url, sizeof(url), "http://127.0.0.%u:%u/hook", i % o->hosts + 1, o->port);
    event->url = strdup(url);
    return event;
}

static void lease(struct outbox *o, struct step *step, int64_t now_ms)
{
    struct step_lease *l = &step->u.lease;
    struct event **end = &l->ret_events;
    unsigned given = 0;
    int64_t next_ms = 0;
    for (unsigned left = o->n_back; left > 0 && given < l->max; left--) {
        unsigned at = o->first_back % o->n, i = o->back[at];
        int64_t due = o->back_due_ms[i];
        o->first_back++;
        o->n_back--;
        if (due > now_ms) { /* to the end of the ring */
            o->back[(o->first_back + o->n_back++) % o->n] = i;
            next_ms = !next_ms || due < next_ms ? due : next_ms;
            continue;
        }
        *end = make_event(o, i);
        end = &(*end)->next;
        given++;
    }
    while (given < l->max && o->next_hole < o->holes && due_ms(o, 0) <= now_ms) {
        *end = make_event(o, o->next_hole++);
        end = &(*end)->next;
        given++;
    }
    while (given < l->max && o->next < o->n && due_ms(o, o->next) <= now_ms) {
        *end = make_event(o, o->next++);
        end = &(*end)->next;
        given++;
    }
    *end = NULL;
    if (o->next < o->n && (!next_ms || due_ms(o, o->next) < next_ms))
        next_ms = due_ms(o, o->next);
    if (o->next_hole < o->holes && (!next_ms || due_ms(o, 0) < next_ms))
        next_ms = due_ms(o, 0);
    l->ret_next_ms = next_ms;
    step->result = given ? STEP_DONE : STEP_NOTHING;
}

static void settle(struct outbox *o, struct step *step)
{
    const struct step_delivered *d = &step->u.delivered;
    unsigned i = (unsigned)d->key;
    step->result = STEP_DONE;
    if (!d->attempted) {
        o->back[(o->first_back + o->n_back++) % o->n] = i;
        o->back_due_ms[i] = d->next_ms;
    } else if (d->state == EVENT_DELIVERED) {
        if (i >= o->holes)
            o->took_us[o->delivered++] = (uint32_t)(wall_us() - due_ms(o, i) * 1000);
    } else {
        o->failed++;
    }
}

static int apply(struct store *store, struct step *steps[], size_t n, int64_t now_ms,
                 struct err *err)
{
    struct outbox *o = (struct outbox *)store;
    (void)err;
    (void)pthread_mutex_lock(&o->lock);
    for (size_t i = 0; i < n; i++) {
        if (steps[i]->kind == STEP_LEASE)
            lease(o, steps[i], now_ms);
        else if (steps[i]->kind == STEP_DELIVERED)
            settle(o, steps[i]);
    }
    if (o->delivered >= o->wanted)
        (void)pthread_cond_signal(&o->changed);
    (void)pthread_mutex_unlock(&o->lock);
    return 0;
}

static const struct store_ops ops = { .scheme = "bench", .apply = apply };

/* A listener on every loopback address that is accepted from by the kernel alone. */
static int dig_holes(unsigned *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_ANY) } };
    socklen_t len = sizeof(a);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return -1;
    *ret_port = ntohs(a.sin_port);
    return fd;
}

/* Processor time of the thread of this name, µs. */
static double thread_cpu_us(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    double found = 0;
    for (struct dirent *entry; tasks && (entry = readdir(tasks)) != NULL;) {
        char path[300], comm[32] = "";
        unsigned long long ns = 0;
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *f = fopen(path, "re");
        if (f && fgets(comm, sizeof(comm), f))
            comm[strcspn(comm, "\n")] = '\0';
        if (f)
            (void)fclose(f);
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", entry->d_name);
        f = strcmp(comm, name) == 0 ? fopen(path, "re") : NULL;
        if (f && fscanf(f, "%llu", &ns) == 1)
            found = (double)ns / 1000;
        if (f)
            (void)fclose(f);
    }
    if (tasks)
        (void)closedir(tasks);
    return found;
}

static long rss_kib(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (f)
        (void)fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int run(struct outbox *o)
{
    struct err err;
    struct policy *policy;
    struct service *service;
    struct sender *sender;
    o->back = calloc(o->n, sizeof(*o->back));
    o->back_due_ms = calloc(o->n, sizeof(*o->back_due_ms));
    o->took_us = calloc(o->n, sizeof(*o->took_us));
    if (policy_new("loopback", NULL, &policy, &err) < 0 ||
        service_start(&o->base, &service, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    long before_kib = rss_kib();
    o->begin_ms = clock_wall_ms();
    int64_t begin_us = clock_mono_us();
    const struct sender_config config = { .delays_ms = { RETRY_FAR_MS }, .n_delays = 1 };
    if (sender_new(service, policy, &config, &sender, &err) < 0 || sender_start(sender, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    (void)pthread_mutex_lock(&o->lock);
    while (o->delivered < o->wanted)
        (void)pthread_cond_wait(&o->changed, &o->lock);
    (void)pthread_mutex_unlock(&o->lock);
    double us = (double)(clock_mono_us() - begin_us), cpu_us = thread_cpu_us("assay-webhook");
    long grown_kib = rss_kib() - before_kib;
    qsort(o->took_us, o->delivered, sizeof(o->took_us[0]), by_size);
    (void)printf("{\"deliveries\":%u,\"us\":%.0f,\"cpu_us\":%.2f,\"p50_us\":%u,\"p99_us\":%u,"
                 "\"kib\":%ld,\"failed\":%u}\n",
                 o->delivered, us, cpu_us / o->delivered, o->took_us[o->delivered / 2],
                 o->took_us[(size_t)o->delivered * 99 / 100], grown_kib, o->failed);
    (void)fflush(stdout);
    _exit(0); /* what hangs in holes need not be waited for */
}

int main(int argc, char *argv[])
{
    struct outbox o = { .base = { &ops }, .hosts = 1 };
    (void)pthread_mutex_init(&o.lock, NULL);
    (void)pthread_cond_init(&o.changed, NULL);
    log_setup(LOG_ERROR, LOG_LOGFMT);
    if (argc == 5 && strcmp(argv[1], "all") == 0) {
        o.port = (unsigned)atoi(argv[2]);
        o.n = o.wanted = (unsigned)atoi(argv[3]);
        o.hosts = (unsigned)atoi(argv[4]);
    } else if (argc == 6 && strcmp(argv[1], "pace") == 0) {
        o.port = (unsigned)atoi(argv[2]);
        o.per_ms = atof(argv[3]) / 1000;
        o.wanted = (unsigned)(atof(argv[3]) * atof(argv[4]));
        o.holes = (unsigned)atoi(argv[5]);
        o.n = o.wanted + o.holes;
        o.next = o.holes;
        if (dig_holes(&o.hole_port) < 0)
            return 1;
    } else {
        (void)fprintf(stderr, "webhook_bench all PORT EVENTS HOSTS\n"
                              "webhook_bench pace PORT RATE SECONDS HOLES\n");
        return 2;
    }
    return run(&o);
}
