#include "tests/bench/load.h"

#include <getopt.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/xalloc.h"

static const char usage[] = "usage: postern-load [options] -a SOCKET MESSAGE…\n"
                            "  -a SOCKET  unix:PATH or inet:PORT@HOST (loopback only)\n"
                            "  -c N       connections in parallel (1)\n"
                            "  -n N       messages in all, at most (1000)\n"
                            "  -d SECS    begin no message after that (no limit)\n"
                            "  -m N       messages in one connection (1)\n"
                            "  -r N       recipients of each message (1)\n"
                            "  -t SECS    patience for one reply (60)\n"
                            "  -T SECS    patience for all (600)\n"
                            "  -p HEX     protocol flags offered (1fffff)\n"
                            "  -q         one line of KEY=VALUE\n";

static void parse(int argc, char **argv, struct load_options *options)
{
    int c;

    while ((c = getopt(argc, argv, "a:c:n:d:m:r:t:T:p:q")) != -1) {
        switch (c) {
        case 'a':
            options->address = optarg;
            break;
        case 'c':
            options->connections = atoi(optarg);
            break;
        case 'n':
            options->messages = atol(optarg);
            break;
        case 'd':
            options->duration = atof(optarg);
            break;
        case 'm':
            options->messages_per_connection = atoi(optarg);
            break;
        case 'r':
            options->recipients = atoi(optarg);
            break;
        case 't':
            options->reply_secs = atoi(optarg);
            break;
        case 'T':
            options->total_secs = atoi(optarg);
            break;
        case 'p':
            options->offer = (uint32_t)strtoul(optarg, NULL, 16) & ALL_PROTOCOL;
            break;
        case 'q':
            options->is_terse = true;
            break;
        default:
            options->address = NULL;
            return;
        }
    }
}

int main(int argc, char **argv)
{
    struct load_options options = {.connections = 1,
        .messages_per_connection = 1,
        .recipients = 1,
        .reply_secs = 60,
        .total_secs = 600,
        .messages = 1000,
        .offer = ALL_PROTOCOL};
    struct load_totals totals = {0};

    parse(argc, argv, &options);
    int n_mails = argc - optind;
    if (options.address == NULL || n_mails < 1 || options.connections < 1 ||
        options.messages_per_connection < 1 || options.recipients < 1) {
        fputs(usage, stderr);
        return EXIT_CODE_USAGE;
    }
    struct mail *mails = xcalloc((size_t)n_mails, sizeof *mails);
    for (int i = 0; i < n_mails; i++)
        mail_load(&mails[i], argv[optind + i]);
    load_run(&options, mails, n_mails, &totals);
    load_report(&totals, &options);
    for (int i = 0; i < n_mails; i++)
        buf_clear(&mails[i].raw);
    free(mails);
    return totals.results[LOAD_PROTOCOL_ERROR] + totals.results[LOAD_CLOSED] +
                   totals.results[LOAD_TIMEOUT] >
               0 ||
           totals.begun != totals.done;
}
