/* posternctl metrics: what a collector gets, without one. */
#include <jansson.h>
#include <stdio.h>

#include "common/log.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

int command_metrics(const struct args *args)
{
    json_t *data = NULL;
    int code = server_ask(args, "metrics", NULL, 0, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, data);
    } else {
        const char *text = json_string_value(json_object_get(data, "text"));
        fputs(text != NULL ? text : "", stdout);
    }
    json_decref(data);
    return EXIT_CODE_OK;
}
