#ifndef HTTP_PEERS_H
#define HTTP_PEERS_H
/* peers: how many connections each client address has, so that one client cannot take them all. All
 * threads of a server share one. Loopback is not counted: there, everybody has the same address. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum { HTTP_PEER_MAX = 256 }; /* connections of one address */

struct http_peers;

/* Who is counted as one: an IPv4 address, or the /64 of an IPv6 address. {0}: not counted. */
struct http_peer {
    uint64_t key[2];
};

/* Room for max_connections addresses at once. */
int http_peers_new(unsigned max_connections, struct http_peers **ret_peers, struct err *err);
void http_peers_free(struct http_peers *peers);

struct http_peer http_peer_of(const struct sockaddr *address);
/* Count one more; false: it has HTTP_PEER_MAX already (or the table is full) and is not counted. */
bool http_peers_add(struct http_peers *peers, struct http_peer peer);
/* One that http_peers_add() took is gone. */
void http_peers_remove(struct http_peers *peers, struct http_peer peer);
#endif
