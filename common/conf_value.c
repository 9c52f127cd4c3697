/* The types of options: one row each, with how a text becomes a value and back. */
#include "common/conf_value.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/sock.h"
#include "common/text.h"
#include "common/xalloc.h"

/* A value in memory; which member is in force depends on the option's type. */
union value {
    char *text;
    bool flag;
    int64_t number;
    enum failure_answer answer;
    enum log_level level;
    enum log_target target;
    enum log_format format;
    enum sandbox_mode sandbox;
    enum backend_policy policy;
    enum store_place keeper;
    struct network_list networks;
};

typedef int (*value_set_cb)(
    union value *value, const struct conf_option *option, const char *text, char *why);
typedef void (*value_clear_cb)(union value *value);
typedef void (*value_text_cb)(const union value *value, char *out, size_t out_bytes);

struct type {
    const char *name;
    size_t bytes; /* of the member in struct conf */
    value_set_cb set;
    value_text_cb text;
    value_clear_cb clear; /* NULL: owns nothing */
    bool is_number;       /* the option's min and max count */
};

static const struct type *type_of(const struct conf_option *option);

static int refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, CONF_WHY_MAX, format, args);
    va_end(args);
    return -ERR_BAD;
}

static void *member_of(struct conf *conf, const struct conf_option *option)
{
    return (char *)conf + option->offset;
}

/* Texts and numbers. */

static int set_str(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    size_t len = strlen(text);
    if ((int64_t)len > option->max)
        return refuse(why, "is too long: at most %lld bytes", (long long)option->max);
    if ((int64_t)len < option->min)
        return refuse(why, "must not be empty");
    free(value->text);
    value->text = xstrdup(text);
    return 0;
}

static void clear_str(union value *value)
{
    free(value->text);
}

static void str_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", value->text);
}

static int set_socket(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    struct sock_spec spec;
    if (text[0] == '\0' && option->default_text[0] == '\0')
        return set_str(value, option, text, why);
    int rc = sock_spec_from_text(text, &spec);
    if (rc == -ERR_TOOBIG)
        return refuse(
            why, "has a path that is too long for a socket: at most %d bytes", SOCK_PATH_MAX);
    if (rc != 0)
        return refuse(
            why, "is not a socket, like unix:/PATH, inet:PORT@HOST, inet6:PORT@HOST or fd:N");
    return set_str(value, option, text, why);
}

static int set_bool(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    if (text_to_bool(text, &value->flag) != 0)
        return refuse(why, "is neither yes nor no");
    return 0;
}

static void bool_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", value->flag ? "yes" : "no");
}

static void int_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%lld", (long long)value->number);
}

static void mode_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%04o", (unsigned)value->number);
}

struct unit {
    int64_t factor;
    const char *name;
};

/* In the largest unit that leaves no rest. units: largest first, the last has factor 1. */
static void unit_text(int64_t number, const struct unit *units, char *out, size_t out_bytes)
{
    while (units->factor > 1 && (number == 0 || number % units->factor != 0))
        units++;
    snprintf(out, out_bytes, "%lld%s", (long long)(number / units->factor),
        number == 0 ? "" : units->name);
}

static void bytes_text(const union value *value, char *out, size_t out_bytes)
{
    static const struct unit units[] = {
        {1LL << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}, {1, ""}};
    unit_text(value->number, units, out, out_bytes);
}

