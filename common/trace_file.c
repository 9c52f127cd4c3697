#include "common/trace_file.h"

#include <stdio.h>
#include <string.h>

#include "common/conf.h"

bool trace_is_on(const struct conf *conf)
{
    return conf->trace.size > 0;
}

void trace_path(const struct conf *conf, char *out)
{
    const char *socket = conf->multiplexor.socket;
    const char *slash = strrchr(socket, '/');

    if (conf->trace.file[0] != '\0')
        snprintf(out, TRACE_PATH_MAX, "%s", conf->trace.file);
    else
        snprintf(out, TRACE_PATH_MAX, "%.*strace", slash != NULL ? (int)(slash - socket) + 1 : 0,
            socket);
}

void trace_path_old(const struct conf *conf, char *out)
{
    trace_path(conf, out);
    strcat(out, ".old");
}
