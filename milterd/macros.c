#include "milterd/macros.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/envelope.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/xalloc.h"

static const struct {
    enum stage stage;
    int milter_stage;
} wanted_stages[] = {
    {STAGE_CONNECT, SMFIM_CONNECT},
    {STAGE_HELO, SMFIM_HELO},
    {STAGE_MAIL, SMFIM_ENVFROM},
    {STAGE_RCPT, SMFIM_ENVRCPT},
    {STAGE_DATA, SMFIM_DATA},
    {STAGE_EOH, SMFIM_EOH},
    {STAGE_EOM, SMFIM_EOM},
};
enum { N_WANTED_STAGES = sizeof wanted_stages / sizeof wanted_stages[0] };

/* libmilter's prototypes lack const; it only reads. */
static char *as_mutable(const char *text)
{
    return (char *)(uintptr_t)text;
}

static bool is_listed(const struct macro_lists *lists, enum stage stage, const char *name)
{
    for (unsigned i = 0; i < lists->n[stage]; i++)
        if (strcmp(lists->names[stage][i], name) == 0)
            return true;
    return false;
}

static void add_name(struct macro_lists *lists, enum stage stage, const char *word, size_t len)
{
    bool is_bare = len > 1 && word[0] != '{';
    char *name = is_bare ? xasprintf("{%.*s}", (int)len, word) : xmemdup0(word, len);

    if (is_listed(lists, stage, name)) {
        free(name);
        return;
    }
    if (lists->n[stage] == MACROS_PER_STAGE) {
        log_warn("macro %s at %s is left out: at most %d names", name, stage_name(stage),
            MACROS_PER_STAGE);
        free(name);
        return;
    }
    lists->names[stage][lists->n[stage]++] = name;
}

static void add_names(struct macro_lists *lists, enum stage stage, const char *text)
{
    while (*(text += strspn(text, MACRO_SEPARATORS)) != '\0') {
        size_t len = strcspn(text, MACRO_SEPARATORS);

        add_name(lists, stage, text, len);
        text += len;
    }
}

void macro_lists_init(struct macro_lists *lists, const struct conf *conf)
{
    memset(lists, 0, sizeof *lists);
    for (unsigned stage = 0; stage < STAGE_COUNT; stage++) {
        add_names(lists, stage, macros_own(stage));
        add_names(lists, stage, macros_configured(conf, stage));
    }
}

void macros_negotiate(const struct macro_lists *lists, SMFICTX *ctx)
{
    for (unsigned i = 0; i < N_WANTED_STAGES; i++) {
        enum stage stage = wanted_stages[i].stage;
        struct buf text;

        buf_init(&text, 16384);
        for (unsigned k = 0; k < lists->n[stage]; k++)
            (void)buf_printf(&text, "%s%s", k > 0 ? " " : "", lists->names[stage][k]);
        (void)buf_put_u8(&text, 0);
        if (smfi_setsymlist(ctx, wanted_stages[i].milter_stage, (char *)text.data) != MI_SUCCESS)
            log_debug("the library did not take the macro list for %s", stage_name(stage));
        buf_clear(&text);
    }
}

const char *macro_value(SMFICTX *ctx, const char *name)
{
    const char *value = smfi_getsymval(ctx, as_mutable(name));

    return value != NULL ? value : "";
}

int macros_put(const struct macro_lists *lists, SMFICTX *ctx, enum stage stage, struct buf *out)
{
    struct envelope_macro found[MACROS_PER_STAGE];
    uint32_t n = 0;

    for (unsigned i = 0; i < lists->n[stage]; i++) {
        const char *value = smfi_getsymval(ctx, lists->names[stage][i]);

        if (value == NULL)
            continue;
        found[n].name = slice_text(lists->names[stage][i]);
        found[n++].value = slice_of(value, strnlen(value, MACRO_VALUE_MAX));
    }
    return n > 0 ? envelope_put_macros(out, stage, found, n) : 0;
}
