/*
 * Error codes that functions of every module return as negative numbers (0 is success), and their texts.
 * ERR_SYSTEM means "look at errno".
 */
#ifndef POSTERN_ERR_H
#define POSTERN_ERR_H

enum err {
    ERR_NONE = 0,
    ERR_SYSTEM,   /* a system call failed; errno says why */
    ERR_PEER,     /* the other end is gone */
    ERR_AGAIN,    /* nothing there yet, or no room yet; try later */
    ERR_TIMEOUT,  /* the deadline passed */
    ERR_SHORT,    /* input ends before what it promises */
    ERR_TRAILING, /* input goes on after its end */
    ERR_BAD,      /* malformed input */
    ERR_TOOBIG,   /* over a limit */
    ERR_VERSION,  /* the other end speaks another major version */
    ERR_DENIED,   /* the peer may not do this */
    ERR_NOTFOUND, /* no such thing */
    ERR_IN_USE,   /* somebody else holds it */
    ERR_RANGE,    /* a number out of range */
    ERR_COUNT,
};

/*
 * Names an error for a log line ("message malformed", "peer gone" …).
 *
 * err  0, or an enum err, positive or negative. For ERR_SYSTEM the text is strerror(errno) at the time of the call.
 *
 * Returns a borrowed text; for ERR_SYSTEM it lives until the thread's next call.
 */
const char *err_text(int err);

#endif
