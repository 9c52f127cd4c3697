/*
 * Whether the sandbox keeps a filter from what it loads modules for. A look-up that fails for each
 * mail is easily taken for a dead server, so that this is said when the filter is loaded.
 */
#include <string.h>

#include "worker/script_internal.h"

static bool always(const struct conf *conf)
{
    (void)conf;
    return true;
}

static bool clamav_goes_out(const struct conf *conf)
{
    return strstr(conf->clamav.sockets, "inet") != NULL;
}

static bool spamassassin_goes_out(const struct conf *conf)
{
    return strstr(conf->spamassassin.sockets, "inet") != NULL;
}

static bool icap_goes_out(const struct conf *conf)
{
    return strstr(conf->icap.sockets, "inet") != NULL;
}

static bool redis_goes_out(const struct conf *conf)
{
    return conf->redis.sentinels[0] != '\0' || conf->redis.server[0] != '/';
}

static bool store_goes_out(const struct conf *conf)
{
    return conf->store.backend == STORE_IN_REDIS && redis_goes_out(conf);
}

/* Those with calls that ask nobody (dkim, smtp) are not here. */
static const struct asker {
    const char *module;
    bool (*goes_out)(const struct conf *conf);
} askers[] = {
    {"postern.dns", always},
    {"postern.dnsbl", always},
    {"postern.http", always},
    {"postern.rspamd", always},
    {"postern.spf", always},
    {"postern.dmarc", always},
    {"postern.arc", always},
    {"postern.clamav", clamav_goes_out},
    {"postern.icap", icap_goes_out},
    {"postern.spamassassin", spamassassin_goes_out},
    {"postern.redis", redis_goes_out},
    {"postern.store", store_goes_out},
};

/* Lua stack: 1 the configuration, 2 where the result goes. */
static int find(lua_State *L)
{
    const struct conf *conf = lua_touserdata(L, 1);
    const char **found = lua_touserdata(L, 2);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    for (size_t i = 0; i < sizeof askers / sizeof askers[0] && *found == NULL; i++) {
        if (lua_getfield(L, 3, askers[i].module) != LUA_TNIL && askers[i].goes_out(conf)) {
            *found = askers[i].module;
        }
        lua_pop(L, 1);
    }
    return 0;
}

const char *script_offline(const struct script *script)
{
    const struct conf *conf = script->conf;
    const char *found = NULL;
    if (conf->worker.allow_network || conf->worker.sandbox == SANDBOX_OFF) {
        return NULL;
    }
    lua_pushcfunction(script->L, find);
    lua_pushlightuserdata(script->L, (void *)(uintptr_t)conf);
    lua_pushlightuserdata(script->L, &found);
    if (lua_pcall(script->L, 2, 0, 0) != LUA_OK) {
        lua_pop(script->L, 1); /* no memory */
    }
    return found;
}
