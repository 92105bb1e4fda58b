#ifndef STORE_STORE_H
#define STORE_STORE_H
/* store: the durable truth: the queue, the record of every asset, the outbox of webhook events.
 *
 * At least once: an asset whose worker died is claimed again, so a worker's work is safe to do twice.
 * Changes are *steps*; apply() makes a batch of them durable in one transaction. Reading has no step.
 * One engine a file behind struct store_ops; all of them pass test/contract.
 *
 * Invariants, at the end of every transaction, over crashes and retries:
 *  1. accepted = queued + started + success + failed + pruned.
 *  2. Every run of an accepted asset ends exactly once; the ending and its event are one transaction.
 *  3. A terminal event is due only when started's first attempt is over (or there is none to make).
 *  4. A number, and so an id, is never used again, even when its asset was pruned. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"

enum { ASSET_ID_LEN = 13, WEBHOOK_ID_LEN = 40, FINDING_CODES = 32 };

enum asset_state { ASSET_QUEUED, ASSET_STARTED, ASSET_SUCCESS, ASSET_FAILED };
enum { ASSET_STATES = ASSET_FAILED + 1 };
const char *asset_state_name(enum asset_state state); /* "queued" … */

/* The three webhooks that a client may name, in this order everywhere. */
enum notify { NOTIFY_START, NOTIFY_SUCCESS, NOTIFY_FAILURE };
enum { NOTIFY_COUNT = NOTIFY_FAILURE + 1 };
const char *notify_name(enum notify notify); /* "onStart" … */

/* What is known of a notification's URL when the asset is accepted. */
enum url_state {
    URL_ABSENT,
    URL_VALID,      /* its events are sent */
    URL_INVALID,    /* no absolute http(s) URL by the written rule: a finding; nothing is sent */
    URL_DISALLOWED, /* its literal address is refused by policy: a finding; nothing is sent */
    URL_OFF,        /* valid, but nothing is ever sent (--webhook-allow none): events end as OFF */
};

struct notification {
    const char *url; /* NULL when URL_ABSENT. May hold any characters but NUL when URL_INVALID. */
    enum url_state state;
};

/* One asset in a worker's hands. Owned by whoever claimed it; claims_free(). */
struct claim {
    struct claim *next;
    uint64_t number;
    unsigned run;      /* 1, and one more for each retry */
    unsigned attempts; /* how often this run was claimed, this time included */
    char id[ASSET_ID_LEN + 1];
    char *path;
    enum url_state url_states[NOTIFY_COUNT];
    int64_t accepted_ms, started_ms; /* wall clock */
};
void claims_free(struct claim *first);

enum event_state {
    EVENT_WAITING,   /* terminal, while started's first attempt is not over */
    EVENT_PENDING,   /* due at due_ms */
    EVENT_DELIVERED, /* a 2xx answer */
    EVENT_DEAD,      /* gave up: schedule exhausted, 410, or the policy refused its address */
    EVENT_OFF,       /* never to be sent */
};
const char *event_state_name(enum event_state state);

/* One webhook event in the sender's hands. Owned by whoever leased it; events_free(). */
struct event {
    struct event *next;
    uint64_t key;       /* the engine's name for it */
    enum notify notify; /* which URL; START: the started event, else the terminal one */
    unsigned attempts;  /* attempts made before this one */
    char asset_id[ASSET_ID_LEN + 1];
    char webhook_id[WEBHOOK_ID_LEN + 1]; /* the same for every attempt: {asset id}_{run}_{state} */
    char *url;
    char *errors; /* JSON object of a failed asset's errors, NULL for the others */
    int64_t created_ms;
};
void events_free(struct event *first);

enum step_kind {
    STEP_PUT,
    STEP_RETRY,
    STEP_CLAIM,
    STEP_FINISH,
    STEP_RELEASE,
    STEP_LEASE,
    STEP_DELIVERED,
    STEP_PRUNE
};

enum step_result {
    STEP_DONE,
    STEP_NOTHING, /* CLAIM, LEASE: nothing to do now. RETRY: no such asset. PRUNE: nothing so old */
    STEP_LOST,   /* FINISH, RELEASE, DELIVERED: not yours (any more). RETRY: it has not ended yet */
    STEP_FULL,   /* PUT, RETRY: as many assets wait as may */
    STEP_FAILED, /* the batch is not durable; nothing of it happened */
};

/* Accept an asset. Strings are borrowed until the step is answered. */
struct step_put {
    const char *path;
    struct notification notifications[NOTIFY_COUNT];
    char ret_id[ASSET_ID_LEN + 1];
};
/* A new run of an asset that has ended. */
struct step_retry {
    const char *id;
    enum url_state url_states[NOTIFY_COUNT]; /* judged anew */
};
/* Take up to max queued assets, oldest first: queued → started, with its event (once a run). An engine
 * gives fewer than max when few are waiting, so that other workers get some. */
struct step_claim {
    unsigned max;
    struct claim *ret_claims; /* linked by next */
    int64_t ret_next_ms; /* with NOTHING: wall time when a delayed one becomes due; 0: none waits */
};
/* End a run: started → success or failed, with its terminal event. */
struct step_finish {
    uint64_t number;
    unsigned run;
    bool success;
    uint32_t codes;     /* bit n: a finding of severity error with code n */
    const char *errors; /* JSON object; NULL on success. Borrowed until answered, as is report */
    const char *report; /* JSON object: {"findings":[…],"image":{…}} */
};
/* Give a claimed asset back, to be claimed again at not_before_ms (wall clock; 0: at once). It stays
 * *started* for its client. attempts goes on counting only if the fault was met (fault). */