static void ms_text(const union value *value, char *out, size_t out_bytes)
{
    static const struct unit units[] = {
        {86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    unit_text(value->number, units, out, out_bytes);
}

/* Takes a parsed number that lies within the option's range. parse_rc: of the parser. */
static int set_number(union value *value, const struct conf_option *option, int parse_rc,
    int64_t number, const char *what, char *why)
{
    char range[128];
    if (parse_rc == -ERR_BAD)
        return refuse(why, "is not %s", what);
    if (parse_rc != 0 || number < option->min || number > option->max) {
        conf_value_range(option, range, sizeof(range));
        return refuse(why, "is out of range: %s", range);
    }
    value->number = number;
    return 0;
}

static int set_int(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    int64_t number = 0;
    int rc = text_to_i64(text, INT64_MIN, INT64_MAX, &number);
    return set_number(value, option, rc, number, "a whole number", why);
}

static int set_bytes(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    int64_t number = 0;
    int rc = text_to_bytes(text, &number);
    return set_number(value, option, rc, number, "a number of bytes, like 512, 64K, 16M, 2G", why);
}

static int set_ms(union value *value, const struct conf_option *option, const char *text, char *why)
{
    int64_t number = 0;
    int rc = text_to_ms(text, &number);
    return set_number(value, option, rc, number, "a duration, like 250ms, 8s, 5m, 2h, 1d", why);
}

static int set_mode(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    int64_t number = 0;
    size_t len = strlen(text);
    int rc = len > 0 && len <= 5 && strspn(text, "01234567") == len ? 0 : -ERR_BAD;
    for (size_t i = 0; rc == 0 && i < len; i++)
        number = number * 8 + (text[i] - '0');
    return set_number(value, option, rc, number, "a file mode, like 0660", why);
}

/* Words from closed sets. */

static const char *const answer_words[] = {[FAILURE_TEMPFAIL] = "tempfail",
    [FAILURE_REJECT] = "reject",
    [FAILURE_ACCEPT] = "accept",
    NULL};
static const char *const level_words[] = {[LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_ERROR] = "error",
    NULL};
static const char *const target_words[] = {[LOG_TARGET_AUTO] = "auto",
    [LOG_TARGET_STDERR] = "stderr",
    [LOG_TARGET_SYSLOG] = "syslog",
    NULL};
static const char *const format_words[] = {
    [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL};
static const char *const policy_words[] = {[BACKEND_TEMPFAIL] = "tempfail",
    [BACKEND_CONTINUE] = "continue",
    [BACKEND_RETURN] = "return",
    [BACKEND_OF_ALL] = "backend",
    NULL};
static const char *const keeper_words[] = {
    [STORE_IN_SQLITE] = "sqlite", [STORE_IN_REDIS] = "redis", NULL};
static const char *const sandbox_words[] = {[SANDBOX_REQUIRED] = "required",
    [SANDBOX_AVAILABLE] = "available",
    [SANDBOX_OFF] = "off",
    NULL};

/* The index of text in words, or -1 and why. */
static int find_word(const char *const *words, const char *text, char *why)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    int len = snprintf(why, CONF_WHY_MAX, "is none of %s", words[0]);
    for (int i = 1; words[i] != NULL; i++)
        len += snprintf(why + len, CONF_WHY_MAX - (size_t)len, "%s%s",
            words[i + 1] == NULL ? " or " : ", ", words[i]);
    return -1;
}

static int set_answer(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    int found = find_word(answer_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    value->answer = (enum failure_answer)found;
    return 0;
}

static int set_level(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    int found = find_word(level_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    value->level = (enum log_level)found;
    return 0;
}

static int set_target(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    int found = find_word(target_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    value->target = (enum log_target)found;
    return 0;
}

static int set_format(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    int found = find_word(format_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    value->format = (enum log_format)found;
    return 0;
}

static int set_sandbox(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    int found = find_word(sandbox_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    value->sandbox = (enum sandbox_mode)found;
    return 0;
}

static int set_policy(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    int found = find_word(policy_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    if (found == BACKEND_OF_ALL && strcmp(option->section, "backend") == 0) {
        snprintf(why, CONF_WHY_MAX, "is this section itself");
        return -ERR_BAD;
    }
    value->policy = (enum backend_policy)found;
    return 0;
}

static int set_keeper(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    (void)option;
    int found = find_word(keeper_words, text, why);
    if (found < 0)
        return -ERR_BAD;
    value->keeper = (enum store_place)found;
    return 0;
}

static void keeper_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", keeper_words[value->keeper]);
}

static void policy_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", policy_words[value->policy]);
}

static void answer_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", answer_words[value->answer]);
}

static void level_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", level_words[value->level]);
}

static void target_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", target_words[value->target]);
}

static void format_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", format_words[value->format]);
}

static void sandbox_text(const union value *value, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s", sandbox_words[value->sandbox]);
}

/* Networks. */

static int set_networks(
    union value *value, const struct conf_option *option, const char *text, char *why)
{
    struct network_list list;
    char *bad = NULL;
    if ((int64_t)strlen(text) > option->max)
        return refuse(why, "is too long: at most %lld bytes", (long long)option->max);
    if (network_list_from_text(text, &list, &bad) != 0) {
        char word[128];
        text_escape(word, sizeof(word), slice_text(bad), '"');
        free(bad);
        return refuse(why,
            "has \"%s\", which is no network (like 192.0.2.0/24, 2001:db8::/32, loopback; no bits "
            "past the prefix)",
            word);
    }
    network_list_clear(&value->networks);
    value->networks = list;
    return 0;
}

static void clear_networks(union value *value)
{
    network_list_clear(&value->networks);
}

static bool is_network(
    const struct network *network, int family, const uint8_t *address, int prefix)
{
    return network->family == family && network->prefix == prefix &&
           memcmp(network->address, address, sizeof(network->address)) == 0;
}

/* Whether the two networks that "loopback" stands for begin at item i. */
static bool is_loopback(const struct network_list *list, int i)
{
    static const uint8_t ipv4[16] = {127}, ipv6[16] = {[15] = 1};
    return i + 1 < list->n && is_network(&list->items[i], AF_INET, ipv4, 8) &&
           is_network(&list->items[i + 1], AF_INET6, ipv6, 128);
}

static void network_text(const struct network *network, char *out, size_t out_bytes)
{
    char ip[INET6_ADDRSTRLEN];
    inet_ntop(network->family, network->address, ip, sizeof(ip));
    if (network->prefix == (network->family == AF_INET ? 32 : 128))
        snprintf(out, out_bytes, "%s", ip);
    else
        snprintf(out, out_bytes, "%s/%u", ip, network->prefix);
}

static void networks_text(const union value *value, char *out, size_t out_bytes)
{
    const struct network_list *list = &value->networks;
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < list->n; i++) {
        char item[INET6_ADDRSTRLEN + 8] = "loopback";
        if (is_loopback(list, i))
            i++;
        else
            network_text(&list->items[i], item, sizeof(item));
        size_t n = strlen(item) + (len > 0 ? 1 : 0);
        if (n >= out_bytes - len)
            return;
        len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", len > 0 ? " " : "", item);
    }
}

static const struct type types[] = {
    {"STR", sizeof(char *), set_str, str_text, clear_str, false},
    {"SOCKET", sizeof(char *), set_socket, str_text, clear_str, false},
    {"BOOL", sizeof(bool), set_bool, bool_text, NULL, false},
    {"INT", sizeof(int64_t), set_int, int_text, NULL, true},
    {"BYTES", sizeof(int64_t), set_bytes, bytes_text, NULL, true},
    {"MS", sizeof(int64_t), set_ms, ms_text, NULL, true},
    {"MODE", sizeof(int64_t), set_mode, mode_text, NULL, true},
    {"ANSWER", sizeof(enum failure_answer), set_answer, answer_text, NULL, false},
    {"LEVEL", sizeof(enum log_level), set_level, level_text, NULL, false},
    {"TARGET", sizeof(enum log_target), set_target, target_text, NULL, false},
    {"FORMAT", sizeof(enum log_format), set_format, format_text, NULL, false},
    {"SANDBOX", sizeof(enum sandbox_mode), set_sandbox, sandbox_text, NULL, false},
    {"POLICY", sizeof(enum backend_policy), set_policy, policy_text, NULL, false},
    {"KEEPER", sizeof(enum store_place), set_keeper, keeper_text, NULL, false},
    {"NETWORKS", sizeof(struct network_list), set_networks, networks_text, clear_networks, false},
};

static const struct type *type_of(const struct conf_option *option)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i].name, option->type) == 0)
            return &types[i];
    log_panic("option %s.%s has the unknown type %s", option->section, option->name, option->type);
}

