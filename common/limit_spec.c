/* Reading of limits. */
#include "common/limit_spec.h"

#include <string.h>

#include "common/err.h"
#include "common/spec_list.h"
#include "common/text.h"

static const char any_hook[] = "any";

static const struct {
    const char *word;
    enum limit_by by;
} keys[] = {{"domain", LIMIT_BY_DOMAIN}, {"network", LIMIT_BY_NETWORK}};

/* name: "filter_message", "any". */
static int read_hook(const char *name, enum hook *out)
{
    const struct hook_info *info = hook_find(name);
    *out = HOOK_NONE;
    if (strcmp(name, any_hook) == 0)
        return 0;
    /* Nobody waits for the others, and they are never put off. */
    if (info == NULL || info->subject == SUBJECT_NONE)
        return -ERR_NOTFOUND;
    *out = info->hook;
    return 0;
}

/* name: "HOOK@KEY", cut up while it is read. */
static int read_name(char *name, struct limit_spec *out)
{
    char *at = strchr(name, '@');
    size_t i = 0;
    if (at != NULL) {
        while (i < sizeof(keys) / sizeof(keys[0]) && strcmp(at + 1, keys[i].word) != 0)
            i++;
        if (i == sizeof(keys) / sizeof(keys[0]))
            return -ERR_BAD;
        out->by = keys[i].by;
        *at = '\0';
    }
    return read_hook(name, &out->hook);
}

/* over: "wait" or "refuse"; NULL: not said. */
static int read_over(const char *over, bool *refuses_out)
{
    *refuses_out = over != NULL && strcmp(over, "refuse") == 0;
    return over == NULL || *refuses_out || strcmp(over, "wait") == 0 ? 0 : -ERR_BAD;
}

/* word: one limit, cut up while it is read. */
static int read_one(char *word, void *place)
{
    struct limit_spec *out = place;
    char *equals = strchr(word, '=');
    int64_t most = 0;
    if (equals == NULL || equals - word > LIMIT_NAME_MAX)
        return -ERR_BAD;
    *equals = '\0';
    *out = (struct limit_spec){.hook = HOOK_NONE};
    memcpy(out->name, word, (size_t)(equals - word));
    char *colon = strchr(equals + 1, ':');
    if (colon != NULL)
        *colon++ = '\0';
    int err = read_over(colon, &out->refuses);
    err = err != 0 ? err : read_name(word, out);
    err = err != 0 ? err : text_to_i64(equals + 1, 1, LIMIT_MOST_MAX, &most);
    out->most = (unsigned)most;
    return err;
}

static const char *reason(int err)
{
    switch (err) {
    case -ERR_NOTFOUND:
        return "the hook is one that judges something, such as filter_message, or any";
    case -ERR_RANGE:
        return "the number is from 1 to 100000";
    case -ERR_TOOBIG:
        return "there are at most 16 limits";
    case -ERR_IN_USE:
        return "this limit is there already";
    default:
        return "HOOK[@domain|@network]=NUMBER[:wait|:refuse] expected, such as "
               "filter_recipient@domain=5";
    }
}

_Static_assert(offsetof(struct limit_spec, name) == 0, "spec_list.c looks there");

int limit_specs_read(
    const char *text, struct limit_spec *out, unsigned *n_out, char *why, size_t why_bytes)
{
    static const struct spec_form form = {
        .bytes = sizeof(struct limit_spec), .max = LIMITS_MAX, .read = read_one, .reason = reason};
    return spec_list_read(&form, text, out, n_out, why, why_bytes);
}

bool limit_spec_has(const struct limit_spec *spec, const struct hook_info *hook)
{
    return spec->hook == HOOK_NONE ? hook->subject != SUBJECT_NONE : spec->hook == hook->hook;
}
