#ifndef API_PARTS_H
#define API_PARTS_H
/* parts: what the files of the API share. Private to src/api.
 *
 *   api.c      one HTTP thread: keys, methods, what comes back from the store, the clock
 *   routes.c   the table of paths: who answers what
 *   assets.c   one asset: accepted, looked at (at once or at its end), validated again
 *   batch.c    many assets in one request
 *   list.c     pages of assets
 *   webhooks.c what became of events, and how to have them sent again
 *   events.c   the feed: as a stream, or as pages
 *   follow.c   streams of the feed, and who waits for an asset's end
 *   channel.c  the feed's text, made once for all streams alike
 *   health.c   liveness, readiness, the API's own description
 *   metrics.c  what Prometheus reads
 *
 * Everything here belongs to one HTTP thread. */
#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "base/buf.h"
#include "http/http.h"
#include "store/service.h"
#include "webhook/judge.h"

enum { API_ID_LEN = WEBHOOK_ID_LEN }; /* the longest {id} that any route has */

struct follow;

/* One HTTP thread's own. */
struct api_thread {
    struct api *api;
    struct mailbox box;        /* answered steps, and the follower's watch */
    struct step *first, *last; /* to be submitted when the turn is over, joined by mail.next */
    struct buf body;           /* of the answer being made */
    struct follow *follow;
    struct judge_known known;
    bool draining;
};

/* A path, as OpenAPI writes it, and who answers it. {id} is one segment. NULL: no such method. */
struct route {
    const char *path;
    void (*get)(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                const char *id); /* HEAD too */
    void (*post)(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id);
    size_t max_body; /* bytes; 0: as for all */
    bool open;       /* needs no key */
    bool health;     /* also served by a process that is no API */
};
extern const struct route api_routes[API_ROUTES];
/* Fixed paths win over {id}. ret_id is set where the path has one; to "" if it is too long for any.
 * NULL: there is nothing at this path. */
const struct route *route_of(struct http_slice path, char ret_id[static API_ID_LEN + 1]);

/* What each exchange's application data begin with. */
struct api_exchange {
    int64_t began_us;
    const struct route *route; /* NULL: none */
    const char *client;        /* the name of its key; NULL: no key is asked for */
    bool waits;                /* for something: how long says nothing about us */
};

/* A step on its way to the store thread and back. */
struct api_step {
    struct step step; /* first: the mail that comes back is the api_step */
    void (*answered)(struct api_thread *t, struct api_step *s);
};

/* ---- api.c ---- */
/* One lock and one wake-up of the store thread a turn, and what arrived together is committed together:
 * submitted one by one, the first would be a commit of its own that the others wait for. */
void api_submit(struct api_thread *t, struct api_step *s);
/* Answer with what is in t->body. fields may be NULL. */
void api_reply(struct api_thread *t, struct http_exchange *x, int status, const char *type,
               const char *fields);
void api_problem(struct api_thread *t, struct http_exchange *x, int status, const char *detail,
                 const char *faults, const char *fields);
void api_no_such_asset(struct api_thread *t, struct http_exchange *x);
void api_store_is_away(struct api_thread *t, struct http_exchange *x, const struct err *err);
/* A put or retry that was not DONE: 503. */
void api_not_stored(struct api_thread *t, struct http_exchange *x, enum step_result result);
/* Count an answer that leaves without api_reply(). */
void api_count(struct api_thread *t, struct http_exchange *x, int status);
extern const char api_json_type[];
/* type is this media type, alone or with charset=utf-8 (RFC 9110 §8.3). */
bool api_is_type(struct http_slice type, const char *name);

/* ---- assets.c ---- */
void api_post_asset(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id);
void api_get_asset(struct api_thread *t, struct http_exchange *x,
                   const struct http_request *request, const char *id);
void api_retry_asset(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id);
/* Fill in the put of a checked request. */
struct asset_request;
void api_fill_put(struct api_thread *t, const struct asset_request *request, struct step *step);
/* Answer with the asset as it is now. */
void api_show_asset(struct api_thread *t, struct http_exchange *x, const char *id);

/* ---- batch.c ---- */
enum { BATCH_LINES_MAX = 10000, BATCH_BODY_MAX = 8 * 1024 * 1024 };
void api_post_batch(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id);

/* ---- list.c ---- */
void api_list_assets(struct api_thread *t, struct http_exchange *x,
                     const struct http_request *request, const char *id);

/* ---- events.c ---- */
void api_get_events(struct api_thread *t, struct http_exchange *x,
                    const struct http_request *request, const char *id);

/* ---- follow.c ---- */
int follow_new(struct api_thread *t, struct follow **ret_follow, struct err *err);
void follow_free(struct follow *f);
/* What a stream tells. */
struct follow_from {
    bool has_after; /* from behind this on; else from now on */
    uint64_t after;
    unsigned states; /* bit n: enum asset_state n */
    bool gzip;       /* its client takes that */
};
/* Answer x with a stream. -1: it is not answered yet. */
int follow_stream(struct api_thread *t, struct http_exchange *x, const struct follow_from *from,
                  struct err *err);
/* Keep x and answer it with the asset when it has ended, or wait_ms are over. */
void follow_wait(struct api_thread *t, struct http_exchange *x, const char *id, int64_t wait_ms);
/* Whether mail is the watch of f, which has something to read then. */
bool follow_mail(struct follow *f, const struct mail *mail);
void follow_gone(struct follow *f, struct http_exchange *x);
void follow_leaving(struct follow *f, struct http_exchange *x);
void follow_drained(struct follow *f, struct http_exchange *x);
void follow_drain(struct follow *f);
void follow_run(struct follow *f);     /* what is due */
int follow_sleep_ms(struct follow *f); /* until something is; -1: nothing will */

/* ---- health.c, metrics.c ---- */
void api_healthz(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id);
void api_readyz(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                const char *id);
void api_openapi(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id);
void api_metrics(struct api_thread *t, struct http_exchange *x, const struct http_request *request,
                 const char *id);
#endif
