/*
 * libcurl, loaded when a filter asks for postern.http and not before: it brings some thirty
 * libraries with it, and neither a filter that does not use it nor posternctl shall pay for them.
 */
#ifndef POSTERN_WORKER_HTTP_LIBRARY_H
#define POSTERN_WORKER_HTTP_LIBRARY_H

#include <curl/curl.h>
#include <stddef.h>

/* What is called of it, without "curl_". */
#define HTTP_LIBRARY_FUNCTIONS(F)                                                                  \
    F(easy_cleanup)                                                                                \
    F(easy_getinfo)                                                                                \
    F(easy_init)                                                                                   \
    F(easy_setopt)                                                                                 \
    F(easy_strerror)                                                                               \
    F(free)                                                                                        \
    F(global_init)                                                                                 \
    F(multi_add_handle)                                                                            \
    F(multi_assign)                                                                                \
    F(multi_cleanup)                                                                               \
    F(multi_info_read)                                                                             \
    F(multi_init)                                                                                  \
    F(multi_remove_handle)                                                                         \
    F(multi_setopt)                                                                                \
    F(multi_socket_action)                                                                         \
    F(slist_append)                                                                                \
    F(slist_free_all)                                                                              \
    F(url)                                                                                         \
    F(url_cleanup)                                                                                 \
    F(url_get)                                                                                     \
    F(url_set)

struct http_library {
#define F(name) __typeof__(curl_##name) *name;
    HTTP_LIBRARY_FUNCTIONS(F)
#undef F
};

/* Loads it, once in a process, for as long as that lives. 0, or -ERR_SYSTEM with why. */
int http_library_load(struct http_library *library, char *why, size_t why_bytes);

#endif
