/* The client over TLS: whom it trusts, and when it uses a connection again. */
#include "test_client_rig.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>

#define TLS12 TLS1_2_VERSION
#define TLS13 TLS1_3_VERSION

/* --- certificates --- */

struct issuer {
    X509 *cert;
    EVP_PKEY *key;
};

static struct issuer authority, /* the client trusts it, and nobody else */
    stranger;

static char trust_path[] = "/tmp/test-client-tls-XXXXXX";

/* alt: who it is for ("DNS:…", "IP:…"), NULL: an authority. by: NULL, signed by itself. */
static X509 *certificate(EVP_PKEY *key, const char *alt, long from_s, long to_s,
                         const struct issuer *by)
{
    static long serial;
    X509 *cert = X509_new();
    assert_non_null(cert);
    (void)X509_set_version(cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
    (void)X509_set_pubkey(cert, key);
    char name[32];
    (void)snprintf(name, sizeof(name), "test %ld", serial);
    (void)X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                     (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_issuer_name(cert, X509_get_subject_name(by ? by->cert : cert));
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, alt ? NID_subject_alt_name : NID_basic_constraints,
                            alt ? alt : "critical,CA:TRUE");
    assert_non_null(extension);
    (void)X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(cert, by ? by->key : key, EVP_sha256()) > 0);
    return cert;
}

static struct issuer found_authority(void)
{
    struct issuer made = { .key = EVP_EC_gen("P-256") };
    assert_non_null(made.key);
    made.cert = certificate(made.key, NULL, -7200, 7200, NULL);
    return made;
}

/* --- servers --- */

struct identity {
    const char *alt;
    long from_s, to_s;
    const struct issuer *by;
    int version; /* 0: all */
};

static const struct identity usual = { "DNS:localhost,IP:127.0.0.1", -3600, 3600, &authority, 0 };

static SSL_CTX *context_of(const struct identity *identity)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(ctx);
    X509 *cert = certificate(key, identity->alt, identity->from_s, identity->to_s, identity->by);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
    if (identity->version) {
        (void)SSL_CTX_set_min_proto_version(ctx, identity->version);
        (void)SSL_CTX_set_max_proto_version(ctx, identity->version);
    }
    if (identity->version && identity->version < TLS12)
        SSL_CTX_set_security_level(ctx, 0);
    return ctx;
}

static SSL *answer_tls(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    assert_int_equal(SSL_set_fd(ssl, fd), 1);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* A connection that is secured at the server's end. */
static SSL *take_tls(struct rig *rig, SSL_CTX *ctx)
{
    SSL *ssl = answer_tls(ctx, take(rig));
    UNTIL(rig, SSL_do_handshake(ssl) == 1);
    return ssl;
}

static void hear_tls(struct rig *rig, SSL *ssl)
{
    int n;
    UNTIL(rig, (n = SSL_read(ssl, rig->text, sizeof(rig->text) - 1)) > 0);
    rig->text[n] = '\0';
    assert_non_null(strstr(rig->text, "\r\n\r\nhi")); /* as all of ours that are small */
}

static void say_tls(SSL *ssl, const char *text)
{
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), strlen(text));
}

static void drop_tls(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_set_quiet_shutdown(ssl, 1);
    SSL_free(ssl);
    hang_up(fd);
}

static void reset_tls(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_set_quiet_shutdown(ssl, 1);
    SSL_free(ssl);
    reset(fd);
}

static void end_tls(SSL *ssl) /* properly, but its socket stays open */
{
    assert_true(SSL_shutdown(ssl) >= 0);
}

static void begin_tls(struct rig *rig, const char *host)
{
    char url[128];
    (void)snprintf(url, sizeof(url), "https://%s:%u/p", host, rig->server.port);
    begin_body(rig, &rig->call, url, "hi", 2);
}

static SSL *exchange_tls(struct rig *rig, SSL_CTX *ctx)
{
    begin_tls(rig, "127.0.0.1");
    SSL *ssl = take_tls(rig, ctx);
    hear_tls(rig, ssl);
    say_tls(ssl, OK_EMPTY);
    ends_with(rig, CLIENT_OK, 200);
    return ssl;
}

/* --- who is trusted --- */

