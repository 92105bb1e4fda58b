#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
/* clock: the two clocks. Deadlines use the monotonic one, stored times the wall clock. Code whose
 * logic depends on time takes it as a parameter, so that tests need not wait. */
#include <stdint.h>

enum { CLOCK_TEXT_LEN = 25 };

int64_t clock_mono_ms(void); /* since some unknown moment; never goes back */
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void); /* since 1970-01-01 UTC */
/* wall_ms as RFC 3339 in UTC with milliseconds ("2026-11-24T08:00:00.000Z"); returns text. */
const char *clock_text(int64_t wall_ms, char text[static CLOCK_TEXT_LEN]);
#endif
