/*
 * For tests of the Lua API's conn, msg and rcpt: one fixture with trusted networks and relays, a
 * plain message, and code that must end well or raise an error of the filter's.
 */
#ifndef POSTERN_TESTS_LAPI_FIXTURE_H
#define POSTERN_TESTS_LAPI_FIXTURE_H

#include "tests/unit/worker_fixture.h"

extern struct worker_fixture lapi;
/* Received from a trusted relay, an encoded Subject, a folded field, one that is there twice. */
extern const char lapi_plain[];

/* For cmocka_run_group_tests. Errors are kept from the log: what they say is in the reply. */
int lapi_setup(void **state);
int lapi_teardown(void **state);

/* Runs code in filter_message on the plain message. */
void lapi_good(const char *code);
/* The same; it must raise an error at a line of the filter that holds part, and change nothing. */
void lapi_bad(const char *code, const char *part);

#endif
