/* posternctl trap: which word, which store, and what the words share. */
#include "ctl/trap.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

enum { HISTORY_MAX = 100 };

#define SELECTION                                                                                  \
    (ARG_BIT(ARG_SINCE) | ARG_BIT(ARG_SENDER) | ARG_BIT(ARG_RECIPIENT) | ARG_BIT(ARG_REASON))

static const struct word {
    const char *word;
    bool has_id;
    uint64_t options;
    int (*run)(const struct trap_ctl *ctl, const char *id);
} words[] = {
    {"list", false, SELECTION | ARG_BIT(ARG_JSON), trap_ctl_list},
    {"show", true, ARG_BIT(ARG_JSON) | ARG_BIT(ARG_RAW), trap_ctl_show},
    {"release", true, ARG_BIT(ARG_TO) | ARG_BIT(ARG_NOW) | ARG_BIT(ARG_FORCE) | ARG_BIT(ARG_JSON),
        trap_ctl_release},
    {"refuse", true, ARG_BIT(ARG_JSON), trap_ctl_refuse},
    {"expire", false,
        ARG_BIT(ARG_AGE) | ARG_BIT(ARG_SIZE) | ARG_BIT(ARG_DRY_RUN) | ARG_BIT(ARG_JSON),
        trap_ctl_expire},
};

enum { N_WORDS = sizeof(words) / sizeof(words[0]) };

/* ---- what the words share ---- */

/* The person behind sudo, if there is one. */
static const char *who_are_we(void)
{
    const char *name = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    const struct passwd *user = getpwuid(getuid());
    return name != NULL && name[0] != 0 ? name : user != NULL ? user->pw_name : "?";
}

void trap_ctl_note(json_t *facts, const char *what)
{
    json_t *history = json_object_get(facts, "history");
    if (!json_is_array(history)) {
        json_object_set_new(facts, "history", json_array());
        history = json_object_get(facts, "history");
    }
    if (json_array_size(history) >= HISTORY_MAX) {
        json_array_remove(history, 0);
    }
    json_array_append_new(
        history, json_pack("{s:I, s:s, s:o}", "time_ms", (json_int_t)clock_wall_ms(), "what", what,
                     "who", render_json_text(slice_text(who_are_we()))));
}

int trap_ctl_fail(const char *id, int rc)
{
    const char *why = rc == -ERR_NOTFOUND  ? "there is no such entry"
                      : rc == -ERR_BAD     ? "its facts are not a JSON object"
                      : rc == -ERR_TIMEOUT ? "somebody else is at work on it"
                      : rc == -ERR_IN_USE  ? "it is being released already"
                                           : err_text(rc);
    fprintf(stderr, "posternctl: ");
    render_escaped(stderr, slice_of(id, strnlen(id, 80)));
    fprintf(stderr, ": %s\n", why);
    return rc == -ERR_SYSTEM ? EXIT_CODE_SYSTEM : EXIT_CODE_FOUND;
}

/* ---- which ---- */

static const struct word *find_word(const struct args *args)
{
    const char *given = command_argument(args, 0);
    for (int i = 0; i < N_WORDS; i++) {
        bool fits = strcmp(words[i].word, given) == 0 &&
                    (command_n_arguments(args) == 2) == words[i].has_id;
        if (fits && args_first_not_in(args, words[i].options | ARGS_COMMON) == NULL) {
            return &words[i];
        }
    }
    return NULL;
}

static int usage(void)
{
    fprintf(stderr, "usage: posternctl trap list [--since TIME] [--sender TEXT] [--recipient TEXT] "
                    "[--reason TEXT] | show ID [--raw] |\n"
                    "       release ID [--to ADDRESS]... [--now] [--force] | refuse ID |\n"
                    "       expire [--age TIME] [--size BYTES] [--dry-run]\n");
    return EXIT_CODE_USAGE;
}

/* Nothing has been kept yet. */
static int without_folder(const struct args *args, const struct word *word)
{
    if (word->has_id) {
        return trap_ctl_fail(command_argument(args, 1), -ERR_NOTFOUND);
    }
    if (!args_has(args, ARG_JSON)) {
        printf("%s\n", word->run == trap_ctl_list ? "none" : "removed: 0");
    }
    return EXIT_CODE_OK;
}

static int run_word(const struct args *args, const struct conf *conf, const struct word *word)
{
    struct trap_ctl ctl = {.args = args, .conf = conf};
    const char *id = word->has_id ? command_argument(args, 1) : NULL;
    char place[PATH_MAX];
    int rc = trap_store_open(conf, false, &ctl.store);
    if (rc == -ERR_NOTFOUND) {
        return without_folder(args, word);
    }
    if (rc != 0) {
        trap_store_place(conf, place, sizeof(place));
        fprintf(stderr, "posternctl: %s: %s\n", place,
            rc == -ERR_DENIED ? "it is not ours, or others than its owner may write there"
                              : err_text(rc));
        return EXIT_CODE_SYSTEM;
    }
    int code =
        id != NULL && !trap_id_is_good(id) ? trap_ctl_fail(id, -ERR_NOTFOUND) : word->run(&ctl, id);
    trap_store_close(ctl.store);
    return code;
}

int command_trap(const struct args *args)
{
    const struct word *word = find_word(args);
    if (word == NULL) {
        return usage();
    }
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    int code = run_word(args, conf, word);
    conf_free(conf);
    return code;
}
