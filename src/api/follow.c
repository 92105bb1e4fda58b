/* Who follows what happens: streams of the feed, and requests that wait for one asset's end.
 *
 * One position in the feed (seq) serves all of a thread: when the store thread says that there is
 * something new, it is read once, made a piece of text once for all who want it alike (channel.h), and
 * given to every stream that has taken all that came before. A stream whose client is slow, or which begins
 * in the past, is *behind*: it gets the pieces that are kept or, from before them, reads for itself,
 * whenever its client has taken what it got, until it has caught up. With nobody here the store thread is
 * not asked to say anything.
 *
 * Each stream lengthens the pause between two pieces by 1 ms, up to 1 s: a piece costs a write to every one
 * of them, some 10 µs with all that the kernel does, so that streams take 1 to 2 % of a core at most, but for
 * their bytes. Who waits for one asset does not wait for that. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/channel.h"
#include "api/parts.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "http/link.h"

#define STREAM_FIELDS                                                                              \
    "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nVary: Accept, Accept-Encoding\r\n"

enum {
    PAGE = LIST_LIMIT_MAX, /* entries that are read at once */
    HEARTBEAT_MS = 15 * 1000,
    PAUSE_MIN_MS = 2,    /* between two readings, and two pieces */
    PAUSE_MAX_MS = 1000, /* of both */
    WAITERS_A_MS = 20,   /* who lengthen the pause between two readings by 1 ms */
    RETRY_MS = 1000,     /* the feed could not be read */
    BUCKETS = 1024,
};

/* A stream; lives in its exchange. */
struct stream {
    struct api_exchange exchange;
    struct http_exchange *x;
    struct http_link link; /* in its channel */
    struct channel *channel;
    struct channel_sum sum; /* if it is compressed */
    bool behind;
    uint64_t
        seq; /* up to here it got everything; when not behind, also what its channel told since */
};
/* A request that waits; likewise. */
struct waiter {
    struct api_exchange exchange;
    struct http_exchange *x;
    struct http_link link; /* in its bucket */
    int64_t due_ms;
    char id[ASSET_ID_LEN + 1];
};
_Static_assert(sizeof(struct stream) <= HTTP_APP_DATA, "a stream fits in its exchange");
_Static_assert(sizeof(struct waiter) <= HTTP_APP_DATA, "a waiter fits in its exchange");

struct follow {
    struct api_thread *t;
    struct service_watch watch;
    bool watching, news;
    bool untold;        /* some channel has text to be cut */
    uint64_t seq;       /* while watching: up to here the feed was read */
    int64_t read_at_ms; /* no reading before; monotonic, as all times here */
    int64_t tell_at_ms; /* no piece before */
    int64_t beat_ms;    /* the next heartbeat */
    int64_t due_ms;     /* no waiter is due before */
    size_t n_streams, n_waiters;
    struct channels channels;
    struct http_link buckets[BUCKETS]; /* waiters, by asset */
};

int follow_new(struct api_thread *t, struct follow **ret_follow, struct err *err)
{
    struct follow *f = calloc(1, sizeof(*f));
    if (!f)
        return err_set(err, ERR_NOMEM, "out of memory");
    f->t = t;
    f->watch.reply_to = &t->box;
    channels_init(&f->channels);
    for (int i = 0; i < BUCKETS; i++)
        http_link_init(&f->buckets[i]);
    *ret_follow = f;
    return 0;
}

void follow_free(struct follow *f)
{
    if (!f)
        return;
    if (f->watching)
        service_unwatch(f->t->api->service, &f->watch);
    channels_release(&f->channels);
    free(f);
}

static struct http_link *bucket_of(struct follow *f, const char *id)
{
    return &f->buckets[fnv1a(FNV1A_BEGIN, id, strlen(id)) % BUCKETS];
}

/* ---- coming and going ---------------------------------------------------------------------- */

/* The watch first: what happens after the position was read is told. */
static int begin(struct follow *f, struct err *err)
{
    if (f->watching)
        return 0;
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    service_watch(f->t->api->service, &f->watch);
    if (store_feed(f->t->api->store, INT64_MAX, 1, &page, err) < 0) {
        service_unwatch(f->t->api->service, &f->watch);
        return -1;
    }
    f->watching = true;
    f->news = f->untold = false;
    f->seq = page.last_seq;
    f->read_at_ms = f->tell_at_ms = 0;
    f->due_ms = INT64_MAX;
    f->beat_ms = clock_mono_ms() + HEARTBEAT_MS;
    return 0;
}

static void end_if_alone(struct follow *f)
{
    if (!f->watching || f->n_streams > 0 || f->n_waiters > 0)
        return;
    service_unwatch(f->t->api->service, &f->watch);
    if (f->news)
        atomic_store(&f->watch.posted, false);
    f->watching = f->news = false;
}

