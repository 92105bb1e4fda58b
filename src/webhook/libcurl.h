#ifndef WEBHOOK_LIBCURL_H
#define WEBHOOK_LIBCURL_H
/* libcurl: loaded when it is needed, not with the program. The thirty libraries behind it take more than
 * half the time from exec to main(), which `assay check`, `assay help` and the start of a server do
 * better without. The functions of <curl/curl.h> that the program uses are here, and pass on. */
#include "base/err.h"

/* Have it loaded, and curl_global_init() done: once in a process, and for good. Any thread.
 * ERR_UNSUPPORTED: it is not there, or not fit. Without this call the first function used does it, and
 * ends the process if it cannot. */
int libcurl_load(struct err *err);
#endif
