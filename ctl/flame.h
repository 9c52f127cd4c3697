/* A flame graph: a static SVG in which each frame of a profile is a box as wide as its time, with
 * what it called on top of it. */
#ifndef POSTERN_CTL_FLAME_H
#define POSTERN_CTL_FLAME_H

#include <jansson.h>
#include <stdio.h>

/* stacks: as stacks_lines has them. title: of the picture; any text. The result depends on nothing
 * else. Errors are those of out. */
void flame_write(FILE *out, const json_t *stacks, const char *title);

#endif
