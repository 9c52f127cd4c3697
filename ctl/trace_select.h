/*
 * Which entries of the ring somebody wants to see. Each entry is judged by what it says itself: all
 * of them name the client and, within a message, its sender; recipients stand in the stages that
 * judged them and in the message's end; hooks and verdicts where there was one.
 */
#ifndef POSTERN_CTL_TRACE_SELECT_H
#define POSTERN_CTL_TRACE_SELECT_H

#include <stdbool.h>

#include "common/network.h"
#include "common/trace_entry.h"
#include "ctl/args.h"

struct trace_select {
    bool has_network;
    struct network network;
    const char *sender, *recipient, *verdict; /* borrowed; NULL: any */
    const char *hook;                         /* its whole name */
};

/* From ARGS_SELECTION. False: tells on stderr what is wrong. */
bool trace_select_read(const struct args *args, struct trace_select *out);
bool trace_select_has(const struct trace_select *select, const struct trace_view *view);

#endif
