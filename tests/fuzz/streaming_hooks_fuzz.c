#include <stdlib.h>
#include "streaming/hook_request.h"
#include "streaming/order.h"
#include "streaming/ticket.h"

// Callbacks' bodies hold what players chose to send; tickets and orders come the same ways.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const unsigned char key[TICKET_KEY_SIZE] = {1};
    struct arena arena = {0};
    struct hook_request hook;
    struct order order;
    struct ticket ticket;
    struct slice body = slice_make(data, size);
    if (!hook_request_read(&hook, &arena, body)) {
        // Whatever the player sent, nginx's own fields were read, and in bounds.
        if (hook.call != HOOK_CONNECT && hook.client == 0) abort();
        if (hook.name.size > HOOK_FIELD_LIMIT || hook.ticket.size > HOOK_FIELD_LIMIT) abort();
        if (!ticket_read(&ticket, hook.ticket, key, 0)) abort(); // nobody guesses a MAC
    }
    order_read(&order, body);
    arena_free(&arena);
    return 0;
}
