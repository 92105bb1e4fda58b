#include "store/step_line.h"

void line_add(struct line *line, struct step *step)
{
    step->mail.next = NULL;
    line_join(line, &(struct line){ &step->mail, &step->mail, 1 });
}

void line_add_first(struct line *line, struct step *step)
{
    step->mail.next = line->first;
    if (!line->first)
        line->last = &step->mail;
    line->first = &step->mail;
    line->n++;
}

void line_join(struct line *line, const struct line *more)
{
    if (more->n == 0)
        return;
    if (line->n)
        line->last->next = more->first;
    else
        line->first = more->first;
    line->last = more->last;
    line->n += more->n;
}

struct step *line_take(struct line *line)
{
    struct step *step = MAIL_ENTRY(line->first, struct step, mail);
    line->first = step->mail.next;
    line->n--;
    return step;
}

void replies_send(struct replies *r)
{
    for (size_t i = 0; i < r->n; i++)
        mailbox_post(r->boxes[i].box, r->boxes[i].line.first, r->boxes[i].line.last);
    r->n = 0;
}

void replies_add(struct replies *r, struct step *step)
{
    size_t i = 0;
    while (i < r->n && r->boxes[i].box != step->reply_to)
        i++;
    if (i == REPLY_BOXES) {
        replies_send(r);
        i = 0;
    }
    if (i == r->n) {
        r->boxes[i].box = step->reply_to;
        r->boxes[i].line = (struct line){ 0 };
        r->n++;
    }
    line_add(&r->boxes[i].line, step);
}
