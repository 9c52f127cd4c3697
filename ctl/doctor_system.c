/* The checks of the machine: memory, limits, the kernel. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/err.h"
#include "common/landlock.h"
#include "common/proc.h"
#include "common/text.h"
#include "ctl/doctor.h"
#include "ctl/doctor_units.h"
#include "ctl/doctor_users.h"

/* Sealed maps (F_SEAL_FUTURE_WRITE) are of 5.1, close_range of 5.9. */
enum { KERNEL_MAJOR = 5, KERNEL_MINOR = 9, THREADS_OTHER = 8, PATH_BYTES = 4200 };

static int64_t server_pid(const struct doctor *doctor)
{
    return json_integer_value(json_object_get(doctor->status, "pid"));
}

/* The control group of the running multiplexor below /sys/fs/cgroup (version 2); false when there
 * is none. */
static bool server_cgroup(const struct doctor *doctor, char *out, size_t out_bytes)
{
    char path[64], *text = NULL;
    snprintf(path, sizeof(path), "/proc/%lld/cgroup", (long long)server_pid(doctor));
    if (server_pid(doctor) <= 0 || doctor_read_file(path, &text) != 0) {
        return false;
    }
    const char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
    if (line != NULL) {
        line = strstr(line, "0::/") + 3;
        snprintf(out, out_bytes, "/sys/fs/cgroup%.*s", (int)strcspn(line, "\n"), line);
    }
    free(text);
    return line != NULL;
}

/* The least limit of the server's control group and those above it; -1: none. */
static int64_t cgroup_limit(const struct doctor *doctor, const char *file)
{
    static const size_t root_len = sizeof("/sys/fs/cgroup") - 1;
    char folder[PATH_BYTES], path[PATH_BYTES + 32];
    int64_t least = -1;
    if (!server_cgroup(doctor, folder, sizeof(folder))) {
        return -1;
    }
    for (;;) {
        snprintf(path, sizeof(path), "%s/%s", folder, file);
        int64_t limit = doctor_read_number(path);
        least = limit >= 0 && (least < 0 || limit < least) ? limit : least;
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root_len) {
            return least;
        }
        *slash = 0;
    }
}

struct memory {
    int64_t total, available; /* bytes; -1: unknown */
    bool is_group;            /* total is the control group's limit */
};

static void read_memory(const struct doctor *doctor, struct memory *out)
{
    char *text = NULL;
    *out = (struct memory){-1, -1, false};
    if (doctor_read_file("/proc/meminfo", &text) == 0) {
        int64_t total_kb = doctor_find_number(text, "MemTotal:"),
                available_kb = doctor_find_number(text, "MemAvailable:");
        out->total = total_kb >= 0 ? total_kb * 1024 : -1;
        out->available = available_kb >= 0 ? available_kb * 1024 : -1;
    }
    free(text);
    int64_t limit = cgroup_limit(doctor, "memory.max");
    if (limit >= 0 && (out->total < 0 || limit < out->total)) {
        out->total = limit;
        out->is_group = true;
    }
}

/* False: too little, and that has been said. */
static bool workers_fit(struct doctor *doctor, const struct memory *memory, const char *total)
{
    const struct conf *conf = doctor->conf;
    int64_t each = conf->multiplexor.recycle_memory > 0 ? conf->multiplexor.recycle_memory
                                                        : conf->worker.lua_memory;
    int64_t least = conf->multiplexor.min_workers * conf->worker.lua_memory,
            most = conf->multiplexor.max_workers * each;
    char text[32];
    if (least > memory->total) {
        doctor_bytes_text(text, sizeof(text), least);
        doctor_say(doctor, DOCTOR_PROBLEM, "lower multiplexor.min_workers or worker.lua_memory",
            "min_workers x lua_memory is %s, and the %s has %s", text,
            memory->is_group ? "control group" : "machine", total);
        return false;
    }
    if (most > memory->total) {
        doctor_bytes_text(text, sizeof(text), most);
        doctor_say(doctor, DOCTOR_WARNING, "lower multiplexor.max_workers or recycle_memory",
            "%" PRId64 " workers of %s each may take %s, and the %s has %s",
            conf->multiplexor.max_workers,
            conf->multiplexor.recycle_memory > 0 ? "recycle_memory" : "lua_memory", text,
            memory->is_group ? "control group" : "machine", total);
        return false;
    }
    return true;
}

