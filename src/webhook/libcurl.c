#define CURL_DISABLE_TYPECHECK /* here they are functions */
#include "webhook/libcurl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char soname[] = "libcurl.so.4";

#define FUNCTIONS(X)                                                                               \
    X(easy_cleanup)                                                                                \
    X(easy_getinfo)                                                                                \
    X(easy_init)                                                                                   \
    X(easy_perform)                                                                                \
    X(easy_setopt)                                                                                 \
    X(easy_strerror)                                                                               \
    X(free)                                                                                        \
    X(getdate)                                                                                     \
    X(global_init)                                                                                 \
    X(multi_add_handle)                                                                            \
    X(multi_cleanup)                                                                               \
    X(multi_info_read)                                                                             \
    X(multi_init)                                                                                  \
    X(multi_remove_handle)                                                                         \
    X(multi_setopt)                                                                                \
    X(multi_socket_action)                                                                         \
    X(multi_strerror)                                                                              \
    X(url)                                                                                         \
    X(url_cleanup)                                                                                 \
    X(url_get)                                                                                     \
    X(url_set)

#define POINTER(name) __typeof__(curl_##name) *name;
static struct {
    FUNCTIONS(POINTER)
} real;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct err why; /* ERR_NONE: it is loaded; constant after once */

#define LOOK_UP(name)                                                                              \
    if (!(*(void **)&real.name = dlsym(library, "curl_" #name))) {                                 \
        (void)err_set(&why, ERR_UNSUPPORTED, "%s has no curl_%s()", soname, #name);                \
        return;                                                                                    \
    }

static void load(void)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        (void)err_set(&why, ERR_UNSUPPORTED, "%s", dlerror());
        return;
    }
    FUNCTIONS(LOOK_UP)
    CURLcode code = real.global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        (void)err_set(&why, ERR_UNSUPPORTED, "curl_global_init: %s", real.easy_strerror(code));
}

int libcurl_load(struct err *err)
{
    (void)pthread_once(&once, load);
    return why.code == ERR_NONE ? 0 : err_set(err, why.code, "%s", why.msg);
}

static void need(void)
{
    (void)pthread_once(&once, load);
    if (why.code == ERR_NONE)
        return;
    (void)fprintf(stderr, "assay: %s\n", why.msg);
    abort();
}

/* Every option and every fact is passed as a long, a curl_off_t or a pointer: one register each, on all
 * machines with 64 bits. */
_Static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *), "");
#define ONLY_ARGUMENT(last)                                                                        \
    ({                                                                                             \
        va_list arguments_;                                                                        \
        va_start(arguments_, last);                                                                \
        void *argument_ = va_arg(arguments_, void *);                                              \
        va_end(arguments_);                                                                        \
        argument_;                                                                                 \
    })

/* An easy, multi or URL handle is only had by a function that needs it loaded. */

CURL *curl_easy_init(void)
{
    need();
    return real.easy_init();
}

#undef curl_easy_setopt
CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    return real.easy_setopt(easy, option, ONLY_ARGUMENT(option));
}

#undef curl_easy_getinfo
CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
    return real.easy_getinfo(easy, info, ONLY_ARGUMENT(info));
}

CURLcode curl_easy_perform(CURL *easy)
{
    return real.easy_perform(easy);
}

void curl_easy_cleanup(CURL *easy)
{
    need();
    real.easy_cleanup(easy);
}

const char *curl_easy_strerror(CURLcode code)
{
    need();
    return real.easy_strerror(code);
}

CURLM *curl_multi_init(void)
{
    need();
    return real.multi_init();
}

#undef curl_multi_setopt
CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...)
{
    return real.multi_setopt(multi, option, ONLY_ARGUMENT(option));
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy)
{
    return real.multi_add_handle(multi, easy);
}

CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *easy)
{
    return real.multi_remove_handle(multi, easy);
}

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t socket, int events, int *ret_running)
{
    return real.multi_socket_action(multi, socket, events, ret_running);
}

CURLMsg *curl_multi_info_read(CURLM *multi, int *ret_left)
{
    return real.multi_info_read(multi, ret_left);
}

CURLMcode curl_multi_cleanup(CURLM *multi)
{
    need();
    return real.multi_cleanup(multi);
}

const char *curl_multi_strerror(CURLMcode code)
{
    need();
    return real.multi_strerror(code);
}

CURLU *curl_url(void)
{
    need();
    return real.url();
}

CURLUcode curl_url_set(CURLU *url, CURLUPart part, const char *text, unsigned int flags)
{
    return real.url_set(url, part, text, flags);
}

#if LIBCURL_VERSION_NUM >= 0x080000
#define READ_ONLY const
#else
#define READ_ONLY
#endif
CURLUcode curl_url_get(READ_ONLY CURLU *url, CURLUPart part, char **ret_text, unsigned int flags)
{
    return real.url_get(url, part, ret_text, flags);
}

void curl_url_cleanup(CURLU *url)
{
    need();
    real.url_cleanup(url);
}

void curl_free(void *text)
{
    need();
    real.free(text);
}

time_t curl_getdate(const char *text, const time_t *unused)
{
    need();
    return real.getdate(text, unused);
}
