#include "webhook/policy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Every address is judged as 128 bits; IPv4 lives at ::ffff:0:0/96 (RFC 4291 §2.5.5.2), which is also
 * how an IPv4-mapped address comes to be judged as the IPv4 address that it is. */
struct net {
    uint8_t address[16];
    unsigned bits; /* 0 … 128 */
    bool v4;       /* the two families never match each other: ::/0 holds no IPv4 address */
};

struct net_list {
    struct net *nets;
    size_t n;
};

enum named { NAMED_PUBLIC = 1, NAMED_PRIVATE = 2, NAMED_LOOPBACK = 4 };

static const struct {
    const char *name;
    enum named named;
} names[] = {
    { "public", NAMED_PUBLIC },
    { "private", NAMED_PRIVATE },
    { "loopback", NAMED_LOOPBACK },
};

static const struct {
    const char *cidr;
    const char *why;
} never[] = {
    { "0.0.0.0/8", "this host (RFC 791 §3.2)" },
    { "169.254.0.0/16", "link-local (RFC 3927): metadata services" },
    { "168.63.129.16/32", "metadata service of Azure" },
    { "100.100.100.200/32", "metadata service of Alibaba" },
    { "192.0.0.0/24", "protocol assignments (RFC 6890)" },
    { "192.0.2.0/24", "documentation (RFC 5737)" },
    { "198.51.100.0/24", "documentation (RFC 5737)" },
    { "203.0.113.0/24", "documentation (RFC 5737)" },
    { "192.88.99.0/24", "6to4 relays (RFC 7526)" },
    { "198.18.0.0/15", "benchmarking (RFC 2544)" },
    { "224.0.0.0/4", "multicast (RFC 5771)" },
    { "240.0.0.0/4", "reserved (RFC 1112 §4)" },
    { "fd00:ec2::254/128", "metadata service of AWS" },
    { "fd20:ce::254/128", "metadata service of Google" },
    { "fd00:42::42/128", "metadata service of Scaleway" },
    { "2001::/23", "protocol assignments, Teredo (RFC 2928, RFC 4380)" },
    { "2001:db8::/32", "documentation (RFC 3849)" },
    { "2002::/16", "6to4 (RFC 3056)" },
    { "3fff::/20", "documentation (RFC 9637)" },
    /* ::, ::/96, 64:ff9b::/96, 64:ff9b:1::/48, 100::/64, fe80::/10, fec0::/10, ff00::/8 and all
     * else that is neither 2000::/3, fc00::/7 nor ::1: see network_of(). */
};

static const char *const loopback_nets[] = { "127.0.0.0/8", "::1/128" };
static const char *const private_nets[] = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                            "100.64.0.0/10", "fc00::/7" };
static const char global_net[] = "2000::/3";

struct policy {
    bool off;
    unsigned allow_named, deny_named; /* enum named, or-ed */
    struct net_list allow, deny;
    /* the fixed ones above, read once: every address of every URL is held against them */
    struct net never[ARRAY_LEN(never)];
    struct net loopback_nets[ARRAY_LEN(loopback_nets)];
    struct net private_nets[ARRAY_LEN(private_nets)];
    struct net global_net;
};

/* "Bad ports" of the WHATWG Fetch standard (§2.9) and, at the end, those of Redis, memcached,
 * PostgreSQL, MySQL and MongoDB: protocols that could read an HTTP request as their own. */
static const uint16_t bad_ports[] = {
    0,    1,    7,    9,    11,   13,   15,   17,    19,   20,    21,   22,   23,    25,   37,
    42,   43,   53,   69,   77,   79,   87,   95,    101,  102,   103,  104,  109,   110,  111,
    113,  115,  117,  119,  123,  135,  137,  139,   143,  161,   179,  389,  427,   465,  512,
    513,  514,  515,  526,  530,  531,  532,  540,   548,  554,   556,  563,  587,   601,  636,
    989,  990,  993,  995,  1719, 1720, 1723, 2049,  3659, 4045,  4190, 5060, 5061,  6000, 6566,
    6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 6379, 11211, 5432, 3306, 27017,
};

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

