#ifndef SUPPORT_REDIS_SERVER_H
#define SUPPORT_REDIS_SERVER_H
/* redis_server: a Redis for tests: the one that ASSAY_TEST_REDIS names (redis://…; its data are deleted),
 * else one of our own on a free port in a new folder, durable as in production. It ends with the tests. */
#include <stdbool.h>

/* Its URL, or NULL where neither is to be had. */
const char *redis_server_url(void);
/* Delete all that the tests have stored. */
void redis_server_clear(void);
/* Signal our own server; false: it is not ours. kill -9 is followed by redis_server_start_again(). */
bool redis_server_signal(int number);
void redis_server_start_again(void);
/* One command, words separated by spaces; its answer as text, valid until the next call. */
const char *redis_server_ask(const char *command);
void redis_server_stop(void);
#endif
