/*
 * Watches the folder of a filter by inotify: the filter itself or any Lua file beside it being
 * saved, in place or by an editor's rename. What comes in quick succession is one change.
 */
#ifndef POSTERN_CTL_WATCH_H
#define POSTERN_CTL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum { WATCH_DEBOUNCE_MS = 100 };

struct watch {
    int fd;             /* to poll for reading */
    const char *name;   /* the filter's name within its folder */
    int64_t changed_ms; /* when the last change was seen; 0: none that was not taken */
};

/* folder and name (borrowed) of the filter. 0 or -ERR_SYSTEM. */
int watch_open(struct watch *watch, const char *folder, const char *name);
void watch_close(struct watch *watch);
/* The descriptor is readable: notes what changed. */
void watch_read(struct watch *watch, int64_t now_ms);
/* Milliseconds until a change is due, 0 when it is; -1: nothing changed. */
int64_t watch_due_ms(const struct watch *watch, int64_t now_ms);
void watch_take(struct watch *watch);

#endif
