/* posternctl top: the running system, live: a frame each second, and at each key. */
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/memory.h"
#include "ctl/render.h"
#include "ctl/request.h"
#include "ctl/server.h"
#include "ctl/terminal.h"
#include "ctl/top_screen.h"

enum { INTERVAL_MS = 1000, ASK_MS = 3000, FRAME_MAX = 4 << 20 };

struct top {
    const char *socket;
    struct terminal terminal;
    struct top_view view;
    json_t *status, *workers; /* the last that came; NULL: none yet */
    char *trouble;            /* why the last question had no answer; NULL: it had */
    int64_t asked_ms;
};

/* Replaces *data by the answer's; false and a trouble when there is none. */
static bool ask(struct top *top, const char *command, json_t **data)
{
    json_t *fresh = NULL;
    char *error = NULL;
    int rc = request_call(top->socket, command, NULL, ASK_MS, &fresh, &error);
    free(top->trouble);
    top->trouble = NULL;
    if (rc == 0) {
        json_decref(*data);
        *data = fresh;
    } else {
        top->trouble =
            xasprintf("no answer at %s: %s", top->socket, error != NULL ? error : err_text(rc));
    }
    free(error);
    return rc == 0;
}

static void refresh(struct top *top)
{
    top->asked_ms = clock_now_ms();
    if (ask(top, "status", &top->status) && ask(top, "workers", &top->workers)) {
        memory_add(json_object_get(top->workers, "workers"));
    }
}

static int draw(struct top *top)
{
    struct buf frame;
    buf_init(&frame, FRAME_MAX);
    top_screen_draw(
        &top->view, top->status, json_object_get(top->workers, "workers"), top->trouble, &frame);
    int rc = terminal_write(buf_slice(&frame));
    buf_clear(&frame);
    return rc;
}

/* False: the user has had enough. */
static bool heed(struct top *top, int key)
{
    int n = top_screen_n_columns(&top->view);
    switch (key) {
    case 'q':
    case 'Q':
    case TERMINAL_END:
        return false;
    case 's':
    case TERMINAL_RIGHT:
        top->view.sort = (top->view.sort + 1) % n;
        break;
    case 'S':
    case TERMINAL_LEFT:
        top->view.sort = (top->view.sort + n - 1) % n;
        break;
    case 'r':
        top->view.is_reversed = !top->view.is_reversed;
        break;
    case TERMINAL_RESIZED:
        terminal_size(&top->view.rows, &top->view.columns);
        if (top->view.sort >= top_screen_n_columns(&top->view)) {
            top->view.sort = 0;
        }
        break;
    default:
        break;
    }
    return true;
}

static void watch(struct top *top)
{
    int key;
    do {
        int64_t now_ms = clock_now_ms();
        if (top->asked_ms == 0 || now_ms - top->asked_ms >= INTERVAL_MS) {
            refresh(top);
        }
        if (draw(top) < 0) {
            return;
        }
        int64_t left_ms = top->asked_ms + INTERVAL_MS - clock_now_ms();
        key = terminal_wait(&top->terminal, left_ms > 0 ? (int)left_ms : 0);
    } while (heed(top, key));
}

int command_top(const struct args *args)
{
    struct conf *conf = server_conf(args, true);
    if (conf == NULL) {
        return EXIT_CODE_USAGE;
    }
    struct top top = {.socket = server_socket(args, conf)};
    int code = EXIT_CODE_OK;
    refresh(&top);
    if (top.trouble != NULL) {
        fprintf(stderr, "posternctl: %s\n", top.trouble);
        code = EXIT_CODE_NO_SERVER;
    } else if (terminal_open(&top.terminal) < 0) {
        fprintf(stderr, "posternctl: top needs a terminal; status and workers do not\n");
        code = EXIT_CODE_USAGE;
    } else {
        terminal_size(&top.view.rows, &top.view.columns);
        top.view.has_colour = render_can_colour(stdout);
        watch(&top);
        terminal_close(&top.terminal);
    }
    json_decref(top.status);
    json_decref(top.workers);
    free(top.trouble);
    conf_free(conf);
    return code;
}
