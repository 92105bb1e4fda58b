#ifndef SUPPORT_REDIS_SERVER_H
#define SUPPORT_REDIS_SERVER_H
/* redis_server: a Redis for tests: the one that ASSAY_TEST_REDIS names (redis://…; its data are deleted),
 * else one of our own on a free port in a new folder, durable as in production. It ends with the tests. */
#include <stdbool.h>

enum { REDIS_SERVER_PROGRAMS = 2 };

/* What serves as a Redis: suites run over each of them that is installed. */
extern const char *const redis_server_programs[REDIS_SERVER_PROGRAMS];
/* Its URL, or NULL where neither is to be had. Without redis_server_choose(): redis-server's. */
const char *redis_server_url(void);
/* From now on another program, with nothing stored; its URL, or NULL: it is not installed. Prints its
 * version. */
const char *redis_server_choose(const char *name);
/* Delete all that the tests have stored. */
void redis_server_clear(void);
/* Signal our own server; false: it is not ours. kill -9 is followed by redis_server_start_again(). */
bool redis_server_signal(int number);
void redis_server_start_again(void);
/* One command, words separated by spaces; its answer as text, valid until the next call. */
const char *redis_server_ask(const char *command);
/* The same for a script in Lua. */
const char *redis_server_eval(const char *script);
void redis_server_stop(void);
#endif
