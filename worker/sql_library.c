#include "worker/sql_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define LIBRARY_FILE "libpq.so.5" /* no path: that of the system's loader */

/* A function's address, as POSIX has it for dlsym: through an object pointer. */
static int find(void *handle, const char *name, void *function, size_t bytes)
{
    void *address = dlsym(handle, name);
    memcpy(function, &address, bytes);
    return address != NULL ? 0 : -ERR_SYSTEM;
}

/* What a connection is made with is said by the filter, and not by who started the daemon. libpq
 * has no other way to leave the environment out. */
static void forget_environment(const struct sql_library *library)
{
    PQconninfoOption *options = library->conninfoParse("", NULL);
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (o->envvar != NULL)
            unsetenv(o->envvar);
    library->conninfoFree(options);
    static const char *const others[] = {"PGSERVICEFILE", "PGSYSCONFDIR", "PGREQUIRESSL",
        "PGLOCALEDIR", "PGTZ", "PGDATESTYLE", "PGGEQO"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        unsetenv(others[i]);
}

const struct sql_library *sql_library_load(char *why, size_t why_bytes)
{
    static struct sql_library library; /* the functions of a file that stays loaded */
    static bool is_loaded;
    if (is_loaded)
        return &library;
    void *handle = dlopen(LIBRARY_FILE, RTLD_NOW | RTLD_LOCAL);
    int err = handle != NULL ? 0 : -ERR_SYSTEM;
#define F(name) err = err == 0 ? find(handle, "PQ" #name, &library.name, sizeof library.name) : err;
    SQL_LIBRARY_FUNCTIONS(F)
#undef F
    if (err != 0) {
        const char *error = dlerror();
        snprintf(
            why, why_bytes, "%s (Debian: package libpq5)", error != NULL ? error : LIBRARY_FILE);
        return NULL;
    }
    forget_environment(&library);
    is_loaded = true;
    return &library;
}
