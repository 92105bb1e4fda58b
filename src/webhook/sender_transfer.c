#include "webhook/sender_transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/version.h"

static const char id_name[] = "webhook-id: ", timestamp_name[] = "webhook-timestamp: ",
                  signature_name[] = "webhook-signature: ";

enum { READ_BUFFER_LEN = 4096 }; /* answers are short, and a thousand may be waited for */

const char *event_word(enum notify notify)
{
    switch (notify) {
    case NOTIFY_START:
        return "started";
    case NOTIFY_SUCCESS:
        return "success";
    case NOTIFY_FAILURE:
        return "failed";
    }
    return "unknown";
}

/* CURLOPT_OPENSOCKETFUNCTION: the only place where an address is connected to, whatever notation, name
 * server or redirect led there. A refusal makes libcurl go on to the name's next address. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *t = arg;
    const char *why;
    (void)purpose;
    if (!policy_allows(t->policy, &address->addr, &why)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd >= 0) {
        t->tried = true;
        if (t->io)
            io_socket_made(t->io, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        t->starved = true;
    }
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static void note_retry_after(struct transfer *t, const char *line, size_t len)
{
    static const char name[] = "retry-after:";
    const size_t name_len = sizeof(name) - 1;
    if (len < name_len || strncasecmp(line, name, name_len) != 0)
        return;
    line += name_len;
    len -= name_len;
    while (len > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    while (len > 0 && strchr(" \t\r\n", line[len - 1]))
        len--;
    if (len < sizeof(t->retry_after)) { /* no date is longer */
        memcpy(t->retry_after, line, len);
        t->retry_after[len] = '\0';
    }
}

/* One line of a header, also of informational answers (1xx) and of the trailers after a chunked body. */
static size_t read_header(char *line, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * n;
    t->header_len += len;
    if (t->header_len > TRANSFER_MAX_HEADER)
        return 0;
    if (t->final)
        return len;
    if (line[0] == '\r' || line[0] == '\n') {
        long status = 0;
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        t->final = status >= 200;
        if (!t->final)
            t->retry_after[0] = '\0'; /* an informational answer's fields are its own */
    } else {
        note_retry_after(t, line, len);
    }
    return len;
}

/* Of what a receiver answers beyond its status only the beginning is kept, for people who look for what
 * went wrong; the rest is read to keep the connection. */
static size_t read_body(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * n;
    if (t->body_len < sizeof(t->answer)) {
        size_t room = sizeof(t->answer) - t->body_len;
        memcpy(t->answer + t->body_len, data, len < room ? len : room);
    }
    t->body_len += len;
    return t->body_len > TRANSFER_MAX_BODY ? 0 : len;
}

size_t transfer_answer_len(const struct transfer *t)
{
    return t->body_len < sizeof(t->answer) ? t->body_len : sizeof(t->answer);
}

static CURLcode set_options(struct transfer *t, const struct transfer_config *config)
{
    CURL *easy = t->easy;
    CURLcode code = CURLE_OK;
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt(easy, option, value);                                          \
    } while (0)
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");    /* else http_proxy in the environment would go round open_socket() */
    SET(CURLOPT_NOPROXY, "*"); /* else no_proxy is looked up there for every attempt */
    /* No cache of names: libcurl walks through all of it at the end of every transfer. New connections are
     * rare, and so each of them goes where its name leads now. */
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, t);
    if (t->io) {
        SET(CURLOPT_CLOSESOCKETFUNCTION, io_socket_close);
        SET(CURLOPT_CLOSESOCKETDATA, t->io);
    }
    SET(CURLOPT_BUFFERSIZE, (long)READ_BUFFER_LEN);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)config->connect_timeout_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)config->total_timeout_ms);
    SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver's thread */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HEADERFUNCTION, read_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, read_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HTTPHEADER, t->headers);
#undef SET
    return code;
}

DEFINE_FREEP(struct transfer *, transfer_free)

int transfer_new(const struct transfer_config *config, struct transfer **ret_transfer,
                 struct err *err)
{
    static char content_type[] = "content-type: application/json";
    static char user_agent[] = "user-agent: assay/" ASSAY_VERSION;
    static char no_expect[] = "expect:"; /* without a value: libcurl sends none */
    CLEANUP(transfer_freep) struct transfer *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NOMEM, "out of memory");
    buf_init(&t->body, TRANSFER_MAX_REQUEST);
    t->policy = config->policy;
    t->signer = config->signer;
    t->io = config->io;
    t->easy = curl_easy_init();
    if (!t->easy)
        return err_set(err, ERR_NOMEM, "curl_easy_init");
    memcpy(t->id_line, id_name, sizeof(id_name));
    memcpy(t->timestamp_line, timestamp_name, sizeof(timestamp_name));
    memcpy(t->signature_line, signature_name, sizeof(signature_name));
    char *const lines[] = { content_type, user_agent,        no_expect,
                            t->id_line,   t->timestamp_line, t->signature_line };
    size_t n = ARRAY_LEN(lines) - (t->signer ? 0 : 1);
    for (size_t i = 0; i < n; i++) {
        t->headers[i].data = lines[i];
        t->headers[i].next = i + 1 < n ? &t->headers[i + 1] : NULL;
    }
    CURLcode code = set_options(t, config);
    if (code != CURLE_OK)
        return err_set(err, code == CURLE_OUT_OF_MEMORY ? ERR_NOMEM : ERR_UNSUPPORTED,
                       "curl_easy_setopt: %s", curl_easy_strerror(code));
    *ret_transfer = TAKE(t);
    return 0;
}