static bool is_mapped(const uint8_t address[static 16])
{
    return memcmp(address, v4_prefix, sizeof(v4_prefix)) == 0;
}

static void map_v4(const struct in_addr *v4, uint8_t ret_address[static 16])
{
    memcpy(ret_address, v4_prefix, sizeof(v4_prefix));
    memcpy(ret_address + sizeof(v4_prefix), v4, sizeof(*v4));
}

static bool holds(const struct net *net, const uint8_t address[static 16])
{
    if (net->v4 != is_mapped(address))
        return false;
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->address, address, whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return rest == 0 || ((net->address[whole] ^ address[whole]) & mask) == 0;
}

/* Digits only, 0 … max; strtol would take signs and spaces. */
static bool parse_bits(const char *text, unsigned max, unsigned *ret_bits)
{
    size_t len = strlen(text);
    if (len == 0 || len > 3 || strspn(text, "0123456789") != len)
        return false;
    unsigned bits = (unsigned)strtoul(text, NULL, 10);
    if (bits > max)
        return false;
    *ret_bits = bits;
    return true;
}

/* "address" or "address/bits"; bits behind the prefix are ignored, as routers and firewalls do. */
static bool parse_net(const char *word, struct net *ret_net)
{
    char copy[INET6_ADDRSTRLEN + 4];
    if (strlen(word) >= sizeof(copy))
        return false;
    strcpy(copy, word);
    char *slash = strchr(copy, '/');
    if (slash)
        *slash = '\0';
    struct net net = { 0 };
    struct in_addr v4;
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        map_v4(&v4, net.address);
        net.bits = 32;
        if (slash && !parse_bits(slash + 1, 32, &net.bits))
            return false;
        net.bits += 96;
        net.v4 = true;
    } else if (inet_pton(AF_INET6, copy, net.address) == 1) {
        net.bits = 128;
        if (slash && !parse_bits(slash + 1, 128, &net.bits))
            return false;
        net.v4 = is_mapped(net.address) && net.bits >= 96;
    } else {
        return false;
    }
    *ret_net = net;
    return true;
}

static int list_add(struct net_list *list, const struct net *net, struct err *err)
{
    struct net *nets = realloc(list->nets, (list->n + 1) * sizeof(*nets));
    if (!nets)
        return err_set(err, ERR_NOMEM, "out of memory");
    nets[list->n++] = *net;
    list->nets = nets;
    return 0;
}

static int add_word(const char *word, unsigned *named, struct net_list *list, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(word, names[i].name) == 0) {
            *named |= names[i].named;
            return 0;
        }
    }
    struct net net;
    if (!parse_net(word, &net))
        return err_set(err, ERR_INVALID,
                       "'%s' is neither public, private, loopback nor an address or CIDR", word);
    return list_add(list, &net, err);
}

/* Words between commas, spaces around them ignored. */
static int parse_list(const char *text, unsigned *named, struct net_list *list, struct err *err)
{
    CLEANUP(freep) char *copy = strdup(text);
    if (!copy)
        return err_set(err, ERR_NOMEM, "out of memory");
    for (char *word = copy, *next; word; word = next) {
        next = strchr(word, ',');
        if (next)
            *next++ = '\0';
        word += strspn(word, " \t");
        size_t len = strlen(word);
        while (len > 0 && (word[len - 1] == ' ' || word[len - 1] == '\t'))
            word[--len] = '\0';
        if (add_word(word, named, list, err) < 0)
            return -1;
    }
    return 0;
}

static void read_fixed(const char *cidr, struct net *ret_net)
{
    bool read = parse_net(cidr, ret_net);
    assert(read);
    (void)read;
}

