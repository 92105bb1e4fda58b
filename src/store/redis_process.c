/* redis_process: what the processes that share a Redis tell each other of themselves, and ask of each other.
 *
 * The words of a process: "role host version pid capacity busy done faults since", which every version
 * tells, then " name=value" for each of what came later. Who does not know a name skips it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/redis_read.h"

enum {
    PROCESS_FIELDS = 4, /* number, age of the last sign of life, words, what is wanted */
    WORDS_MAX_LEN = 8 * 1024,
};

static void write_words(const struct store_process *p, struct buf *out)
{
    (void)buf_addf(out, "%s %s %s %d %u %u %" PRIu64 " %" PRIu64 " %" PRId64, p->role, p->host,
                   p->version, p->pid, p->capacity, p->busy, p->done, p->faults, p->since_ms);
    (void)buf_addf(out, " active=%u failed=%" PRId64 " memory=%" PRIu64 " origins=%u", p->active,
                   p->failed, p->memory_bytes, p->all_origins);
    for (unsigned i = 0; i < p->n_assets; i++)
        (void)buf_addf(out, " asset=%s", p->assets[i]);
    for (unsigned i = 0; i < p->n_origins; i++) {
        const struct store_origin *o = &p->origins[i];
        (void)buf_addf(out, " origin=%s,%u,%u,%u,%" PRId64 ",%s", o->state, o->trips, o->attempts,
                       o->failed, o->next_ms, o->name);
    }
}

static void make_tell(struct redis_store *s, struct redis_request *r, const void *what)
{
    CLEANUP(buf_release) struct buf words;
    buf_init(&words, WORDS_MAX_LEN);
    write_words(what, &words);
    redis_begin_call(s, r, "FCALL", "tell");
    redis_adds(r, s->process);
    redis_add_int(r, STORE_PROCESS_MS);
    redis_add(r, words.data, words.len);
}

/* As Redis has it: a number, or "" for -1. */
static int read_wanted(const redisReply *reply)
{
    int64_t n = redis_number(reply);
    bool none = redis_is_text(reply) && reply->len == 0;
    return none || n < 0 || n > INT32_MAX ? -1 : (int)n;
}

int redis_beat(struct store *base, const struct store_process *process, int *ret_wanted,
               struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    if (redis_read((struct redis_store *)base, make_tell, process, &reply, err) < 0)
        return -1;
    *ret_wanted = read_wanted(reply);
    return 0;
}

struct asked {
    uint64_t number;
    unsigned active;
};

static void make_want(struct redis_store *s, struct redis_request *r, const void *what)
{
    const struct asked *asked = what;
    redis_begin_call(s, r, "FCALL", "want");
    redis_add_int(r, (int64_t)asked->number);
    redis_add_int(r, asked->active);
}

int redis_ask_active(struct store *base, uint64_t number, unsigned active, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    struct asked asked = { number, active };
    if (redis_read((struct redis_store *)base, make_want, &asked, &reply, err) < 0)
        return -1;
    return redis_number(reply) == 1;
}

static void make_processes(struct redis_store *s, struct redis_request *r, const void *what)
{
    (void)what;
    redis_begin_call(s, r, "FCALL_RO", "processes");
}

/* Of lower-case letters, digits and "-" alone: such text may be part of a page as it is. */
static bool is_plain(const char *text)
{
    return text[0] && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static void read_asset(const char *value, struct store_process *p)
{
    if (p->n_assets == STORE_PROCESS_ASSETS || strlen(value) > ASSET_ID_LEN || !is_plain(value))
        return;
    (void)strcpy(p->assets[p->n_assets++], value);
}

static void read_origin(const char *value, struct store_process *p)
{
    struct store_origin o = { 0 };
    if (p->n_origins < STORE_PROCESS_ORIGINS &&
        sscanf(value, "%15[^,],%u,%u,%u,%" SCNd64 ",%279s", o.state, &o.trips, &o.attempts,
               &o.failed, &o.next_ms, o.name) == 6 &&
        is_plain(o.state))
        p->origins[p->n_origins++] = o;
}

static void read_more(const char *name, const char *value, struct store_process *p)
{
    if (strcmp(name, "active") == 0)
        p->active = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(name, "failed") == 0)
        p->failed = strtoll(value, NULL, 10);
    else if (strcmp(name, "memory") == 0)
        p->memory_bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "origins") == 0)
        p->all_origins = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(name, "asset") == 0)
        read_asset(value, p);
    else if (strcmp(name, "origin") == 0)
        read_origin(value, p);
}

/* Cuts words up. false: they make no sense. */
static bool read_words(char *words, struct store_process *p)
{
    int more = 0;
    if (sscanf(words, "%15s %63s %15s %d %u %u %" SCNu64 " %" SCNu64 " %" SCNd64 "%n", p->role,
               p->host, p->version, &p->pid, &p->capacity, &p->busy, &p->done, &p->faults,
               &p->since_ms, &more) != 9)
        return false;
    p->active = p->capacity; /* of a version that does not tell */
    p->failed = -1;
    char *rest, *word = strtok_r(words + more, " ", &rest);
    for (; word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        if (!value)
            continue;
        *value = '\0';
        read_more(word, value + 1, p);
    }
    if (p->all_origins < p->n_origins)
        p->all_origins = p->n_origins;
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = ((const struct store_process *)a)->number;
    uint64_t y = ((const struct store_process *)b)->number;
    return x < y ? -1 : x > y;
}

int redis_processes(struct store *base, struct store_process *ret_processes, size_t max,
                    size_t *ret_n, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    if (redis_read((struct redis_store *)base, make_processes, NULL, &reply, err) < 0)
        return -1;
    if (!redis_is_array(reply, 0))
        return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
    size_t n = 0;
    for (size_t i = 0; i + PROCESS_FIELDS <= reply->elements && n < max; i += PROCESS_FIELDS) {
        redisReply **field = &reply->element[i];
        struct store_process *p = &ret_processes[n];
        *p = (struct store_process){ .number = (uint64_t)redis_number(field[0]),
                                     .seen_ms = clock_wall_ms() - redis_number(field[1]),
                                     .wanted = read_wanted(field[3]) };
        n += redis_is_text(field[2]) && read_words(field[2]->str, p);
    }
    qsort(ret_processes, n, sizeof(*ret_processes), compare);
    *ret_n = n;
    return 0;
}
