#include "support/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 500, PAUSE_MS = 10 };

const char *const redis_server_programs[REDIS_SERVER_PROGRAMS] = { "redis-server",
                                                                   "valkey-server" };

static const char *program = "redis-server";
static pid_t server;
static char folder[64], url[256], host[128] = "127.0.0.1", answer[4096];
static int port;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static redisContext *try_connect(void)
{
    struct timeval second = { .tv_sec = 1 };
    redisContext *c = redisConnectWithTimeout(host, port, second);
    if (c && !c->err)
        return c;
    if (c)
        redisFree(c);
    return NULL;
}

static int free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        abort();
    (void)close(fd);
    return ntohs(at.sin_port);
}

static bool ready(void)
{
    for (int i = 0; i < TRIES; i++) {
        redisContext *c = try_connect();
        if (c) {
            redisReply *reply = redisCommand(c, "PING");
            bool fine = reply && reply->type == REDIS_REPLY_STATUS;
            if (reply)
                freeReplyObject(reply);
            redisFree(c);
            if (fine)
                return true;
        }
        if (waitpid(server, NULL, WNOHANG) == server) {
            server = 0;
            return false;
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
    return false;
}

static bool start(void)
{
    char number[16];
    (void)snprintf(number, sizeof(number), "%d", port);
    server = fork();
    if (server < 0)
        abort();
    if (server == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)execlp(program, program, "--port", number, "--bind", "127.0.0.1", "--dir", folder,
                     "--appendonly", "yes", "--appendfsync", "always", "--save", "", NULL);
        _exit(127);
    }
    return ready();
}

const char *redis_server_url(void)
{
    if (url[0])
        return url;
    const char *given = getenv("ASSAY_TEST_REDIS");
    if (given && strcmp(program, redis_server_programs[0]) != 0)
        return NULL; /* what is given stands for all of them */
    if (given) {
        (void)snprintf(url, sizeof(url), "%s", given);
        if (sscanf(given, "redis://%127[^:]:%d", host, &port) != 2)
            abort();
        return url;
    }
    (void)strcpy(folder, "/tmp/test_redis_XXXXXX");
    if (!mkdtemp(folder))
        abort();
    port = free_port();
    (void)atexit(redis_server_stop);
    if (!start()) {
        redis_server_stop();
        return NULL;
    }
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%d/0", port);
    return url;
}

/* For whoever reads what ran: "[   over   ] valkey 8.1.1". */
static void say_what_answers(void)
{
    static const char *const fields[] = { "valkey_version:", "redis_version:" };
    const char *info = redis_server_ask("INFO server");
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *at = strstr(info, fields[i]);
        if (!at)
            continue;
        at += strlen(fields[i]);
        (void)printf("[   over   ] %.*s %.*s\n", (int)strcspn(fields[i], "_"), fields[i],
                     (int)strcspn(at, "\r\n"), at);
        return;
    }
}

const char *redis_server_choose(const char *name)
{
    redis_server_stop();
    url[0] = '\0';
    program = name;
    if (!redis_server_url())
        return NULL;
    say_what_answers();
    return url;
}

static const char *ask(const char *format, const char *word)
{
    redisContext *c = try_connect();
    redisReply *reply = c ? redisCommand(c, format, word) : NULL;
    answer[0] = '\0';
    if (reply && (reply->type == REDIS_REPLY_INTEGER))
        (void)snprintf(answer, sizeof(answer), "%lld", reply->integer);
    else if (reply && reply->str)
        (void)snprintf(answer, sizeof(answer), "%s", reply->str);
    if (reply)
        freeReplyObject(reply);
    if (c)
        redisFree(c);
    return answer;
}

const char *redis_server_ask(const char *command)
{
    return ask(command, NULL); /* no command of ours has a % */
}

const char *redis_server_eval(const char *script)
{
    return ask("EVAL %s 0", script);
}

void redis_server_clear(void)
{
    (void)redis_server_ask("FLUSHALL");
}

bool redis_server_signal(int number)
{
    if (!server)
        return false;
    (void)kill(server, number);
    if (number == SIGKILL)
        (void)waitpid(server, NULL, 0);
    return true;
}

void redis_server_start_again(void)
{
    if (!start())
        abort();
}

void redis_server_stop(void)
{
    if (server > 0) {
        (void)kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
    }
    server = 0;
    if (folder[0])
        (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    folder[0] = '\0';
}
