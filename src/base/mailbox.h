#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H
/* mailbox: how data crosses between threads. Many threads post, one thread owns the box and takes
 * everything at once. Posting a whole list costs one lock and at most one wake-up (an eventfd write,
 * only when the box was empty). Intrusive: whatever is sent has a struct mail in it. */
#include <pthread.h>
#include <stddef.h>

struct err;

struct mail {
    struct mail *next;
};

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first, *last; /* under lock */
    int fd;                    /* readable while the box is not empty: the owner may poll it */
};

#define MAIL_ENTRY(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

int mailbox_init(struct mailbox *box, struct err *err);
/* Nobody may post any more. What is still inside is the caller's business. */
void mailbox_release(struct mailbox *box);
/* Append the chain first…last (joined by next) in order. Any thread. */
void mailbox_post(struct mailbox *box, struct mail *first, struct mail *last);
/* Everything in the box, in order, or NULL; the box is empty and its fd quiet afterwards. Owner only. */
struct mail *mailbox_take(struct mailbox *box);
/* mailbox_take(), but sleep until something is there or timeout_ms (-1: for ever) is over. */
struct mail *mailbox_wait(struct mailbox *box, int timeout_ms);
#endif
