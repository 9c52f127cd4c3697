/* A connection to a file of SQLite, as a driver of sql.h. */
#ifndef POSTERN_WORKER_SQL_SQLITE_H
#define POSTERN_WORKER_SQL_SQLITE_H

#include "worker/sql.h"

/* Opens nothing yet. path: absolute; copied. Never NULL. */
struct sql_link *sql_sqlite_new(const char *path, bool is_read_only, bool may_create);

#endif