void check_memory(struct doctor *doctor)
{
    struct memory memory;
    char total[32], available[32], parcels[32];
    read_memory(doctor, &memory);
    if (memory.total < 0) {
        doctor_say(doctor, DOCTOR_NOTE, NULL, "/proc/meminfo cannot be read");
        return;
    }
    doctor_bytes_text(total, sizeof(total), memory.total);
    doctor_bytes_text(available, sizeof(available), memory.available);
    int64_t in_parcels =
        doctor->conf->milterd.max_connections * doctor->conf->milterd.parcel_memory;
    doctor_bytes_text(parcels, sizeof(parcels), in_parcels);
    if (workers_fit(doctor, &memory, total)) {
        doctor_say(doctor, DOCTOR_OK, NULL, "%" PRId64 " workers fit into %s, %s of it available",
            doctor->conf->multiplexor.max_workers, total,
            memory.available >= 0 ? available : "unknown how much");
    }
    if (in_parcels > memory.total) {
        doctor_say(doctor, DOCTOR_NOTE,
            "lower milterd.max_connections or parcel_memory, if many large messages may come at "
            "once",
            "messages may take %s if %" PRId64 " connections each bring one of parcel_memory",
            parcels, doctor->conf->milterd.max_connections);
    }
}

/* A hard limit of the running multiplexor ("Max open files"), else our own; -1: none. */
static int64_t hard_limit(
    const struct doctor *doctor, const char *label, __rlimit_resource_t resource)
{
    char path[64], *text = NULL;
    struct rlimit own;
    int64_t limit = getrlimit(resource, &own) == 0 && own.rlim_max != RLIM_INFINITY
                        ? (int64_t)own.rlim_max
                        : -1;
    snprintf(path, sizeof(path), "/proc/%lld/limits", (long long)server_pid(doctor));
    if (server_pid(doctor) > 0 && doctor_read_file(path, &text) == 0) {
        const char *line = strstr(text, label);
        long long soft, hard;
        if (line != NULL) {
            limit = sscanf(line + strlen(label), "%lld %lld", &soft, &hard) == 2 ? hard : -1;
        }
    }
    free(text);
    return limit;
}

/* The unit's setting in place of what we see here; "infinity" is none. */
static int64_t unit_limit(
    const struct doctor *doctor, enum unit unit, const char *key, int64_t otherwise)
{
    const char *text = units_get(doctor->units, unit, key);
    int64_t limit;
    if (text == NULL) {
        return otherwise;
    }
    return text_to_i64(text, 0, INT64_MAX, &limit) == 0 ? limit : -1;
}

static void look_at_limit(struct doctor *doctor, const char *daemon, int64_t limit, int64_t wanted,
    const char *mend, const char *what)
{
    if (limit >= 0 && limit < wanted) {
        doctor_say(doctor, DOCTOR_WARNING, mend,
            "%s may have %" PRId64 " %s, and needs up to %" PRId64, daemon, limit, what, wanted);
    } else if (limit >= 0) {
        doctor_say(doctor, DOCTOR_OK, NULL,
            "%s may have %" PRId64 " %s of the %" PRId64 " it may need", daemon, limit, what,
            wanted);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s may have any number of %s", daemon, what);
    }
}

void check_descriptors(struct doctor *doctor)
{
    const struct conf *conf = doctor->conf;
    int64_t milterd =
        conf->milterd.max_connections * PROC_MILTERD_FDS_EACH + PROC_MILTERD_FDS_RESERVE;
    int64_t mux = conf->multiplexor.max_clients * PROC_MUX_FDS_PER_CLIENT +
                  conf->multiplexor.max_workers * PROC_MUX_FDS_PER_WORKER + PROC_MUX_FDS_OTHER;
    int64_t here = hard_limit(doctor, "Max open files", RLIMIT_NOFILE);
    struct access_user user;
    users_of(doctor, USERS_MILTERD, &user);
    if (user.uid == 0) {
        doctor_say(doctor, DOCTOR_OK, NULL,
            "the daemons start as root and raise their limit of descriptors themselves");
        return;
    }
    look_at_limit(doctor, "postern-milterd", unit_limit(doctor, UNIT_MILTERD, "LimitNOFILE", here),
        milterd, "raise LimitNOFILE= (or ulimit -n), or lower milterd.max_connections",
        "descriptors");
    look_at_limit(doctor, "postern-multiplexor",
        unit_limit(doctor, UNIT_MULTIPLEXOR, "LimitNOFILE", here), mux,
        "raise LimitNOFILE= (or ulimit -n), or lower multiplexor.max_clients", "descriptors");
}