static void answer_waiter(struct follow *f, struct waiter *w)
{
    http_link_remove(&w->link);
    f->n_waiters--;
    api_show_asset(f->t, w->x, w->id);
}

static void leave_channel(struct follow *f, struct stream *s)
{
    http_link_remove(&s->link);
    f->n_streams--;
    if (--s->channel->n_streams == 0)
        channel_restart(s->channel, 0);
}

static void end_stream(struct follow *f, struct stream *s)
{
    char trailer[CHANNEL_TRAILER_LEN];
    leave_channel(f, s);
    if (s->channel->gzip) {
        channel_trailer(&s->sum, trailer);
        http_stream_write(s->x, trailer, sizeof(trailer));
    }
    http_stream_end(s->x);
}

static void end_streams(struct follow *f, struct channel *c)
{
    while (!http_link_alone(&c->streams))
        end_stream(f, HTTP_LINKED(c->streams.next, struct stream, link));
}

static bool is_stream(const struct http_exchange *x)
{
    const struct api_exchange *e = http_app_data((struct http_exchange *)(uintptr_t)x);
    return e->route && e->route->get == api_get_events;
}

void follow_gone(struct follow *f, struct http_exchange *x)
{
    if (is_stream(x)) {
        leave_channel(f, http_app_data(x));
    } else {
        http_link_remove(&((struct waiter *)http_app_data(x))->link);
        f->n_waiters--;
    }
    end_if_alone(f);
}

/* One who has left would hold a connection until its time is over; one who still reads gets an answer. */
void follow_leaving(struct follow *f, struct http_exchange *x)
{
    answer_waiter(f, http_app_data(x));
    end_if_alone(f);
}

void follow_drain(struct follow *f)
{
    for (int i = 0; i < CHANNELS; i++)
        end_streams(f, &f->channels.of[i]);
    for (int i = 0; i < BUCKETS; i++)
        while (!http_link_alone(&f->buckets[i]))
            answer_waiter(f, HTTP_LINKED(f->buckets[i].next, struct waiter, link));
    end_if_alone(f);
}

/* ---- those that are behind ----------------------------------------------------------------- */

static void give(struct stream *s, const struct piece *piece)
{
    http_stream_write(s->x, piece->data, piece->len);
    if (s->channel->gzip)
        channel_sum_add(&s->sum, piece);
}

/* A stream that leaves out some states tells its position besides, so that a client that comes back after a
 * long silence does not begin at its last event. */
static void add_beat(struct buf *text, const struct channel *c, uint64_t seq)
{
    if (c->states == CHANNEL_ALL)
        (void)buf_adds(text, ":\n\n");
    else
        (void)buf_addf(text, "id: %" PRIu64 "\n\n", seq);
}

/* From the store: what s lacks up to upto, or some of it. */
static int read_for(struct follow *f, struct stream *s, uint64_t upto, struct err *err)
{
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    CLEANUP(freep) struct piece *piece = NULL;
    struct buf *text = &f->channels.scrap;
    uint64_t after = s->seq, read = upto;
    if (store_feed(f->t->api->store, after, PAGE, &page, err) < 0)
        return -1;
    if (page.first_seq > after + 1)
        (void)buf_addf(text, "event: missed\ndata: {\"first\":%" PRIu64 "}\n\n", page.first_seq);
    for (size_t i = 0; i < page.n && page.entries[i].seq <= upto; i++)
        channel_add(text, s->channel, &page.entries[i]);
    if (page.n == PAGE && page.entries[PAGE - 1].seq < upto)
        read = page.entries[PAGE - 1].seq;
    if (text->len == 0) /* something must be written, or its turn does not come again */
        add_beat(text, s->channel, read);
    if (channel_cut(&f->channels, s->channel, text, after, read, &piece, err) < 0)
        return -1;
    give(s, piece);
    s->seq = read;
    return 0;
}

static void catch_up(struct follow *f, struct stream *s)
{
    const struct channel *c = s->channel;
    const struct piece *kept = channel_find(c, s->seq);
    struct err err;
    if (s->seq >= c->kept_after && (!kept || kept->after >= s->seq)) {
        if (kept)
            give(s, kept);
        s->seq = kept ? kept->upto : s->seq;
    } else if (read_for(f, s, s->seq < c->kept_after ? c->kept_after : kept->upto, &err) < 0) {
        log_error("store_read", LOG_S("why", err.msg));
        end_stream(f, s); /* its client comes again, and says where it was */
        return;
    }
    s->behind = s->seq < c->kept_after || channel_find(c, s->seq);
}

void follow_drained(struct follow *f, struct http_exchange *x)
{
    struct stream *s = http_app_data(x);
    if (s->behind)
        catch_up(f, s);
    end_if_alone(f);
}

/* ---- news ---------------------------------------------------------------------------------- */

