#include "ctl/trace_select.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/hook.h"
#include "common/text.h"
#include "common/verdict.h"

enum { SHOWN_MAX = 200, ADDRESS_MAX = 64 };

static bool fail(const char *what, const char *given, const char *hint)
{
    char shown[SHOWN_MAX];
    text_escape(shown, sizeof(shown), slice_text(given), 0);
    fprintf(stderr, "posternctl: %s: %s%s%s\n", what, shown, hint != NULL ? "; did you mean " : "",
        hint != NULL ? hint : "");
    return false;
}

static bool read_network(const char *given, struct trace_select *out)
{
    out->has_network = given != NULL;
    if (given == NULL || network_from_text(given, &out->network) == 0) {
        return true;
    }
    return fail("--ip is no address and no network such as 192.0.2.0/24", given, NULL);
}

/* Also without "filter_". */
static bool read_hook(const char *given, struct trace_select *out)
{
    char name[64];
    const struct hook_info *info = NULL;
    if (given == NULL) {
        return true;
    }
    snprintf(name, sizeof(name), "%s%s", strncmp(given, "filter_", 7) == 0 ? "" : "filter_", given);
    info = hook_find(name);
    if (info == NULL) {
        return fail("--hook is no hook", given, hook_nearest(name));
    }
    out->hook = info->name;
    return true;
}

static bool read_verdict(const char *given, struct trace_select *out)
{
    enum verdict verdict;
    out->verdict = given;
    if (given == NULL || strcmp(given, "aborted") == 0 || verdict_from_name(given, &verdict) == 0) {
        return true;
    }
    return fail("--verdict is no verdict", given, NULL);
}

bool trace_select_read(const struct args *args, struct trace_select *out)
{
    *out = (struct trace_select){
        .sender = args_get(args, ARG_SENDER), .recipient = args_get(args, ARG_RECIPIENT)};
    return read_network(args_get(args, ARG_IP), out) && read_hook(args_get(args, ARG_HOOK), out) &&
           read_verdict(args_get(args, ARG_VERDICT), out);
}

static bool has_network(const struct trace_select *select, struct slice ip)
{
    char text[ADDRESS_MAX];
    if (ip.len == 0 || ip.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, ip.data, ip.len);
    text[ip.len] = 0;
    return network_has(&select->network, text);
}

static bool contains(struct slice text, const char *part)
{
    size_t len = strlen(part);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (strncasecmp(text.data + i, part, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_text(const struct trace_view *view, enum trace_field field, const char *wanted)
{
    return wanted == NULL || slice_equal(trace_view_text(view, field), slice_text(wanted));
}

static bool has_part(const struct trace_view *view, enum trace_field field, const char *wanted)
{
    return wanted == NULL || contains(trace_view_text(view, field), wanted);
}

bool trace_select_has(const struct trace_select *select, const struct trace_view *view)
{
    return is_text(view, TRACE_FIELD_HOOK, select->hook) &&
           is_text(view, TRACE_FIELD_VERDICT, select->verdict) &&
           has_part(view, TRACE_FIELD_FROM, select->sender) &&
           has_part(view, TRACE_FIELD_TO, select->recipient) &&
           (!select->has_network || has_network(select, trace_view_text(view, TRACE_FIELD_IP)));
}