/* The lesser of two limits of which -1 is none. */
static int64_t lesser(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

void check_processes(struct doctor *doctor)
{
    const struct conf *conf = doctor->conf;
    int64_t threads = conf->milterd.max_connections + THREADS_OTHER;
    int64_t workers =
        conf->multiplexor.max_workers * 2 + THREADS_OTHER; /* two generations during a reload */
    int64_t per_user = hard_limit(doctor, "Max processes", RLIMIT_NPROC);
    int64_t group = cgroup_limit(doctor, "pids.max");
    struct access_user user;
    users_of(doctor, USERS_MILTERD, &user);
    per_user = user.uid == 0 ? -1 : per_user; /* root is not held to it */
    look_at_limit(doctor, "postern-milterd",
        lesser(per_user, unit_limit(doctor, UNIT_MILTERD, "TasksMax", -1)), threads + workers,
        "raise TasksMax= and LimitNPROC=, or lower milterd.max_connections",
        "threads (and workers)");
    look_at_limit(doctor, "postern-multiplexor",
        lesser(group, unit_limit(doctor, UNIT_MULTIPLEXOR, "TasksMax", -1)), workers,
        "raise TasksMax=, or lower multiplexor.max_workers", "processes");
}

/* Which of the things that parcels need is missing; NULL: none. */
static const char *missing_of_memory_files(void)
{
    int fd = memfd_create("postern-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *missing = NULL;
    if (fd < 0) {
        return "memory files (memfd_create)";
    }
    if (ftruncate(fd, 4096) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) != 0) {
        missing = "seals of memory files (F_SEAL_FUTURE_WRITE)";
    }
    close(fd);
    return missing;
}

void check_kernel(struct doctor *doctor)
{
    struct utsname name;
    int major = 0, minor = 0;
    const char *missing = missing_of_memory_files();
    if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2) {
        doctor_say(doctor, DOCTOR_NOTE, NULL, "the kernel does not tell its version");
        return;
    }
    int before = doctor->n[DOCTOR_PROBLEM] + doctor->n[DOCTOR_WARNING];
    if (missing != NULL) {
        doctor_say(doctor, DOCTOR_PROBLEM, "Linux 5.9 or newer; a container may forbid them",
            "the kernel has no %s", missing);
    }
    if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR)) {
        doctor_say(doctor, DOCTOR_WARNING, "Linux 5.9 or newer",
            "kernel %s is older than what Postern is tested with", name.release);
    }
    if (doctor_read_number("/proc/sys/vm/overcommit_memory") == 2) {
        doctor_say(doctor, DOCTOR_WARNING,
            "sysctl vm.overcommit_memory=0, or lower milterd.max_connections and parcel_memory",
            "vm.overcommit_memory is 2: each parcel counts with its whole parcel_memory, each "
            "worker with its parent's");
    }
    if (doctor->n[DOCTOR_PROBLEM] + doctor->n[DOCTOR_WARNING] == before) {
        doctor_say(doctor, DOCTOR_OK, NULL, "Linux %s, with sealed memory files", name.release);
    }
}

/* NULL: it can be in force. */
static const char *missing_of_seccomp(void)
{
    unsigned action = SECCOMP_RET_ERRNO;
    if (confine_no_seccomp() != NULL) {
        return confine_no_seccomp();
    }
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0U, &action) == 0 ? NULL
                                                                            : "not in this kernel";
}

static void look_at_part(struct doctor *doctor, const char *option, enum sandbox_mode mode,
    const char *part, const char *missing)
{
    if (mode == SANDBOX_OFF) {
        doctor_say(doctor, DOCTOR_WARNING, "set it to available", "%s = off: %s is not used",
            option, part);
    } else if (missing != NULL) {
        doctor_say(doctor, mode == SANDBOX_REQUIRED ? DOCTOR_PROBLEM : DOCTOR_WARNING,
            mode == SANDBOX_REQUIRED ? "a kernel that has it, or set the option to available"
                                     : "a kernel that has it (boot with lsm=landlock,...)",
            "%s = %s: %s: %s", option, mode == SANDBOX_REQUIRED ? "required" : "available", part,
            missing);
    } else {
        doctor_say(doctor, DOCTOR_OK, NULL, "%s: %s can be in force", option, part);
    }
}

void check_sandbox(struct doctor *doctor)
{
    const struct conf *conf = doctor->conf;
    char landlock[64];
    int abi = landlock_abi();
    const char *seccomp = missing_of_seccomp(),
               *in_force = json_string_value(json_object_get(doctor->status, "sandbox"));
    snprintf(landlock, sizeof(landlock), "Landlock (ABI %d)", abi);
    look_at_part(doctor, "worker.sandbox", conf->worker.sandbox, landlock,
        abi > 0 ? NULL : "not in this kernel, or switched off");
    look_at_part(doctor, "worker.sandbox", conf->worker.sandbox, "seccomp", seccomp);
    look_at_part(doctor, "multiplexor.sandbox", conf->multiplexor.sandbox, "seccomp", seccomp);
    look_at_part(doctor, "milterd.sandbox", conf->milterd.sandbox, "seccomp", seccomp);
    if (in_force != NULL) {
        doctor_say(doctor, DOCTOR_OK, NULL, "the running workers have: %s", in_force);
    }
}
