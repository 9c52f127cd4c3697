/*
 * Stacks of a profile: frames from the root on, separated by ";", with the time spent there. The
 * root is the hook; a frame of Lua is "FILE:LINE NAME", one of a C function "[C] NAME".
 */
#ifndef POSTERN_CTL_STACKS_H
#define POSTERN_CTL_STACKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

/* The next frame of a stack, and what is left of it. False at the end. */
bool stacks_next_frame(struct slice *rest, struct slice *frame_out);
bool stacks_is_c(struct slice frame);

/* What a line of the filter took: itself, with the C functions that it called, and with all that it
 * called. */
struct line {
    struct slice where; /* its frame; borrowed from the stacks */
    uint64_t self_us, total_us;
};

/*
 * Sums stacks (a list of [text, microseconds, samples]; rows of another form are left out) by line,
 * the hottest first.
 *
 * Returns their number, and *lines_out, the caller's to free.
 */
size_t stacks_lines(const json_t *stacks, struct line **lines_out);

/* Those stacks whose root is this hook: a new list, the caller's. hook NULL: all. */
json_t *stacks_of_hook(const json_t *stacks, const char *hook);

#endif
