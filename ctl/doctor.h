/*
 * posternctl doctor: what its checks share. A check looks at one thing, says what it found by
 * doctor_say (at least one finding, however fine), and changes nothing. The rows are in
 * doctor_checks.def.
 */
#ifndef POSTERN_CTL_DOCTOR_H
#define POSTERN_CTL_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

#include "common/conf.h"
#include "common/sock.h"
#include "ctl/args.h"

enum doctor_grade { DOCTOR_OK = 0, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_PROBLEM, DOCTOR_N_GRADES };

/* What a check cannot do without; it is left out when one of these is not there. */
enum doctor_need { DOCTOR_ANY = 0, DOCTOR_CONF = 1, DOCTOR_SERVER = 2, DOCTOR_MTA = 4 };

struct mta;
struct units;

struct doctor {
    const struct args *args;
    struct conf *conf;       /* NULL: it cannot be read, conf_error says why */
    char *conf_error;        /* malloc'd, or NULL */
    const char *conf_path;   /* NULL: no file, the defaults */
    struct sock_spec milter; /* milterd.socket; set when conf is */
    json_t *status;          /* of the running server; NULL: none answers */
    int status_error;        /* then why: -ERR_… */
    struct mta *mtas;        /* those found; see doctor_mta.h */
    int n_mtas;
    struct mta *mta;     /* the one that the check which runs looks at, or NULL */
    struct units *units; /* the service units found, or NULL; see doctor_units.h */
    const char *check;   /* the name of the check that runs */
    json_t *findings;
    int n[DOCTOR_N_GRADES];
};

/*
 * Says what the running check found.
 *
 * mend    how to mend it, borrowed; NULL when there is nothing to mend.
 * format  one sentence without a full stop; names what was looked at.
 */
void doctor_say(struct doctor *doctor, enum doctor_grade grade, const char *mend,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

enum { DOCTOR_FILE_MAX = 1 << 20, DOCTOR_VALUE_MAX = 512 };

/*
 * Reads a text file of at most DOCTOR_FILE_MAX bytes; NUL bytes become blanks. /proc's files are
 * fine. Returns 0 and a malloc'd text, -ERR_NOTFOUND, -ERR_TOOBIG, -ERR_BAD (no plain file) or
 * -ERR_SYSTEM with errno.
 */
int doctor_read_file(const char *path, char **text_out);
/* The first number in a file such as /proc/sys/vm/overcommit_memory; -1 when there is none ("max"
 * too). */
int64_t doctor_read_number(const char *path);
/* The number behind a label at the start of a line ("MemAvailable:"); -1 when it is not there. */
int64_t doctor_find_number(const char *text, const char *label);
/* "192M", "1.9G", for findings. */
void doctor_bytes_text(char *out, size_t out_bytes, int64_t bytes);
/* "30s", "250ms", "4m". */
void doctor_time_text(char *out, size_t out_bytes, int64_t ms);

#define CHECK(name, function, needs, looks_at) void function(struct doctor *doctor);
#include "ctl/doctor_checks.def"
#undef CHECK

#endif
