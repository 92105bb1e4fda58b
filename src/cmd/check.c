/* assay check PATH…: the verdicts of the service on the command line, without a server.
 *
 *     producer thread ─items▸ ring ◂─next to do─ worker threads ── jailed children
 *                              │
 *                              └─next to print─▸ main thread
 *
 * The ring keeps the order given: it is filled at one end and printed from the other. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/check_output.h"
#include "cmd/check_paths.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "validate/pool.h"

enum {
    RING = 1 << 17, /* files that are known and not printed yet */
    TRIES = 3,      /* of a file that could not be judged for want of something */
    NAP_MS = 100,   /* how often the bar moves while nothing is done */
};

extern char **environ;

struct entry {
    struct check_item *item;
    struct verdict *verdict; /* NULL: not done yet */
};

struct check {
    struct pool *pool;
    struct check_paths *paths;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under lock. printed ≤ taken ≤ found; entries in between are in the ring. */
    struct entry *ring;
    uint64_t printed, taken, found;
    bool all_found, stopping;
    struct err err; /* of the producer */
    bool failed;
};

struct check_worker {
    struct check *check;
    unsigned slot;
    pthread_t thread;
};

/* Regular files only, and nothing that blocks. -1: *ret_why. */
static int open_file(const char *path, uint64_t *ret_size, const char **ret_why)
{
    struct stat st;
    CLEANUP(closep) int look = open(path, O_PATH | O_CLOEXEC);
    if (look < 0 || fstat(look, &st) < 0) {
        *ret_why = strerror(errno);
        return -1;
    }
    *ret_why = "not a file";
    if (!S_ISREG(st.st_mode))
        return -1;
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        *ret_why = strerror(errno);
        return -1;
    }
    if (!S_ISREG(st.st_mode))
        return -1;
    *ret_size = (uint64_t)st.st_size;
    return TAKE_FD(fd);
}

static void judge(struct check_worker *w, const struct check_item *item, struct verdict *v)
{
    const char *why = item->why;
    struct err err = { 0 };
    if (item->path && !why) {
        uint64_t size;
        CLEANUP(closep) int fd = open_file(item->path, &size, &why);
        for (int i = 0; fd >= 0 && i < TRIES; i++)
            if (pool_check(w->check->pool, w->slot, fd, size, v, &err) == 0)
                return;
        if (fd >= 0)
            why = err.msg;
    }
    verdict_init(v, 0);
    struct finding *f = verdict_add(v, FINDING_NOT_REACHABLE);
    (void)snprintf(f->detail, sizeof(f->detail), "%.100s", why ? why : "");
}