/* The value is worked on in a union of its own: the member in struct conf may be smaller than the
 * union. */
int conf_value_set(struct conf *conf, const struct conf_option *option, const char *text, char *why)
{
    const struct type *type = type_of(option);
    union value value = {0};
    memcpy(&value, member_of(conf, option), type->bytes);
    int rc = type->set(&value, option, text, why);
    memcpy(member_of(conf, option), &value, type->bytes);
    return rc;
}

void conf_value_clear(struct conf *conf, const struct conf_option *option)
{
    const struct type *type = type_of(option);
    union value value = {0};
    memcpy(&value, member_of(conf, option), type->bytes);
    if (type->clear != NULL)
        type->clear(&value);
    memset(member_of(conf, option), 0, type->bytes);
}

void conf_value_text(
    const struct conf *conf, const struct conf_option *option, char *out, size_t out_bytes)
{
    const struct type *type = type_of(option);
    union value value = {0};
    memcpy(&value, (const char *)conf + option->offset, type->bytes);
    type->text(&value, out, out_bytes);
}

void conf_value_range(const struct conf_option *option, char *out, size_t out_bytes)
{
    const struct type *type = type_of(option);
    char low[32], high[32];
    out[0] = '\0';
    if (!type->is_number)
        return;
    type->text(&(union value){.number = option->min}, low, sizeof(low));
    type->text(&(union value){.number = option->max}, high, sizeof(high));
    snprintf(out, out_bytes, "%s to %s", low, high);
}
