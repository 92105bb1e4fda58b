/* redis_process: what the processes that share a Redis tell each other of themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/redis_read.h"

enum { PROCESS_FIELDS = 3 /* number, last sign of life, words */ };

/* "role host version pid capacity busy done faults since" */
static void make_tell(struct redis_store *s, struct redis_request *r, const void *what)
{
    const struct store_process *p = what;
    char words[256];
    (void)snprintf(words, sizeof(words), "%s %s %s %d %u %u %llu %llu %lld", p->role, p->host,
                   p->version, p->pid, p->capacity, p->busy, (unsigned long long)p->done,
                   (unsigned long long)p->faults, (long long)p->since_ms);
    redis_begin_call(s, r, "FCALL", "tell");
    redis_adds(r, s->process);
    redis_add_int(r, STORE_PROCESS_MS);
    redis_adds(r, words);
}

int redis_beat(struct store *base, const struct store_process *process, struct err *err)
{
    CLEANUP(redis_reply_freep) redisReply *reply = NULL;
    return redis_read((struct redis_store *)base, make_tell, process, &reply, err);
}

static void make_processes(struct redis_store *s, struct redis_request *r, const void *what)
{
    (void)what;
    redis_begin_call(s, r, "FCALL_RO", "processes");
}

static bool read_words(const char *words, struct store_process *p)
{
    unsigned long long done, faults;
    long long since_ms;
    if (sscanf(words, "%15s %63s %15s %d %u %u %llu %llu %lld", p->role, p->host, p->version,
               &p->pid, &p->capacity, &p->busy, &done, &faults, &since_ms) != 9)
        return false;
    p->done = done;
    p->faults = faults;
    p->since_ms = since_ms;
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
        struct store_process p = { .number = (uint64_t)redis_number(reply->element[i]),
                                   .seen_ms = redis_number(reply->element[i + 1]) };
        if (redis_is_text(reply->element[i + 2]) && read_words(reply->element[i + 2]->str, &p))
            ret_processes[n++] = p;
    }
    qsort(ret_processes, n, sizeof(*ret_processes), compare);
    *ret_n = n;
    return 0;
}
