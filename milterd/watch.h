/*
 * The watch: one record connection and one thread that keep the table of generations up to date,
 * and tell the multiplexor which old generations have no message left here and what has been
 * counted.
 */
#ifndef POSTERN_MILTERD_WATCH_H
#define POSTERN_MILTERD_WATCH_H

#include <stdbool.h>
#include <stddef.h>

struct conf;
struct front_counters;
struct generations;
struct watch;
struct wire_needs;

/*
 * Starts the thread. conf, generations, counters and sandbox, the text that status shows of this
 * process, are borrowed for the life of the process; the thread ends with it. It looks for the
 * multiplexor for ever, at most once a second. When another generation has become current it reads
 * the configuration again, for the level of the log. -ERR_SYSTEM.
 */
int watch_start(const struct conf *conf, struct generations *generations,
    struct front_counters *counters, const char *sandbox, size_t stack_bytes, struct watch **out);
/*
 * Takes in what the multiplexor has said already and the thread has not yet read, so that whoever
 * was told of a reload finds the new filter at the next connection and message. Never waits for the
 * multiplexor. NULL is fine. Thread-safe.
 */
void watch_catch_up(struct watch *watch);
/* Whether the watch connection stands and has answered, so that what is known is the present. NULL
 * counts as up. Thread-safe. */
bool watch_is_up(struct watch *watch);
/*
 * generations learns what a connection other than the watch was told, unless the watch stands by
 * now: what it was told is newer, and must not be undone. NULL never stands here. Thread-safe.
 */
void watch_learn_elsewhere(
    struct watch *watch, struct generations *generations, const struct wire_needs *needs);

#endif
