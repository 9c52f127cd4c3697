/*
 * Which files a filter reaches: reads what it needs to run, its own folder, its modules and
 * worker.read_paths; writes worker.state_dir, worker.write_paths and urls.directory, and what is
 * not for the filter but for what it has kept: trap.directory, urls.index, urls.key_file. As
 * Landlock rules for the kernel, and as a check with a text that names the option for what the API
 * writes.
 */
#ifndef POSTERN_SANDBOX_FILES_H
#define POSTERN_SANDBOX_FILES_H

#include <stddef.h>

#include "common/conf.h"
#include "common/landlock.h"

/* Adds every rule. 0 or -ERR_SYSTEM. */
int sandbox_files_allow(struct landlock *landlock, const struct conf *conf);
/*
 * Whether the API may write the file at path, links followed.
 * Returns 0; -ERR_DENIED, and why_out names the options; -ERR_SYSTEM (its folder is not there …),
 * and why_out says so.
 */
int sandbox_files_check_write(
    const struct conf *conf, const char *path, char *why_out, size_t why_bytes);

#endif
