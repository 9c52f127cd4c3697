/* The checks of macros: ours replace what the mail server would send by itself (smfi_setsymlist).
 */
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"
#include "ctl/doctor_mta.h"

enum { NAME_BYTES = 128, NAMES_MAX = 32 };

/* A mail server's configuration may fold its lines. */
static const char separators[] = MACRO_SEPARATORS "\r\n";

/* A name without its braces; the length, or 0 when it is too long. */
static size_t bare_name(const char *text, size_t len, char *out)
{
    if (len >= 2 && text[0] == '{' && text[len - 1] == '}') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= NAME_BYTES) {
        return 0;
    }
    memcpy(out, text, len);
    out[len] = 0;
    return len;
}

static bool list_has(const char *list, const char *name)
{
    char other[NAME_BYTES];
    for (const char *at = list; *at != 0;) {
        at += strspn(at, separators);
        size_t len = strcspn(at, separators);
        if (bare_name(at, len, other) > 0 && strcmp(other, name) == 0) {
            return true;
        }
        at += len;
    }
    return false;
}

static bool is_asked_for(const struct conf *conf, enum stage stage, const char *name)
{
    return list_has(macros_own(stage), name) || list_has(macros_configured(conf, stage), name);
}

/* Names of a list of the mail server's that we do not ask for at that stage; malloc'd, "" for none.
 */
static char *names_lost(const struct conf *conf, enum stage stage, const char *text)
{
    char name[NAME_BYTES];
    struct buf lost;
    buf_init(&lost, 1024);
    for (const char *at = text; *at != 0;) {
        at += strspn(at, separators);
        size_t len = strcspn(at, separators);
        if (bare_name(at, len, name) > 0 && !is_asked_for(conf, stage, name)) {
            (void)buf_printf(&lost, "%s{%s}", lost.len > 0 ? " " : "", name);
        }
        at += len;
    }
    char *out = xmemdup0(lost.len > 0 ? (const char *)lost.data : "", lost.len);
    buf_clear(&lost);
    return out;
}

void check_mta_macros(struct doctor *doctor)
{
    int n_lost = 0;
    for (int i = 0; i < doctor->mta->n_macros; i++) {
        enum stage stage = doctor->mta->macros[i].stage;
        char *lost = names_lost(doctor->conf, stage, doctor->mta->macros[i].text);
        if (lost[0] != 0) {
            char *mend = xasprintf(
                "milterd.macros_%s = %s, if the filter reads them", stage_name(stage), lost);
            doctor_say(doctor, DOCTOR_NOTE, mend, "%s names %s; Postern's own list replaces it",
                doctor->mta->macros[i].name, lost);
            free(mend);
            n_lost++;
        }
        free(lost);
    }
    if (n_lost == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL,
            "%s is told to send nothing that Postern does not ask for", doctor->mta->name);
    }
}

static bool is_asked_for_anywhere(const struct conf *conf, const char *name)
{
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        if (is_asked_for(conf, (enum stage)stage, name)) {
            return true;
        }
    }
    return false;
}

/* The name in "macros.NAME", "macros["NAME"]" or "macros['NAME']", text being what follows
 * "macros"; 0 for none. */
static size_t name_read(const char *text, char *out)
{
    if (text[0] == '.') {
        return bare_name(text + 1,
            strspn(text + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"),
            out);
    }
    if (text[0] != '[' || (text[1] != '"' && text[1] != '\'')) {
        return 0;
    }
    const char *end = strpbrk(text + 2, text[1] == '"' ? "\"\n" : "'\n");
    return end != NULL && *end == text[1] ? bare_name(text + 2, (size_t)(end - text - 2), out) : 0;
}

/* Only the filter's own file is looked at, and only names that stand in it as texts. */
void check_filter_macros(struct doctor *doctor)
{
    char *text = NULL, name[NAME_BYTES];
    int n_lost = 0;
    if (doctor_read_file(doctor->conf->worker.filter, &text) != 0) {
        return;
    }
    for (const char *at = text; n_lost < NAMES_MAX && (at = strstr(at, "macros")) != NULL;) {
        at += strlen("macros");
        if (name_read(at, name) > 0 && !is_asked_for_anywhere(doctor->conf, name)) {
            doctor_say(doctor, DOCTOR_WARNING,
                "name it in milterd.macros_connect ... macros_eom, at the stage where the mail "
                "server knows it",
                "the filter reads macro {%s}, and nobody asks the mail server for it", name);
            n_lost++;
        }
    }
    if (n_lost == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL, "the filter reads no macro that is not asked for");
    }
    free(text);
}
