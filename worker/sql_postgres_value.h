/* Values on their way to a server of PostgreSQL, and what comes back. */
#ifndef POSTERN_WORKER_SQL_POSTGRES_VALUE_H
#define POSTERN_WORKER_SQL_POSTGRES_VALUE_H

#include "worker/sql.h"
#include "worker/sql_library.h"

/* Parameters as libpq takes them; what they point to is the ask's, or their own. */
struct sql_parameters {
    int n;
    const char **values;
    int *lengths, *formats;
    char (*numbers)[32];
};

void sql_parameters_make(struct sql_parameters *out, const struct sql_ask *ask);
void sql_parameters_clear(struct sql_parameters *parameters);

/* Adds the rows of a result, and the names of its columns before the first. 0 or -ERR_BAD. */
int sql_postgres_take_names(
    const struct sql_library *pq, const PGresult *result, struct sql_ask *ask);
int sql_postgres_take_rows(
    const struct sql_library *pq, const PGresult *result, struct sql_ask *ask);
/* How many rows the command has inserted, changed or deleted; 0 for any other. */
int64_t sql_postgres_affected(const struct sql_library *pq, PGresult *result);

#endif
