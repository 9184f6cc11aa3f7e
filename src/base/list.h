/* An intrusive, circular, doubly linked list.  Layer: base.

   The head is a node that belongs to no element; an element that is in no list points nowhere.  Linking and unlinking
   cost two writes each and allocate nothing. */
#ifndef AC_BASE_LIST_H
#define AC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next; /* NULL while it is in no list */
    struct list_node *previous;
};

static inline void
list_init(struct list_node *head)
{
    head->next = head->previous = head;
}

static inline bool
list_linked(const struct list_node *node)
{
    return node->next != NULL;
}

static inline void
list_append(struct list_node *head, struct list_node *node)
{
    node->previous = head->previous;
    node->next = head;
    head->previous->next = node;
    head->previous = node;
}

/* Takes `node` out of its list; does nothing where it is in none. */
static inline void
list_remove(struct list_node *node)
{
    if (node->next != NULL) {
        node->previous->next = node->next;
        node->next->previous = node->previous;
        node->next = node->previous = NULL;
    }
}

#endif
