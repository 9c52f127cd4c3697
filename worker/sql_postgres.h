/* A connection to a server of PostgreSQL, as a driver of sql.h, by libpq's interface that does not
 * wait. libpq resolves no name here: hostaddr, or the folder of a UNIX socket, is the caller's to
 * say. */
#ifndef POSTERN_WORKER_SQL_POSTGRES_H
#define POSTERN_WORKER_SQL_POSTGRES_H

#include "worker/sql.h"
#include "worker/sql_library.h"

/*
 * Opens nothing yet.
 *
 * keywords, values   as of PQconnectStartParams, NULL at their end; copied.
 * keeps_prepared     false: no statement is kept, since a pooler stands between.
 *
 * Never NULL.
 */
struct sql_link *sql_postgres_new(const struct sql_library *library, const char *const *keywords,
    const char *const *values, bool keeps_prepared);

#endif
