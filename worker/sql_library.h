/*
 * libpq, loaded when a filter opens a data base of PostgreSQL and not before: it brings Kerberos
 * and LDAP with it, and a filter that does not use it shall not pay for them.
 */
#ifndef POSTERN_WORKER_SQL_LIBRARY_H
#define POSTERN_WORKER_SQL_LIBRARY_H

#include <libpq-fe.h>
#include <stddef.h>

/* What is called of it, without "PQ". */
#define SQL_LIBRARY_FUNCTIONS(F)                                                                   \
    F(clear)                                                                                       \
    F(cmdStatus)                                                                                   \
    F(cmdTuples)                                                                                   \
    F(connectPoll)                                                                                 \
    F(connectStartParams)                                                                          \
    F(conninfoFree)                                                                                \
    F(conninfoParse)                                                                               \
    F(consumeInput)                                                                                \
    F(errorMessage)                                                                                \
    F(finish)                                                                                      \
    F(flush)                                                                                       \
    F(fname)                                                                                       \
    F(freemem)                                                                                     \
    F(ftype)                                                                                       \
    F(getResult)                                                                                   \
    F(getisnull)                                                                                   \
    F(getlength)                                                                                   \
    F(getssl)                                                                                      \
    F(getvalue)                                                                                    \
    F(isBusy)                                                                                      \
    F(nfields)                                                                                     \
    F(ntuples)                                                                                     \
    F(resultErrorField)                                                                            \
    F(resultStatus)                                                                                \
    F(sendPrepare)                                                                                 \
    F(sendQueryParams)                                                                             \
    F(sendQueryPrepared)                                                                           \
    F(setNoticeReceiver)                                                                           \
    F(setSingleRowMode)                                                                            \
    F(setnonblocking)                                                                              \
    F(socket)                                                                                      \
    F(status)                                                                                      \
    F(transactionStatus)                                                                           \
    F(unescapeBytea)

struct sql_library {
#define F(name) __typeof__(PQ##name) *name;
    SQL_LIBRARY_FUNCTIONS(F)
#undef F
};

/* Loads it, once in a process, for as long as that lives; the environment's settings for it (PGHOST
 * and the like) are removed. NULL, and why. */
const struct sql_library *sql_library_load(char *why, size_t why_bytes);

#endif
