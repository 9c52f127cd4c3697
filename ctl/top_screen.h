/* What posternctl top shows: one frame of text from the server's data, as large as the window. */
#ifndef POSTERN_CTL_TOP_SCREEN_H
#define POSTERN_CTL_TOP_SCREEN_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"

struct top_view {
    int rows, columns; /* of the window */
    int sort;          /* number of the column, from 0 */
    bool is_reversed;
    bool has_colour;
};

/* The columns that the window has room for, to choose the one to sort by. */
int top_screen_n_columns(const struct top_view *view);

/*
 * Draws from the top left corner on and leaves nothing of the frame before.
 *
 * status, workers  as the server gave them, workers with memory_add; NULL: not known.
 * trouble          why the data are missing or old; NULL: they are fresh.
 */
void top_screen_draw(const struct top_view *view, const json_t *status, const json_t *workers,
    const char *trouble, struct buf *frame);

#endif
