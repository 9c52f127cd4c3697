/*
 * posternctl run: a filter over message files, with no server.
 *
 * Exit code: 0, whatever the verdicts are; 1 when a message's verdict is "error"; 2 when a file
 * cannot be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/play.h"
#include "ctl/report.h"
#include "ctl/server.h"

/* DIR/NAME.eml for a message file NAME or NAME.eml. Malloc'd. */
static char *output_path(const char *dir, const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".eml") == 0) {
        len -= 4;
    }
    if (len == 0 || strcmp(name, "-") == 0) {
        name = "message";
        len = strlen(name);
    }
    return xasprintf("%s/%.*s.eml", dir, (int)len, name);
}

/*
 * Opens the file for the message as it would leave, before the child gives up the right to.
 * *path_out is malloc'd; both stay unset without
 * --output.
 */
static int open_output(const struct args *args, const char *file, char **path_out, int *fd_out)
{
    const char *dir = args_get(args, ARG_OUTPUT);
    if (dir == NULL) {
        return 0;
    }
    *path_out = output_path(dir, file);
    *fd_out = open(*path_out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd_out < 0 ? -ERR_SYSTEM : 0;
}

/* Mail that does not go on leaves no file. */
static void close_output(const json_t *report, const char *path, int fd)
{
    const char *verdict = json_string_value(json_object_get(report, "verdict"));
    bool has_left = json_is_null(json_object_get(report, "error")) && verdict != NULL &&
                    (strcmp(verdict, "continue") == 0 || strcmp(verdict, "accept") == 0);
    if (fd >= 0) {
        close(fd);
        if (!has_left) {
            unlink(path);
        }
    }
}

static int play_and_print(const struct args *args, struct playing *playing, const char *path)
{
    json_t *report = play_message(playing);
    bool is_failed = !json_is_null(json_object_get(report, "error"));
    close_output(report, path, playing->output_fd);
    if (args_has(args, ARG_JSON)) {
        report_print_json(stdout, report);
    } else {
        report_print_text(stdout, report);
    }
    json_decref(report);
    return is_failed ? EXIT_CODE_FOUND : EXIT_CODE_OK;
}

static int run_mail(
    const struct args *args, const struct conf *conf, const struct mail_file *mail, int number)
{
    const char *file = command_argument(args, number);
    struct arena *arena = arena_new();
    struct transaction transaction;
    char *path = NULL;
    int fd = -1, code = EXIT_CODE_USAGE;
    const char *wrong = transaction_make(args, mail, (uint32_t)number, arena, &transaction);
    if (wrong != NULL) {
        fprintf(stderr, "posternctl: %s\n", wrong);
    } else if (open_output(args, file, &path, &fd) < 0) {
        fprintf(stderr, "posternctl: cannot write %s: %s\n", path, strerror(errno));
    } else {
        struct playing playing = {.conf = conf,
            .filter = command_argument(args, 0),
            .file = file,
            .output_fd = fd,
            .transaction = &transaction,
            .mail = mail,
            .last_hook = HOOK_NONE,
            .does_deeds = args_has(args, ARG_DEEDS)};
        code = play_and_print(args, &playing, path);
    }
    free(path);
    arena_free(arena);
    return code;
}

static int run_one(const struct args *args, const struct conf *conf, int number)
{
    const char *file = command_argument(args, number);
    struct mail_file mail;
    int rc = mail_file_read(file, &mail);
    if (rc < 0) {
        fprintf(stderr, "posternctl: cannot read %s: %s\n", file, err_text(rc));
        return EXIT_CODE_USAGE;
    }
    int code = run_mail(args, conf, &mail, number);
    mail_file_clear(&mail);
    return code;
}

static bool can_start(const struct args *args)
{
    const char *filter = command_argument(args, 0);
    const char *dir = args_get(args, ARG_OUTPUT);
    if (access(filter, R_OK) < 0) {
        fprintf(stderr, "posternctl: cannot read %s: %s\n", filter, strerror(errno));
        return false;
    }
    if (dir != NULL && mkdir(dir, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "posternctl: cannot make %s: %s\n", dir, strerror(errno));
        return false;
    }
    return true;
}

int command_run(const struct args *args)
{
    if (!can_start(args)) {
        return EXIT_CODE_USAGE;
    }
    struct conf *conf = server_conf_for_filter(args, command_argument(args, 0));
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    int code = EXIT_CODE_OK;
    for (int i = 1; i < command_n_arguments(args); i++) {
        int one = run_one(args, conf, i);
        code = one > code ? one : code;
    }
    conf_free(conf);
    return code;
}
