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
    return handle != NULL;
}

const struct archive_library *archive_library(void)
{
    static struct archive_library library;
    static bool is_loaded, is_told;
    if (!is_loaded)
        is_loaded = load(&library);
    if (!is_loaded && !is_told)
        log_error("no archive can be listed, since " SONAME " cannot be loaded (package "
                  "libarchive13; worker.address_space, if there is no memory for it): %s",
            dlerror());
    is_told = !is_loaded;
    return is_loaded ? &library : NULL;
}
