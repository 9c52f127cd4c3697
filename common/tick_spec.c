/* Reading of timers. */
#include "common/tick_spec.h"

#include <string.h>

#include "common/err.h"
#include "common/spec_list.h"
#include "common/text.h"

static const char name_chars[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

/* word: "NAME=INTERVAL", cut up. */
static int read_one(char *word, void *place)
{
    struct tick_spec *out = place;
    char *equals = strchr(word, '=');
    if (equals == NULL || equals == word || strspn(word, name_chars) != (size_t)(equals - word))
        return -ERR_BAD;
    *equals = '\0';
    if (equals - word > TICK_NAME_MAX)
        return -ERR_TOOBIG;
    *out = (struct tick_spec){.interval_ms = 0};
    memcpy(out->name, word, (size_t)(equals - word));
    int err = text_to_ms(equals + 1, &out->interval_ms);
    if (err == 0 &&
        (out->interval_ms < TICK_INTERVAL_MIN_MS || out->interval_ms > TICK_INTERVAL_MAX_MS))
        err = -ERR_RANGE;
    return err;
}

static const char *reason(int err)
{
    switch (err) {
    case -ERR_RANGE:
        return "an interval is from 1s to 30d";
    case -ERR_TOOBIG:
        return "there are at most 32 timers, with names of at most 24 bytes";
    case -ERR_IN_USE:
        return "this name is there already";
    default:
        return "NAME=INTERVAL expected, such as expire=60s; names have letters, digits, _ . and -";
    }
}

_Static_assert(offsetof(struct tick_spec, name) == 0, "spec_list.c looks there");

int tick_specs_read(
    const char *text, struct tick_spec *out, unsigned *n_out, char *why, size_t why_bytes)
{
    static const struct spec_form form = {
        .bytes = sizeof(struct tick_spec), .max = TICKS_MAX, .read = read_one, .reason = reason};
    return spec_list_read(&form, text, out, n_out, why, why_bytes);
}
