#ifndef HTTP_LINK_H
#define HTTP_LINK_H
/* link: doubly linked lists whose nodes live in what is linked, so that nothing is allocated and
 * anything can leave in one step. A list is a link that points at itself when empty. */
#include <stdbool.h>
#include <stddef.h>

struct http_link {
    struct http_link *prev, *next;
};

#define HTTP_LINKED(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void http_link_init(struct http_link *link)
{
    link->prev = link->next = link;
}

/* Of a list: no node in it. Of a node: in no list. */
static inline bool http_link_alone(const struct http_link *link)
{
    return link->next == link;
}

static inline void http_link_remove(struct http_link *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    http_link_init(node);
}

/* Put node at the list's end; it must be alone. */
static inline void http_link_append(struct http_link *list, struct http_link *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}
#endif
