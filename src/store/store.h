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
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mailbox.h"

enum { ASSET_ID_LEN = 13, WEBHOOK_ID_LEN = 40, FINDING_CODES = 32 };
enum { IDEMPOTENCY_LEN = 32 /* SHA-256 */, IDEMPOTENCY_MS = 24 * 3600 * 1000 };
enum { ANSWER_MAX = 1024 /* bytes kept of a receiver's answer */, ATTEMPTS_MAX = 32 };
enum { LIST_LIMIT_MAX = 1000, LIST_EXAMINE_MAX = 100000 };

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
    unsigned
        deaths; /* how often the process that had it died, or fell silent; see WORKER_MAX_DEATHS */
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
    STEP_RESEND,
    STEP_PRUNE,
    STEP_SAMPLE
};

enum step_result {
    STEP_DONE,
    STEP_NOTHING,  /* CLAIM, LEASE: nothing to do now. RETRY: no such asset. PRUNE: nothing so old.
                   * RESEND: no such event, or none is dead */
    STEP_LOST,     /* FINISH, RELEASE, DELIVERED: not yours (any more). RETRY: it has not ended yet.
                * RESEND: it is not settled yet, or off */
    STEP_FULL,     /* PUT, RETRY: as many assets wait as may */
    STEP_CONFLICT, /* PUT: its idempotency key came with another body before */
    STEP_FAILED,   /* the batch is not durable; nothing of it happened */
};

/* Accept an asset. Strings and digests are borrowed until the step is answered. A key that came with
 * the same digest within IDEMPOTENCY_MS gives the first answer again, and nothing is accepted; with
 * another digest it is a conflict. Neither is ever STEP_FULL. */
