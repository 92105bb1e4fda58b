/* Signatures as Standard Webhooks 1.0.0 defines them: made, checked, and with which secrets. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "webhook/signature.h"

/* The example that the reference libraries test themselves with. */
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define OTHER "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
static const char ID[] = "msg_p5jXN8AQM9LWM0D4loKWxJek", TIME[] = "1614265330";
static const char BODY[] = "{\"test\": 2432232314}";
static const char SIGNATURE[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
static const int64_t NOW = 1614265330;

DEFINE_FREEP(struct signer *, signer_free)

static struct signer *with(const char *secrets)
{
    struct signer *signer;
    struct err err;
    if (signer_new(secrets, &signer, &err) < 0)
        fail_msg("%s", err.msg);
    return signer;
}

static const char *signed_by(struct signer *signer)
{
    static char text[SIGNATURES_LEN];
    struct err err;
    memset(text, 'x', sizeof(text));
    assert_int_equal(signer_sign(signer, ID, TIME, BODY, strlen(BODY), text, &err), 0);
    assert_non_null(memchr(text, '\0', sizeof(text)));
    return text;
}

static void the_signature_is_that_of_the_reference(void **state)
{
    (void)state;
    CLEANUP(signer_freep) struct signer *signer = with(SECRET);
    assert_string_equal(signed_by(signer), SIGNATURE);
    assert_string_equal(signed_by(signer), SIGNATURE); /* a key is used again and again */
}

static void two_keys_make_two_signatures_and_either_is_enough(void **state)
{
    (void)state;
    CLEANUP(signer_freep) struct signer *both = with("\n" OTHER "\n" SECRET "\r\n");
    CLEANUP(signer_freep) struct signer *old = with(SECRET);
    CLEANUP(signer_freep) struct signer *new = with(OTHER);
    const char *text = signed_by(both);
    assert_int_equal(strlen(text), SIGNATURES_LEN - 1);
    assert_string_equal(text + 48, SIGNATURE);
    assert_int_equal(signature_check(old, ID, TIME, text, BODY, strlen(BODY), NOW), SIGNATURE_GOOD);
    assert_int_equal(signature_check(new, ID, TIME, text, BODY, strlen(BODY), NOW), SIGNATURE_GOOD);
    assert_int_equal(signature_check(both, ID, TIME, SIGNATURE, BODY, strlen(BODY), NOW),
                     SIGNATURE_GOOD);
}

static void a_receiver_tells_good_from_bad(void **state)
{
    (void)state;
    const struct {
        const char *id, *timestamp, *signatures, *body;
        int64_t now_s;
        enum signature_verdict expected;
    } rows[] = {
        { ID, TIME, SIGNATURE, BODY, NOW, SIGNATURE_GOOD },
        { ID, TIME, "v1a,xyz v2,abc  v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, NOW,
          SIGNATURE_GOOD },
        { ID, TIME, SIGNATURE, BODY, NOW + 300, SIGNATURE_GOOD },
        { ID, TIME, SIGNATURE, BODY, NOW - 300, SIGNATURE_GOOD },
        { ID, TIME, SIGNATURE, BODY, NOW + 301, SIGNATURE_OLD },
        { ID, TIME, SIGNATURE, BODY, NOW - 301, SIGNATURE_OLD },
        { NULL, TIME, SIGNATURE, BODY, NOW, SIGNATURE_MISSING },
        { ID, NULL, SIGNATURE, BODY, NOW, SIGNATURE_MISSING },
        { ID, TIME, NULL, BODY, NOW, SIGNATURE_MISSING },
        { "msg_other", TIME, SIGNATURE, BODY, NOW, SIGNATURE_BAD },
        { ID, "1614265331", SIGNATURE, BODY, NOW, SIGNATURE_BAD },
        { ID, TIME, SIGNATURE, "{\"test\": 2432232315}", NOW, SIGNATURE_BAD },
        { ID, TIME, "", BODY, NOW, SIGNATURE_BAD },
        { ID, TIME, "v1,", BODY, NOW, SIGNATURE_BAD },
        { ID, TIME, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, NOW, SIGNATURE_BAD },
        { ID, TIME, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", BODY, NOW, SIGNATURE_BAD },
        { ID, TIME, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, NOW, SIGNATURE_BAD },
    };
    CLEANUP(signer_freep) struct signer *signer = with(SECRET);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum signature_verdict got =
            signature_check(signer, rows[i].id, rows[i].timestamp, rows[i].signatures, rows[i].body,
                            strlen(rows[i].body), rows[i].now_s);
        if (got != rows[i].expected)
            fail_msg("row %zu: %d", i, (int)got);
    }
}

static void a_timestamp_that_is_no_number_is_old_however_well_signed(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "", "-1", "+1614265330", "1614265330.5", "soon", "9999999999999999999999"
    };
    CLEANUP(signer_freep) struct signer *signer = with(SECRET);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[SIGNATURES_LEN];
        struct err err;
        assert_int_equal(signer_sign(signer, ID, rows[i], BODY, 3, text, &err), 0);
        assert_int_equal(signature_check(signer, ID, rows[i], text, BODY, 3, NOW), SIGNATURE_OLD);
    }
}

static void only_whole_secrets_are_taken_and_none_is_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *secrets, *why; /* NULL: they are fine */
    } rows[] = {
        { SECRET, NULL },
        { SECRET " " OTHER, NULL },
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA==", NULL },
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA", NULL }, /* padding left out */
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
          "AAAAA==",
          NULL }, /* 64 bytes */
        { "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
          "AAAAAA=",
          "secret 1 is not" }, /* 65 */
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw_", "secret 1 is not" },
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLQ==", "secret 1 is not" }, /* 22 bytes */
        { "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret 1 is not" },
        { "whsec_", "secret 1 is not" },
        { "whsec_====", "secret 1 is not" },
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2L-LaSw", "secret 1 is not" },
        { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA", "secret 1 is not" },
        { SECRET " nonsense", "secret 2 is not" },
        { SECRET " " OTHER " " SECRET, "more than 2" },
        { "", "no secret" },
        { " \n", "no secret" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(signer_freep) struct signer *signer = NULL;
        struct err err = { 0 };
        int rc = signer_new(rows[i].secrets, &signer, &err);
        if ((rc == 0) != (rows[i].why == NULL) || (rows[i].why && !strstr(err.msg, rows[i].why)))
            fail_msg("%s: %d, %s", rows[i].secrets, rc, err.msg);
        if (rc < 0) {
            assert_int_equal(err.code, ERR_INVALID);
            assert_null(strstr(err.msg, "MfKQ"));
            assert_null(strstr(err.msg, "nonsense"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signature_is_that_of_the_reference),
        cmocka_unit_test(two_keys_make_two_signatures_and_either_is_enough),
        cmocka_unit_test(a_receiver_tells_good_from_bad),
        cmocka_unit_test(a_timestamp_that_is_no_number_is_old_however_well_signed),
        cmocka_unit_test(only_whole_secrets_are_taken_and_none_is_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
