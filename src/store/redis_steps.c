/* redis_steps: each kind of step as arguments of the library's apply(), and its answer read. The letters
 * and their arguments are redis.lua's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/attempt_log.h"
#include "store/redis.h"
#include "store/webhook_id.h"

enum {
    CLAIM_FIELDS = 3,
    LEASE_FIELDS = 4,
    RECORD_MAX = 1 << 20,
    LOOKS_PER_LEASE = 8, /* how often one looks for the dead */
};

static int out_of_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

static int senseless(struct err *err)
{
    return err_set(err, ERR_IO, "Redis gave an answer that makes no sense");
}

/* ---- what this process holds ---- */

static bool holds(struct redis_store *s, const struct leased *l, uint64_t key)
{
    int64_t ignored;
    (void)pthread_mutex_lock(&s->lock);
    bool found = leased_find(l, key, &ignored);
    (void)pthread_mutex_unlock(&s->lock);
    return found;
}

static int hold(struct redis_store *s, struct leased *l, uint64_t key)
{
    (void)pthread_mutex_lock(&s->lock);
    int rc = leased_set(l, key, 0);
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

static void drop(struct redis_store *s, struct leased *l, uint64_t key)
{
    int64_t ignored;
    (void)pthread_mutex_lock(&s->lock);
    if (leased_find(l, key, &ignored))
        (void)leased_remove(l, key); /* without memory it is renewed, and lost, once more */
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- to Redis ---- */

/* A text without what would end its line in a record. */
static void add_word(struct redis_request *r, const char *word)
{
    char clean[ATTEMPT_ERROR_MAX + 1];
    size_t n = 0;
    for (; word && word[n] && n < sizeof(clean) - 1; n++)
        clean[n] = word[n];
    redis_add(r, clean, n);
}

static void add_hex(struct redis_request *r, const uint8_t *bytes)
{
    char text[2 * IDEMPOTENCY_LEN + 1];
    for (size_t i = 0; i < IDEMPOTENCY_LEN; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    redis_add(r, text, sizeof(text) - 1);
}

/* p of redis.lua. */
static void write_put(const struct step_put *put, int64_t now_ms, struct buf *out)
{
    enum url_state states[NOTIFY_COUNT];
    const char *urls[NOTIFY_COUNT];
    char text[NOTIFY_COUNT + 1];
    for (int i = 0; i < NOTIFY_COUNT; i++) {
        states[i] = put->notifications[i].state;
        urls[i] = put->notifications[i].url;
    }
    redis_urls_write(states, text);
    (void)buf_addf(out, "%s %lld ", text, (long long)now_ms);
    redis_put_write(put->path, urls, out);
}

static void encode_put(struct redis_request *r, const struct step_put *put, int64_t now_ms)
{
    CLEANUP(buf_release) struct buf record;
    buf_init(&record, RECORD_MAX);
    write_put(put, now_ms, &record);
    redis_adds(r, put->idempotency_key ? "I" : "P");
    redis_add(r, record.data, record.len);
    r->body.failed |= buf_failed(&record);
    if (put->idempotency_key) {
        add_hex(r, put->idempotency_key);
        add_hex(r, put->body_digest);
    }
}

static bool encode_retry(struct redis_store *s, struct step *step)
{
    uint64_t number;
    char urls[NOTIFY_COUNT + 1];
    step->result = STEP_NOTHING;
    if (!permute_number(&s->ids, step->u.retry.id, &number) || number >= REDIS_NUMBERS)
        return false;
    redis_urls_write(step->u.retry.url_states, urls);
    redis_adds(&s->request, "T");
    redis_add_int(&s->request, (int64_t)number);
    redis_adds(&s->request, urls);
    return true;
}

/* Whether it is time to look for assets whose process has died. Not just after Redis was away: the
 * living must have had the time to say so. */
static bool looks(struct redis_store *s)
{
    int64_t now_mono = clock_mono_ms();
    if (now_mono - s->connected_mono < s->lease_ms / 2 && s->looked_mono != 0)
        return false;
    if (s->looked_mono != 0 && now_mono - s->looked_mono < s->lease_ms / LOOKS_PER_LEASE)
        return false;
    s->looked_mono = now_mono;
    return true;
}

static bool encode_finish(struct redis_request *r, struct step *step)
{
    const struct step_finish *f = &step->u.finish;
    step->result = STEP_LOST;
    if (f->number >= REDIS_NUMBERS || f->run > REDIS_MAX_RUN)
        return false;
    redis_adds(r, "F");
    redis_add_int(r, (int64_t)f->number);
    redis_add_int(r, f->run);
    redis_add_int(r, f->success ? ASSET_SUCCESS : ASSET_FAILED);
    redis_add_int(r, f->codes);
    redis_adds(r, f->errors);
    redis_adds(r, f->report);
    return true;
}

static bool encode_release(struct redis_store *s, struct step *step)
{
    const struct step_release *release = &step->u.release;
    struct redis_request *r = &s->request;
    step->result = STEP_LOST;
    if (release->number >= REDIS_NUMBERS || release->run > REDIS_MAX_RUN)
        return false;
    redis_adds(r, "R");
    redis_add_int(r, (int64_t)release->number);
    redis_add_int(r, release->run);
    redis_add_int(r, release->not_before_ms ? release->not_before_ms + s->skew_ms : 0);
    redis_adds(r, release->fault ? "1" : "0");
    return true;
}

/* The attempt as its log has it; nothing for the usual one, which the event itself tells. */
static void add_attempt(struct redis_request *r, const struct step_delivered *d, int64_t now_ms)
{
    CLEANUP(buf_release) struct buf log;
    attempt_log_init(&log);
    const struct attempt attempt = {
        .at_ms = now_ms,
        .http_status = d->http_status,
        .duration_ms = d->duration_ms,
        .error = (char *)d->error,
        .answer = (char *)d->answer,
        .answer_len = d->answer_len,
    };
    /* without memory for it the event is settled all the same */
    if (d->attempted && (d->state != EVENT_DELIVERED || d->error || d->answer))
        (void)attempt_log_add(&log, &attempt);
    redis_add(r, log.data, log.len);
}

static bool encode_delivered(struct redis_store *s, struct step *step, int64_t now_ms)
{
    const struct step_delivered *d = &step->u.delivered;
    struct redis_request *r = &s->request;
    step->result = STEP_LOST;
    if (d->key >> 16 >= REDIS_NUMBERS)
        return false;
    redis_adds(r, "D");
    redis_adds(r, holds(s, &s->events, d->key) ? "1" : "0");
    redis_add_int(r, (int64_t)(d->key >> 16));
    redis_add_int(r, (int64_t)(d->key >> 1 & REDIS_MAX_RUN));
    redis_adds(r, d->key & 1 ? "1" : "0");
    redis_add_int(r, d->state);
    redis_adds(r, d->attempted ? "1" : "0");
    redis_add_int(r, d->state == EVENT_PENDING ? d->next_ms + s->skew_ms : 0);
    redis_add_int(r, d->http_status);
    redis_add_int(r, d->duration_ms);
    add_word(r, d->error);
    add_attempt(r, d, now_ms);
    return true;
}

bool redis_step_may_wait(struct store *base, const struct step *step)
{
    struct redis_store *s = (struct redis_store *)base;
    const struct step_delivered *d = &step->u.delivered;
    return step->kind == STEP_DELIVERED && d->state == EVENT_DELIVERED && !(d->key & 1) &&
           holds(s, &s->claims,
                 redis_claim_ref(d->key >> 16, (unsigned)(d->key >> 1 & REDIS_MAX_RUN)));
}

static bool encode_resend(struct redis_store *s, struct step *step)
{
    const struct step_resend *resend = &step->u.resend;
    struct redis_request *r = &s->request;
    char id[ASSET_ID_LEN + 1];
    uint64_t number = 0;
    unsigned run = 0;
    enum notify notify = NOTIFY_START;
    step->result = STEP_NOTHING;
    step->u.resend.ret_count = 0;
    if (resend->webhook_id && (!webhook_id_read(resend->webhook_id, id, &run, &notify) ||
                               !permute_number(&s->ids, id, &number) || number >= REDIS_NUMBERS))
        return false;
    redis_adds(r, "N");
    if (resend->webhook_id) {
        redis_add_int(r, (int64_t)number);
        redis_add_int(r, run);
        redis_add_int(r, notify);
    } else {
        for (int i = 0; i < 3; i++)
            redis_adds(r, "");
    }
    redis_add_int(r, resend->max);
    redis_add_int(r, resend->before_ms ? resend->before_ms + s->skew_ms : 0);
    return true;
}

static void encode_sample(struct redis_request *r, const struct step_sample *sample)
{
    int64_t slot =
        sample->sample.at_ms / ring_period_ms(sample->ring) % (int64_t)ring_len(sample->ring);
    char text[24 * (SAMPLE_VALUES + 1)];
    int len = snprintf(text, sizeof(text), "%lld", (long long)sample->sample.at_ms);
    for (int i = 0; i < SAMPLE_VALUES; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " %llu",
                        (unsigned long long)sample->sample.values[i]);
    redis_adds(r, "M");
    redis_add_int(r, sample->ring);
    redis_add_int(r, slot);
    redis_add(r, text, (size_t)len);
}

bool redis_step_encode(struct redis_store *s, struct step *step, int64_t now_ms)
{
    struct redis_request *r = &s->request;
    switch (step->kind) {
    case STEP_PUT:
        encode_put(r, &step->u.put, now_ms);
        return true;
    case STEP_RETRY:
        return encode_retry(s, step);
    case STEP_CLAIM:
        redis_adds(r, "C");
        redis_add_int(r, step->u.claim.max);
        redis_add_int(r, looks(s) ? s->lease_ms : 0);
        return true;
    case STEP_FINISH:
        return encode_finish(r, step);
    case STEP_RELEASE:
        return encode_release(s, step);
    case STEP_LEASE:
        redis_adds(r, "L");
        redis_add_int(r, step->u.lease.max);
        redis_add_int(r, step->u.lease.lease_ms);
        return true;
    case STEP_DELIVERED:
        return encode_delivered(s, step, now_ms);
    case STEP_RESEND:
        return encode_resend(s, step);
    case STEP_PRUNE:
        redis_adds(r, "X");
        redis_add_int(r, step->u.prune.before_ms);
        redis_add_int(r, step->u.prune.max);
        return true;
    case STEP_SAMPLE:
        encode_sample(r, &step->u.sample);
        return true;
    }
    return false;
}

/* ---- from Redis ---- */

static int decode_claim(struct redis_store *s, redisReply *const fields[CLAIM_FIELDS],
                        struct claim **ret_claim, struct err *err)
{
    struct redis_asset a;
    for (int i = 0; i < CLAIM_FIELDS; i++)
        if (!redis_is_text(fields[i]))
            return senseless(err);
    if (redis_asset_read(fields[1]->str, &a, err) < 0)
        return -1;
    struct claim *claim = calloc(1, sizeof(*claim));
    if (!claim)
        return out_of_memory(err);
    claim->number = (uint64_t)redis_number(fields[0]);
    claim->run = a.run;
    claim->attempts = a.attempts;
    claim->deaths = a.deaths;
    claim->accepted_ms = a.accepted_ms;
    claim->started_ms = a.started_ms;
    memcpy(claim->url_states, a.url_states, sizeof(claim->url_states));
    permute_name(&s->ids, claim->number, claim->id);
    char *urls[NOTIFY_COUNT] = { 0 };
    int rc = redis_put_read(fields[2]->str, (size_t)fields[2]->len, &claim->path, urls, err);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        free(urls[i]);
    if (rc == 0 && !claim->path)
        rc = senseless(err);
    if (rc == 0 && hold(s, &s->claims, redis_claim_ref(claim->number, claim->run)) < 0)
        rc = out_of_memory(err);
    if (rc == 0)
        *ret_claim = claim;
    else
        claims_free(claim);
    return rc;
}

static int decode_claims(struct redis_store *s, struct step *step, const redisReply *reply,
                         struct err *err)
{
    struct step_claim *c = &step->u.claim;
    if (!redis_is_array(reply, 3) || !redis_is_array(reply->element[2], 0) ||
        reply->element[2]->elements % CLAIM_FIELDS != 0)
        return senseless(err);
    const redisReply *list = reply->element[2];
    struct claim **last = &c->ret_claims;
    for (size_t i = 0; i < list->elements; i += CLAIM_FIELDS) {
        if (decode_claim(s, list->element + i, last, err) < 0)
            return -1;
        last = &(*last)->next;
    }
    step->result = c->ret_claims ? STEP_DONE : STEP_NOTHING;
    int64_t next_ms = redis_number(reply->element[1]);
    c->ret_next_ms = next_ms ? next_ms - s->skew_ms : 0;
    return 0;
}

/* EVENT of redis.lua is the key in hexadecimal. */
static int decode_event(struct redis_store *s, redisReply *const fields[LEASE_FIELDS],
                        struct event **ret_event, struct err *err)
{
    struct redis_event e;
    for (int i = 0; i < LEASE_FIELDS; i++)
        if (!redis_is_text(fields[i]))
            return senseless(err);
    if (redis_event_read(fields[1]->str, &e, err) < 0)
        return -1;
    struct event *event = calloc(1, sizeof(*event));
    if (!event)
        return out_of_memory(err);
    event->key = strtoull(fields[0]->str, NULL, 16);
    event->notify = e.notify;
    event->attempts = e.attempts;
    event->created_ms = e.created_ms;
    permute_name(&s->ids, event->key >> 16, event->asset_id);
    webhook_id_write(event->webhook_id, event->asset_id,
                     (unsigned)(event->key >> 1 & REDIS_MAX_RUN), event->notify);
    char *urls[NOTIFY_COUNT] = { 0 };
    int rc = redis_put_read(fields[2]->str, (size_t)fields[2]->len, NULL, urls, err);
    event->url = TAKE(urls[event->notify]);
    for (int i = 0; i < NOTIFY_COUNT; i++)
        free(urls[i]);
    if (rc == 0 && e.notify == NOTIFY_FAILURE && fields[3]->len > 0 &&
        !(event->errors = strndup(fields[3]->str, (size_t)fields[3]->len)))
        rc = out_of_memory(err);
    if (rc == 0 && hold(s, &s->events, event->key) < 0)
        rc = out_of_memory(err);
    if (rc == 0)
        *ret_event = event;
    else
        events_free(event);
    return rc;
}

static int decode_events(struct redis_store *s, struct step *step, const redisReply *reply,
                         struct err *err)
{
    struct step_lease *l = &step->u.lease;
    if (!redis_is_array(reply, 3) || !redis_is_array(reply->element[2], 0) ||
        reply->element[2]->elements % LEASE_FIELDS != 0)
        return senseless(err);
    const redisReply *list = reply->element[2];
    struct event **last = &l->ret_events;
    for (size_t i = 0; i < list->elements; i += LEASE_FIELDS) {
        if (decode_event(s, list->element + i, last, err) < 0)
            return -1;
        last = &(*last)->next;
    }
    step->result = l->ret_events ? STEP_DONE : STEP_NOTHING;
    int64_t next_ms = redis_number(reply->element[1]);
    l->ret_next_ms = next_ms ? next_ms - s->skew_ms : 0;
    return 0;
}

/* An ending that was sent twice because its first answer did not come was ours also the first time. */
static void decode_finish(struct redis_store *s, struct step *step)
{
    uint64_t ref = redis_claim_ref(step->u.finish.number, step->u.finish.run);
    int64_t ignored;
    leased_begin(&s->uncertain);
    if (leased_find(&s->uncertain, ref, &ignored)) {
        (void)leased_remove(&s->uncertain, ref);
        if (step->result == STEP_LOST)
            step->result = STEP_DONE;
    }
    drop(s, &s->claims, ref);
}

/* What follows the letter: a number, or nothing. */
static void decode_rest(struct redis_store *s, struct step *step, const char *rest)
{
    switch (step->kind) {
    case STEP_PUT: /* a repeated one */
        if (step->result == STEP_DONE)
            permute_name(&s->ids, strtoull(rest, NULL, 10), step->u.put.ret_id);
        break;
    case STEP_FINISH:
        decode_finish(s, step);
        break;
    case STEP_RELEASE:
        drop(s, &s->claims, redis_claim_ref(step->u.release.number, step->u.release.run));
        break;
    case STEP_DELIVERED:
        drop(s, &s->events, step->u.delivered.key);
        break;
    case STEP_RESEND:
        step->u.resend.ret_count = (unsigned)strtoul(rest, NULL, 10);
        break;
    case STEP_PRUNE:
        step->u.prune.ret_count = (unsigned)strtoul(rest, NULL, 10);
        break;
    case STEP_RETRY:
    case STEP_SAMPLE:
    case STEP_CLAIM:
    case STEP_LEASE:
        break;
    }
}

int redis_step_decode(struct redis_store *s, struct step *step, const redisReply *reply,
                      struct err *err)
{
    static const struct {
        char letter;
        enum step_result result;
    } letters[] = { { 'd', STEP_DONE }, { 'r', STEP_DONE }, { 'n', STEP_NOTHING },
                    { 'l', STEP_LOST }, { 'f', STEP_FULL }, { 'c', STEP_CONFLICT } };
    if (redis_is_text(reply) && reply->str[0] == 'e')
        return err_set(err, ERR_IO, "Redis: %s", reply->str + 1);
    if (step->kind == STEP_PUT && reply->type == REDIS_REPLY_INTEGER) {
        step->result = STEP_DONE;
        step->u.put.ret_repeated = false;
        permute_name(&s->ids, (uint64_t)reply->integer, step->u.put.ret_id);
        return 0;
    }
    if (step->kind == STEP_CLAIM)
        return decode_claims(s, step, reply, err);
    if (step->kind == STEP_LEASE)
        return decode_events(s, step, reply, err);
    for (size_t i = 0; redis_is_text(reply) && i < ARRAY_LEN(letters); i++) {
        if (reply->str[0] != letters[i].letter)
            continue;
        step->result = letters[i].result;
        if (step->kind == STEP_PUT)
            step->u.put.ret_repeated = letters[i].letter == 'r';
        decode_rest(s, step, reply->str + 1);
        return 0;
    }
    return senseless(err);
}
