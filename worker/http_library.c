#include "worker/http_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"

#define LIBRARY_FILE "libcurl.so.4" /* no path: that of the system's loader */

/* A function's address, as POSIX has it for dlsym: through an object pointer. */
static int find(void *handle, const char *name, void *function, size_t bytes)
{
    void *address = dlsym(handle, name);
    memcpy(function, &address, bytes);
    return address != NULL ? 0 : -ERR_SYSTEM;
}

int http_library_load(struct http_library *library, char *why, size_t why_bytes)
{
    void *handle = dlopen(LIBRARY_FILE, RTLD_NOW | RTLD_LOCAL);
    int err = handle != NULL ? 0 : -ERR_SYSTEM;
#define F(name)                                                                                    \
    err = err == 0 ? find(handle, "curl_" #name, &library->name, sizeof library->name) : err;
    HTTP_LIBRARY_FUNCTIONS(F)
#undef F
    if (err != 0) {
        const char *error = dlerror();
        snprintf(why, why_bytes, "%s", error != NULL ? error : LIBRARY_FILE);
        return err;
    }
    if (library->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(why, why_bytes, "%s: it cannot be set up", LIBRARY_FILE);
        return -ERR_SYSTEM;
    }
    return 0;
}
