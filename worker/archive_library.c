/* Finds libarchive's functions when the first archive is met. */
#include "worker/archive_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/log.h"

/* The one whose headers we are built with. */
#define SONAME "libarchive.so.13"

static const struct {
    const char *name;
    size_t offset;
} rows[] = {
#define FUNCTION(name) {#name, offsetof(struct archive_library, name)},
    ARCHIVE_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

static bool load(struct archive_library *out)
{
    void *handle = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL); /* stays until the process ends */
    for (size_t i = 0; handle != NULL && i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *function = dlsym(handle, rows[i].name);
        if (function == NULL)
            handle = NULL;
        else /* POSIX lets a function's address pass through void *; C has no cast for it */
            memcpy((char *)out + rows[i].offset, &function, sizeof(function));
    }
    if (handle == NULL)
        log_error("no archive can be listed: %s", dlerror());
    return handle != NULL;
}

const struct archive_library *archive_library(void)
{
    static struct archive_library library;
    static enum { UNTRIED = 0, LOADED, MISSING } state;
    if (state == UNTRIED)
        state = load(&library) ? LOADED : MISSING;
    return state == LOADED ? &library : NULL;
}
