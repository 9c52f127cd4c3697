/*
 * The terminal of a full-screen command: the other screen, keys as they are pressed, its size.
 * Plain ANSI sequences, which every terminal of today takes. One at a time; what it changed is put
 * back by terminal_close, also after SIGINT, SIGTERM and SIGHUP, which come as TERMINAL_END.
 */
#ifndef POSTERN_CTL_TERMINAL_H
#define POSTERN_CTL_TERMINAL_H

#include <termios.h>

#include "common/buf.h"

enum terminal_key {
    TERMINAL_NOTHING = 0, /* the time passed */
    TERMINAL_RESIZED = 256,
    TERMINAL_LEFT,
    TERMINAL_RIGHT,
    TERMINAL_UNKNOWN, /* a key that has no meaning here */
    TERMINAL_END,     /* a signal, or nobody sits there any more */
};

struct terminal {
    struct termios before;
    int signal_fd;
};

/* 0, -ERR_BAD when standard input or output is no terminal, -ERR_SYSTEM. */
int terminal_open(struct terminal *terminal);
void terminal_close(struct terminal *terminal);
/* Of the window; 24 and 80 when the terminal does not tell. */
void terminal_size(int *rows_out, int *columns_out);
/* Waits for a key: a byte, or one of enum terminal_key. */
int terminal_wait(struct terminal *terminal, int timeout_ms);
/* Writes all of it. 0 or -ERR_SYSTEM. */
int terminal_write(struct slice text);

#endif
