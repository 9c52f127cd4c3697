/* A configuration file, and overrides after it: never a crash or a leak, and what was accepted can
 * be written and read again as the same. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/conf.h"
#include "common/xalloc.h"

enum { VALUE_BYTES = 8192 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct conf *parse(struct slice text, const char *const *overrides, int n_overrides)
{
    struct conf *conf = NULL;
    char *error = NULL;
    int rc = conf_parse(text, "fuzz.conf", overrides, n_overrides, &conf, &error);
    check((rc == 0) == (error == NULL) && (rc == 0) == (conf != NULL));
    free(error);
    return conf;
}

static bool is_too_long(const struct conf_option *option, const char *text)
{
    return strcmp(option->type, "NETWORKS") == 0 && (int64_t)strlen(text) > option->max;
}

/*
 * Every value as an override on a fresh configuration gives the same values. A long list of
 * networks may be longer in its canonical form, and is left out when the option would refuse it.
 */
static void check_round_trip(const struct conf *conf)
{
    char **overrides = xcalloc((size_t)conf_n_options, sizeof(*overrides));
    char before[VALUE_BYTES], after[VALUE_BYTES];
    for (int i = 0; i < conf_n_options; i++) {
        conf_value_text(conf, &conf_options[i], before, sizeof(before));
        if (is_too_long(&conf_options[i], before))
            strcpy(before, conf_options[i].default_text);
        overrides[i] = xasprintf("%s.%s=%s", conf_options[i].section, conf_options[i].name, before);
    }
    struct conf *again = parse(slice_text(""), (const char *const *)overrides, conf_n_options);
    check(again != NULL);
    for (int i = 0; i < conf_n_options; i++) {
        conf_value_text(conf, &conf_options[i], before, sizeof(before));
        conf_value_text(again, &conf_options[i], after, sizeof(after));
        check(is_too_long(&conf_options[i], before) || strcmp(before, after) == 0);
        free(overrides[i]);
    }
    free(overrides);
    conf_free(again);
}

/* Input: the file; behind a NUL, overrides, each ended by a NUL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    enum { OVERRIDES_MAX = 8 };
    const char *overrides[OVERRIDES_MAX];
    int n = 0;
    const uint8_t *end = len > 0 ? memchr(data, '\0', len) : NULL;
    size_t text_len = end != NULL ? (size_t)(end - data) : len;
    size_t rest_len = end != NULL ? len - text_len - 1 : 0;
    char *rest = xmemdup0(end != NULL ? end + 1 : data, rest_len);
    for (size_t at = 0; at < rest_len && n < OVERRIDES_MAX; at += strlen(rest + at) + 1)
        overrides[n++] = rest + at;
    struct conf *conf = parse(slice_of(data, text_len), overrides, n);
    if (conf != NULL)
        check_round_trip(conf);
    conf_free(conf);
    free(rest);
    return 0;
}
