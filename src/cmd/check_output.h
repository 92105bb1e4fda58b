#ifndef CMD_CHECK_OUTPUT_H
#define CMD_CHECK_OUTPUT_H
/* check_output: what `assay check` prints. On stdout a readable line for each file that does not pass and
 * a summary, or a JSON line for each file; on stderr, if it is a terminal, a progress bar. */
#include <stdbool.h>
#include <stdint.h>

#include "cmd/check_paths.h"
#include "validate/validator.h"

struct check_output {
    struct limits limits;
    bool json, quiet, has_bar;
    int64_t begun_ms, bar_ms; /* monotonic: when it began; when the bar was drawn last */
    uint64_t checked, bad;
    uint64_t by_code[FINDING_COUNT];
};

/* Print one file's verdict; files come in the order given. true: it passes. */
bool check_output_file(struct check_output *out, const struct check_item *item,
                       const struct verdict *verdict);
/* Draw the bar anew, unless that was just done. total: 0 while it is not known. */
void check_output_bar(struct check_output *out, uint64_t total);
/* Take the bar away and print the summary. */
void check_output_end(struct check_output *out);
#endif