void transfer_free(struct transfer *t)
{
    if (!t)
        return;
    curl_easy_cleanup(t->easy);
    buf_release(&t->body);
    free(t);
}

static int make_body(struct buf *body, const struct event *event)
{
    buf_clear(body);
    (void)buf_adds(body, "{\"id\":\"");
    (void)buf_adds(body, event->asset_id);
    (void)buf_adds(body, "\",\"state\":\"");
    (void)buf_adds(body, event_word(event->notify));
    (void)buf_adds(body, "\"");
    if (event->notify == NOTIFY_FAILURE) {
        (void)buf_adds(body, ",\"errors\":");
        (void)buf_adds(body, event->errors ? event->errors : "{}");
    }
    (void)buf_adds(body, "}");
    return buf_failed(body) ? -1 : 0;
}

/* The header lines of this attempt; their names are there. */
static int make_lines(struct transfer *t, const struct event *event, int64_t now_ms,
                      struct err *err)
{
    char *timestamp = t->timestamp_line + strlen(timestamp_name);
    strcpy(t->id_line + strlen(id_name), event->webhook_id); /* of WEBHOOK_ID_LEN */
    if (t->timestamp_s != now_ms / 1000) {
        t->timestamp_s = now_ms / 1000;
        (void)snprintf(timestamp, sizeof(t->timestamp_line) - strlen(timestamp_name), "%" PRId64,
                       t->timestamp_s);
    }
    if (!t->signer)
        return 0;
    return signer_sign(t->signer, event->webhook_id, timestamp, t->body.data, t->body.len,
                       t->signature_line + strlen(signature_name), err);
}

int transfer_prepare(struct transfer *t, const struct event *event, int64_t now_ms, struct err *err)
{
    t->header_len = t->body_len = 0;
    t->final = t->refused = t->tried = t->starved = false;
    t->retry_after[0] = '\0';
    if (make_body(&t->body, event) < 0)
        return err_set(err, ERR_NOMEM, "the body does not fit");
    if (make_lines(t, event, now_ms, err) < 0)
        return -1;
    CURLcode code = curl_easy_setopt(t->easy, CURLOPT_URL, event->url);
    if (code == CURLE_OK)
        code = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE, (long)t->body.len);
    if (code == CURLE_OK)
        code = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body.data);
    if (code != CURLE_OK)
        return err_set(err, ERR_NOMEM, "curl_easy_setopt: %s", curl_easy_strerror(code));
    return 0;
}

/* CURLE_TOO_LARGE, of libcurl 8.6 and later: one header line longer than 100 KB. */
enum { CODE_TOO_LARGE = 100 };

const char *transfer_error_word(CURLcode code, long os_errno)
{
    switch ((int)code) { /* of some 100 codes, those that a POST over HTTP can end with */
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "dns";
    case CURLE_COULDNT_CONNECT:
        if (os_errno == ETIMEDOUT)
            return "timeout";
        if (os_errno == EHOSTUNREACH || os_errno == ENETUNREACH || os_errno == EADDRNOTAVAIL)
            return "unreachable";
        return "refused";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return "tls";
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return "reset";
    case CURLE_WRITE_ERROR: /* read_header() has had enough */
    case CODE_TOO_LARGE:
        return "too_large";
    case CURLE_URL_MALFORMAT:
        return "invalid_url";
    case CURLE_OUT_OF_MEMORY:
        return "no_memory";
    default:
        return "protocol"; /* an answer that is not HTTP/1 */
    }
}

void transfer_answer(struct transfer *t, CURLcode code, int64_t now_ms, struct answer *ret_answer)
{
    struct answer answer = { .retry_after_ms = RETRY_AFTER_NONE };
    long status = 0, os_errno = 0;
    if (t->final) {
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        answer.status = (int)status;
        answer.error = status / 100 == 2 ? NULL : "status";
        answer.permanent = status == 410; /* Gone: RFC 9110 §15.5.11 */
        answer.retry_after_ms = schedule_retry_after(t->retry_after, now_ms);
    } else if (t->refused && !t->tried && !t->starved) {
        answer.error = "disallowed";
        answer.refused = true;
        answer.permanent = true;
    } else if (t->starved && !t->tried) {
        answer.error = "no_descriptors";
        answer.ours = true;
    } else {
        curl_off_t first_byte_us = 0;
        (void)curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
        (void)curl_easy_getinfo(t->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us);
        if (code == CURLE_OUT_OF_MEMORY && first_byte_us > 0)
            code = (CURLcode)CODE_TOO_LARGE; /* as earlier ones call it */
        answer.error = transfer_error_word(code, os_errno);
        /* A URL that libcurl took when the asset was accepted, and takes no longer. */
        answer.permanent = code == CURLE_URL_MALFORMAT;
    }
    *ret_answer = answer;
}
