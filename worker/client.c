#include "worker/client.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/network.h"
#include "worker/origin_mark.h"
#include "worker/received.h"

enum stage client_last_stage(struct job *job)
{
    const bool has_msg = (hook_info(job->request.hook)->flags & HOOK_HAS_MSG) != 0;
    return has_msg ? STAGE_EOM : STAGE_HELO;
}

struct slice client_macro_slice(struct job *job, struct slice name)
{
    return job_macro(job, client_last_stage(job), name);
}

struct slice client_macro(struct job *job, const char *name)
{
    return client_macro_slice(job, slice_text(name));
}

bool client_ip(struct job *job, char out[INET6_ADDRSTRLEN])
{
    char text[64];
    const struct slice ip = job->envelope.ip;
    if (ip.len == 0 || ip.len >= sizeof(text))
        return false;
    memcpy(text, ip.data, ip.len);
    text[ip.len] = '\0';
    return network_ip_canonical(text, out) == 0;
}

static bool is_name(struct slice name)
{
    return name.len > 0 && name.data[0] != '[' && !slice_equal_nocase(name, slice_text("unknown"));
}

const char *client_rdns(struct job *job)
{
    static const char *const known[] = {"ok", "forged", "fail", "temp"};
    const struct slice told = client_macro(job, "client_resolve");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (slice_equal_nocase(told, slice_text(known[i])))
            return known[i];
    }
    /* Postfix does not say; it gives a name only when the name's address agreed. */
    return is_name(job->envelope.hostname) ? "ok" : "fail";
}

struct slice client_hostname(struct job *job)
{
    if (!is_name(job->envelope.hostname) || strcmp(client_rdns(job), "ok") != 0)
        return slice_of(NULL, 0);
    return job->envelope.hostname;
}

const char *client_mta(struct job *job)
{
    const struct slice version = client_macro(job, "v");
    if (version.len >= 7 && strncasecmp(version.data, "postfix", 7) == 0)
        return "postfix";
    if (version.len >= 2 && version.data[0] == '8' && version.data[1] == '.')
        return "sendmail";
    /* sendmail sends its version only when asked; Postfix knows no {if_name}. */
    return version.data == NULL && client_macro(job, "if_name").data != NULL ? "sendmail" : "?";
}

bool client_is_local(struct job *job)
{
    char ip[INET6_ADDRSTRLEN];
    if (job->envelope.family == 'l')
        return true;
    if (client_ip(job, ip))
        return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
    /* `sendmail -bs` on a pipe. A client without address is no proof by itself: Postfix has those
     * with XCLIENT. */
    return job->envelope.family == '?' &&
           slice_equal_nocase(job->envelope.hostname, slice_text("localhost"));
}

bool client_is_trusted(struct job *job)
{
    char ip[INET6_ADDRSTRLEN];
    if (client_is_local(job) || client_macro(job, "auth_authen").len > 0)
        return true;
    return client_ip(job, ip) && network_list_has(&job->conf->worker.trusted_networks, ip);
}

bool client_is_relay(struct job *job)
{
    char ip[INET6_ADDRSTRLEN];
    return client_ip(job, ip) && network_list_has(&job->conf->worker.trusted_relays, ip);
}

static void read_received_fields(struct job *job, struct client_origin *out)
{
    const struct header_list *headers = job_headers(job);
    const struct slice name = slice_text("Received");
    for (uint32_t i = 0; i < headers->n; i++) {
        struct received hop;
        if (!slice_equal_nocase(headers->items[i].name, name))
            continue;
        if (!received_from_text(headers->items[i].value, &hop))
            return;
        memcpy(out->ip, hop.ip, sizeof(out->ip));
        out->helo = hop.helo;
        out->hostname = hop.hostname;
        if (!network_list_has(&job->conf->worker.trusted_relays, hop.ip))
            return;
    }
}

struct slice client_message_id(struct job *job)
{
    const struct header_field *field = header_find(job_headers(job), slice_text("Message-ID"), 1);
    return field != NULL ? field->value : slice_of(NULL, 0);
}

/* Others of that name, below the first, came from further away. */
static bool read_mark(struct job *job, struct client_origin *out)
{
    struct origin_mark mark;
    const struct header_field *field =
        job->origin_key != NULL ? header_find(job_headers(job), slice_text(ORIGIN_MARK_FIELD), 1)
                                : NULL;
    if (field == NULL || !origin_mark_read(field->value, client_message_id(job), job->origin_key,
                             (int64_t)time(NULL), job->arena, &mark))
        return false;
    memcpy(out->ip, mark.ip, sizeof(out->ip));
    out->helo = mark.helo;
    out->hostname = mark.hostname;
    return true;
}

void client_origin_get(struct job *job, struct client_origin *out)
{
    *out = (struct client_origin){.helo = job->envelope.helo, .hostname = client_hostname(job)};
    if (!client_ip(job, out->ip))
        out->ip[0] = '\0';
    if (client_is_relay(job) && !read_mark(job, out))
        read_received_fields(job, out);
}
