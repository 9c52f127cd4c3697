/* Reading of timers. */
#include "common/tick_spec.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

enum { WORD_MAX = 64 };

static const char name_chars[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

static bool is_known(const struct tick_spec *specs, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(specs[i].name, name) == 0)
            return true;
    return false;
}

/* word: "NAME=INTERVAL", cut up. */
static int read_one(char *word, struct tick_spec *out)
{
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

int tick_specs_read(
    const char *text, struct tick_spec *out, unsigned *n_out, char *why, size_t why_bytes)
{
    static const char separators[] = ", \t";
    *n_out = 0;
    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t len = strcspn(text, separators);
        char word[WORD_MAX] = "", shown[WORD_MAX];
        text_escape(shown, sizeof(shown), slice_of(text, len), '"');
        memcpy(word, text, len < sizeof(word) - 1 ? len : sizeof(word) - 1);
        struct tick_spec spec;
        int err = len < sizeof(word) ? read_one(word, &spec) : -ERR_BAD;
        if (err == 0 && is_known(out, *n_out, spec.name))
            err = -ERR_IN_USE;
        if (err == 0 && *n_out >= TICKS_MAX)
            err = -ERR_TOOBIG;
        if (err != 0) {
            snprintf(why, why_bytes, "\"%s\": %s", shown, reason(err));
            return err;
        }
        out[(*n_out)++] = spec;
        text += len;
    }
    return 0;
}
