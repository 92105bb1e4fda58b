#include "http/peers.h"

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"

struct slot {
    struct http_peer peer;
    unsigned n; /* 0: free */
};

/* Open addressing with linear probing. At most half of the slots are ever taken, and a removal closes
 * the gap, so that a probe ends soon. The hash is keyed: a client cannot choose addresses that collide. */
struct http_peers {
    pthread_mutex_t lock;
    uint64_t key;
    size_t mask, taken;
    struct slot *slots;
};

int http_peers_new(unsigned max_connections, struct http_peers **ret_peers, struct err *err)
{
    CLEANUP(freep) struct http_peers *peers = calloc(1, sizeof(*peers));
    size_t n = 64;
    while (n < (size_t)max_connections * 2)
        n *= 2;
    if (!peers || !(peers->slots = calloc(n, sizeof(*peers->slots))))
        return err_set(err, ERR_NOMEM, "out of memory");
    if (getrandom(&peers->key, sizeof(peers->key), 0) != sizeof(peers->key))
        peers->key = (uintptr_t)peers->slots; /* an early boot; nothing breaks */
    peers->mask = n - 1;
    pthread_mutex_init(&peers->lock, NULL);
    *ret_peers = TAKE(peers);
    return 0;
}

void http_peers_free(struct http_peers *peers)
{
    if (!peers)
        return;
    pthread_mutex_destroy(&peers->lock);
    free(peers->slots);
    free(peers);
}

static struct http_peer ipv4_peer(uint32_t address)
{
    if (address >> 24 == 127)
        return (struct http_peer){ 0 };
    return (struct http_peer){ { 4, address } };
}

struct http_peer http_peer_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return ipv4_peer(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family != AF_INET6)
        return (struct http_peer){ 0 };
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof(in6));
    if (IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr))
        return (struct http_peer){ 0 };
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        uint32_t ipv4;
        memcpy(&ipv4, in6.sin6_addr.s6_addr + 12, sizeof(ipv4));
        return ipv4_peer(ntohl(ipv4));
    }
    struct http_peer peer = { { 6, 0 } };
    memcpy(&peer.key[1], in6.sin6_addr.s6_addr, sizeof(peer.key[1]));
    return peer;
}

/* The finalizer of MurmurHash3 over both words. */
static size_t home(const struct http_peers *peers, struct http_peer peer)
{
    uint64_t h = peer.key[1] ^ (peer.key[0] << 56) ^ peers->key;
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (size_t)(h ^ (h >> 33)) & peers->mask;
}

static size_t find(const struct http_peers *peers, struct http_peer peer)
{
    size_t i = home(peers, peer);
    while (peers->slots[i].n > 0 && memcmp(&peers->slots[i].peer, &peer, sizeof(peer)) != 0)
        i = (i + 1) & peers->mask;
    return i;
}

bool http_peers_add(struct http_peers *peers, struct http_peer peer)
{
    if (peer.key[0] == 0)
        return true;
    pthread_mutex_lock(&peers->lock);
    struct slot *slot = &peers->slots[find(peers, peer)];
    bool ok = slot->n < HTTP_PEER_MAX && (slot->n > 0 || peers->taken <= peers->mask / 2);
    if (ok && slot->n++ == 0) {
        slot->peer = peer;
        peers->taken++;
    }
    pthread_mutex_unlock(&peers->lock);
    return ok;
}

/* Slot i became free: move up whatever a probe would not reach any more (Knuth, TAOCP 3, 6.4 R). */
static void close_gap(struct http_peers *peers, size_t i)
{
    size_t j = i;
    for (;;) {
        j = (j + 1) & peers->mask;
        if (peers->slots[j].n == 0)
            return;
        size_t from_home = (j - home(peers, peers->slots[j].peer)) & peers->mask;
        if (from_home < ((j - i) & peers->mask))
            continue;
        peers->slots[i] = peers->slots[j];
        peers->slots[j].n = 0;
        i = j;
    }
}

void http_peers_remove(struct http_peers *peers, struct http_peer peer)
{
    if (peer.key[0] == 0)
        return;
    pthread_mutex_lock(&peers->lock);
    size_t i = find(peers, peer);
    assert(peers->slots[i].n > 0);
    if (--peers->slots[i].n == 0) {
        peers->taken--;
        close_gap(peers, i);
    }
    pthread_mutex_unlock(&peers->lock);
}
