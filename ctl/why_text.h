/* What posternctl why found, for people. */
#ifndef POSTERN_CTL_WHY_TEXT_H
#define POSTERN_CTL_WHY_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* One message (or a connection without any), after an empty line unless it is the first. */
void why_text_print(FILE *out, const json_t *found, bool is_first);

#endif
