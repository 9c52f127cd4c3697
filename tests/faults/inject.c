/*
 * Preloaded into a daemon and, by it, into its workers: makes one call of a library function fail,
 * as the kernel or the allocator would. Which one, in which kind of process, with what, and at its
 * how-manieth time is in a mapped file that the test writes (injector.py), as are the counts of all
 * calls. POSTERN_INJECT names the file. Calls that a library makes within itself are not met, those
 * between libraries and to the C library are.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum how { MINUS_1, NUL, NUMBER, LATE };
enum { MILTERD = 0, MULTIPLEXOR, NURSERY, WORKER, ROLES, NOBODY = -1 };
enum { SHORT = -1, LENGTH_ARGUMENT = 2, HELLO_TYPE = 1, HELLO_BYTES = 20 };

#define ALLOCATION CALL
enum call {
#define CALL(name, how, errors) CALL_##name,
#include "inject.def"
#undef CALL
    CALLS
};

static const enum how hows[] = {
#define CALL(name, how, errors) how,
#include "inject.def"
#undef CALL
};

static const char *const names[] = {
#define CALL(name, how, errors) #name,
#include "inject.def"
#undef CALL
};
#undef ALLOCATION

/* The mapped file; all zeros at first. */
struct control {
    atomic_int is_armed;
    int role, call, error; /* error: an errno, or SHORT */
    atomic_int countdown;  /* calls left until it begins to fail */
    int n_times;           /* that it fails */
    atomic_int n_fired;
    int shifts[ROLES]; /* by how much a program's protocol is newer, see shift() */
    atomic_uint counts[ROLES][CALLS];
};

typedef long function(long, ...);

static struct control *control;
static int start_role = NOBODY;
static pid_t start_pid;

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);

static function *real(enum call call)
{
    static function *found[CALLS];
    if (found[call] == NULL) {
        *(void **)&found[call] = dlsym(RTLD_NEXT, names[call]);
    }
    return found[call];
}

__attribute__((constructor)) static void begin(void)
{
    static const char *const programs[] = {
        "postern-milterd", "postern-multiplexor", "postern-worker"};
    const char *path = getenv("POSTERN_INJECT");
    for (int i = 0; path != NULL && i < 3; i++) {
        if (strcmp(program_invocation_short_name, programs[i]) == 0) {
            start_role = i;
        }
    }
    if (start_role == NOBODY) {
        return;
    }
    start_pid = getpid();
    long fd = real(CALL_open)((long)path, (long)O_RDWR, 0L);
    long at = real(CALL_mmap)(
        0L, (long)sizeof *control, (long)(PROT_READ | PROT_WRITE), (long)MAP_SHARED, fd, 0L);
    control = at == -1 ? NULL : (struct control *)at;
    real(CALL_close)(fd);
}

/* A worker is a nursery's fork; what a nursery's parent was before the exec is the multiplexor. */
static int role_now(void)
{
    return start_role == NURSERY && getpid() != start_pid ? WORKER : start_role;
}

/* 0, or what this call fails with. */
static int fault_of(enum call call)
{
    int role = control != NULL ? role_now() : NOBODY;
    if (role == NOBODY) {
        return 0;
    }
    atomic_fetch_add(&control->counts[role][call], 1);
    if (!atomic_load(&control->is_armed) || control->role != role || control->call != (int)call) {
        return 0;
    }
    int left = atomic_fetch_sub(&control->countdown, 1);
    if (left > 0 || left <= -control->n_times) {
        return 0;
    }
    atomic_fetch_add(&control->n_fired, 1);
    return control->error;
}

static long failed(enum call call, int error)
{
    errno = error;
    return hows[call] == NUMBER ? error : hows[call] == NUL ? 0 : -1;
}

/* Records are whole or not at all: only streams and files come in pieces. */
static bool can_be_short(const long *a)
{
    int type = 0;
    socklen_t bytes = sizeof type;
    int saved = errno;
    bool is_socket = (int)real(CALL_getsockopt)(
                         a[0], (long)SOL_SOCKET, (long)SO_TYPE, (long)&type, (long)&bytes) == 0;
    errno = saved;
    return a[LENGTH_ARGUMENT] > 1 && (!is_socket || type != SOCK_SEQPACKET);
}

/*
 * A program of another major version: its HELLO says so, and those of its peers look to it as they
 * would to such a program, being as much older.
 */
static void shift(const struct msghdr *message, long bytes, int by)
{
    unsigned char *record = message->msg_iovlen > 0 ? message->msg_iov[0].iov_base : NULL;
    if (record == NULL || bytes < HELLO_BYTES || record[4] != 0 || record[5] != HELLO_TYPE) {
        return;
    }
    unsigned major = ((unsigned)record[0] << 8 | record[1]) + (unsigned)by;
    record[0] = (unsigned char)(major >> 8);
    record[1] = (unsigned char)major;
}

static long call_real(enum call call, const long *a, long length)
{
    int role = control != NULL ? role_now() : NOBODY;
    int by = role != NOBODY ? control->shifts[role] : 0;
    const struct msghdr *message = (const void *)(uintptr_t)a[1];
    if (by != 0 && call == CALL_sendmsg) {
        shift(message, (long)message->msg_iov[0].iov_len, by);
    }
    long result = real(call)(a[0], a[1], length, a[3], a[4], a[5], a[6]);
    if (by != 0 && call == CALL_recvmsg) {
        shift(message, result, -by);
    }
    return result;
}

static long run(enum call call, const long *a)
{
    int error = fault_of(call);
    if (error > 0 && hows[call] != LATE) {
        return failed(call, error);
    }
    bool is_short = error == SHORT && can_be_short(a);
    long result = call_real(call, a, is_short ? 1 : a[LENGTH_ARGUMENT]);
    return error > 0 ? failed(call, error) : result;
}

/* Of the same name for the linker; whatever the real arguments are, seven words hold them. */
#define CALL(name, how, errors)                                                                    \
    long wrap_##name(long, long, long, long, long, long, long) __asm__(#name);                     \
    long wrap_##name(long a, long b, long c, long d, long e, long f, long g)                       \
    {                                                                                              \
        return run(CALL_##name, (const long[]){a, b, c, d, e, f, g});                              \
    }
#define ALLOCATION(name, how, errors)
#include "inject.def"

static bool has_failed(enum call call)
{
    int error = fault_of(call);
    errno = error > 0 ? error : errno;
    return error > 0;
}

void *malloc(size_t bytes)
{
    return has_failed(CALL_malloc) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    return has_failed(CALL_calloc) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    return has_failed(CALL_realloc) ? NULL : __libc_realloc(p, bytes);
}