static void *work(void *arg)
{
    struct check_worker *w = arg;
    struct check *c = w->check;
    (void)pthread_mutex_lock(&c->lock);
    for (;;) {
        while (c->taken == c->found && !c->all_found && !c->stopping)
            (void)pthread_cond_wait(&c->changed, &c->lock);
        if (c->taken == c->found || c->stopping)
            break;
        struct entry *entry = &c->ring[c->taken++ % RING];
        (void)pthread_mutex_unlock(&c->lock);
        struct verdict *v = malloc(sizeof(*v));
        if (v)
            judge(w, entry->item, v);
        (void)pthread_mutex_lock(&c->lock);
        if (!v) {
            c->failed = c->stopping = true;
            (void)err_set(&c->err, ERR_NOMEM, "out of memory");
        }
        entry->verdict = v;
        (void)pthread_cond_broadcast(&c->changed);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void *produce(void *arg)
{
    struct check *c = arg;
    for (;;) {
        struct check_item *item = NULL;
        struct err err;
        int rc = check_paths_next(c->paths, &item, &err);
        (void)pthread_mutex_lock(&c->lock);
        while (rc == 1 && c->found - c->printed == RING && !c->stopping)
            (void)pthread_cond_wait(&c->changed, &c->lock);
        bool go_on = rc == 1 && !c->stopping;
        if (go_on) {
            c->ring[c->found++ % RING] = (struct entry){ .item = item };
        } else {
            check_item_free(item);
            c->all_found = true;
        }
        if (rc < 0) {
            c->failed = true;
            c->err = err;
        }
        (void)pthread_cond_broadcast(&c->changed);
        (void)pthread_mutex_unlock(&c->lock);
        if (!go_on)
            return NULL;
    }
}

/* Wait for the next entry in order, drawing the bar meanwhile. false: there is none. */
static bool next_done(struct check *c, struct check_output *out, struct entry *ret_entry)
{
    bool done = false;
    (void)pthread_mutex_lock(&c->lock);
    for (;;) {
        struct entry *entry = &c->ring[c->printed % RING];
        done = c->printed < c->found && entry->verdict;
        if (done) {
            *ret_entry = *entry;
            *entry = (struct entry){ 0 };
            c->printed++;
            (void)pthread_cond_broadcast(&c->changed);
        }
        uint64_t total = c->all_found ? c->found : 0;
        if (done || c->stopping || (c->all_found && c->printed == c->found)) {
            (void)pthread_mutex_unlock(&c->lock);
            check_output_bar(out, total);
            return done;
        }
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += NAP_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&c->changed, &c->lock, &until);
        check_output_bar(out, total);
    }
}

static void print_all(struct check *c, struct check_output *out, bool fail_fast)
{
    struct entry entry;
    bool stop = false;
    while (!stop && next_done(c, out, &entry)) {
        stop = !check_output_file(out, entry.item, entry.verdict) && fail_fast;
        check_item_free(entry.item);
        free(entry.verdict);
    }
    (void)pthread_mutex_lock(&c->lock);
    c->stopping = true;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
    check_output_end(out);
}

static void run(struct check *c, struct check_worker *workers, unsigned n, struct check_output *out,
                bool fail_fast)
{
    pthread_t producer;
    unsigned started = 0;
    int rc = pthread_create(&producer, NULL, produce, c);
    bool producing = rc == 0;
    for (; rc == 0 && started < n; started += rc == 0) {
        workers[started] = (struct check_worker){ .check = c, .slot = started };
        rc = pthread_create(&workers[started].thread, NULL, work, &workers[started]);
    }
    if (rc != 0) {
        c->failed = c->stopping = true;
        (void)err_errno(&c->err, rc, "start a thread");
    }
    print_all(c, out, fail_fast);
    for (unsigned i = 0; i < started; i++)
        (void)pthread_join(workers[i].thread, NULL);
    /* After --fail-fast it may sit in a read of stdin, which nothing would end. */
    if (producing && !c->all_found)
        (void)pthread_cancel(producer);
    if (producing)
        (void)pthread_join(producer, NULL);
}

static int usage(const char *what)
{
    (void)fprintf(stderr, "assay check: %s\n", what);
    return EXIT_USAGE;
}

int cmd_check(int argc, char *argv[])
{
    struct config config;
    struct err err = { 0 };
    if (config_parse(&config, COMMAND_CHECK, argc, argv, environ, &err) != 0)
        return usage(err.msg);
    if (config.n_arguments == 0 && !config.manifest)
        return usage("a file, a folder, - for a list on stdin, or --manifest is missing");
    if (config.workers == 0)
        return usage("--workers: at least one is needed");
    struct check_output out = {
        .limits = { config.max_width, config.max_height, config.max_bytes },
        .json = config.json || config.manifest,
        .quiet = config.quiet,
        .has_bar = !config.quiet && isatty(STDERR_FILENO),
        .begun_ms = clock_mono_ms(),
    };
    const struct pool_config pool = { .validator = &validator_image,
                                      .limits = out.limits,
                                      .slots = config.workers,
                                      .sandbox = config.sandbox };
    struct check check = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    (void)signal(SIGPIPE, SIG_DFL);
    if (pool_new(&pool, &check.pool, &err) < 0 || pool_ready(check.pool, &err) < 0) {
        (void)fprintf(stderr, "assay check: %s\n", err.msg);
        return EXIT_NO_START;
    }
    int code = EXIT_USAGE;
    struct check_worker *workers = calloc(config.workers, sizeof(*workers));
    check.ring = calloc(RING, sizeof(*check.ring));
    if (!workers || !check.ring)
        (void)err_set(&err, ERR_NOMEM, "out of memory");
    else if (check_paths_open(config.arguments, config.n_arguments, config.manifest, &check.paths,
                              &err) == 0) {
        run(&check, workers, config.workers, &out, config.fail_fast);
        code = out.bad ? EXIT_FAULT : EXIT_OK;
        err = check.err;
        if (check.failed)
            code = EXIT_FAULT;
    }
    if (err.msg[0])
        (void)fprintf(stderr, "assay check: %s\n", err.msg);
    for (uint64_t i = check.printed; check.ring && i < check.found; i++) {
        check_item_free(check.ring[i % RING].item);
        free(check.ring[i % RING].verdict);
    }
    check_paths_close(check.paths);
    free(check.ring);
    free(workers);
    pool_free(check.pool);
    return code;
}
