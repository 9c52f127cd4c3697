#include "ctl/args.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"

struct arg_info {
    const char *word;  /* with dashes; NULL: it has none */
    char letter;       /* 0: it has none */
    const char *value; /* what help calls its value; NULL: it takes none */
    bool repeats;
    const char *help;
};

static const struct arg_info arg_infos[ARG_COUNT] = {
    [ARG_CONF] = {NULL, 'c', "FILE", false, "configuration file"},
    [ARG_SET] = {NULL, 'o', "KEY=VALUE", true, "set an option, as section.name=value (repeatable)"},
    [ARG_CONTROL] = {NULL, 's', "SOCKET", false, "control socket; else multiplexor.control_socket"},
    [ARG_HELP] = {"--help", 'h', NULL, true, "this text, or that of one command"},
    [ARG_VERSION] = {"--version", 'V', NULL, true, "the version"},
    [ARG_JSON] = {"--json", 0, NULL, true, "print one JSON object a line"},
    [ARG_SAMPLE] = {"--sample", 0, NULL, true,
        "a configuration file with every option and its default"},
    [ARG_MANUAL] = {"--manual", 0, NULL, true,
        "the options as the manual page lists them, in mdoc"},
    [ARG_OUTPUT] = {"--output", 0, "PATH", false,
        "run: write each message as it would leave to PATH/NAME.eml; profile: write a flame graph "
        "(SVG) to PATH"},
    [ARG_IP] = {"--ip", 0, "ADDRESS", false, "client's address, or \"local\" (192.0.2.1)"},
    [ARG_HOSTNAME] = {"--hostname", 0, "NAME", false,
        "client's verified name, or \"[ADDRESS]\" (client.example.org; [ADDRESS] when --ip is "
        "given)"},
    [ARG_HELO] = {"--helo", 0, "NAME", false, "what it says in HELO (its name)"},
    [ARG_SENDER] = {"--sender", 0, "ADDRESS [ARGS]", false,
        "envelope sender (from Return-Path or From, else sender@example.org)"},
    [ARG_RECIPIENT] = {"--recipient", 0, "ADDRESS [ARGS]", true,
        "envelope recipient, repeatable (from Delivered-To or To, else recipient@example.net)"},
    [ARG_MACRO] = {"--macro", 0, "NAME=VALUE", true, "a macro of the mail server, repeatable"},
    [ARG_SOCKET] = {"--socket", 0, "SPEC", false,
        "the milter socket: unix:PATH, inet:PORT@HOST, inet6:PORT@HOST; port 0: any "
        "(unix:DIR/milter.sock)"},
    [ARG_DIR] = {"--dir", 0, "DIR", false,
        "folder for sockets and spool (a new private one, removed at the end)"},
    [ARG_CANARY] = {"--canary", 0, "PERCENT", false,
        "try the new filter on so many of the clients first; 0: on none (multiplexor.canary)"},
    [ARG_LIST] = {"--list", 0, NULL, true, "only say what there is"},
    [ARG_POSTFIX] = {"--postfix", 0, "DIR", false,
        "folder of main.cf and master.cf (/etc/postfix)"},
    [ARG_SENDMAIL] = {"--sendmail", 0, "FILE", false,
        "sendmail.cf, or a sendmail.mc (/etc/mail/sendmail.cf)"},
    [ARG_UNITS] = {"--units", 0, "DIR", false,
        "folder of systemd units (those of the system and of the package)"},
    [ARG_FILTER] = {"--filter", 0, "FILE", false, "another filter than worker.filter"},
    [ARG_ALL] = {"--all", 0, NULL, true, "all of them"},
    [ARG_HOOK] = {"--hook", 0, "NAME", false,
        "trace: only what this hook judged; profile: only what happens in it"},
    [ARG_VERDICT] = {"--verdict", 0, "NAME", false,
        "only what ended in continue, accept, reject, tempfail, discard or aborted"},
    [ARG_LINES] = {"--count", 0, "N", false, "end after so many lines"},
    [ARG_LAST] = {"--last", 0, "N", false, "begin with the newest N lines that are there already"},
    [ARG_SINCE] = {"--since", 0, "TIME", false,
        "only what came in the last 90m, 2d ..., or since 2026-11-22 or \"2026-11-22 14:30\""},
    [ARG_REASON] = {"--reason", 0, "TEXT", false, "only with this in the reason"},
    [ARG_RAW] = {"--raw", 0, NULL, true, "the bytes as they were received, and nothing else"},
    [ARG_AGE] = {"--age", 0, "TIME", false, "what is older goes (trap.keep_time)"},
    [ARG_SIZE] = {"--size", 0, "BYTES", false,
        "the oldest go until no more than this is left (trap.max_bytes)"},
    [ARG_DRY_RUN] = {"--dry-run", 0, NULL, true, "only say what would be done"},
    [ARG_TO] = {"--to", 0, "ADDRESS", true, "to this address instead, repeatable"},
    [ARG_NOW] = {"--now", 0, NULL, true, "send it now, though its sender will try again"},
    [ARG_FORCE] = {"--force", 0, NULL, true,
        "also what was refused, or may have been sent when a release was interrupted"},
    [ARG_DEEDS] = {"--deeds", 0, NULL, true,
        "do what the filter asks for outside the mail (trap, notices, links), and not only tell it"},
    [ARG_FROM] = {"--from", 0, "FORMAT", false,
        "what is imported: json (one object a line), or milter-greylist (its file of tuples)"},
};