static void only_the_right_certificate_is_good(void **state)
{
    (void)state;
    const struct {
        const char *host;
        struct identity identity;
        bool good;
    } rows[] = {
        { "localhost", { "DNS:localhost", -3600, 3600, &authority, 0 }, true },
        { "LocalHost", { "DNS:localhost", -3600, 3600, &authority, 0 }, true },
        { "localhost.", { "DNS:localhost", -3600, 3600, &authority, 0 }, true },
        { "localhost", { "DNS:localhost", -3600, 3600, &authority, TLS12 }, true },
        { "localhost", { "DNS:localhost", -3600, 3600, &authority, TLS13 }, true },
        { "localhost", { "DNS:other.example", -3600, 3600, &authority, 0 }, false },
        { "localhost", { "DNS:*.localhost", -3600, 3600, &authority, 0 }, false },
        { "localhost", { "IP:127.0.0.1", -3600, 3600, &authority, 0 }, false },
        { "localhost", { "DNS:localhost", -3600, -60, &authority, 0 }, false }, /* expired */
        { "localhost", { "DNS:localhost", 600, 3600, &authority, 0 }, false },  /* not yet valid */
        { "localhost", { "DNS:localhost", -3600, 3600, &stranger, 0 }, false },
        { "localhost", { "DNS:localhost", -3600, 3600, NULL, 0 }, false },
        { "localhost", { "DNS:localhost", -3600, 3600, &authority, TLS1_1_VERSION }, false },
        { "127.0.0.1", { "IP:127.0.0.1", -3600, 3600, &authority, 0 }, true },
        { "127.0.0.1", { "IP:127.0.0.2", -3600, 3600, &authority, 0 }, false },
        { "127.0.0.1", { "DNS:127.0.0.1", -3600, 3600, &authority, 0 }, false },
        { "127.0.0.1", { "DNS:localhost", -3600, 3600, &authority, 0 }, false },
    };
    struct rig rig;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig_up(&rig, &(struct client_config){ 0 });
        SSL_CTX *ctx = context_of(&rows[i].identity);
        begin_tls(&rig, rows[i].host);
        if (rows[i].good) {
            SSL *ssl = take_tls(&rig, ctx);
            const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
            if (rows[i].host[0] == '1') /* RFC 6066 §3: no address */
                assert_null(name);
            else
                assert_string_equal(name, "localhost");
            hear_tls(&rig, ssl);
            say_tls(ssl, OK_EMPTY);
            ends_with(&rig, CLIENT_OK, 200);
            assert_true(rig.call.connected_us <= rig.call.secured_us);
            assert_true(rig.call.secured_us <= rig.call.sent_us);
            drop_tls(ssl);
        } else {
            SSL *ssl = answer_tls(ctx, take(&rig));
            UNTIL(&rig, SSL_do_handshake(ssl) == 1 || rig.call.state == CALL_ENDED);
            if (rig.call.error != CLIENT_TLS)
                fail_msg("%s, %s: %s", rows[i].host, rows[i].identity.alt,
                         client_error_word(rig.call.error));
            ends_with(&rig, CLIENT_TLS, 0);
            assert_string_not_equal(rig.call.why, "");
            assert_int_equal(rig.call.secured_us, -1);
            assert_true(SSL_read(ssl, rig.text, 1) <= 0); /* it was told nothing */
            drop_tls(ssl);
        }
        SSL_CTX_free(ctx);
        rig_down(&rig);
    }
}

static void an_address_of_ipv6_is_named_by_its_certificate(void **state)
{
    (void)state;
    static const struct {
        const char *alt;
        enum client_error error;
    } rows[] = { { "IP:0:0:0:0:0:0:0:1", CLIENT_OK }, { "IP:::2", CLIENT_TLS } };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct listener v6;
        if (try_listen(&v6, "::1", 0, 16) < 0) {
            rig_down(&rig);
            skip();
        }
        SSL_CTX *ctx = context_of(&(struct identity){ rows[i].alt, -3600, 3600, &authority, 0 });
        char url[64];
        (void)snprintf(url, sizeof(url), "https://[::1]:%u/", v6.port);
        begin_body(&rig, &rig.call, url, "hi", 2);
        SSL *ssl = answer_tls(ctx, take_from(&rig, &v6));
        UNTIL(&rig, SSL_do_handshake(ssl) == 1 || rig.call.state == CALL_ENDED);
        if (rows[i].error == CLIENT_OK) {
            hear_tls(&rig, ssl);
            say_tls(ssl, OK_EMPTY);
        }
        ends_with(&rig, rows[i].error, rows[i].error == CLIENT_OK ? 200 : 0);
        drop_tls(ssl);
        SSL_CTX_free(ctx);
        stop_listening(&v6);
    }
    rig_down(&rig);
}

