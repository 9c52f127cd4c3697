/* A kept message played once more: with its own envelope, up to the hook that killed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/envelope.h"
#include "common/err.h"
#include "common/log.h"
#include "common/parcel.h"
#include "common/poison.h"
#include "common/xalloc.h"
#include "ctl/play.h"
#include "ctl/poison.h"
#include "ctl/report.h"

/* What is played. Owns what it read. */
struct replay {
    struct buf envelope_bytes;
    struct mail_file mail;
    struct arena *arena;
    struct transaction transaction;
    enum hook hook; /* that killed; HOOK_NONE: not known */
};

static int fail(const char *id, const char *what, int rc)
{
    fprintf(stderr, "posternctl: %s: %s: %s\n", id, what, err_text(rc));
    return rc;
}

static enum hook hook_of(int one)
{
    json_t *facts = poison_facts_read(one);
    const char *name = json_string_value(json_object_get(facts, "hook"));
    const struct hook_info *info = name != NULL ? hook_find(name) : NULL;
    enum hook hook = info != NULL ? info->hook : HOOK_NONE;
    json_decref(facts);
    return hook;
}

/* 0, or an error that has been told; replay needs replay_clear either way. */
static int replay_read(int one, const char *id, struct replay *replay)
{
    struct buf message;
    struct envelope envelope;
    *replay = (struct replay){.arena = arena_new(), .hook = hook_of(one)};
    int rc = poison_read(one, POISON_ENVELOPE, PARCEL_ENVELOPE_MAX, &replay->envelope_bytes);
    if (rc == 0) {
        rc = envelope_read_all(buf_slice(&replay->envelope_bytes), replay->arena, &envelope);
    }
    if (rc != 0) {
        return fail(id, "its envelope cannot be read", rc);
    }
    transaction_of_envelope(&envelope, replay->arena, &replay->transaction);
    rc = poison_read(one, POISON_MESSAGE, MAIL_FILE_MAX, &message);
    if (rc != 0) {
        return fail(id, "its message cannot be read", rc);
    }
    mail_file_of(message.data, message.len, &replay->mail);
    return 0;
}

static void replay_clear(struct replay *replay)
{
    mail_file_clear(&replay->mail);
    buf_clear(&replay->envelope_bytes);
    arena_free(replay->arena);
}

static int play(
    const struct args *args, const struct conf *conf, const char *id, const struct replay *replay)
{
    struct playing playing = {.conf = conf,
        .filter = conf->worker.filter,
        .file = id,
        .output_fd = -1,
        .transaction = &replay->transaction,
        .mail = &replay->mail,
        .last_hook = replay->hook};
    json_t *report = play_message(&playing);
    bool has_failed = !json_is_null(json_object_get(report, "error"));
    if (args_has(args, ARG_JSON)) {
        report_print_json(stdout, report);
    } else {
        report_print_text(stdout, report);
    }
    json_decref(report);
    return has_failed ? EXIT_CODE_FOUND : EXIT_CODE_OK;
}

int poison_run(const struct args *args, struct conf *conf, int one, const char *id)
{
    struct replay replay;
    const char *filter = args_get(args, ARG_FILTER);
    int code = EXIT_CODE_USAGE;
    if (filter != NULL) {
        free(conf->worker.filter);
        conf->worker.filter = xstrdup(filter);
    }
    if (access(conf->worker.filter, R_OK) < 0) {
        fprintf(stderr, "posternctl: cannot read %s: %s\n", conf->worker.filter, strerror(errno));
        return code;
    }
    if (replay_read(one, id, &replay) == 0) {
        if (replay.hook == HOOK_UNKNOWN) {
            fprintf(stderr, "posternctl: %s: %s cannot be played again\n", id,
                hook_info(replay.hook)->name);
        } else {
            code = play(args, conf, id, &replay);
        }
    }
    replay_clear(&replay);
    return code;
}
