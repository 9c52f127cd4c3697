/*
 * A mail server's side, as its configuration has it: what doctor_postfix.c and doctor_sendmail.c
 * find, and the checks in doctor_mta.c compare with ours. The files are another program's: nothing
 * in them is taken for granted.
 */
#ifndef POSTERN_CTL_DOCTOR_MTA_H
#define POSTERN_CTL_DOCTOR_MTA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hook.h"
#include "common/sock.h"

struct doctor;

enum mta_kind { MTA_POSTFIX = 0, MTA_SENDMAIL };

enum mta_failure { MTA_FAILS_TEMPFAIL = 0, MTA_FAILS_REJECT, MTA_FAILS_ACCEPT, MTA_FAILS_OTHER };

enum mta_time { MTA_TIME_CONNECT = 0, MTA_TIME_COMMAND, MTA_TIME_END, MTA_N_TIMES };

/* One milter on one way into the mail server. */
struct mta_milter {
    char *where; /* "smtpd_milters", "smtpd_milters of submission in master.cf", "Xpostern" */
    char *spec;  /* as written there */
    struct sock_spec
        sock; /* as the mail server understands it, chroot and queue folder put before a path */
    bool is_valid; /* sock is set */
    bool is_ours;
    bool is_chrooted;       /* a path is looked up in the queue folder */
    bool is_outside_chroot; /* ours by its text, but not to be seen from there */
    enum mta_failure failure;
    char *failure_text; /* "milter_default_action = accept", "no F= in Xpostern" */
    int64_t times_ms[MTA_N_TIMES];
    int protocol; /* 0: as the mail server pleases */
};

/* A way into the mail server. */
struct mta_way {
    char *name;      /* "smtpd at 25", "non_smtpd_milters" */
    bool is_network; /* strangers' mail comes this way */
    int n_ours;      /* how often it names our socket */
};

enum { MTA_MILTERS_MAX = 64, MTA_WAYS_MAX = 64, MTA_MACRO_TEXTS_MAX = 16 };

struct mta {
    enum mta_kind kind;
    const char *name;      /* "Postfix", "sendmail" */
    char *path;            /* the file that was read */
    char *error;           /* malloc'd: why it could not be; NULL: it could */
    char *user;            /* that connects to milters */
    char *queue_dir;       /* Postfix's; NULL: none */
    bool may_group_write;  /* sendmail takes a socket below folders that a group may write to */
    bool is_older_than_mc; /* sendmail.cf was not built since sendmail.mc was changed */
    int64_t max_message;   /* bytes; 0: no limit */
    const char *size_name; /* "message_size_limit" */
    const char *time_names[MTA_N_TIMES];
    struct mta_milter milters[MTA_MILTERS_MAX];
    int n_milters;
    struct mta_way ways[MTA_WAYS_MAX];
    int n_ways;
    struct {
        enum stage stage;
        char *name, *text;
    } macros[MTA_MACRO_TEXTS_MAX]; /* lists that are set in the configuration */
    int n_macros;
};

/* Looks for mail servers: those of --postfix and --sendmail, else those in their usual places;
 * fills doctor->mtas. */
void mta_look(struct doctor *doctor);
void mta_free(struct mta *mtas, int n);

/* Adds a milter by its text; NULL when there are too many. The members after is_chrooted are the
 * caller's to set. */
struct mta_milter *mta_add_milter(struct mta *mta, const struct doctor *doctor, const char *where,
    const char *spec, bool is_chrooted);
void mta_add_way(struct mta *mta, const char *name, bool is_network, int n_ours);
void mta_add_macros(struct mta *mta, enum stage stage, const char *name, const char *text);

/*
 * "30s", "5m", "1h", "2d", "1w" or a bare number of unit_ms milliseconds. Returns milliseconds, or
 * -1.
 */
int64_t mta_time_from_text(const char *text, int64_t unit_ms);

/* Reads main.cf and master.cf of a folder; on failure sets mta->error. */
void postfix_read(struct mta *mta, const struct doctor *doctor, const char *dir);
/* Reads a sendmail.cf, or a file that ends in .mc. */
void sendmail_read(struct mta *mta, const struct doctor *doctor, const char *path);

#endif