static void who_speaks_no_tls_gets_nothing(void **state)
{
    (void)state;
    static const char *const said[] = { OK_EMPTY, "\x15\x03\x01\x00\x02\x02\x28", "" };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        for (int ending = 0; ending < 2; ending++) {
            begin_tls(&rig, "127.0.0.1");
            int fd = take(&rig);
            UNTIL(&rig, is_readable(fd)); /* its first words: no request */
            assert_true(recv(fd, rig.text, sizeof(rig.text), 0) > 0);
            assert_int_equal(rig.text[0], 22);
            if (i == 1)
                say_bytes(fd, said[i], 7); /* an alert */
            else
                say(fd, said[i]);
            if (ending)
                reset(fd);
            else
                hang_up(fd);
            ends_with(&rig, CLIENT_TLS, 0);
            assert_string_not_equal(rig.call.why, "");
            look_around(&rig);
            assert_true(nobody_comes(&rig));
        }
    rig_down(&rig);
}

static void a_handshake_that_stops_halfway_costs_the_connect_time(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ .connect_timeout_ms = 1000, .total_timeout_ms = 60000 });
    struct identity identity = usual;
    identity.version = TLS12;
    SSL_CTX *ctx = context_of(&identity);
    begin_tls(&rig, "127.0.0.1");
    SSL *ssl = answer_tls(ctx, take(&rig));
    UNTIL(&rig, is_readable(SSL_get_fd(ssl)));
    assert_int_equal(SSL_do_handshake(ssl), -1); /* its part is said, and then it hears no more */
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    assert_in_range(rig.call.ended_us, 995 * 1000, WAIT_S * 1000000);
    drop_tls(ssl);
    begin_tls(&rig, "127.0.0.1"); /* and one that says half of its part */
    int fd = take(&rig);
    say_bytes(fd, "\x16\x03\x03\x40\x00\x02", 6);
    ends_with(&rig, CLIENT_TIMEOUT, 0);
    is_left(&rig, fd);
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

/* --- connections that are kept --- */

static void a_secure_connection_is_used_again(void **state)
{
    (void)state;
    static const int versions[] = { TLS12, TLS13 };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct identity identity = usual;
        identity.version = versions[i];
        SSL_CTX *ctx = context_of(&identity);
        SSL *ssl = exchange_tls(&rig, ctx);
        assert_int_equal(SSL_version(ssl), versions[i]);
        for (int n = 0; n < 20; n++) {
            begin_tls(&rig, "127.0.0.1");
            hear_tls(&rig, ssl);
            say_tls(ssl,
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); /* a record each */
            say_tls(ssl, "3\r\nabc\r\n");
            if (n % 2)
                look_around(&rig);
            say_tls(ssl, "0\r\n\r\n");
            ends_with(&rig, CLIENT_OK, 200);
            assert_int_equal(rig.call.connected_us, -1);
            assert_int_equal(rig.call.secured_us, -1);
            assert_memory_equal(rig.keep, "abc", 3);
        }
        assert_true(nobody_comes(&rig));
        drop_tls(ssl);
        look_around(&rig);
        SSL_CTX_free(ctx);
    }
    rig_down(&rig);
}