/* What some of them mean to a command that selects (ARGS_SELECTION). */
static const struct arg_meaning {
    enum arg arg;
    const char *value, *help;
} selection_meanings[] = {
    {ARG_IP, "NETWORK", "only of clients in this network, or with this address"},
    {ARG_SENDER, "TEXT", "only with this in the envelope sender; \"<>\": the null sender"},
    {ARG_RECIPIENT, "TEXT", "only with this in a recipient"},
};

static int arg_find_word(const char *word, size_t len)
{
    for (int i = 0; i < ARG_COUNT; i++) {
        const char *have = arg_infos[i].word;
        if (have != NULL && strlen(have) == len && memcmp(have, word, len) == 0) {
            return i;
        }
    }
    return -1;
}

static int arg_find_letter(char letter)
{
    for (int i = 0; i < ARG_COUNT; i++) {
        if (arg_infos[i].letter != 0 && arg_infos[i].letter == letter) {
            return i;
        }
    }
    return -1;
}

static char *unknown_text(const char *given)
{
    const char *words[ARG_COUNT + 1];
    int n = 0;
    for (int i = 0; i < ARG_COUNT; i++) {
        if (arg_infos[i].word != NULL) {
            words[n++] = arg_infos[i].word;
        }
    }
    words[n] = NULL;
    char shown[200];
    text_escape(shown, sizeof(shown), slice_text(given), 0);
    const char *near = text_nearest(given, words);
    return near != NULL ? xasprintf("unknown option %s; did you mean %s?", shown, near)
                        : xasprintf("unknown option %s", shown);
}

/*
 * Stores one option. inline_value: what followed "=" or the letter, NULL without. next: the next
 * word of the command line or NULL; *took_next_out says whether it was used up.
 */
static int arg_store(struct args *args, int arg, const char *inline_value, const char *next,
    bool *took_next_out, char **error_out)
{
    const struct arg_info *info = &arg_infos[arg];
    char letter[3] = {'-', info->letter, 0};
    const char *shown = info->word != NULL ? info->word : letter;
    *took_next_out = false;
    if (info->value == NULL) {
        if (inline_value != NULL) {
            *error_out = xasprintf("%s takes no value", shown);
            return -ERR_BAD;
        }
        inline_value = "";
    } else if (inline_value == NULL) {
        if (next == NULL) {
            *error_out = xasprintf("%s needs a value: %s %s", shown, shown, info->value);
            return -ERR_BAD;
        }
        inline_value = next;
        *took_next_out = true;
    }
    struct arg_values *values = &args->values[arg];
    if (values->n > 0 && !info->repeats) {
        *error_out = xasprintf("%s is given twice", shown);
        return -ERR_BAD;
    }
    values->items[values->n++] = inline_value;
    return 0;
}

