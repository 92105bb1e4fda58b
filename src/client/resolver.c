#include "client/resolver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { STACK_LEN = 256 * 1024 };

struct lookup {
    TAILQ_ENTRY(lookup) in_list; /* of asked or answered */
    struct resolver *resolver;
    void *owner; /* NULL: given up */
    bool answered, stranger;
    char host[256], port[8];
    int code;
    struct addrinfo *addresses;
};
TAILQ_HEAD(lookups, lookup);

/* Outlives its owner while threads are out. */
struct resolver {
    pthread_mutex_t lock; /* of all below */
    struct lookups asked, answered;
    unsigned threads, strangers; /* of the threads */
    bool closed;
    int fd;
};

static void destroy(struct resolver *r)
{
    (void)pthread_mutex_destroy(&r->lock);
    (void)close(r->fd);
    free(r);
}

static void lookup_free(struct lookup *l)
{
    if (l->addresses)
        freeaddrinfo(l->addresses);
    free(l);
}

static void *ask(void *arg)
{
    struct lookup *l = arg;
    struct resolver *r = l->resolver;
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_protocol = IPPROTO_TCP,
        .ai_flags = AI_NUMERICSERV,
    };
    (void)pthread_setname_np(pthread_self(), "assay-name");
    errno = 0;
    l->code = getaddrinfo(l->host, l->port, &hints, &l->addresses);
    if (l->code != 0) {
        l->addresses = NULL;
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            l->code = EAI_MEMORY; /* glibc would say that there is no such name */
    }
    (void)pthread_mutex_lock(&r->lock);
    r->threads--;
    r->strangers -= l->stranger;
    TAILQ_REMOVE(&r->asked, l, in_list);
    bool wanted = l->owner != NULL, last = r->closed && r->threads == 0;
    if (wanted) {
        l->answered = true;
        TAILQ_INSERT_TAIL(&r->answered, l, in_list);
        (void)eventfd_write(r->fd, 1);
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (!wanted)
        lookup_free(l);
    if (last)
        destroy(r);
    return NULL;
}

int resolver_new(struct resolver **ret_resolver, struct err *err)
{
    CLEANUP(freep) struct resolver *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(err, ERR_NOMEM, "out of memory");
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->fd < 0)
        return err_errno(err, errno, "eventfd");
    (void)pthread_mutex_init(&r->lock, NULL);
    TAILQ_INIT(&r->asked);
    TAILQ_INIT(&r->answered);
    *ret_resolver = TAKE(r);
    return 0;
}

void resolver_free(struct resolver *r)
{
    struct lookup *l;
    if (!r)
        return;
    (void)pthread_mutex_lock(&r->lock);
    TAILQ_FOREACH(l, &r->asked, in_list)
    {
        l->owner = NULL;
    }
    while ((l = TAILQ_FIRST(&r->answered)) != NULL) {
        TAILQ_REMOVE(&r->answered, l, in_list);
        lookup_free(l);
    }
    r->closed = true;
    bool last = r->threads == 0;
    (void)pthread_mutex_unlock(&r->lock);
    if (last)
        destroy(r);
}

int resolver_fd(const struct resolver *r)
{
    return r->fd;
}

static int start_thread(struct lookup *l)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return -1;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_LEN);
    int rc = pthread_create(&thread, &attributes, ask, l);
    (void)pthread_attr_destroy(&attributes);
    return rc == 0 ? 0 : -1;
}

struct lookup *resolver_ask(struct resolver *r, const char *host, unsigned port, bool stranger,
                            void *owner)
{
    struct lookup *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->resolver = r;
    l->owner = owner;
    l->stranger = stranger;
    (void)snprintf(l->host, sizeof(l->host), "%s", host);
    (void)snprintf(l->port, sizeof(l->port), "%u", port);
    (void)pthread_mutex_lock(&r->lock); /* its thread waits for it when it is done */
    bool room = r->threads < RESOLVER_MAX && (!stranger || r->strangers < RESOLVER_STRANGERS);
    bool started = room && start_thread(l) == 0;
    if (started) {
        r->threads++;
        r->strangers += stranger;
        TAILQ_INSERT_TAIL(&r->asked, l, in_list);
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (started)
        return l;
    free(l);
    return NULL;
}

void *resolver_take(struct resolver *r, int *ret_code, struct addrinfo **ret_addresses)
{
    eventfd_t ignored;
    void *owner = NULL;
    (void)pthread_mutex_lock(&r->lock);
    struct lookup *l = TAILQ_FIRST(&r->answered);
    if (l)
        TAILQ_REMOVE(&r->answered, l, in_list);
    if (TAILQ_EMPTY(&r->answered))
        (void)eventfd_read(r->fd, &ignored);
    (void)pthread_mutex_unlock(&r->lock);
    if (l) {
        owner = l->owner;
        *ret_code = l->code;
        *ret_addresses = TAKE(l->addresses);
        lookup_free(l);
    }
    return owner;
}

void resolver_give_up(struct resolver *r, struct lookup *l)
{
    (void)pthread_mutex_lock(&r->lock);
    l->owner = NULL;
    bool answered = l->answered;
    if (answered)
        TAILQ_REMOVE(&r->answered, l, in_list);
    (void)pthread_mutex_unlock(&r->lock);
    if (answered)
        lookup_free(l);
}
