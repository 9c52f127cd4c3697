#include "tests/unit/script_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"

char script_log[65536];

static void on_log(enum log_level level, const char *line, void *context)
{
    (void)level;
    (void)context;
    size_t n = strlen(script_log);
    snprintf(script_log + n, sizeof script_log - n, "%s\n", line);
}

int script_set_up(void **state)
{
    struct worker_fixture *f = calloc(1, sizeof *f);
    script_log[0] = '\0';
    log_set_sink(on_log, NULL);
    fixture_open(f, (const char *[]){"worker.lua_memory=16M", "filter.limit=12", "filter.name=x y",
                        "filter.on=yes", "filter.code=007", NULL});
    fixture_envelope(f);
    fixture_message(f, "Subject: hello\n\nbody\n");
    *state = f;
    return 0;
}

int script_tear_down(void **state)
{
    struct worker_fixture *f = *state;
    fixture_close(f);
    free(f);
    log_set_sink(NULL, NULL);
    return 0;
}
