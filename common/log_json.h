/*
 * One JSON object on one line, made in memory of the caller's: valid UTF-8 whatever goes in, never
 * longer than that memory, and whole even when something had to be left out. No malloc.
 */
#ifndef POSTERN_LOG_JSON_H
#define POSTERN_LOG_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

enum { LOG_JSON_LEAST = 64 }; /* bytes that an object needs at least */

struct log_json {
    char *out; /* borrowed */
    size_t max, len;
    bool is_cut;
};

void log_json_begin(struct log_json *json, char *out, size_t max);
/* Adds a member. key: of letters, digits, "_", "-" and "."; another is left out. Control characters
 * (C0, DEL, C1), quotes and backslashes are escaped, NUL and invalid UTF-8 become U+FFFD. A text is
 * cut, and
 * "..." put behind it, at max_bytes of its escaped form, and where the object is full. */
void log_json_text(struct log_json *json, const char *key, struct slice text, size_t max_bytes);
void log_json_number(struct log_json *json, const char *key, uint64_t number);
/* Ends it, with a member "cut": true when something was cut or left out. Returns its length; a NUL
 * follows. */
size_t log_json_end(struct log_json *json);

#endif
