#ifndef FOOTLIGHT_BILLING_ERRORS_H
#define FOOTLIGHT_BILLING_ERRORS_H
#include "base/slice.h"

/// Every failure of billing starts with one stable word. The caller's fault, nothing changed:
/// BADACCOUNT BADAMOUNT BADBUCKET BADCURRENCY (said by runtime.billing) BADKEY BADPAYEE BADREASON
/// BADACTOR BADTERMS BADTIME BADTYPE
/// DUPLICATE (the key was used for something else). A refusal, nothing changed: NOFUNDS FROZEN
/// DAYLIMIT (the time of this day is used up)
/// TOOMUCH CLOSED STALE ALIVE UNKNOWNSID NOORIGINAL NOTREFUNDABLE. The service's fault: UNAVAILABLE
/// (nothing was sent), UNKNOWN (sent, no answer: repeat with the same key).
enum billing_fault { BILLING_CALLER, BILLING_REFUSED, BILLING_SERVICE };

enum { BILLING_WORD_SIZE = 24 };
/// The word alone, NUL-terminated.
void billing_error_word(const char *error, char out[BILLING_WORD_SIZE]);
enum billing_fault billing_error_fault(const char *error);
bool billing_error_is(const char *error, const char *word);
/// The redis client's words in billing's: BUSY and UNAVAILABLE were not sent, LOST and TIMEOUT may
/// have run.
const char *billing_error_of_redis(const char *error);
#endif
