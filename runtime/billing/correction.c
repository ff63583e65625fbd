#include "billing/errors.h"
#include "billing/private.h"

/// What staff put right, what viewers are granted, and how long they may watch.

void wallet_adjust(struct billing *billing, const struct billing_operation *operation,
                   billing_done_fn *done, void *context) {
    struct billing_number account, amount;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account), operation->op,
        billing_number_of(&amount, operation->amount),   operation->bucket,
        operation->reason,                               operation->actor,
    };
    billing_operation_call(billing, "fl_adjust", operation, arguments, 6, done, context);
}

void wallet_reverse(struct billing *billing, const struct billing_operation *operation,
                    billing_done_fn *done, void *context) {
    struct billing_number account;
    struct billing_operation checked = *operation;
    if (checked.original.size == 0) checked.original = SLICE("-"); // no operation has this key
    struct slice arguments[] = {
        billing_number_of(&account, checked.account), checked.op,    checked.original,
        checked.reason,                               checked.actor,
    };
    billing_operation_call(billing, "fl_reverse", &checked, arguments, 5, done, context);
}

void wallet_remember(struct billing *billing, const struct billing_memory *memory,
                     billing_done_fn *done, void *context) {
    struct billing_number n[8];
    struct billing_operation operation = {.op = memory->op, .account = memory->account,
                                          .type = memory->type};
    struct slice arguments[] = {
        billing_number_of(&n[0], memory->account),
        memory->op,
        billing_number_of(&n[1], memory->paid),
        billing_number_of(&n[2], memory->bonus),
        billing_number_of(&n[3], memory->refunded_paid),
        billing_number_of(&n[4], memory->refunded_bonus),
        memory->type,
        billing_number_of(&n[5], memory->payee),
        billing_number_of(&n[6], memory->at_ms),
        billing_number_of(&n[7], memory->seq),
    };
    billing_operation_call(billing, "fl_remember", &operation, arguments, 10, done, context);
}

void wallet_recall(struct billing *billing, const struct billing_booked *booked,
                   billing_done_fn *done, void *context) {
    struct billing_number n[8];
    // Without `original`: that one is no key of this call, but a part of what is written down.
    struct billing_operation operation = {.op = booked->op, .account = booked->account,
                                          .type = booked->type};
    struct slice arguments[] = {
        billing_number_of(&n[0], booked->account),
        booked->op,
        booked->type,
        billing_number_of(&n[1], booked->payee),
        billing_number_of(&n[2], booked->paid),
        billing_number_of(&n[3], booked->bonus),
        billing_number_of(&n[4], booked->debt),
        billing_number_of(&n[5], booked->refunded_paid),
        billing_number_of(&n[6], booked->refunded_bonus),
        billing_number_of(&n[7], booked->at_ms),
        booked->original,
        booked->reversed_by,
    };
    billing_operation_call(billing, "fl_recall", &operation, arguments, 12, done, context);
}

void wallet_grant(struct billing *billing, const struct billing_operation *operation,
                  billing_done_fn *done, void *context) {
    struct billing_number account, seconds, until, payee;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account),
        operation->op,
        billing_number_of(&seconds, operation->life_s),
        billing_number_of(&until, operation->until_ms),
        billing_number_of(&payee, operation->payee),
        operation->reason,
        operation->actor,
    };
    billing_operation_call(billing, "fl_grant", operation, arguments, 7, done, context);
}

void wallet_limit(struct billing *billing, const struct billing_operation *operation,
                  billing_done_fn *done, void *context) {
    struct billing_number account, seconds;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account), operation->op,     operation->bucket,
        billing_number_of(&seconds, operation->life_s),  operation->reason, operation->actor,
    };
    billing_operation_call(billing, "fl_limit", operation, arguments, 6, done, context);
}

struct allowance_request {
    void (*done)(void *context, const char *error, const struct billing_allowance *allowance);
    void *context;
};

static void on_allowance(void *context, const redisReply *reply, const char *error) {
    struct allowance_request request = *(struct allowance_request *)context;
    struct billing_allowance allowance = {0};
    memory_free(context);
    const char *problem = billing_reply_error(reply, error, 15);
    if (!problem) {
        allowance = (struct billing_allowance){
            .site_limit_ms = billing_reply_integer(reply, 10),
            .own_limit_ms = billing_reply_integer(reply, 11),
            .watched_ms = billing_reply_integer(reply, 12),
            .leased_ms = billing_reply_integer(reply, 13),
            .granted_s = billing_reply_integer(reply, 14),
        };
    }
    request.done(request.context, problem, &allowance);
}

void wallet_allowance(struct billing *billing, int64_t account,
                      void (*done)(void *context, const char *error,
                                   const struct billing_allowance *allowance),
                      void *context) {
    struct allowance_request *request = memory_zero(1, sizeof *request);
    *request = (struct allowance_request){done, context};
    struct billing_key key = billing_wallet_key(account);
    billing_fcall(billing, "fl_allowance", &key, 1, NULL, 0, on_allowance, request);
}
