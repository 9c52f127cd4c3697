/* Stacks by line. */
#include "ctl/stacks.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"

bool stacks_next_frame(struct slice *rest, struct slice *frame_out)
{
    if (rest->len == 0) {
        return false;
    }
    const char *end = memchr(rest->data, ';', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->data) : rest->len;
    *frame_out = slice_of(rest->data, len);
    len += end != NULL;
    *rest = slice_of(rest->data + len, rest->len - len);
    return true;
}

bool stacks_is_c(struct slice frame)
{
    return frame.len >= 4 && memcmp(frame.data, "[C] ", 4) == 0;
}

/* The lines met so far. A profile of a filter has hundreds, not thousands. */
struct lines {
    struct line *items;
    size_t n, cap;
};

static struct line *line_of(struct lines *lines, struct slice where)
{
    for (size_t i = 0; i < lines->n; i++) {
        if (slice_equal(lines->items[i].where, where)) {
            return &lines->items[i];
        }
    }
    if (lines->n == lines->cap) {
        lines->cap = lines->cap > 0 ? lines->cap * 2 : 64;
        lines->items = xreallocarray(lines->items, lines->cap, sizeof(struct line));
    }
    lines->items[lines->n] = (struct line){.where = where};
    return &lines->items[lines->n++];
}

/* Whether the frame is in the part of the stack before it: a recursion counts once. */
static bool was_before(const char *stack, struct slice frame)
{
    struct slice rest = slice_of(stack, (size_t)(frame.data - stack)), before;
    while (stacks_next_frame(&rest, &before)) {
        if (slice_equal(before, frame)) {
            return true;
        }
    }
    return false;
}

static void add_stack(struct lines *lines, const char *stack, uint64_t us)
{
    struct slice rest = slice_text(stack), frame, innermost = {0};
    while (stacks_next_frame(&rest, &frame)) {
        if (stacks_is_c(frame)) {
            continue;
        }
        innermost = frame;
        if (!was_before(stack, frame)) {
            line_of(lines, frame)->total_us += us;
        }
    }
    if (innermost.len > 0) {
        line_of(lines, innermost)->self_us += us;
    }
}

static int hotter_first(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->self_us != y->self_us) {
        return x->self_us < y->self_us ? 1 : -1;
    }
    if (x->total_us != y->total_us) {
        return x->total_us < y->total_us ? 1 : -1;
    }
    size_t n = x->where.len < y->where.len ? x->where.len : y->where.len;
    return memcmp(x->where.data, y->where.data, n);
}

/* False: the row has another form. */
static bool take_row(const json_t *row, const char **stack_out, uint64_t *us_out)
{
    const char *stack = json_string_value(json_array_get(row, 0));
    json_int_t us = json_integer_value(json_array_get(row, 1));
    *stack_out = stack;
    *us_out = us > 0 ? (uint64_t)us : 0;
    return stack != NULL && us > 0;
}

size_t stacks_lines(const json_t *stacks, struct line **lines_out)
{
    struct lines lines = {.n = 0};
    for (size_t i = 0; i < json_array_size(stacks); i++) {
        const char *stack;
        uint64_t us;
        if (take_row(json_array_get(stacks, i), &stack, &us)) {
            add_stack(&lines, stack, us);
        }
    }
    if (lines.n > 0) {
        qsort(lines.items, lines.n, sizeof(struct line), hotter_first);
    }
    *lines_out = lines.items;
    return lines.n;
}

json_t *stacks_of_hook(const json_t *stacks, const char *hook)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(stacks); i++) {
        json_t *row = json_array_get(stacks, i);
        struct slice rest, root;
        const char *stack;
        uint64_t us;
        if (!take_row(row, &stack, &us)) {
            continue;
        }
        rest = slice_text(stack);
        if (hook == NULL ||
            (stacks_next_frame(&rest, &root) && slice_equal(root, slice_text(hook)))) {
            json_array_append(list, row);
        }
    }
    return list;
}