static void tell_waiters(struct follow *f, const struct feed_entry *e)
{
    if (f->n_waiters == 0 || (e->state != ASSET_SUCCESS && e->state != ASSET_FAILED))
        return;
    struct http_link *bucket = bucket_of(f, e->id);
    for (struct http_link *l = bucket->next, *next; l != bucket; l = next) {
        struct waiter *w = HTTP_LINKED(l, struct waiter, link);
        next = l->next;
        if (strcmp(w->id, e->id) == 0)
            answer_waiter(f, w);
    }
}

/* Cut what is new, and give it to all that have what came before it. */
static void tell_streams(struct follow *f, struct channel *c)
{
    struct piece *piece;
    struct err err;
    uint64_t after = c->told;
    if (channel_cut(&f->channels, c, &c->text, after, f->seq, &piece, &err) < 0) {
        log_error("feed_write", LOG_S("why", err.msg));
        end_streams(f, c); /* their clients come again, and say where they were */
        return;
    }
    c->told = f->seq;
    if (!piece)
        return;
    channel_keep(c, piece);
    for (struct http_link *l = c->streams.next, *next; l != &c->streams; l = next) {
        struct stream *s = HTTP_LINKED(l, struct stream, link);
        next = l->next;
        if (s->behind)
            continue;
        s->behind = s->seq > after || http_stream_unsent(s->x) > 0;
        if (!s->behind) {
            give(s, piece);
            s->seq = piece->upto;
        } else if (http_stream_unsent(s->x) == 0) {
            catch_up(f, s); /* it began in the midst of the piece */
        }
    }
}

static int64_t pause_of(size_t more_ms)
{
    int64_t pause_ms = PAUSE_MIN_MS + (int64_t)more_ms;
    return pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
}

static void tell_all(struct follow *f, int64_t now_ms)
{
    for (int i = 0; i < CHANNELS; i++)
        if (f->channels.of[i].n_streams > 0)
            tell_streams(f, &f->channels.of[i]);
    f->tell_at_ms = now_ms + pause_of(f->n_streams);
    f->untold = false;
}

/* False: there is no more, or it cannot be read now. */
static bool read_page(struct follow *f)
{
    CLEANUP(feed_page_release) struct feed_page page = { 0 };
    struct err err;
    if (store_feed(f->t->api->store, f->seq, PAGE, &page, &err) < 0) {
        log_error("store_read", LOG_S("why", err.msg));
        f->news = true;
        f->read_at_ms = clock_mono_ms() + RETRY_MS;
        return false;
    }
    for (size_t i = 0; i < page.n; i++)
        tell_waiters(f, &page.entries[i]);
    f->seq = page.n > 0 ? page.entries[page.n - 1].seq : page.last_seq;
    for (int i = 0; i < CHANNELS; i++) {
        struct channel *c = &f->channels.of[i];
        for (size_t k = 0; k < page.n && c->n_streams > 0; k++)
            channel_add(&c->text, c, &page.entries[k]);
        if (c->n_streams > 0 && channel_is_full(c))
            tell_streams(f, c);
    }
    f->untold = f->n_streams > 0;
    return page.n == PAGE;
}

static void read_news(struct follow *f, int64_t now_ms)
{
    f->read_at_ms = now_ms + pause_of(f->n_waiters / WAITERS_A_MS);
    if (f->n_waiters == 0 && f->tell_at_ms > f->read_at_ms)
        f->read_at_ms = f->tell_at_ms; /* nobody would see it before */
    f->news = false;
    atomic_store(&f->watch.posted,
                 false); /* only now: until it is read nobody needs to say it again */
    while ((f->n_streams > 0 || f->n_waiters > 0) && read_page(f))
        ;
}

bool follow_mail(struct follow *f, const struct mail *mail)
{
    if (mail != &f->watch.mail)
        return false;
    f->news = f->watching;
    if (!f->news)
        atomic_store(&f->watch.posted, false);
    return true;
}

/* ---- the clock ----------------------------------------------------------------------------- */

static void beat_channel(struct follow *f, struct channel *c)
{
    CLEANUP(freep) struct piece *piece = NULL;
    struct err err;
    struct buf *text = &f->channels.scrap;
    add_beat(text, c, c->told);
    if (channel_cut(&f->channels, c, text, c->told, c->told, &piece, &err) < 0)
        return; /* the next one comes soon */
    for (struct http_link *l = c->streams.next; l != &c->streams; l = l->next) {
        struct stream *s = HTTP_LINKED(l, struct stream, link);
        if (!s->behind && http_stream_unsent(s->x) == 0)
            give(s, piece);
    }
}

static void beat(struct follow *f, int64_t now_ms)
{
    for (int i = 0; i < CHANNELS; i++)
        if (f->channels.of[i].n_streams > 0)
            beat_channel(f, &f->channels.of[i]);
    f->beat_ms = now_ms + HEARTBEAT_MS;
}