static void read_all_fixed(struct policy *policy)
{
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        read_fixed(never[i].cidr, &policy->never[i]);
    for (size_t i = 0; i < ARRAY_LEN(loopback_nets); i++)
        read_fixed(loopback_nets[i], &policy->loopback_nets[i]);
    for (size_t i = 0; i < ARRAY_LEN(private_nets); i++)
        read_fixed(private_nets[i], &policy->private_nets[i]);
    read_fixed(global_net, &policy->global_net);
}

DEFINE_FREEP(struct policy *, policy_free)

int policy_new(const char *allow, const char *deny, struct policy **ret_policy, struct err *err)
{
    CLEANUP(policy_freep) struct policy *policy = calloc(1, sizeof(*policy));
    if (!policy)
        return err_set(err, ERR_NOMEM, "out of memory");
    read_all_fixed(policy);
    if (strcmp(allow, "none") == 0)
        policy->off = true;
    else if (parse_list(allow, &policy->allow_named, &policy->allow, err) < 0)
        return err_add(err, "allowed webhook addresses");
    bool denies = deny && *deny && strcmp(deny, "none") != 0;
    if (denies && parse_list(deny, &policy->deny_named, &policy->deny, err) < 0)
        return err_add(err, "denied webhook addresses");
    *ret_policy = TAKE(policy);
    return 0;
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    free(policy->allow.nets);
    free(policy->deny.nets);
    free(policy);
}

bool policy_is_off(const struct policy *policy)
{
    return policy->off;
}

bool policy_reaches_inside(const struct policy *policy)
{
    return (policy->allow_named & ~policy->deny_named) & (NAMED_LOOPBACK | NAMED_PRIVATE);
}

static bool any_holds(const struct net nets[], size_t n, const uint8_t address[static 16])
{
    for (size_t i = 0; i < n; i++)
        if (holds(&nets[i], address))
            return true;
    return false;
}

/* Which named network an address is in; 0: none, it is never right. */
static unsigned network_of(const struct policy *policy, const uint8_t address[static 16])
{
    if (any_holds(policy->loopback_nets, ARRAY_LEN(policy->loopback_nets), address))
        return NAMED_LOOPBACK;
    if (any_holds(policy->private_nets, ARRAY_LEN(policy->private_nets), address))
        return NAMED_PRIVATE;
    if (is_mapped(address) || holds(&policy->global_net, address))
        return NAMED_PUBLIC;
    return 0;
}

static const char *network_name(unsigned named)
{
    return named == NAMED_LOOPBACK ? "loopback" : named == NAMED_PRIVATE ? "private" : "public";
}

static bool refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return false;
}

static bool judge(const struct policy *policy, const uint8_t address[static 16], uint16_t port,
                  const char **ret_why)
{
    unsigned named = network_of(policy, address);
    if (any_holds(policy->deny.nets, policy->deny.n, address))
        return refuse(ret_why, "denied by its address");
    if (policy->deny_named & named)
        return refuse(ret_why, "denied by its network");
    for (size_t i = 0; i < ARRAY_LEN(bad_ports); i++)
        if (bad_ports[i] == port)
            return refuse(ret_why, "port of another protocol");
    if (any_holds(policy->allow.nets, policy->allow.n, address))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (holds(&policy->never[i], address))
            return refuse(ret_why, never[i].why);
    if (named == 0)
        return refuse(ret_why, "no global unicast address (RFC 4291 §2.5.4)");
    if (!(policy->allow_named & named))
        return refuse(ret_why, network_name(named));
    return true;
}

bool policy_allows(const struct policy *policy, const struct sockaddr *address,
                   const char **ret_why)
{
    uint8_t bytes[16];
    uint16_t port;
    *ret_why = "allowed";
    if (policy->off)
        return refuse(ret_why, "nothing is ever sent");
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        map_v4(&v4.sin_addr, bytes);
        port = ntohs(v4.sin_port);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        memcpy(bytes, &v6.sin6_addr, sizeof(bytes));
        port = ntohs(v6.sin6_port);
    } else {
        return refuse(ret_why, "no internet address");
    }
    return judge(policy, bytes, port, ret_why);
}
