/* The configuration of a reload: read anew, with the options that need a restart left as they are.
 */
#ifndef POSTERN_MULTIPLEXOR_SETTINGS_H
#define POSTERN_MULTIPLEXOR_SETTINGS_H

#include "common/conf.h"

/*
 * Reads the file and overrides of `old` again.
 *
 * Returns 0 and *conf_out (the caller's), with a warning for each option that differs and waits for
 * the next start; or the error of conf_load with *error_out (malloc'd).
 */
int settings_reload(const struct conf *old, struct conf **conf_out, char **error_out);

#endif
