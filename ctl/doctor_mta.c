#include "ctl/doctor_mta.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "common/xalloc.h"
#include "ctl/doctor.h"

#define POSTFIX_DIR "/etc/postfix"
#define SENDMAIL_CF "/etc/mail/sendmail.cf"
#define TIME_MS_MAX INT64_C(31536000000) /* a year */

int64_t mta_time_from_text(const char *text, int64_t unit_ms)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}};
    int64_t total = 0;
    text += strspn(text, " \t");
    if (!isdigit((unsigned char)*text)) {
        return -1;
    }
    while (isdigit((unsigned char)*text)) {
        char *end;
        long long value = strtoll(text, &end, 10);
        int64_t unit = unit_ms;
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (*end == units[i].letter) {
                unit = units[i].ms;
                end++;
                break;
            }
        }
        if (value > TIME_MS_MAX / unit || (total += value * unit) > TIME_MS_MAX) {
            return TIME_MS_MAX;
        }
        text = end;
    }
    return text[strspn(text, " \t")] == 0 ? total : -1;
}

/* "host:port" as Postfix writes it, brackets around an IPv6 address; "port@host" as libmilter does.
 */
static bool parse_inet(const char *rest, struct sock_spec *out)
{
    const char *at = strchr(rest, '@'), *colon = strrchr(rest, ':');
    struct slice host = slice_text(at != NULL ? at + 1 : ""),
                 port = slice_of(rest, at != NULL ? (size_t)(at - rest) : strlen(rest));
    int64_t number;
    if (at == NULL && colon != NULL) {
        host = slice_of(rest, (size_t)(colon - rest));
        port = slice_text(colon + 1);
    }
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        host = slice_of(host.data + 1, host.len - 2);
    }
    char *text = xmemdup0(port.data, port.len);
    bool is_good = host.len < sizeof(out->host) && text_to_i64(text, 1, UINT16_MAX, &number) == 0;
    free(text);
    if (is_good) {
        memcpy(out->host, host.data, host.len);
        out->port = (uint16_t)number;
    }
    return is_good;
}

/* In which folder a path of this milter begins; "" for the root. */
static const char *base_of(const struct mta *mta, const char *path, bool is_chrooted)
{
    return mta->queue_dir != NULL && (is_chrooted || path[0] != '/') ? mta->queue_dir : "";
}

static bool parse_path(
    const struct mta *mta, const char *path, bool is_chrooted, struct sock_spec *out)
{
    const char *base = base_of(mta, path, is_chrooted);
    int n = snprintf(out->path, sizeof(out->path), "%s%s%s", base,
        base[0] != 0 && path[0] != '/' ? "/" : "", path);
    return path[0] != 0 && n > 0 && n < (int)sizeof(out->path);
}

static bool parse_spec(
    const struct mta *mta, const char *spec, bool is_chrooted, struct sock_spec *out)
{
    static const struct {
        const char *prefix;
        enum sock_kind kind;
    } kinds[] = {{"unix:", SOCK_KIND_UNIX}, {"local:", SOCK_KIND_UNIX}, {"inet:", SOCK_KIND_INET},
        {"inet6:", SOCK_KIND_INET6}};
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t len = strlen(kinds[i].prefix);
        if (strncmp(spec, kinds[i].prefix, len) == 0) {
            out->kind = kinds[i].kind;
            return out->kind == SOCK_KIND_UNIX ? parse_path(mta, spec + len, is_chrooted, out)
                                               : parse_inet(spec + len, out);
        }
    }
    /* sendmail takes a bare path. */
    return spec[0] == '/' && parse_path(mta, spec, is_chrooted, out);
}

/* By name, by being one file, or in one folder under one name. */
static bool is_same_path(const char *a, const char *b)
{
    struct stat st_a, st_b;
    const char *name_a = strrchr(a, '/'), *name_b = strrchr(b, '/');
    if (strcmp(a, b) == 0) {
        return true;
    }
    if (stat(a, &st_a) == 0 && stat(b, &st_b) == 0) {
        return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
    }
    if (name_a == NULL || name_b == NULL || strcmp(name_a, name_b) != 0) {
        return false;
    }
    char *folder_a = xasprintf("%.*s/", (int)(name_a - a), a),
         *folder_b = xasprintf("%.*s/", (int)(name_b - b), b);
    bool is_same = stat(folder_a, &st_a) == 0 && stat(folder_b, &st_b) == 0 &&
                   st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
    free(folder_a);
    free(folder_b);
    return is_same;
}

