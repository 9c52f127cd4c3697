/* posternctl trap expire: what is older than trap.keep_time goes, and then the oldest, until the
 * rest is within the bounds; what processes left that ended too early goes too. */
#include <stdio.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/text.h"
#include "ctl/render.h"
#include "ctl/trap.h"

struct expiry {
    int64_t before_ms;
    uint64_t most_bytes, most_entries;
    uint64_t n_removed, bytes_removed;
    uint64_t n_left, bytes_left;
    int code;
};

/* False: an option's value is wrong, which has been said. */
static bool read_options(const struct trap_ctl *ctl, struct expiry *expiry)
{
    const char *age = args_get(ctl->args, ARG_AGE), *size = args_get(ctl->args, ARG_SIZE);
    int64_t age_ms = ctl->conf->trap.keep_time, bytes = ctl->conf->trap.max_bytes;
    if (age != NULL && text_to_ms(age, &age_ms) != 0) {
        fprintf(stderr, "posternctl: --age takes a duration such as 12h or 30d\n");
        return false;
    }
    if (size != NULL && text_to_bytes(size, &bytes) != 0) {
        fprintf(stderr, "posternctl: --size takes a number of bytes such as 500M or 2G\n");
        return false;
    }
    *expiry = (struct expiry){
        .before_ms = age != NULL || age_ms > 0 ? clock_wall_ms() - age_ms : INT64_MIN,
        .most_bytes = (uint64_t)bytes,
        .most_entries = (uint64_t)ctl->conf->trap.max_files};
    return true;
}

static void remove_one(
    const struct trap_ctl *ctl, const struct trap_row *row, struct expiry *expiry)
{
    bool is_real = !args_has(ctl->args, ARG_DRY_RUN);
    int rc = is_real ? ctl->store->calls->remove(ctl->store, row->id) : 0;
    if (rc != 0 && rc != -ERR_NOTFOUND) {
        expiry->code = trap_ctl_fail(row->id, rc);
        return;
    }
    if (!is_real && !args_has(ctl->args, ARG_JSON)) {
        char when[32];
        render_time(when, sizeof(when), row->time_ms / 1000);
        printf("would remove %s of %s\n", row->id, when);
    }
    expiry->n_removed++;
    expiry->bytes_removed += row->bytes;
    expiry->n_left--;
    expiry->bytes_left -= row->bytes;
}

static void remove_old(
    const struct trap_ctl *ctl, const struct trap_rows *rows, struct expiry *expiry)
{
    expiry->n_left = rows->n;
    for (size_t i = 0; i < rows->n; i++) {
        expiry->bytes_left += rows->items[i].bytes;
    }
    for (size_t i = 0; i < rows->n; i++) { /* the oldest first */
        bool is_over =
            expiry->bytes_left > expiry->most_bytes || expiry->n_left > expiry->most_entries;
        if (!is_over && rows->items[i].time_ms >= expiry->before_ms) {
            break;
        }
        remove_one(ctl, &rows->items[i], expiry);
    }
}

static void tell(const struct trap_ctl *ctl, const struct expiry *expiry)
{
    if (!args_has(ctl->args, ARG_JSON)) {
        printf("%s: %llu (%llu bytes), left: %llu (%llu bytes)\n",
            args_has(ctl->args, ARG_DRY_RUN) ? "would remove" : "removed",
            (unsigned long long)expiry->n_removed, (unsigned long long)expiry->bytes_removed,
            (unsigned long long)expiry->n_left, (unsigned long long)expiry->bytes_left);
        return;
    }
    json_t *line = json_pack("{s:b, s:I, s:I, s:I, s:I}", "dry_run",
        (int)args_has(ctl->args, ARG_DRY_RUN), "removed", (json_int_t)expiry->n_removed,
        "removed_bytes", (json_int_t)expiry->bytes_removed, "left", (json_int_t)expiry->n_left,
        "left_bytes", (json_int_t)expiry->bytes_left);
    render_json_line(stdout, line);
    json_decref(line);
}

int trap_ctl_expire(const struct trap_ctl *ctl, const char *id)
{
    struct expiry expiry;
    struct trap_rows rows;
    struct trap_usage usage;
    (void)id;
    if (!read_options(ctl, &expiry)) {
        return EXIT_CODE_USAGE;
    }
    if (ctl->store->calls->list(ctl->store, &rows) != 0) {
        trap_rows_clear(&rows);
        return trap_ctl_fail("the folder", -ERR_SYSTEM);
    }
    remove_old(ctl, &rows, &expiry);
    trap_rows_clear(&rows);
    if (!args_has(ctl->args, ARG_DRY_RUN) && ctl->store->calls->mend(ctl->store, &usage) != 0) {
        expiry.code = trap_ctl_fail("the folder", -ERR_SYSTEM);
    }
    tell(ctl, &expiry);
    return expiry.code;
}
