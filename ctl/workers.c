/* posternctl workers: a row for each worker; the columns are the members that the server tells,
 * and its memory as /proc has it. */
#include <jansson.h>
#include <stdlib.h>

#include "common/log.h"
#include "ctl/command.h"
#include "ctl/memory.h"
#include "ctl/render.h"
#include "ctl/server.h"

/* The list of rows: the data itself, or its member "workers". */
static json_t *rows_of(json_t *data)
{
    return json_is_array(data) ? data : json_object_get(data, "workers");
}

static void print_workers(json_t *rows)
{
    json_t *first = json_array_get(rows, 0);
    if (!json_is_object(first) || json_object_size(first) == 0) {
        printf("no workers\n");
        return;
    }
    struct render_table table;
    render_table_init(&table, (int)json_object_size(first));
    const char *name;
    json_t *value;
    json_object_foreach(first, name, value)
    {
        render_table_add(&table, name);
    }
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        json_object_foreach(first, name, value)
        {
            char *text = render_value(json_object_get(row, name));
            render_table_add(&table, text);
            free(text);
        }
    }
    render_table_print(&table, stdout);
    render_table_clear(&table);
}

int command_workers(const struct args *args)
{
    json_t *data = NULL;
    int code = server_ask(args, "workers", NULL, 0, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    memory_add(rows_of(data));
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, data);
    } else {
        print_workers(rows_of(data));
    }
    json_decref(data);
    return EXIT_CODE_OK;
}
