/*
 * posternctl send: plays the mail server for message files and shows what a milter answers, stage
 * by stage.
 *
 * Exit code: 0, whatever the verdicts are; 1 when a conversation broke off; 2 when a file cannot be
 * read; 3 when nobody answers at the socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "ctl/command.h"
#include "ctl/mta.h"
#include "ctl/render.h"
#include "ctl/report.h"

static int tell(const char *what, const char *why)
{
    fprintf(stderr, "posternctl: %s: %s\n", what, why);
    return EXIT_CODE_USAGE;
}

/* Members in the order in which they are printed. */
static json_t *report_new(const char *file)
{
    return json_pack("{s:o, s:s, s:n, s:[], s:[], s:n}", "file", render_json_text(slice_text(file)),
        "verdict", "error", "reply", "actions", "stages", "error");
}

static int send_mail(
    const struct args *args, const struct sock_spec *spec, const struct mail_file *mail, int number)
{
    struct arena *arena = arena_new();
    struct transaction transaction;
    const char *wrong = transaction_make(args, mail, (uint32_t)number, arena, &transaction);
    int code = EXIT_CODE_USAGE;
    if (wrong != NULL) {
        tell("send", wrong);
    } else {
        json_t *report = report_new(command_argument(args, number));
        int rc = mta_send(spec, &transaction, mail, report);
        if (rc < 0) {
            tell(command_argument(args, 0), err_text(rc));
            code = EXIT_CODE_NO_SERVER;
        } else {
            bool is_failed = !json_is_null(json_object_get(report, "error"));
            code = is_failed ? EXIT_CODE_FOUND : EXIT_CODE_OK;
            if (args_has(args, ARG_JSON)) {
                report_print_json(stdout, report);
            } else {
                report_print_text(stdout, report);
            }
        }
        json_decref(report);
    }
    arena_free(arena);
    return code;
}

static int send_one(const struct args *args, const struct sock_spec *spec, int number)
{
    const char *file = command_argument(args, number);
    struct mail_file mail;
    int rc = mail_file_read(file, &mail);
    if (rc < 0) {
        return tell(file, err_text(rc));
    }
    int code = send_mail(args, spec, &mail, number);
    mail_file_clear(&mail);
    return code;
}

int command_send(const struct args *args)
{
    struct sock_spec spec;
    int rc = sock_spec_from_text(command_argument(args, 0), &spec);
    if (rc < 0 || spec.kind == SOCK_KIND_FD) {
        return tell(command_argument(args, 0), "not a socket such as unix:PATH or inet:PORT@HOST");
    }
    int code = EXIT_CODE_OK;
    for (int i = 1; i < command_n_arguments(args); i++) {
        int one = send_one(args, &spec, i);
        code = one > code ? one : code;
    }
    return code;
}
