#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H
/* engine: how store_open() reaches each engine. where is what follows the scheme in the URL. */
#include "store/store.h"

int sqlite_store_open(const char *where, const struct store_config *config,
                      struct store **ret_store, struct err *err);
/* As store_visit(). */
int sqlite_store_visit(const char *where, const char *password, struct store **ret_store,
                       struct err *err);
int redis_store_open(const char *where, const struct store_config *config, struct store **ret_store,
                     struct err *err);
int redis_store_visit(const char *where, const char *password, struct store **ret_store,
                      struct err *err);
#endif
