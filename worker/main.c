/* postern-worker: nursery and workers. Started by postern-multiplexor, with its record socket as
 * descriptor 3. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/proc.h"
#include "common/text.h"
#include "worker/nursery.h"

static const char *const sections[] = {"worker", "multiplexor", "log", "filter", NULL};

static const struct program program = {
    .name = "postern-worker",
    .summary = "runs the filter; started by postern-multiplexor as: postern-worker [-c FILE] [-o "
               "KEY=VALUE]… --nursery GENERATION",
    .sections = sections,
    .may_have_rest = true,
};

static int usage(void)
{
    fprintf(stderr, "postern-worker: is started by postern-multiplexor, as: postern-worker [-c "
                    "FILE] [-o KEY=VALUE]… --nursery GENERATION\n");
    return EXIT_CODE_USAGE;
}

int main(int argc, char **argv)
{
    int rest = 0;
    int64_t generation = 0;
    unsetenv("LD_BIND_NOW"); /* the multiplexor's, for this process alone: programs that a filter
                                starts are not slowed */
    struct conf *conf = conf_from_args(&program, argc, argv, &rest);
    bool is_shadow = argc - rest == 2 && strcmp(argv[rest], "--shadow") == 0;
    bool is_nursery = argc - rest == 2 && (is_shadow || strcmp(argv[rest], "--nursery") == 0) &&
                      text_to_i64(argv[rest + 1], 1, UINT32_MAX, &generation) == 0 &&
                      fcntl(NURSERY_FD, F_GETFD) >= 0;
    if (!is_nursery) {
        conf_free(conf);
        return usage();
    }
    log_open(is_shadow ? "shadow-nursery" : "nursery", conf->log.target, conf->log.facility,
        conf->log.level);
    log_set_format(conf->log.format);
    int code = nursery_run(conf, (uint32_t)generation, is_shadow);
    conf_free(conf);
    return code;
}
