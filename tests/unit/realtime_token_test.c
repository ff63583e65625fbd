#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/escape.h"
#include "realtime/channel_name.h"
#include "realtime/token.h"

static const uint8_t key[REALTIME_KEY_SIZE] = {1, 2, 3};
enum { NOW = 1700000000 };

static const char *read_payload(const char *payload, struct realtime_claims *claims) {
    struct buffer token = {0};
    realtime_token_sign(&token, slice_of(payload), key);
    const char *problem = realtime_token_read(buffer_slice(&token), key, NOW, claims);
    buffer_free(&token);
    return problem;
}

static void a_signed_token_gives_its_claims(void **state) {
    (void)state;
    struct realtime_claims claims;
    assert_null(read_payload("{\"sub\":\"7\",\"name\":\"ava\",\"role\":\"viewer\",\"iat\":1700000000,"
                             "\"exp\":1700000600,\"ses\":\"s1\",\"caps\":[\"chat:*\",\"show:12\"]}",
                             &claims));
    assert_int_equal(claims.account, 7);
    assert_int_equal(claims.expires, 1700000600);
    assert_string_equal(claims.name, "ava");
    assert_string_equal(claims.role, "viewer");
    assert_string_equal(claims.session, "s1");
    assert_true(realtime_claims_cover(&claims, SLICE("chat:lola")));
    assert_true(realtime_claims_cover(&claims, SLICE("show:12")));
    assert_false(realtime_claims_cover(&claims, SLICE("show:123")));
    assert_false(realtime_claims_cover(&claims, SLICE("status:lola")));
    realtime_claims_free(&claims);
}

static void claims_out_of_time_or_form_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *payload, *problem;
    } cases[] = {
        {"{\"sub\":\"7\",\"iat\":1699999000,\"exp\":1699999969}", "expired"},
        {"{\"sub\":\"7\",\"iat\":1700000031,\"exp\":1700000600}", "early"},
        {"{\"sub\":7,\"iat\":1700000000,\"exp\":1700000600}", NULL},
        {"{\"sub\":\"-7\",\"iat\":1700000000,\"exp\":1700000600}", "malformed"},
        {"{\"sub\":\"7\",\"iat\":1700000000}", "malformed"},
        {"{\"sub\":\"7\",\"iat\":1700000000,\"exp\":1e99}", "malformed"},
        {"{\"sub\":\"7\",\"iat\":1700000000,\"exp\":1700000600,\"caps\":\"chat:*\"}", "malformed"},
        {"{\"sub\":\"7\",\"iat\":1700000000,\"exp\":1700000600,\"caps\":[1]}", "malformed"},
        {"{\"sub\":\"7\",\"iat\":1700000000,\"exp\":1700000600,\"role\":\"a role far too long\"}",
         "malformed"},
        {"[]", "malformed"},
        {"", "malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct realtime_claims claims;
        const char *problem = read_payload(cases[i].payload, &claims);
        if (!cases[i].problem) {
            assert_string_equal(problem, "malformed"); // the subject of a JWT is a string
        } else {
            assert_non_null(problem);
            assert_string_equal(problem, cases[i].problem);
        }
    }
}

static void no_bit_of_a_token_may_change(void **state) {
    (void)state;
    struct buffer token = {0};
    struct realtime_claims claims;
    realtime_token_sign(&token, SLICE("{\"sub\":\"7\",\"iat\":1700000000,\"exp\":1700000600}"), key);
    for (size_t i = 0; i < token.size; i++) {
        char kept = token.data[i];
        token.data[i] = kept == 'A' ? 'B' : 'A';
        // The last character's low bits may be padding, which base64 refuses or ignores.
        if (i + 1 < token.size)
            assert_non_null(realtime_token_read(buffer_slice(&token), key, NOW, &claims));
        token.data[i] = kept;
    }
    uint8_t other[REALTIME_KEY_SIZE] = {1, 2, 4};
    assert_string_equal(realtime_token_read(buffer_slice(&token), other, NOW, &claims), "signature");
    buffer_append_text(&token, ".x");
    assert_string_equal(realtime_token_read(buffer_slice(&token), key, NOW, &claims), "malformed");
    buffer_free(&token);
}

static void other_algorithms_are_refused(void **state) {
    (void)state;
    static const char *const heads[] = {"{\"alg\":\"none\"}", "{\"alg\":\"HS512\"}", "{}",
                                        "{\"alg\":\"hs256\"}"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct buffer token = {0};
        struct realtime_claims claims;
        escape_base64url(&token, slice_of(heads[i]));
        buffer_append_char(&token, '.');
        escape_base64url(&token, SLICE("{\"sub\":\"1\",\"iat\":1700000000,\"exp\":1700000600}"));
        buffer_append_char(&token, '.');
        assert_string_equal(realtime_token_read(buffer_slice(&token), key, NOW, &claims),
                            "malformed");
        buffer_free(&token);
    }
}

static void channel_names_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"chat:lola", "status:a_b-c.d", "user:7", "lobby", "staff:x"};
    static const char *const bad[] = {"", "chat", "chat:", ":x", "Chat:x", "lobby:x", "chat:a b",
                                      "chat:a:b", "chat:\xc3\xa4", "chat:a\n", "nope:x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_non_null(realtime_namespace_of(slice_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(realtime_namespace_of(slice_of(bad[i])));
    char long_name[200] = "chat:";
    memset(long_name + 5, 'x', 150);
    assert_null(realtime_namespace_of(slice_of(long_name)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signed_token_gives_its_claims),
        cmocka_unit_test(claims_out_of_time_or_form_are_refused),
        cmocka_unit_test(no_bit_of_a_token_may_change),
        cmocka_unit_test(other_algorithms_are_refused),
        cmocka_unit_test(channel_names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
