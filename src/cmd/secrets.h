#ifndef CMD_SECRETS_H
#define CMD_SECRETS_H
/* secrets: what comes as ASSAY_…, or from a file that ASSAY_…_FILE names, and is neither an argument nor
 * shown anywhere. Read after the jailed children were made, and out of the environment before the first
 * thread. */
#include "base/err.h"
#include "cmd/config.h"
#include "http/keys.h"
#include "webhook/signature.h"

/* One secret as text. *ret_text is NULL when neither is set; secret_free(). variable: its name, for the
 * error. ERR_INVALID: both are set, or the file is empty or too long. */
int secret_read(const char *value, const char *file, const char *variable, char **ret_text,
                struct err *err);
void secret_free(char *text); /* wipes it */
/* The signer that the configuration asks for; *ret_signer is NULL when it asks for none. */
int secret_signer(const struct config *config, struct signer **ret_signer, struct err *err);
/* The keys that requests must carry; *ret_keys is NULL when none is asked for. http_keys_free(). */
int secret_keys(const struct config *config, struct http_keys **ret_keys, struct err *err);
/* The password of the Redis that --store names; *ret_text is NULL when none is set. secret_free(). */
int secret_store(const struct config *config, char **ret_text, struct err *err);
/* Wipe every secret from the environment (as /proc shows it, too) and from config. */
void secrets_forget(struct config *config, char *variables[]);
#endif