static bool is_address(const char *host)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

/* Names are not looked up: a port that agrees is taken for ours unless two addresses differ. */
static bool is_same_host(const char *ours, const char *theirs)
{
    bool is_any = ours[0] == 0 || strcmp(ours, "0.0.0.0") == 0 || strcmp(ours, "::") == 0;
    return is_any || strcmp(ours, theirs) == 0 || !is_address(ours) || !is_address(theirs);
}

static bool is_ours(const struct sock_spec *ours, const struct sock_spec *theirs)
{
    if (ours->kind == SOCK_KIND_FD ||
        (ours->kind == SOCK_KIND_UNIX) != (theirs->kind == SOCK_KIND_UNIX)) {
        return false;
    }
    return ours->kind == SOCK_KIND_UNIX
               ? is_same_path(ours->path, theirs->path)
               : ours->port == theirs->port && is_same_host(ours->host, theirs->host);
}

struct mta_milter *mta_add_milter(struct mta *mta, const struct doctor *doctor, const char *where,
    const char *spec, bool is_chrooted)
{
    if (mta->n_milters == MTA_MILTERS_MAX) {
        return NULL;
    }
    struct mta_milter *milter = &mta->milters[mta->n_milters++];
    *milter = (struct mta_milter){
        .where = xstrdup(where), .spec = xstrdup(spec), .is_chrooted = is_chrooted};
    milter->is_valid = parse_spec(mta, spec, is_chrooted, &milter->sock);
    milter->is_ours = milter->is_valid && is_ours(&doctor->milter, &milter->sock);
    struct sock_spec plain;
    if (!milter->is_ours && is_chrooted && parse_spec(mta, spec, false, &plain) &&
        is_ours(&doctor->milter, &plain)) {
        milter->is_ours = milter->is_outside_chroot = true;
    }
    return milter;
}

void mta_add_way(struct mta *mta, const char *name, bool is_network, int n_ours)
{
    if (mta->n_ways < MTA_WAYS_MAX) {
        mta->ways[mta->n_ways++] = (struct mta_way){xstrdup(name), is_network, n_ours};
    }
}

void mta_add_macros(struct mta *mta, enum stage stage, const char *name, const char *text)
{
    if (mta->n_macros < MTA_MACRO_TEXTS_MAX) {
        mta->macros[mta->n_macros].stage = stage;
        mta->macros[mta->n_macros].name = xstrdup(name);
        mta->macros[mta->n_macros++].text = xstrdup(text);
    }
}

void mta_look(struct doctor *doctor)
{
    const char *postfix = args_get(doctor->args, ARG_POSTFIX),
               *sendmail = args_get(doctor->args, ARG_SENDMAIL);
    bool was_asked_for = postfix != NULL || sendmail != NULL;
    if (!was_asked_for) {
        postfix = access(POSTFIX_DIR "/main.cf", F_OK) == 0 ? POSTFIX_DIR : NULL;
        sendmail = access(SENDMAIL_CF, F_OK) == 0 ? SENDMAIL_CF : NULL;
    }
    doctor->mtas = xcalloc(2, sizeof(*doctor->mtas));
    if (postfix != NULL) {
        postfix_read(&doctor->mtas[doctor->n_mtas++], doctor, postfix);
    }
    if (sendmail != NULL) {
        sendmail_read(&doctor->mtas[doctor->n_mtas++], doctor, sendmail);
    }
}

void mta_free(struct mta *mtas, int n)
{
    for (int i = 0; i < n; i++) {
        struct mta *mta = &mtas[i];
        for (int k = 0; k < mta->n_milters; k++) {
            free(mta->milters[k].where);
            free(mta->milters[k].spec);
            free(mta->milters[k].failure_text);
        }
        for (int k = 0; k < mta->n_ways; k++) {
            free(mta->ways[k].name);
        }
        for (int k = 0; k < mta->n_macros; k++) {
            free(mta->macros[k].name);
            free(mta->macros[k].text);
        }
        free(mta->path);
        free(mta->error);
        free(mta->user);
        free(mta->queue_dir);
    }
    free(mtas);
}
