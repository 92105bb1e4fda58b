#ifndef CLIENT_RESOLVER_H
#define CLIENT_RESOLVER_H
/* resolver: names to addresses as getaddrinfo() has them, each on a thread of its own: a name server that
 * never answers costs a sleeping thread and keeps nobody else waiting. One thread asks and takes. */
#include <netdb.h>
#include <stdbool.h>

#include "base/err.h"

/* Names asked for at once, those that were given up included: each has a thread, of which a process has to have
 * enough for its other work, too. Strangers, who may all be behind a name server that never answers, get
 * half of them. */
enum { RESOLVER_MAX = 256, RESOLVER_STRANGERS = RESOLVER_MAX / 2 };

struct resolver;
struct lookup; /* of one name, by one who waits for it */

int resolver_new(struct resolver **ret_resolver, struct err *err);
/* What is still asked for is given up: the threads are left behind, and free what they hold. NULL is fine. */
void resolver_free(struct resolver *resolver);
/* Readable while answers wait to be taken. */
int resolver_fd(const struct resolver *resolver);
/* Ask for the host's addresses with this port. owner: what resolver_take() will say. NULL: no thread can be
 * had, or none for a stranger. */
struct lookup *resolver_ask(struct resolver *resolver, const char *host, unsigned port,
                            bool stranger, void *owner);
/* The next answer: its owner, or NULL when there is none. *ret_code: 0, EAI_MEMORY (we lack memory or descriptors),
 * or what else gai_strerror() knows; *ret_addresses: freeaddrinfo() is the caller's; NULL if there are none. */
void *resolver_take(struct resolver *resolver, int *ret_code, struct addrinfo **ret_addresses);
/* Its owner waits no longer; not after its answer was taken. */
void resolver_give_up(struct resolver *resolver, struct lookup *lookup);
#endif