static void tickets_that_come_late_close_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    struct identity identity = usual;
    identity.version = TLS13;
    SSL_CTX *ctx = context_of(&identity);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    SSL *ssl = exchange_tls(&rig, ctx);
    for (int when = 0; when < 3;
         when++) { /* while idle; while it is being answered; with the answer */
        if (when > 0) {
            begin_tls(&rig, "127.0.0.1");
            hear_tls(&rig, ssl);
        }
        if (when == 2)
            say_tls(ssl, OK_EMPTY);
        assert_int_equal(SSL_new_session_ticket(ssl), 1);
        assert_int_equal(SSL_do_handshake(ssl), 1);
        if (when < 2)
            look_around(&rig);
        if (when == 1)
            say_tls(ssl, OK_EMPTY);
        if (when > 0)
            ends_with(&rig, CLIENT_OK, 200);
    }
    begin_tls(&rig, "127.0.0.1");
    hear_tls(&rig, ssl);
    say_tls(ssl, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    assert_true(nobody_comes(&rig));
    drop_tls(ssl);
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

static void bytes_behind_an_answer_close_its_connection(void **state)
{
    (void)state;
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    SSL_CTX *ctx = context_of(&usual);
    for (int how = 0; how < 4; how++) {
        begin_tls(&rig, "127.0.0.1");
        SSL *ssl = take_tls(&rig, ctx);
        hear_tls(&rig, ssl);
        if (how == 0) {
            say_tls(ssl, OK_EMPTY "HTTP/1.1 500 X\r\n\r\n"); /* in one record */
        } else {
            say_tls(ssl, OK_EMPTY);
            if (how == 2)
                end_tls(ssl);
            else if (how == 1)
                say_tls(ssl, "HTTP/1.1 500 X\r\n\r\n"); /* in the next */
        }
        ends_with(&rig, CLIENT_OK, 200);
        if (how == 3) { /* while it is idle */
            say_tls(ssl, "x");
            look_around(&rig);
        }
        begin_tls(&rig, "127.0.0.1");
        SSL *other = take_tls(&rig, ctx);
        hear_tls(&rig, other);
        say_tls(other, OK_EMPTY);
        ends_with(&rig, CLIENT_OK, 200);
        drop_tls(ssl);
        drop_tls(other);
        look_around(&rig);
    }
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

static void a_secure_connection_that_has_ended_is_not_used(void **state)
{
    (void)state;
    static void (*const ends[])(SSL *) = { end_tls, drop_tls, reset_tls };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    SSL_CTX *ctx = context_of(&usual);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        for (int noticed = 0; noticed < 2; noticed++) {
            SSL *old = exchange_tls(&rig, ctx);
            ends[i](old);
            if (noticed)
                look_around(&rig);
            begin_tls(&rig, "127.0.0.1"); /* else it is sent, and sent once more */
            SSL *ssl = take_tls(&rig, ctx);
            hear_tls(&rig, ssl);
            say_tls(ssl, OK_EMPTY);
            ends_with(&rig, CLIENT_OK, 200);
            assert_true(rig.call.secured_us >= 0);
            if (ends[i] == end_tls)
                drop_tls(old);
            assert_true(nobody_comes(&rig));
            drop_tls(ssl);
            look_around(&rig);
        }
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

static void a_body_up_to_the_end_may_end_either_way(void **state)
{
    (void)state;
    static void (*const ends[])(SSL *) = { end_tls, drop_tls, reset_tls };
    struct rig rig;
    rig_up(&rig, &(struct client_config){ 0 });
    SSL_CTX *ctx = context_of(&usual);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        begin_tls(&rig, "127.0.0.1");
        SSL *ssl = take_tls(&rig, ctx);
        hear_tls(&rig, ssl);
        say_tls(ssl, "HTTP/1.1 200 OK\r\n\r\nbody");
        look_around(&rig);
        ends[i](ssl);
        ends_with(&rig, CLIENT_OK, 200);
        assert_memory_equal(rig.keep, "body", 4);
        if (ends[i] == end_tls)
            drop_tls(ssl);
    }
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) { /* but not without an answer */
        begin_tls(&rig, "127.0.0.1");
        SSL *ssl = take_tls(&rig, ctx);
        hear_tls(&rig, ssl);
        ends[i](ssl);
        ends_with(&rig, CLIENT_RESET, 0);
        if (ends[i] == end_tls)
            drop_tls(ssl);
        assert_true(nobody_comes(&rig));
    }
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

/* --- bodies --- */

static void a_large_request_goes_as_the_socket_takes_it(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    CLEANUP(freep) char *got = malloc(LARGE + 1000);
    rig_up(&rig, &(struct client_config){ .total_timeout_ms = 60000 });
    SSL_CTX *ctx = context_of(&usual);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", rig.server.port);
    begin_body(&rig, &rig.call, url, body, LARGE);
    SSL *ssl = take_tls(&rig, ctx);
    UNTIL(&rig, rig.call.state == CALL_SENDS);
    look_around(&rig);
    assert_int_equal(rig.call.state, CALL_SENDS);
    size_t len = 0;
    const char *end = NULL;
    while (!end || len < LARGE + (size_t)(end - got)) {
        int n;
        size_t room = LARGE + 1000 - len;
        UNTIL(&rig, (n = SSL_read(ssl, got + len, (int)room)) > 0);
        len += (size_t)n;
        if (!end && (end = memmem(got, len, "\r\n\r\n", 4)))
            end += 4;
    }
    assert_int_equal(len, LARGE + (size_t)(end - got));
    assert_memory_equal(end, body, LARGE);
    say_tls(ssl, OK_EMPTY);
    ends_with(&rig, CLIENT_OK, 200);
    begin_tls(&rig, "127.0.0.1"); /* it is kept */
    hear_tls(&rig, ssl);
    client_cancel(rig.client, &rig.call);
    drop_tls(ssl);
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

static void an_early_answer_is_read_over_tls(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    CLEANUP(freep) char *body = large_body();
    rig_up(&rig, &(struct client_config){ 0 });
    SSL_CTX *ctx = context_of(&usual);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/", rig.server.port);
    for (int closes = 0; closes < 2; closes++) {
        begin_body(&rig, &rig.call, url, body, LARGE);
        SSL *ssl = take_tls(&rig, ctx);
        UNTIL(&rig, SSL_read(ssl, rig.text, 100) > 0);
        look_around(&rig);
        assert_int_equal(rig.call.state, CALL_SENDS);
        say_tls(ssl, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
        if (closes)
            drop_tls(ssl); /* with most of the request unread: a reset follows the answer */
        ends_with(&rig, CLIENT_OK, 413);
        assert_memory_equal(rig.keep, "no!", 3);
        if (!closes)
            drop_tls(ssl);
        look_around(&rig);
        assert_true(nobody_comes(&rig));
    }
    SSL_CTX_free(ctx);
    rig_down(&rig);
}

/* --- trust --- */

static void authorities_that_cannot_be_read_are_none(void **state)
{
    (void)state;
    struct rig rig;
    assert_int_equal(setenv("SSL_CERT_FILE", "/dev/null", 1), 0);
    rig_up(&rig, &(struct client_config){ 0 });
    SSL_CTX *ctx = context_of(&usual);
    begin_tls(&rig, "127.0.0.1");
    SSL *ssl = answer_tls(ctx, take(&rig));
    UNTIL(&rig, SSL_do_handshake(ssl) == 1 || rig.call.state == CALL_ENDED);
    ends_with(&rig, CLIENT_TLS, 0);
    drop_tls(ssl);
    SSL_CTX_free(ctx);
    rig_down(&rig);
    assert_int_equal(setenv("SSL_CERT_FILE", trust_path, 1), 0);
}

static int trust_the_authority(void **state)
{
    (void)state;
    authority = found_authority();
    stranger = found_authority();
    int fd = mkstemp(trust_path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, authority.cert), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("SSL_CERT_DIR", "/dev/null", 1), 0);
    return setenv("SSL_CERT_FILE", trust_path, 1);
}

static int trust_nobody(void **state)
{
    (void)state;
    (void)unlink(trust_path);
    X509_free(authority.cert);
    EVP_PKEY_free(authority.key);
    X509_free(stranger.cert);
    EVP_PKEY_free(stranger.key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_right_certificate_is_good),
        cmocka_unit_test(an_address_of_ipv6_is_named_by_its_certificate),
        cmocka_unit_test(who_speaks_no_tls_gets_nothing),
        cmocka_unit_test(a_handshake_that_stops_halfway_costs_the_connect_time),
        cmocka_unit_test(a_secure_connection_is_used_again),
        cmocka_unit_test(tickets_that_come_late_close_nothing),
        cmocka_unit_test(bytes_behind_an_answer_close_its_connection),
        cmocka_unit_test(a_secure_connection_that_has_ended_is_not_used),
        cmocka_unit_test(a_body_up_to_the_end_may_end_either_way),
        cmocka_unit_test(a_large_request_goes_as_the_socket_takes_it),
        cmocka_unit_test(an_early_answer_is_read_over_tls),
        cmocka_unit_test(authorities_that_cannot_be_read_are_none),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as whoever calls must */
    return cmocka_run_group_tests(tests, trust_the_authority, trust_nobody);
}