static void answer_due(struct follow *f, int64_t now_ms)
{
    f->due_ms = INT64_MAX;
    for (int i = 0; i < BUCKETS && f->n_waiters > 0; i++) {
        struct http_link *bucket = &f->buckets[i];
        for (struct http_link *l = bucket->next, *next; l != bucket; l = next) {
            struct waiter *w = HTTP_LINKED(l, struct waiter, link);
            next = l->next;
            if (w->due_ms <= now_ms)
                answer_waiter(f, w);
            else if (w->due_ms < f->due_ms)
                f->due_ms = w->due_ms;
        }
    }
}

void follow_run(struct follow *f)
{
    if (!f->watching)
        return;
    int64_t now_ms = clock_mono_ms();
    if (f->news && now_ms >= f->read_at_ms)
        read_news(f, now_ms);
    if (f->untold && now_ms >= f->tell_at_ms)
        tell_all(f, now_ms);
    if (now_ms >= f->due_ms)
        answer_due(f, now_ms);
    if (now_ms >= f->beat_ms)
        beat(f, now_ms);
    end_if_alone(f);
}

int follow_sleep_ms(struct follow *f)
{
    if (!f->watching)
        return -1;
    int64_t at_ms = f->beat_ms < f->due_ms ? f->beat_ms : f->due_ms;
    if (f->news && f->read_at_ms < at_ms)
        at_ms = f->read_at_ms;
    if (f->untold && f->tell_at_ms < at_ms)
        at_ms = f->tell_at_ms;
    int64_t ms = at_ms - clock_mono_ms();
    return ms < 0 ? 0 : ms < HEARTBEAT_MS ? (int)ms : HEARTBEAT_MS;
}

/* ---- GET /assets/{id}?wait=… --------------------------------------------------------------- */

/* Watching comes before looking: an end that is not seen now is told later. */
void follow_wait(struct api_thread *t, struct http_exchange *x, const char *id, int64_t wait_ms)
{
    struct follow *f = t->follow;
    CLEANUP(asset_release) struct asset asset = { 0 };
    struct err err;
    if (begin(f, &err) < 0 || store_find(t->api->store, id, &asset, &err) < 0) {
        api_store_is_away(t, x, &err);
    } else if (asset.id[0] == '\0' || asset.state == ASSET_SUCCESS || asset.state == ASSET_FAILED) {
        api_show_asset(t, x, id);
    } else {
        struct waiter *w = http_app_data(x);
        w->exchange.waits = true;
        w->x = x;
        w->due_ms = clock_mono_ms() + wait_ms;
        memcpy(w->id, asset.id, sizeof(w->id));
        http_link_init(&w->link);
        http_link_append(bucket_of(f, w->id), &w->link);
        f->n_waiters++;
        if (w->due_ms < f->due_ms)
            f->due_ms = w->due_ms;
        http_keep(x);
    }
    end_if_alone(f);
}

/* ---- GET /events --------------------------------------------------------------------------- */

static void greet(struct follow *f, struct stream *s)
{
    CLEANUP(freep) struct piece *piece = NULL;
    struct err err;
    struct buf *text = &f->channels.scrap;
    (void)buf_adds(text, "retry: 2000\n\n");
    if (s->channel->gzip)
        http_stream_write(s->x, channel_gzip_head, sizeof(channel_gzip_head));
    bool failed = channel_cut(&f->channels, s->channel, text, 0, 0, &piece, &err) < 0;
    if (!failed)
        give(s, piece);
    if (failed || f->t->draining)
        end_stream(f, s);
}

int follow_stream(struct api_thread *t, struct http_exchange *x, const struct follow_from *from,
                  struct err *err)
{
    struct follow *f = t->follow;
    struct stream *s = http_app_data(x);
    if (begin(f, err) < 0)
        return -1;
    struct http_response head = { .status = 200,
                                  .content_type = "text/event-stream",
                                  .fields = from->gzip ? STREAM_FIELDS "Content-Encoding: gzip\r\n"
                                                       : STREAM_FIELDS };
    s->exchange.waits = true;
    api_count(t, x, 200);
    if (http_stream_begin(x, &head)) {
        s->x = x;
        s->channel = channels_get(&f->channels, from->states, from->gzip);
        if (s->channel->n_streams++ == 0)
            channel_restart(s->channel, f->seq);
        s->seq = f->seq; /* also when after is of another store */
        if (from->has_after && from->after < f->seq)
            s->seq = from->after;
        s->behind = s->seq < s->channel->told;
        http_link_init(&s->link);
        http_link_append(&s->channel->streams, &s->link);
        f->n_streams++;
        greet(f, s);
    }
    end_if_alone(f);
    return 0;
}
