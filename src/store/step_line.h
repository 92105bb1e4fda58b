#ifndef STORE_STEP_LINE_H
#define STORE_STEP_LINE_H
/* step_line: steps in order, and their way back: one post a mailbox. */
#include "store/store.h"

struct line {
    struct mail *first, *last;
    size_t n;
};

void line_add(struct line *line, struct step *step);
void line_add_first(struct line *line, struct step *step);
/* All of more behind line, which has them from here on. */
void line_join(struct line *line, const struct line *more);
/* The first; there must be one. */
struct step *line_take(struct line *line);

enum { REPLY_BOXES = 16 };

/* Answers to be sent. */
struct replies {
    struct {
        struct mailbox *box;
        struct line line;
    } boxes[REPLY_BOXES];
    size_t n;
};

void replies_add(struct replies *r, struct step *step);
void replies_send(struct replies *r);
#endif
