/* libmilter's callbacks: thin, one for each stage. */
#ifndef POSTERN_MILTERD_CALLBACKS_H
#define POSTERN_MILTERD_CALLBACKS_H

#include <libmilter/mfapi.h>

struct front;

/* Registers them with libmilter. front is borrowed for the life of the process (callbacks have no
 * context of their own). 0 or -ERR_SYSTEM. */
int callbacks_register(struct front *front);
/* Frees what a session still holds; for the thread that ends it, before its context goes. */
void callbacks_forget(SMFICTX *ctx);

#endif