struct step_put {
    const char *path;
    struct notification notifications[NOTIFY_COUNT];
    char ret_id[ASSET_ID_LEN + 1];
    bool ret_repeated; /* with DONE: ret_id was accepted earlier */
    const uint8_t
        *idempotency_key;       /* IDEMPOTENCY_LEN bytes, a digest of the client's; NULL: none */
    const uint8_t *body_digest; /* IDEMPOTENCY_LEN bytes; with a key only */
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
/* Take up to max events that are due, most overdue first, for lease_ms. Fewer than max: all that were due. */
struct step_lease {
    unsigned max;
    int64_t lease_ms;
    struct event *ret_events; /* linked by next */
    int64_t ret_next_ms; /* with fewer than max: wall time of the next due event; 0: none waits */
};
/* The result of one attempt at an event. Settles it, or says when to try again. */
struct step_delivered {
    uint64_t key;
    enum event_state state; /* DELIVERED, DEAD, OFF, or PENDING: again at next_ms */
    bool attempted;         /* false: given back untried, as on a shutdown; nothing is counted */
    int64_t next_ms;        /* wall clock */
    int http_status;        /* 0: no answer came */
    int duration_ms;
    const char *error; /* NULL or a short word: "timeout", "refused", "tls", …; borrowed */
    const char
        *answer; /* the first bytes of the receiver's answer, any bytes; NULL: none; borrowed */
    size_t answer_len; /* more than ANSWER_MAX are not kept */
};
/* Make settled events due again at once, as if never attempted; their ids and their log stay. One by
 * its id, if it is delivered or dead, or up to max dead ones, oldest first. */
struct step_resend {
    const char *webhook_id; /* borrowed; NULL: dead ones */
    unsigned max;           /* of dead ones */
    int64_t before_ms;      /* of dead ones: only those created before it; 0: all */
    unsigned ret_count;
};
/* Delete up to max assets that ended before before_ms, with their events; and, without counting them,
 * some of the feed's entries from before it and of the idempotency keys that hold no longer. DONE:
 * something was deleted, and there may be more. */
struct step_prune {
    int64_t before_ms;
    unsigned max;
    unsigned ret_count; /* assets */
};

/* History for plots: rings of samples, one for each minute of a day, one for each hour of 30 days.
 * What the values mean is their writer's business. */
enum ring { RING_MINUTE, RING_HOUR };
enum { RINGS = RING_HOUR + 1, RING_LEN_MAX = 1440, SAMPLE_VALUES = 16 };
size_t ring_len(enum ring ring);
int64_t ring_period_ms(enum ring ring);
struct sample {
    int64_t at_ms;
    uint64_t values[SAMPLE_VALUES];
};
/* Write the sample of its minute or hour over what the ring has in that place. */
struct step_sample {
    enum ring ring;
    struct sample sample;
};

/* One change that one caller asks for, with room for its answer. */
struct step {
    struct mail mail; /* how it travels to the store thread and back */
    struct mailbox *reply_to;
    enum step_kind kind;
    enum step_result result; /* set by apply() */
    bool parkable; /* CLAIM, LEASE: rather wait in the service than come back with NOTHING */
    const atomic_bool *recalled; /* NULL, or of a parkable one: once true it waits no longer; see
                                  * service_recall() */
    union {
        struct step_put put;
        struct step_retry retry;
        struct step_claim claim;
        struct step_finish finish;
        struct step_release release;
        struct step_lease lease;
        struct step_delivered delivered;
        struct step_resend resend;
        struct step_prune prune;
        struct step_sample sample;
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

/* Which assets to list, newest first; all conditions hold. A query examines at most LIST_EXAMINE_MAX
 * assets, so a page may be short, even empty, and still have more behind it. */
struct asset_query {
    bool by_state;
    enum asset_state state;
    const char
        *after;       /* id of the last asset of the page before; NULL: from the newest. One that is
                        * no id: ERR_INVALID. It may be pruned meanwhile */
    unsigned limit;   /* 1 … LIST_LIMIT_MAX */
    bool by_code;     /* only failed ones with this finding in their latest run */
    unsigned code;    /* 0 … FINDING_CODES - 1 */
    const char *path; /* exactly this one; NULL: any */
    int64_t since_ms; /* accepted at or after; 0: open. The search ends at the first older one */
    int64_t until_ms; /* accepted before; 0: open */
};
struct asset_page {       /* asset_page_release() */
    struct asset *assets; /* deliveries are not filled in */
    size_t n;
    bool more;
    char next[ASSET_ID_LEN + 1]; /* with more: the after of the next page */
};
void asset_page_release(struct asset_page *page);

/* One attempt at an event, as its log keeps it. */
struct attempt {
    int64_t at_ms;
    int http_status; /* 0: no answer came */
    int duration_ms;
    char *error;  /* NULL: none */
    char *answer; /* any bytes, and a NUL that does not count; NULL: none */
    size_t answer_len;
};
/* A reader's copy of one event; event_view_release(). */
struct event_view {
    char webhook_id[WEBHOOK_ID_LEN + 1];
    char asset_id[ASSET_ID_LEN + 1];
    enum notify notify;
    enum event_state state;
    unsigned run, attempts;
    char *url;
    int64_t created_ms, next_ms,
        last_ms;         /* 0: none. next attempt; last attempt since it was (re)sent */
    int http_status;     /* of that attempt; 0: no answer */
    char *error;         /* of that attempt; NULL: none */
    struct attempt *log; /* the newest ATTEMPTS_MAX, oldest first. Lists leave it empty */
    size_t n_log;
};
void event_view_release(struct event_view *view);
/* Which events to list, those of the newest assets first. As with assets, a page may be short. */
struct event_query {
    bool by_state;
    enum event_state state;
    const char
        *after;     /* webhook id of the last event of the page before; NULL: from the newest. One
                        * that is none: ERR_INVALID */
    unsigned limit; /* 1 … LIST_LIMIT_MAX */
};
struct event_page { /* event_page_release() */
    struct event_view *events;
    size_t n;
    bool more;
    char next[WEBHOOK_ID_LEN + 1]; /* with more: the after of the next page */
};
void event_page_release(struct event_page *page);

/* The feed: one entry for each change of an asset's state, made in the transaction of the change and
 * numbered 1, 2, 3, … in commit order. Whoever has read up to n has missed nothing before it. */
struct feed_entry {
    uint64_t seq;
    char id[ASSET_ID_LEN + 1];
    unsigned run;
    enum asset_state state; /* it entered */
    int64_t at_ms;
    char *errors; /* of failed: JSON object; NULL for the others, or when the asset is pruned */
};
struct feed_page { /* feed_page_release() */
    struct feed_entry *entries;
    size_t n;
    uint64_t last_seq; /* the newest there is; 0: there was none yet */
    uint64_t
        first_seq; /* the oldest kept; last_seq + 1: none is. Who has read less has missed some */
};
void feed_page_release(struct feed_page *page);

struct store_stats {
    uint64_t by_state[ASSET_STATES];
    uint64_t accepted, pruned;               /* invariant 1 holds over these and by_state */
    uint64_t runs_success, runs_failed;      /* ended runs; they never fall */
    uint64_t errors_by_code[FINDING_CODES];  /* ended runs that had the finding */
    uint64_t events_by_state[EVENT_OFF + 1]; /* of events whose asset is not pruned */
    int64_t oldest_queued_ms;                /* wall clock; 0: none is queued */
    uint64_t
        rescued; /* claims whose worker died and that others got; may begin at 0 with a process */
};

enum {
    STORE_BEAT_MS = 5 * 1000, /* how often a process tells of itself */
    STORE_PROCESS_LATE_MS =
        3 * STORE_BEAT_MS,                /* who is silent for so long should have told by now */
    STORE_PROCESS_MS = 6 * STORE_BEAT_MS, /* who is silent for so long is not listed */
    STORE_PROCESS_ASSETS = 8,
    STORE_PROCESS_ORIGINS = 16,
    STORE_ORIGIN_LEN = 280, /* of its name, with the NUL */
};
/* An origin that a process holds webhooks back from. */
struct store_origin {
    char name[STORE_ORIGIN_LEN];
    char state[16];            /* of its breaker: "open", "half-open" */
    unsigned trips;            /* how often it opened since it was closed last */
    unsigned attempts, failed; /* in five minutes */
    int64_t next_ms;           /* wall clock; when the next attempt may be made */
};
/* One of the processes that share a store, as it tells the others. */
struct store_process {
    uint64_t number; /* the store's name for it; set by store_processes() */
    char role[16];   /* "worker", … */
    char host[64];
    char version[16];
    int pid;
    unsigned capacity, active,
        busy;   /* files that it may check at once; has threads claim for; checks */
    int wanted; /* active threads that it was asked for; -1: nobody has. Set by store_processes() */
    uint64_t done, faults; /* since its start */
    int64_t failed;        /* of done; -1: it is of a version that does not tell */
    uint64_t memory_bytes; /* 0: unknown */
    int64_t since_ms;      /* its start */
    int64_t seen_ms;       /* its last sign of life, by our clock; set by store_processes() */
    char assets[STORE_PROCESS_ASSETS][ASSET_ID_LEN + 1]; /* some of those that it checks */
    unsigned n_assets;
    struct store_origin origins[STORE_PROCESS_ORIGINS]; /* the worst */
    unsigned n_origins, all_origins;                    /* shown here; held back from */
};

/* What an operator should know of where the data lie, although they can be written. */
struct store_warning {
    const char *name; /* one of store_warning_names */
    char why[160];
};
enum { STORE_WARNINGS = 4 };
extern const char *const store_warning_names[STORE_WARNINGS]; /* that any engine gives */
struct store_warnings {
    size_t n;
    struct store_warning list[STORE_WARNINGS];
};

enum { STORE_NEWS_WORK = 1, STORE_NEWS_CHANGES = 2 };

struct store;
struct store_ops {
    const char *scheme; /* of --store: "sqlite", "memory", "redis" */
    /* Make all n steps durable in one transaction, in order, at wall time now_ms, and fill in their
     * results. 0: all are durable; -1: none is (*err says why; ERR_FULL: the disk is full).
     * Called by one thread only. After a failure the next call works again, or says why not; it may
     * have no steps, just to see. */
    int (*apply)(struct store *s, struct step *steps[], size_t n, int64_t now_ms, struct err *err);
    /* NULL: none. Whether nobody waits for what this step brings about, so that it may be applied a
     * little later, together with the step that they wait for. By the thread that calls apply(). */
    bool (*may_wait)(struct store *s, const struct step *step);
    /* Readers, any thread, never blocked by apply. find: 1 found, 0 no such asset. */
    int (*find)(struct store *s, const char *id, struct asset *ret_asset, struct err *err);
    int (*list)(struct store *s, const struct asset_query *query, struct asset_page *ret_page,
                struct err *err);
    int (*stats)(struct store *s, struct store_stats *ret_stats, struct err *err);
    /* 1 found, 0 no such event. */
    int (*event)(struct store *s, const char *webhook_id, struct event_view *ret_event,
                 struct err *err);
    int (*events)(struct store *s, const struct event_query *query, struct event_page *ret_page,
                  struct err *err);
    /* The newest LIST_LIMIT_MAX events of all runs of one asset, oldest first, with their logs; more:
     * there are older ones. An unknown asset has none. */
    int (*deliveries)(struct store *s, const char *asset_id, struct event_page *ret_page,
                      struct err *err);
    /* Up to limit (1 … LIST_LIMIT_MAX) entries that come after after_seq. */
    int (*feed)(struct store *s, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
                struct err *err);
    /* The newest max samples of a ring, oldest first. Some may be older than the ring is long. */
    int (*history)(struct store *s, enum ring ring, struct sample *ret_samples, size_t max,
                   size_t *ret_n, struct err *err);
    /* May be NULL. 0: as far as is known, steps can be made durable, with such warnings as there are;
     * -1: they cannot (*err says why). Asks nobody: any thread, never blocks for long. */
    int (*health)(struct store *s, struct store_warnings *ret_warnings, struct err *err);
    /* Both may be NULL. backup: copy the store as it is now to a new file at path, while it is in use.
     * verify: count everything anew and prove invariants 1 to 3; report gets one line for each fact:
     * 1 sound, 0 not, -1 could not tell. */
    int (*backup)(struct store *s, const char *path, struct err *err);
    int (*verify)(struct store *s, struct buf *report, struct err *err);
    /* NULL where one process owns the store. Sleep until another process has made work or changed an
     * asset's state, as far as that is wanted: STORE_NEWS_… bits, also when such news may have been
     * missed, as before they were wanted. 0: timeout_ms is over, or wake_fd is readable. Called by the
     * thread that calls apply(). */
    unsigned (*wait)(struct store *s, unsigned wanted, int wake_fd, int timeout_ms);
    /* NULL where one process owns the store. beat: tell the others what this process is and does; gone
     * after STORE_PROCESS_MS, or with close(). *ret_wanted: active threads that somebody asked this
     * process for, -1: nobody has. processes: those that have told, by number. ask_active: want so many
     * active threads of the process with the number, which learns it with its next beat: 1; 0: there is
     * no such process. Any thread. */
    int (*beat)(struct store *s, const struct store_process *process, int *ret_wanted,
                struct err *err);
    int (*ask_active)(struct store *s, uint64_t number, unsigned active, struct err *err);
    int (*processes)(struct store *s, struct store_process *ret_processes, size_t max,
                     size_t *ret_n, struct err *err);
    void (*close)(struct store *s);
};
/* First member of every engine's own struct. */
struct store {
    const struct store_ops *ops;
};

struct store_config {
    uint64_t max_queued; /* assets that may wait (queued); more is STEP_FULL */
    int64_t lease_ms; /* where processes share a store: who is silent for so long has lost what it
                          * claimed. 0: 30 s */
    const char *password; /* of a Redis whose URL has none; NULL: none. Copied */
};

/* Open the store that url names ("sqlite:data/assay.db"; missing folders are made; "memory:" serves
 * tests). ERR_BUSY: another process owns it. Every lease of an earlier process is void at once. */
int store_open(const char *url, const struct store_config *config, struct store **ret_store,
               struct err *err);
/* Only for store_backup() and store_verify(), whoever owns the store meanwhile; it must exist. password:
 * as in store_config. */
int store_visit(const char *url, const char *password, struct store **ret_store, struct err *err);
void store_close(struct store *s);
int store_apply(struct store *s, struct step *steps[], size_t n, int64_t now_ms, struct err *err);
int store_find(struct store *s, const char *id, struct asset *ret_asset, struct err *err);
int store_list(struct store *s, const struct asset_query *query, struct asset_page *ret_page,
               struct err *err);
int store_stats(struct store *s, struct store_stats *ret_stats, struct err *err);
/* What an engine does not have is ERR_UNSUPPORTED. */
int store_event(struct store *s, const char *webhook_id, struct event_view *ret_event,
                struct err *err);
int store_events(struct store *s, const struct event_query *query, struct event_page *ret_page,
                 struct err *err);
int store_deliveries(struct store *s, const char *asset_id, struct event_page *ret_page,
                     struct err *err);
int store_feed(struct store *s, uint64_t after_seq, unsigned limit, struct feed_page *ret_page,
               struct err *err);
int store_history(struct store *s, enum ring ring, struct sample *ret_samples, size_t max,
                  size_t *ret_n, struct err *err);
int store_health(struct store *s, struct store_warnings *ret_warnings, struct err *err);
bool store_may_wait(struct store *s, const struct step *step);
unsigned store_wait(struct store *s, unsigned wanted, int wake_fd, int timeout_ms);
int store_beat(struct store *s, const struct store_process *process, int *ret_wanted,
               struct err *err);
int store_ask_active(struct store *s, uint64_t number, unsigned active, struct err *err);
int store_processes(struct store *s, struct store_process *ret_processes, size_t max, size_t *ret_n,
                    struct err *err);
int store_backup(struct store *s, const char *path, struct err *err);
int store_verify(struct store *s, struct buf *report, struct err *err);
#endif
