/* Frames of the milter protocol as they arrive: what libmilter relies on without looking, looked
 * at. */
#ifndef POSTERN_MILTERD_FRAME_H
#define POSTERN_MILTERD_FRAME_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether libmilter and our callbacks may see a command: its texts end in NUL where they are used
 * as texts, and a list of macros has a value for each name (smfi_getsymval of 8.17 runs off the end
 * of an odd list).
 *
 * command  SMFIC_*; one that is not known is sound, libmilter refuses it.
 * data     len bytes after the command; may be NULL when len is 0.
 */
bool frame_is_sound(char command, const char *data, size_t len);

#endif
