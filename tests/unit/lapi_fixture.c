#include "tests/unit/lapi_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct worker_fixture lapi;

const char lapi_plain[] = "Received: from a (b [198.51.100.1]) by c\n"
                          "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\n"
                          "Message-ID: <1@example.org>\n"
                          "X-Fold: one\n\ttwo\n"
                          "X-Many: 1\n"
                          "X-Many: 2\n"
                          "\n"
                          "hello\n";

static void on_line(enum log_level level, const char *line, void *context)
{
    (void)level;
    (void)line;
    (void)context;
}

int lapi_setup(void **state)
{
    static const char *const overrides[] = {"worker.trusted_networks=192.0.2.0/25",
        "worker.trusted_relays=192.0.2.200 198.51.100.0/24", "log.level=error", NULL};
    (void)state;
    fixture_open(&lapi, overrides);
    log_set_sink(on_line, NULL);
    return 0;
}

int lapi_teardown(void **state)
{
    (void)state;
    log_set_sink(NULL, NULL);
    fixture_close(&lapi);
    return 0;
}

void lapi_good(const char *code)
{
    fixture_start(&lapi, lapi_plain);
    fixture_lua(&lapi, HOOK_MESSAGE, code);
}

void lapi_bad(const char *code, const char *part)
{
    fixture_start(&lapi, lapi_plain);
    fixture_lua_error(&lapi, HOOK_MESSAGE, code, part);
    assert_non_null(strstr(lapi.error, "filter.lua:"));
    assert_int_equal(lapi.reply.changes.len, 0);
}
