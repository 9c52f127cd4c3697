#include "worker/redis_greeting.h"

#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"
#include "worker/resp.h"
#include "worker/secret_file.h"

enum { PASSWORD_MAX = 1024 };

/* AUTH [user] password, if there is a password. */
static int put_auth(const char *user, const char *option, const char *path, struct buf *out,
    size_t *n_replies, char *why, size_t why_bytes)
{
    char bytes[PASSWORD_MAX];
    size_t len;
    if (path[0] == '\0')
        return 0;
    const char *problem = secret_file_read(path, bytes, sizeof bytes, &len);
    if (problem != NULL) {
        snprintf(why, why_bytes, "%s: %s", option, problem);
        return -ERR_BAD;
    }
    int err = resp_put_head(out, user[0] != '\0' ? 3 : 2);
    err = err == 0 ? resp_put_text(out, "AUTH") : err;
    err = err == 0 && user[0] != '\0' ? resp_put_text(out, user) : err;
    err = err == 0 ? resp_put_word(out, text_trim(slice_of(bytes, len))) : err;
    explicit_bzero(bytes, sizeof bytes);
    ++*n_replies;
    return err;
}

/* A server that hangs is found out here, in the time for connecting: hence the PING. */
int redis_greeting_master(const struct conf *conf, bool asks_role, struct buf *out,
    size_t *n_replies, char *why, size_t why_bytes)
{
    int err = put_auth(conf->redis.user, "redis.password_file", conf->redis.password_file, out,
        n_replies, why, why_bytes);
    if (err == 0 && conf->redis.database != 0) {
        err = resp_put_head(out, 2);
        err = err == 0 ? resp_put_text(out, "SELECT") : err;
        err = err == 0 ? resp_put_number(out, conf->redis.database) : err;
        ++*n_replies;
    }
    err = err == 0 ? resp_put_head(out, 1) : err;
    ++*n_replies;
    return err == 0 ? resp_put_text(out, asks_role ? "ROLE" : "PING") : err;
}

int redis_greeting_sentinel(
    const struct conf *conf, struct buf *out, size_t *n_replies, char *why, size_t why_bytes)
{
    int err = put_auth("", "redis.sentinel_password_file", conf->redis.sentinel_password_file, out,
        n_replies, why, why_bytes);
    err = err == 0 ? resp_put_head(out, 3) : err;
    err = err == 0 ? resp_put_text(out, "SENTINEL") : err;
    err = err == 0 ? resp_put_text(out, "get-master-addr-by-name") : err;
    ++*n_replies;
    return err == 0 ? resp_put_text(out, conf->redis.master) : err;
}

/* ---- answers ---- */

/* The server's words, for logs. */
static int refuse(const struct resp_item *item, char *why, size_t why_bytes)
{
    text_escape(why, why_bytes, item->bytes, 0);
    return -ERR_PEER;
}

/* The role, or the answer to PING, comes last. */
int redis_greeting_take_master(struct slice reply, char *why, size_t why_bytes)
{
    struct resp_item item;
    while (reply.len > 0 && resp_take(&reply, SIZE_MAX, &item) == 0) {
        if (item.type == RESP_ERROR)
            return refuse(&item, why, why_bytes);
        if (item.type != RESP_ARRAY)
            continue;
        if (item.integer < 1 || resp_take(&reply, SIZE_MAX, &item) != 0 ||
            !slice_equal(item.bytes, slice_text("master"))) {
            snprintf(why, why_bytes, "it is no master");
            return -ERR_PEER;
        }
        break;
    }
    return 0;
}

int redis_greeting_take_sentinel(const struct conf *conf, struct slice reply,
    struct redis_place *master_out, char *why, size_t why_bytes)
{
    struct resp_item item = {.type = RESP_NIL}, host, port;
    while (reply.len > 0 && resp_take(&reply, SIZE_MAX, &item) == 0 && item.type != RESP_ARRAY)
        if (item.type == RESP_ERROR)
            return refuse(&item, why, why_bytes);
    if (item.type != RESP_ARRAY) {
        snprintf(why, why_bytes, "it knows no master %.80s", conf->redis.master);
        return -ERR_PEER;
    }
    if (item.integer == 2 && resp_take(&reply, SIZE_MAX, &host) == 0 && resp_is_text(&host) &&
        resp_take(&reply, SIZE_MAX, &port) == 0 && resp_is_text(&port) &&
        redis_place_from_parts(host.bytes, port.bytes, master_out) == 0)
        return 0;
    snprintf(why, why_bytes, "it names no address as the master's");
    return -ERR_PEER;
}

static bool begins_with(struct slice text, const char *with)
{
    size_t n = strlen(with);
    return text.len >= n && memcmp(text.data, with, n) == 0;
}

/* Servers before version 7 wrap what a command of a script has said. */
bool redis_greeting_is_replica(struct slice reply)
{
    static const char code[] = "READONLY ";
    struct resp_item item;
    if (resp_take(&reply, SIZE_MAX, &item) != 0 || item.type != RESP_ERROR)
        return false;
    return begins_with(item.bytes, code) ||
           (begins_with(item.bytes, "ERR Error running script") &&
               memmem(item.bytes.data, item.bytes.len, code, sizeof code - 1) != NULL);
}