struct step_release {
    uint64_t number;
    unsigned run;
    int64_t not_before_ms;
    bool fault; /* false: interrupted, as on a shutdown; the attempt is not counted */
};
/* Take up to max events that are due, most overdue first, for lease_ms. */
struct step_lease {
    unsigned max;
    int64_t lease_ms;
    struct event *ret_events; /* linked by next */
    int64_t ret_next_ms;      /* with NOTHING: wall time of the next due event; 0: none waits */
};
/* The result of one attempt at an event. Settles it, or says when to try again. */
struct step_delivered {
    uint64_t key;
    enum event_state state; /* DELIVERED, DEAD, or PENDING: again at next_ms */
    bool attempted;         /* false: given back untried, as on a shutdown; nothing is counted */
    int64_t next_ms;        /* wall clock */
    int http_status;        /* 0: no answer came */
    int duration_ms;
    const char *error; /* NULL or a short word: "timeout", "refused", "tls", …; borrowed */
};
/* Delete up to max assets that ended before before_ms, with their events. */
struct step_prune {
    int64_t before_ms;
    unsigned max;
    unsigned ret_count;
};

/* One change that one caller asks for, with room for its answer. */
struct step {
    struct mail mail; /* how it travels to the store thread and back */
    struct mailbox *reply_to;
    enum step_kind kind;
    enum step_result result; /* set by apply() */
    bool parkable; /* CLAIM, LEASE: rather wait in the service than come back with NOTHING */
    union {
        struct step_put put;
        struct step_retry retry;
        struct step_claim claim;
        struct step_finish finish;
        struct step_release release;
        struct step_lease lease;
        struct step_delivered delivered;
        struct step_prune prune;
    } u;
};

/* What a reader sees of one notification: the event of the asset's latest run, if there is one yet. */
struct delivery {
    char *url; /* NULL: the client named none */
    enum url_state url_state;
    bool has_event;
    enum event_state state;
    unsigned attempts;
    int http_status;          /* of the last attempt; 0: no answer */
    char *error;              /* of the last attempt; NULL: none */
    int64_t next_ms, last_ms; /* 0: none. next attempt; last attempt */
};

/* A reader's copy of one asset; asset_release(). */
struct asset {
    uint64_t number;
    char id[ASSET_ID_LEN + 1];
    enum asset_state state;
    unsigned run, attempts;
    char *path;
    char *errors, *report; /* JSON objects as finished; NULL while there is none */
    int64_t accepted_ms, started_ms, ended_ms; /* 0: not yet */
    struct delivery deliveries[NOTIFY_COUNT];
};
void asset_release(struct asset *asset);

/* Which assets to list, newest first. */
struct asset_query {
    bool by_state;
    enum asset_state state;
    const char
        *after;     /* id of the last asset of the page before; NULL: from the newest. One that is
                        * no id: ERR_INVALID. It may be pruned meanwhile */
    unsigned limit; /* 1 … 1000 */
};
struct asset_page {       /* asset_page_release() */
    struct asset *assets; /* deliveries are not filled in */
    size_t n;
    bool more;
};
void asset_page_release(struct asset_page *page);

struct store_stats {
    uint64_t by_state[ASSET_STATES];
    uint64_t accepted, pruned;               /* invariant 1 holds over these and by_state */
    uint64_t runs_success, runs_failed;      /* ended runs; they never fall */
    uint64_t errors_by_code[FINDING_CODES];  /* ended runs that had the finding */
    uint64_t events_by_state[EVENT_OFF + 1]; /* of events whose asset is not pruned */
    int64_t oldest_queued_ms;                /* wall clock; 0: none is queued */
};

struct store;
struct store_ops {
    const char *scheme; /* of --store: "sqlite", "memory", "redis" */
    /* Make all n steps durable in one transaction, in order, at wall time now_ms, and fill in their
     * results. 0: all are durable; -1: none is (*err says why; ERR_FULL: the disk is full).
     * Called by one thread only. After a failure the next call works again, or says why not; it may
     * have no steps, just to see. */
    int (*apply)(struct store *s, struct step *steps[], size_t n, int64_t now_ms, struct err *err);
    /* Readers, any thread, never blocked by apply. find: 1 found, 0 no such asset. */
    int (*find)(struct store *s, const char *id, struct asset *ret_asset, struct err *err);
    int (*list)(struct store *s, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err);
    int (*stats)(struct store *s, struct store_stats *ret_stats, struct err *err);
    void (*close)(struct store *s);
};
/* First member of every engine's own struct. */
struct store {
    const struct store_ops *ops;
};

struct store_config {
    uint64_t max_queued; /* assets that may wait (queued); more is STEP_FULL */
};

/* Open the store that url names ("sqlite:data/assay.db"; missing folders are made; "memory:" serves
 * tests). ERR_BUSY: another process owns it. Every lease of an earlier process is void at once. */
int store_open(const char *url, const struct store_config *config, struct store **ret_store,
               struct err *err);
void store_close(struct store *s);
int store_apply(struct store *s, struct step *steps[], size_t n, int64_t now_ms, struct err *err);
int store_find(struct store *s, const char *id, struct asset *ret_asset, struct err *err);
int store_list(struct store *s, const struct asset_query *query, struct asset_page *ret_page,
               struct err *err);
int store_stats(struct store *s, struct store_stats *ret_stats, struct err *err);
#endif
