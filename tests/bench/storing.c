/*
 * What the store costs: each look-up and change is timed by itself, in a file of so many entries.
 *
 *   postern-storing [ENTRIES [ROUNDS [FOLDER]]]       100000 entries, 20000 rounds, a new folder in
 * /tmp
 *
 * Prints "OPERATION median=US p99=US max=US" for each. Exit code 0, or 1 when one failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/text.h"
#include "common/xalloc.h"
#include "worker/store.h"

struct storing {
    struct store *store;
    int64_t n_entries, n_rounds;
    uint64_t random;
    double *times; /* us */
};

static uint64_t next_random(struct storing *s)
{
    s->random = s->random * 6364136223846793005U + 1442695040888963407U;
    return s->random >> 33;
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Keys and values as greylisting has them. */
static void run_one(struct storing *s, enum store_op op, uint64_t number)
{
    static const char value[] = "some sixty bytes, as an entry of a greylist takes when packed.";
    char key[80];
    int n = snprintf(key, sizeof key, "grey:192.0.%u.0/24:sender%llu.example:user@example.org",
        (unsigned)(number % 256), (unsigned long long)number);
    struct store_request request = {.op = op,
        .key = slice_of(key, (size_t)n),
        .ttl_ms = 86400000,
        .deadline_ms = clock_now_ms() + 60000,
        .value = {.kind = STORE_TEXT, .bytes = {value, sizeof value - 1}}};
    if (op == STORE_INCR) {
        request.key = slice_of(key, 20);
        request.value = (struct store_value){.kind = STORE_INTEGER, .integer = 1};
    }
    if (store_run_to_end(s->store, &request) != 0) {
        fprintf(stderr, "postern-storing: %s\n", store_error(s->store));
        exit(1);
    }
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void measure(struct storing *s, const char *name, enum store_op op, uint64_t beyond)
{
    for (int64_t i = 0; i < s->n_rounds; i++) {
        uint64_t number = next_random(s) % (uint64_t)s->n_entries + beyond;
        double from = now_us();
        run_one(s, op, number);
        s->times[i] = now_us() - from;
    }
    qsort(s->times, (size_t)s->n_rounds, sizeof *s->times, compare);
    printf("%s median=%.1f p99=%.1f max=%.1f\n", name, s->times[s->n_rounds / 2],
        s->times[s->n_rounds * 99 / 100], s->times[s->n_rounds - 1]);
}

static int64_t number_of(int argc, char **argv, int i, int64_t otherwise)
{
    int64_t number = otherwise;
    if (argc > i && text_to_i64(argv[i], 1, 100000000, &number) != 0) {
        fprintf(stderr, "usage: postern-storing [ENTRIES [ROUNDS [FOLDER]]]\n");
        exit(1);
    }
    return number;
}

int main(int argc, char **argv)
{
    struct storing s = {.n_entries = number_of(argc, argv, 1, 100000),
        .n_rounds = number_of(argc, argv, 2, 20000),
        .random = 1};
    char made[] = "/tmp/postern-storing-XXXXXX";
    const char *dir = argc > 3 ? argv[3] : mkdtemp(made);
    struct conf *conf;
    char *error = NULL;
    char *state = xasprintf("worker.state_dir=%s", dir != NULL ? dir : "/tmp");
    const char *const overrides[] = {state};
    if (dir == NULL || conf_load(NULL, overrides, 1, &conf, &error) != 0) {
        fprintf(stderr, "postern-storing: %s\n", error != NULL ? error : err_text(-ERR_SYSTEM));
        return 1;
    }
    s.store = store_new(conf, STORE_SHARED);
    s.times = xreallocarray(NULL, (size_t)s.n_rounds, sizeof *s.times);
    for (int64_t i = 0; i < s.n_entries; i++)
        run_one(&s, STORE_SET, (uint64_t)i);
    measure(&s, "get", STORE_GET, 0);
    measure(&s, "get_absent", STORE_GET, (uint64_t)s.n_entries);
    measure(&s, "set", STORE_SET, 0);
    measure(&s, "incr", STORE_INCR, 0);
    store_free(s.store);
    char *path = xasprintf("%s/store.db", dir);
    if (argc <= 3 && (unlink(path) != 0 || rmdir(dir) != 0))
        fprintf(stderr, "postern-storing: %s: %s\n", dir, err_text(-ERR_SYSTEM));
    free(path);
    free(state);
    free(s.times);
    conf_free(conf);
    return 0;
}
