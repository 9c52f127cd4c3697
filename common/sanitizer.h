/* Which sanitizers this build has: they map terabytes, read /proc, and make calls that no list of ours has. */
#ifndef POSTERN_SANITIZER_H
#define POSTERN_SANITIZER_H

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZER_HAS_ADDRESS 1
#elif __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZER_HAS_OTHER 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER_HAS_ADDRESS 1
#endif
#ifdef __SANITIZE_THREAD__
#define SANITIZER_HAS_OTHER 1
#endif
#ifndef SANITIZER_HAS_ADDRESS
#define SANITIZER_HAS_ADDRESS 0
#endif
#ifndef SANITIZER_HAS_OTHER
#define SANITIZER_HAS_OTHER 0
#endif
#define SANITIZER_HAS_ANY (SANITIZER_HAS_ADDRESS || SANITIZER_HAS_OTHER)

#endif
