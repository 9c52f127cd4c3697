/* Debian 12's headers know ABI 2; the numbers of later ones are the kernel's own, which never
 * change. */
#include "common/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/err.h"
#include "common/xalloc.h"

#define FS_TRUNCATE   (UINT64_C(1) << 14) /* ABI 3 */
#define FS_IOCTL_DEV  (UINT64_C(1) << 15) /* ABI 5 */
#define NET_TCP       UINT64_C(3)         /* ABI 4: bind and connect */
#define NET_CONNECT   UINT64_C(2)
#define RULE_NET_PORT 2
#define SCOPES        UINT64_C(3) /* ABI 6: abstract sockets and signals */
#define FS_ABI_1      ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define FS_LINKS      LANDLOCK_ACCESS_FS_REFER /* ABI 2 */
#define FS_FOR_FILES                                                                               \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |   \
        FS_TRUNCATE)

/* struct landlock_ruleset_attr of ABI 6; an older kernel gets as much of it as it knows. */
struct ruleset {
    uint64_t files;
    uint64_t net;
    uint64_t scopes;
};

struct landlock {
    int fd;
    uint64_t files; /* rights that are fenced */
    uint64_t net;
};

static const struct {
    unsigned access;
    uint64_t rights;
} rights_of[] = {
    {LANDLOCK_READ, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR},
    {LANDLOCK_LIST, LANDLOCK_ACCESS_FS_READ_DIR},
    {LANDLOCK_WRITE, LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                         LANDLOCK_ACCESS_FS_REMOVE_DIR | FS_LINKS | FS_TRUNCATE},
    {LANDLOCK_WRITE_FILE, LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE},
    {LANDLOCK_EXECUTE, LANDLOCK_ACCESS_FS_EXECUTE},
};

int landlock_abi(void)
{
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static uint64_t fenced_files(int abi)
{
    return FS_ABI_1 | (abi >= 2 ? FS_LINKS : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
           (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static size_t ruleset_bytes(int abi)
{
    return abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
}

int landlock_open(bool files, bool tcp, bool scopes, struct landlock **out)
{
    int abi = landlock_abi();
    struct ruleset ruleset = {.files = files ? fenced_files(abi) : 0,
        .net = tcp && abi >= 4 ? NET_TCP : 0,
        .scopes = scopes && abi >= 6 ? SCOPES : 0};
    if (abi == 0 || (ruleset.files | ruleset.net | ruleset.scopes) == 0) {
        return -ERR_NOTFOUND;
    }
    long fd = syscall(SYS_landlock_create_ruleset, &ruleset, ruleset_bytes(abi), 0);
    if (fd < 0) {
        return -ERR_SYSTEM;
    }
    *out = xcalloc(1, sizeof **out);
    **out = (struct landlock){.fd = (int)fd, .files = ruleset.files, .net = ruleset.net};
    return 0;
}

int landlock_allow(struct landlock *landlock, const char *path, unsigned access)
{
    struct stat st;
    uint64_t rights = 0;
    for (size_t i = 0; i < sizeof rights_of / sizeof rights_of[0]; i++) {
        rights |= (access & rights_of[i].access) != 0 ? rights_of[i].rights : 0;
    }
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return 0; /* what is not there, or not ours to reach, needs no permission */
    }
    int err = fstat(fd, &st) == 0 ? 0 : -ERR_SYSTEM;
    rights &= landlock->files & (S_ISDIR(st.st_mode) ? UINT64_MAX : FS_FOR_FILES);
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    if (err == 0 && rights != 0 &&
        syscall(SYS_landlock_add_rule, landlock->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
        err = -ERR_SYSTEM;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return err;
}

/* struct landlock_net_port_attr, and the numbers that go with it, of ABI 4. */
int landlock_allow_connect(struct landlock *landlock, unsigned port)
{
    const struct {
        uint64_t access, port;
    } rule = {NET_CONNECT, port};
    if (landlock->net == 0) {
        return 0;
    }
    return syscall(SYS_landlock_add_rule, landlock->fd, RULE_NET_PORT, &rule, 0) == 0 ? 0
                                                                                      : -ERR_SYSTEM;
}

int landlock_enter(struct landlock *landlock)
{
    return syscall(SYS_landlock_restrict_self, landlock->fd, 0) == 0 ? 0 : -ERR_SYSTEM;
}

int landlock_fd(const struct landlock *landlock)
{
    return landlock->fd;
}

void landlock_close(struct landlock *landlock)
{
    if (landlock == NULL) {
        return;
    }
    close(landlock->fd);
    free(landlock);
}
