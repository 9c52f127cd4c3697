/* What the tests of the script share: a fixture with a message, and the log as a text. */
#ifndef POSTERN_TESTS_SCRIPT_FIXTURE_H
#define POSTERN_TESTS_SCRIPT_FIXTURE_H

#include "tests/unit/worker_fixture.h"

#define HOOK_MESSAGE_DOES(code) "function filter_message(msg)\n" code "\nend\n"

enum { SCRIPT_SHORT_MS = 150 }; /* time for what never ends */

/* The lines that were logged since the test began, each with its end; a test may clear it. */
extern char script_log[65536];

/* For cmocka: *state is the struct worker_fixture. */
int script_set_up(void **state);
int script_tear_down(void **state);

/* A row of a test program. */
#define SCRIPT_TEST(name) cmocka_unit_test_setup_teardown(name, script_set_up, script_tear_down)

#endif
