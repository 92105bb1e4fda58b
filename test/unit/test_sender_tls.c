/* Receivers that speak TLS: whose certificate is not trusted, expired or for another name gets nothing. */
#include "test_sender_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "webhook/sender_transfer.h"

struct tls_receiver {
    SSL_CTX *context;
    int listen_fd;
    unsigned port;
    pthread_t thread;
    unsigned n_requests; /* after tls_stop() */
};

/* A certificate for name, signed by itself, and its key. valid_s: from now on. trust: a file to write it
 * to, for who trusts it, or NULL. */
static void certify(SSL_CTX *context, const char *name, long valid_s, FILE *trust)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    char alt[64];
    assert_non_null(key);
    assert_non_null(cert);
    (void)X509_set_version(cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), valid_s);
    (void)X509_set_pubkey(cert, key);
    (void)X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                     (const unsigned char *)name, -1, -1, 0);
    (void)X509_set_issuer_name(cert, X509_get_subject_name(cert));
    (void)snprintf(alt, sizeof(alt), "DNS:%s", name);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt);
    assert_non_null(extension);
    (void)X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    if (trust)
        assert_true(PEM_write_X509(trust, cert) == 1 && fflush(trust) == 0);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* One connection after another, one request each, always 200. */
static void *tls_run(void *arg)
{
    struct tls_receiver *r = arg;
    int fd;
    while ((fd = accept(r->listen_fd, NULL, NULL)) >= 0) {
        static const char answer[] = "HTTP/1.1 200 X\r\nContent-Length: 0\r\n"
                                     "Connection: close\r\n\r\n";
        char request[4096];
        if (!r->context) {
            assert_true(recv(fd, request, sizeof(request), 0) > 0);
            assert_true(send(fd, answer, sizeof(answer) - 1, 0) > 0);
            (void)close(fd);
            continue;
        }
        SSL *ssl = SSL_new(r->context);
        (void)SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof(request)) > 0) {
            r->n_requests++;
            (void)SSL_write(ssl, answer, sizeof(answer) - 1);
            (void)SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        (void)close(fd);
    }
    return NULL;
}

/* name NULL: it speaks plain HTTP. */
static void tls_start(struct tls_receiver *r, const char *name, long valid_s, FILE *trust)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    r->context = name ? SSL_CTX_new(TLS_server_method()) : NULL;
    r->n_requests = 0;
    if (name)
        certify(r->context, name, valid_s, trust);
    r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(r->listen_fd, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(r->listen_fd, 16), 0);
    assert_int_equal(getsockname(r->listen_fd, (struct sockaddr *)&address, &len), 0);
    r->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&r->thread, NULL, tls_run, r), 0);
}

static void tls_stop(struct tls_receiver *r)
{
    (void)shutdown(r->listen_fd, SHUT_RDWR);
    (void)pthread_join(r->thread, NULL);
    (void)close(r->listen_fd);
    SSL_CTX_free(r->context);
}

static void a_certificate_that_nobody_vouches_for_gets_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct tls_receiver tls;
    char url[64];
    rig_up(&rig, "127.0.0.1", false);
    tls_start(&tls, "localhost", 3600, NULL);
    (void)snprintf(url, sizeof(url), "https://localhost:%u/", tls.port);
    (void)add_to(&rig, url, NOTIFY_START, NULL);
    rig_send(&rig, (struct sender_config){
                       .delays_ms = { 3600 * 1000 }, .n_delays = 1, .total_timeout_ms = 10000 });
    wait_results(&rig, 1);
    assert_int_equal(result(&rig, 0).state, EVENT_PENDING);
    assert_string_equal(result(&rig, 0).error, "tls");
    rig_down(&rig);
    tls_stop(&tls);
    assert_int_equal(tls.n_requests, 0);
}

/* One attempt at the receiver by somebody who trusts its certificate. */
static struct answer trusting_attempt(const struct tls_receiver *tls, const char *trust_path)
{
    char url[64];
    struct event event = { .notify = NOTIFY_START, .asset_id = "4k2m9qx", .url = url };
    struct policy *policy;
    struct client *client;
    struct transfer *t;
    struct answer answer;
    struct err err;
    (void)snprintf(url, sizeof(url), "https://localhost:%u/", tls->port);
    assert_int_equal(policy_new("127.0.0.1", NULL, &policy, &err), 0);
    assert_int_equal(setenv("SSL_CERT_FILE", trust_path, 1), 0);
    assert_int_equal(transfer_client(policy, 0, 0, 0, &client, &err), 0);
    assert_int_equal(transfer_new(NULL, &t, &err), 0);
    assert_int_equal(transfer_prepare(t, &event, 1000, &err), 0);
    assert_int_equal(client_perform(client, &t->call, &t->request, &err), 0);
    transfer_answer(t, 1000, &answer);
    client_free(client);
    transfer_free(t);
    policy_free(policy);
    return answer;
}

static void of_certificates_that_are_trusted_only_the_right_one_is_good(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        long valid_s;
        const char *error;
    } rows[] = {
        { "localhost", 3600, NULL },
        { "other.example", 3600, "tls" }, /* for another name */
        { "*.localhost", 3600, "tls" },
        { "localhost", -3600, "tls" }, /* expired an hour ago */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_receiver tls;
        char path[] = "/tmp/test-sender-tls-XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        FILE *trust = fdopen(fd, "w");
        assert_non_null(trust);
        tls_start(&tls, rows[i].name, rows[i].valid_s, trust);
        struct answer answer = trusting_attempt(&tls, path);
        tls_stop(&tls);
        (void)fclose(trust);
        (void)unlink(path);
        if (rows[i].error) {
            assert_string_equal(answer.error, rows[i].error);
            assert_false(answer.permanent); /* it may be renewed */
            assert_int_equal(tls.n_requests, 0);
        } else {
            assert_null(answer.error);
            assert_int_equal(answer.status, 200);
            assert_int_equal(tls.n_requests, 1);
        }
    }
}

static void who_speaks_no_tls_is_told_from_who_never_answers(void **state)
{
    (void)state;
    struct tls_receiver plain;
    tls_start(&plain, NULL, 0, NULL);
    struct answer answer = trusting_attempt(&plain, "/dev/null");
    tls_stop(&plain);
    assert_string_equal(answer.error, "tls");
    assert_int_equal(answer.status, 0); /* what was not encrypted is no answer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_that_nobody_vouches_for_gets_nothing),
        cmocka_unit_test(of_certificates_that_are_trusted_only_the_right_one_is_good),
        cmocka_unit_test(who_speaks_no_tls_is_told_from_who_never_answers),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* the receiver's; the sender's thread looks after itself */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
