/* posternctl trap refuse: mail that waits gets a refusal when its sender tries again; stored mail
 * is marked, so that nobody releases it by mistake. */
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "ctl/render.h"
#include "ctl/trap.h"

struct decision {
    bool is_late; /* somebody has released it */
};

static int refuse(json_t *facts, void *context)
{
    struct decision *decision = context;
    const char *state = render_text_of(facts, "state");
    if (strcmp(state, "refused") == 0) {
        return -ERR_AGAIN;
    }
    decision->is_late = strcmp(state, "released") == 0;
    if (decision->is_late) {
        return -ERR_AGAIN;
    }
    json_object_set_new(facts, "state", json_string("refused"));
    trap_ctl_note(facts, "refused");
    return 0;
}

int trap_ctl_refuse(const struct trap_ctl *ctl, const char *id)
{
    struct decision decision = {.is_late = false};
    int rc = ctl->store->calls->lock(ctl->store, id); /* not while it is being sent */
    if (rc == 0) {
        rc = ctl->store->calls->change(ctl->store, id, refuse, &decision);
        ctl->store->calls->unlock(ctl->store);
    }
    if (rc != 0) {
        return trap_ctl_fail(id, rc);
    }
    if (decision.is_late) {
        fprintf(stderr, "posternctl: %s: it has been released already\n", id);
        return EXIT_CODE_FOUND;
    }
    if (args_has(ctl->args, ARG_JSON)) {
        json_t *line = json_pack("{s:s, s:s}", "id", id, "state", "refused");
        render_json_line(stdout, line);
        json_decref(line);
    } else {
        printf("refused: %s\n", id);
    }
    return EXIT_CODE_OK;
}