/* One word that starts with a dash. */
static int arg_take(
    struct args *args, const char *word, const char *next, bool *took_next_out, char **error_out)
{
    int arg;
    const char *inline_value = NULL;
    if (word[1] == '-') {
        size_t len = strcspn(word, "=");
        arg = arg_find_word(word, len);
        inline_value = word[len] == '=' ? word + len + 1 : NULL;
    } else {
        arg = arg_find_letter(word[1]);
        inline_value = word[2] != 0 ? word + 2 : NULL;
    }
    if (arg < 0) {
        *error_out = unknown_text(word);
        return -ERR_BAD;
    }
    return arg_store(args, arg, inline_value, next, took_next_out, error_out);
}

int args_parse(int argc, char **argv, struct args *out, char **error_out)
{
    size_t room = argc > 0 ? (size_t)argc : 1;
    memset(out, 0, sizeof(*out));
    for (int i = 0; i < ARG_COUNT; i++) {
        out->values[i].items = xcalloc(room, sizeof(char *));
    }
    out->rest.items = xcalloc(room, sizeof(char *));

    bool may_be_option = true;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (may_be_option && strcmp(word, "--") == 0) {
            may_be_option = false;
        } else if (may_be_option && word[0] == '-' && word[1] != 0) {
            bool took_next;
            int rc = arg_take(out, word, i + 1 < argc ? argv[i + 1] : NULL, &took_next, error_out);
            if (rc < 0) {
                return rc;
            }
            i += took_next ? 1 : 0;
        } else {
            out->rest.items[out->rest.n++] = word;
        }
    }
    return 0;
}

void args_clear(struct args *args)
{
    for (int i = 0; i < ARG_COUNT; i++) {
        free(args->values[i].items);
    }
    free(args->rest.items);
    memset(args, 0, sizeof(*args));
}

bool args_has(const struct args *args, enum arg arg)
{
    return args->values[arg].n > 0;
}

const char *args_get(const struct args *args, enum arg arg)
{
    const struct arg_values *values = &args->values[arg];
    return values->n > 0 ? values->items[values->n - 1] : NULL;
}

const char *args_first_not_in(const struct args *args, uint64_t allowed)
{
    for (int i = 0; i < ARG_COUNT; i++) {
        if (args->values[i].n > 0 && (allowed & ARG_BIT(i)) == 0) {
            return arg_infos[i].word != NULL ? arg_infos[i].word : arg_infos[i].value;
        }
    }
    return NULL;
}

/* The row of an option, as a command that takes the wanted ones means it. */
static struct arg_info arg_meant(int arg, uint64_t wanted)
{
    struct arg_info info = arg_infos[arg];
    size_t n = sizeof(selection_meanings) / sizeof(selection_meanings[0]);
    bool selects = (wanted & (ARG_BIT(ARG_VERDICT) | ARG_BIT(ARG_SINCE))) != 0;
    for (size_t i = 0; selects && i < n; i++) {
        if ((int)selection_meanings[i].arg == arg) {
            info.value = selection_meanings[i].value;
            info.help = selection_meanings[i].help;
        }
    }
    return info;
}

void args_print_help(FILE *out, uint64_t wanted)
{
    for (int i = 0; i < ARG_COUNT; i++) {
        const struct arg_info meant = arg_meant(i, wanted), *info = &meant;
        if ((wanted & ARG_BIT(i)) == 0) {
            continue;
        }
        char left[64];
        const char *value = info->value != NULL ? info->value : "";
        if (info->word == NULL) {
            snprintf(left, sizeof(left), "-%c %s", info->letter, value);
        } else if (info->letter != 0) {
            snprintf(left, sizeof(left), "-%c, %s %s", info->letter, info->word, value);
        } else {
            snprintf(left, sizeof(left), "%s %s", info->word, value);
        }
        fprintf(out, "  %-28s %s\n", left, info->help);
    }
}
