/* What posternctl config prints of the options there are, whatever a configuration says. */
#ifndef POSTERN_CTL_CONFIG_MANUAL_H
#define POSTERN_CTL_CONFIG_MANUAL_H

#include <stdio.h>

/* The options as mdoc, a subsection for each section of the file: the list of postern.conf(5), made
 * when the manual page is built. */
void config_manual_print(FILE *out);

#endif
