#include "base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"

int mailbox_init(struct mailbox *box, struct err *err)
{
    *box = (struct mailbox){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    if (box->fd < 0)
        return err_errno(err, errno, "eventfd");
    (void)pthread_mutex_init(&box->lock, NULL);
    return 0;
}

void mailbox_release(struct mailbox *box)
{
    (void)close(box->fd);
    (void)pthread_mutex_destroy(&box->lock);
}

void mailbox_post(struct mailbox *box, struct mail *first, struct mail *last)
{
    last->next = NULL;
    (void)pthread_mutex_lock(&box->lock);
    int was_empty = box->first == NULL;
    if (was_empty)
        box->first = first;
    else
        box->last->next = first;
    box->last = last;
    /* Under the lock: after it the owner may have taken the last mail and released the box. */
    if (was_empty)
        (void)eventfd_write(box->fd,
                            1); /* cannot overflow: it is reset whenever the box is emptied */
    (void)pthread_mutex_unlock(&box->lock);
}

struct mail *mailbox_take(struct mailbox *box)
{
    (void)pthread_mutex_lock(&box->lock);
    struct mail *first = box->first;
    box->first = box->last = NULL;
    if (first) {
        eventfd_t ignored;
        (void)eventfd_read(box->fd, &ignored);
    }
    (void)pthread_mutex_unlock(&box->lock);
    return first;
}

struct mail *mailbox_wait(struct mailbox *box, int timeout_ms)
{
    struct mail *first = mailbox_take(box);
    if (first)
        return first;
    struct pollfd p = { .fd = box->fd, .events = POLLIN };
    (void)poll(&p, 1, timeout_ms); /* a signal or a time-out: the caller sees NULL */
    return mailbox_take(box);
}
