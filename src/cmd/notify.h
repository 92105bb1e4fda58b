#ifndef CMD_NOTIFY_H
#define CMD_NOTIFY_H
/* notify: tell the service manager how we are (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET
 * names. Without it nothing happens. */
#include <stdint.h>

void notify(const char *state);
/* How often WATCHDOG=1 is due, half of what the manager allows; 0: it does not watch us. */
int64_t notify_watchdog_ms(void);
#endif
