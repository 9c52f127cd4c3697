/* Which options a reload may change is a column of options.def. */
#include "multiplexor/settings.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/xalloc.h"

#define SETTINGS_TEXT_BYTES 8192 /* enough for any value (conf.h) */

static void keep_text(void *to, const void *from)
{
    char **to_text = to;
    char *const *from_text = from;
    free(*to_text);
    *to_text = *from_text != NULL ? xstrdup(*from_text) : NULL;
}

static void keep_networks(void *to, const void *from)
{
    struct network_list *list = to;
    const struct network_list *old = from;
    network_list_clear(list);
    *list = (struct network_list){.n = old->n};
    if (old->n > 0) {
        list->items = xreallocarray(NULL, (size_t)old->n, sizeof(*list->items));
        memcpy(list->items, old->items, (size_t)old->n * sizeof(*list->items));
    }
}

#define KEEP_PLAIN(type)                                                                           \
    static void keep_##type(void *to, const void *from)                                            \
    {                                                                                              \
        memcpy(to, from, sizeof(CONF_TYPE_##type));                                                \
    }
KEEP_PLAIN(BOOL)
KEEP_PLAIN(INT)
KEEP_PLAIN(ANSWER)
KEEP_PLAIN(LEVEL)
KEEP_PLAIN(TARGET)
KEEP_PLAIN(FORMAT)
KEEP_PLAIN(SANDBOX)

static const struct {
    const char *type;
    void (*keep)(void *to, const void *from);
} kinds[] = {
    {"STR", keep_text},
    {"SOCKET", keep_text},
    {"NETWORKS", keep_networks},
    {"BOOL", keep_BOOL},
    {"INT", keep_INT},
    {"BYTES", keep_INT},
    {"MS", keep_INT},
    {"MODE", keep_INT},
    {"ANSWER", keep_ANSWER},
    {"LEVEL", keep_LEVEL},
    {"TARGET", keep_TARGET},
    {"FORMAT", keep_FORMAT},
    {"SANDBOX", keep_SANDBOX},
};

static void keep_value(struct conf *conf, const struct conf *old, const struct conf_option *option)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].type, option->type) == 0) {
            kinds[i].keep((char *)conf + option->offset, (const char *)old + option->offset);
            return;
        }
    }
    log_panic("option type %s is not known to a reload", option->type);
}

static void keep_restart_options(struct conf *conf, const struct conf *old)
{
    char *before = xmalloc(SETTINGS_TEXT_BYTES), *after = xmalloc(SETTINGS_TEXT_BYTES);
    for (int i = 0; i < conf_n_options; i++) {
        const struct conf_option *option = &conf_options[i];
        if (option->is_reloadable)
            continue;
        conf_value_text(old, option, before, SETTINGS_TEXT_BYTES);
        conf_value_text(conf, option, after, SETTINGS_TEXT_BYTES);
        if (strcmp(before, after) == 0)
            continue;
        log_warn("%s.%s changes from \"%s\" to \"%s\" at the next start", option->section,
            option->name, before, after);
        keep_value(conf, old, option);
    }
    free(before);
    free(after);
}

int settings_reload(const struct conf *old, struct conf **conf_out, char **error_out)
{
    int err = conf_load(
        old->path, (const char *const *)old->overrides, old->n_overrides, conf_out, error_out);
    if (err == 0)
        keep_restart_options(*conf_out, old);
    return err;
}
