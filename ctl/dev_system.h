/*
 * What dev runs on: the filter, the folder with sockets, spool and a configuration file (with which
 * other posternctl commands find the system), the programs beside our own binary and their
 * arguments.
 */
#ifndef POSTERN_CTL_DEV_SYSTEM_H
#define POSTERN_CTL_DEV_SYSTEM_H

#include <stdbool.h>

#include "ctl/args.h"

struct dev_system {
    /* All owned. */
    char *filter, *filter_folder, *filter_name; /* absolute path, and its two parts */
    char *dir;
    bool dir_is_ours; /* made by us: removed at the end */
    char *conf_path;  /* that of -c, or DIR/postern.conf, written by us */
    bool conf_is_ours;
    char *control_socket, *multiplexor_socket, *milter_spec, *spool;
    char **settings; /* "-o" texts for the programs: ours, then those of the command line */
    int n_settings;
    char *program_dir;
};

/* Makes folder and configuration. An exit code; on failure tells why on stderr and leaves nothing.
 */
int dev_system_open(struct dev_system *system, const struct args *args);
/* Removes sockets, rings, spool, our configuration, and the folder when it is ours. */
void dev_system_close(struct dev_system *system);

/* The command line of a program, malloc'd, each word too; NULL at the end. */
char **dev_system_argv(const struct dev_system *system, const char *program);
/* From now on milterd is told this socket, which has the real port; *argv is made anew. */
void dev_system_keep_port(struct dev_system *system, char ***argv, const char *spec);

#endif
