/* Lines of the control socket, against a multiplexor without sockets or workers: each gets an
 * answer of the documented form, and nobody who may only look changes anything. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/conf.h"
#include "common/log.h"
#include "multiplexor/ctl_command.h"
#include "multiplexor/mux.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct mux *make_mux(void)
{
    static const struct mux_sockets sockets = {
        .records = -1, .control = -1,
        .metrics = -1, .maps = -1, .control_gid = (gid_t)-1, .max_clients = 1};
    struct conf *conf = NULL;
    char *error = NULL;
    log_open("fuzz", LOG_TARGET_NONE, "mail", LOG_LEVEL_ERROR);
    check(conf_parse(slice_text(""), "fuzz.conf", NULL, 0, &conf, &error) == 0);
    struct mux *mux = mux_new(conf, "/nonexistent", &sockets);
    check(mux != NULL);
    return mux;
}

static void check_answer(const json_t *answer, bool is_last)
{
    const json_t *ok = json_object_get(answer, "ok");
    check(json_integer_value(json_object_get(answer, "v")) == CTL_VERSION && json_is_boolean(ok));
    check(json_is_true(ok) ? json_object_get(answer, "data") != NULL
                           : json_is_string(json_object_get(answer, "error")));
    check(!is_last || json_is_false(ok));
    char *text = json_dumps(answer, JSON_COMPACT);
    check(text != NULL && strchr(text, '\n') == NULL);
    free(text);
}

static void run_line(struct mux *mux, struct slice line, enum ctl_access access)
{
    int64_t min = mux->conf->multiplexor.min_workers, max = mux->conf->multiplexor.max_workers;
    bool is_last;
    json_t *answer = ctl_run(mux, line, access, NULL, &is_last);
    check_answer(answer, is_last);
    json_decref(answer);
    const struct conf *conf = mux->conf;
    check(conf->multiplexor.min_workers >= 1 &&
          conf->multiplexor.min_workers <= conf->multiplexor.max_workers);
    check(access == CTL_CHANGE ||
          (min == conf->multiplexor.min_workers && max == conf->multiplexor.max_workers));
}

/* Input: one byte, odd for somebody who may change; then lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct mux *mux;
    if (mux == NULL)
        mux = make_mux();
    if (len == 0)
        return 0;
    enum ctl_access access = data[0] % 2 == 1 ? CTL_CHANGE : CTL_LOOK;
    const char *at = (const char *)data + 1, *end = (const char *)data + len;
    for (int i = 0; i < 64 && at < end; i++) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        const char *stop = eol != NULL ? eol : end;
        run_line(mux, slice_of(at, (size_t)(stop - at)), access);
        at = eol != NULL ? eol + 1 : end;
    }
    return 0;
}
