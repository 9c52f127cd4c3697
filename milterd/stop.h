/* The end of the process: signals, and the drain. libmilter's own way takes seconds and waits for
 * nobody. */
#ifndef POSTERN_MILTERD_STOP_H
#define POSTERN_MILTERD_STOP_H

struct front;
struct listener;

/* Blocks the signals that stop_start waits for. Before any thread is started. */
void stop_block_signals(void);

/*
 * Starts the thread that waits for SIGTERM and SIGINT: no new connections or messages, those that
 * run may end within milterd.drain_time, then _exit(0). A second signal does not wait. SIGHUP is
 * only logged. Arguments are borrowed for the life of the process. -ERR_SYSTEM.
 */
int stop_start(struct front *front, const struct listener *listener);

#endif
