#ifndef FOOTLIGHT_BASE_LIST_H
#define FOOTLIGHT_BASE_LIST_H
#include <stdbool.h>
#include "base/memory.h"

/// Intrusive, circular, doubly linked. A head and a detached node both point at themselves.
struct list {
    struct list *next, *previous;
};

static inline void list_init(struct list *node) { node->next = node->previous = node; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
static inline void list_insert_before(struct list *position, struct list *node) {
    node->previous = position->previous;
    node->next = position;
    position->previous->next = node;
    position->previous = node;
}
static inline void list_push_back(struct list *head, struct list *node) {
    list_insert_before(head, node);
}
static inline void list_push_front(struct list *head, struct list *node) {
    list_insert_before(head->next, node);
}
static inline void list_remove(struct list *node) { ///< safe on a detached node
    node->previous->next = node->next;
    node->next->previous = node->previous;
    list_init(node);
}
/// Moves everything in `from` to the end of `to`.
static inline void list_take_all(struct list *to, struct list *from) {
    if (list_empty(from)) return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}
#define list_first(head, type, member) container_of((head)->next, type, member)
#define list_each(head, node)                                                                      \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);              \
         node = node##_next, node##_next = node->next)
#endif
