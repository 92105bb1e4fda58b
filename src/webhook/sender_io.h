#ifndef WEBHOOK_SENDER_IO_H
#define WEBHOOK_SENDER_IO_H
/* sender_io: libcurl's sockets and its timer over one epoll, so that a transfer that hangs costs a
 * descriptor but no time, however many there are. (With curl_multi_poll() and curl_multi_perform()
 * every turn of the loop looks at every transfer.) Part of the sender.
 *
 * Between two transfers over one connection its socket stays in the epoll as it is: taking it out and
 * putting it in again would be three more system calls a webhook. So its closing is ours, too. */
#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct io {
    CURLM *multi;
    int epoll_fd, wake_fd, mail_fd;
    int64_t timer_us;  /* monotonic: when libcurl wants to be called; INT64_MAX: never */
    struct io_socket { /* by descriptor */
        uint32_t registered, wanted; /* EPOLLIN and EPOLLOUT */
        bool ours;                   /* made by io_socket_made(): we hear of its closing */
    } * sockets;
    size_t n_sockets;
};

/* Loads libcurl. mail_fd is watched too; so many connections are kept. io_release() after a failure as
 * well. */
int io_init(struct io *io, int mail_fd, unsigned connections, struct err *err);
void io_release(struct io *io);
/* End io_wait(). Any thread. */
void io_wake(struct io *io);
/* Sleep until something is ready, at most wait_ms, then have libcurl do what can be done. */
int io_wait(struct io *io, int64_t wait_ms, struct err *err);
/* fd was made for a transfer. */
void io_socket_made(struct io *io, int fd);
/* CURLOPT_CLOSESOCKETFUNCTION, its data is the io. */
int io_socket_close(void *io, curl_socket_t fd);
#endif
