/*
 * What sendmail.cf says about mail filters, and the same read from a sendmail.mc: lines of options
 * and filters as one kind of data. Bounded: a file that is no configuration gives nonsense, never
 * more.
 */
#ifndef POSTERN_CTL_SENDMAIL_FILE_H
#define POSTERN_CTL_SENDMAIL_FILE_H

struct sendmail_file {
    struct {
        char *name, *equates; /* "postern", "S=unix:…, F=T" */
    } filters[64];
    int n_filters;
    char *daemons[32]; /* DaemonPortOptions */
    int n_daemons;
    char *inputs;                            /* InputMailFilters: names in order; NULL: not set */
    char *max_message, *run_as, *dont_blame; /* NULL: not set */
    char *macros[7]; /* Milter.macros.*: connect, helo, envfrom, envrcpt, data, eoh, eom; NULL: not
                        set */
};

enum { SENDMAIL_N_MACROS = 7 };

/* Parse the text of a .cf or of a .mc; text is consumed. Clear afterwards. */
void sendmail_file_parse_cf(struct sendmail_file *file, char *text);
void sendmail_file_parse_mc(struct sendmail_file *file, char *text);
void sendmail_file_clear(struct sendmail_file *file);

/* The value of an equate ("S", "InputMailFilters") in a list separated by commas. Malloc'd; NULL:
 * not there. */
char *sendmail_equate(const char *equates, const char *key);

#endif
