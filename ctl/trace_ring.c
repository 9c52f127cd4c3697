#include "ctl/trace_ring.h"

#include <stdio.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/trace_file.h"
#include "ctl/server.h"

int trace_ring_conf(const struct args *args, struct conf **conf_out)
{
    *conf_out = server_conf(args, true);
    if (*conf_out == NULL) {
        return EXIT_CODE_USAGE;
    }
    if (trace_is_on(*conf_out)) {
        return EXIT_CODE_OK;
    }
    fprintf(stderr, "posternctl: trace.size is 0: the front end keeps no ring\n");
    conf_free(*conf_out);
    *conf_out = NULL;
    return EXIT_CODE_NO_SERVER;
}

int trace_ring_fail(const char *path, int error)
{
    if (error == -ERR_BAD) {
        fprintf(stderr, "posternctl: %s is no ring of a front end (trace.file)\n", path);
    } else {
        fprintf(stderr, "posternctl: %s: %s (trace.file; written by postern-milterd)\n", path,
            err_text(error));
    }
    return EXIT_CODE_NO_SERVER;
}
