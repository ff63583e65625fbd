#include "billing/errors.h"

void billing_error_word(const char *error, char out[BILLING_WORD_SIZE]) {
    size_t size = strcspn(error, " ");
    if (size >= BILLING_WORD_SIZE) size = BILLING_WORD_SIZE - 1;
    memcpy(out, error, size);
    out[size] = 0;
}

bool billing_error_is(const char *error, const char *word) {
    size_t size = strlen(word);
    return error && strncmp(error, word, size) == 0 && (error[size] == ' ' || error[size] == 0);
}

enum billing_fault billing_error_fault(const char *error) {
    static const char *const refusals[] = {"NOFUNDS", "FROZEN",     "TOOMUCH",    "CLOSED",       "STALE", "DAYLIMIT",
                                           "ALIVE",   "UNKNOWNSID", "NOORIGINAL", "NOTREFUNDABLE"};
    if (strncmp(error, "BAD", 3) == 0 || billing_error_is(error, "DUPLICATE")) return BILLING_CALLER;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (billing_error_is(error, refusals[i])) return BILLING_REFUSED;
    }
    return BILLING_SERVICE;
}

const char *billing_error_of_redis(const char *error) {
    if (billing_error_is(error, "UNAVAILABLE") || billing_error_is(error, "BUSY")) {
        return "UNAVAILABLE billing cannot be reached";
    }
    return "UNKNOWN billing did not answer";
}
