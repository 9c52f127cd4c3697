/* What the tests of the trap share: a worker with a state folder of its own, and what it kept. */
#ifndef POSTERN_TESTS_TRAP_FIXTURE_H
#define POSTERN_TESTS_TRAP_FIXTURE_H

#include "tests/unit/worker_fixture.h"
#include "worker/trap.h"

struct trap_test {
    struct worker_fixture f;
    char state[64];
    struct trap_store *store;
};

/* A mail with a text and a program. */
extern const char trap_test_mail[];

/* code: the body of filter_message. more: a further option, or NULL. */
void trap_test_begin(struct trap_test *t, const char *code, const char *more);
void trap_test_end(struct trap_test *t);
void trap_test_run(struct trap_test *t, const char *message, enum verdict verdict);

/* The trap as posternctl opens it; closed at the end. */
struct trap_store *trap_test_store(struct trap_test *t);
/* All that is kept, which must be so much. The caller clears it. */
struct trap_rows trap_test_rows(struct trap_test *t, size_t n);
/* The facts of the only entry, for the caller to release, and its id. */
json_t *trap_test_only_facts(struct trap_test *t, char id_out[TRAP_ID_CHARS + 1]);

#endif
