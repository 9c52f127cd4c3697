#include "worker/trap_facts.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "common/address.h"
#include "common/clock.h"
#include "common/text.h"
#include "worker/client.h"
#include "worker/json_text.h"
#include "worker/mime.h"

enum { HASHED_AT_ONCE = 1 << 20 }; /* GLib takes lengths of 31 bits */

void trap_facts_sha256(struct slice bytes, char out[65])
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    while (bytes.len > 0) {
        const size_t n = bytes.len < HASHED_AT_ONCE ? bytes.len : HASHED_AT_ONCE;
        g_checksum_update(sum, (const guchar *)bytes.data, (gssize)n);
        bytes = slice_of(bytes.data + n, bytes.len - n);
    }
    snprintf(out, 65, "%s", g_checksum_get_string(sum));
    g_checksum_free(sum);
}

static json_t *c_text(const char *text)
{
    return json_text(slice_text(text));
}

/* ---- the envelope ---- */

static json_t *client_facts(struct job *job)
{
    char ip[INET6_ADDRSTRLEN] = "";
    (void)client_ip(job, ip);
    return json_pack("{s:s, s:i, s:o}", "ip", ip, "port", (int)job->envelope.port, "name",
        json_text(job->envelope.hostname));
}

/* As received, but for those that were refused: they are who gets it when it is released. */
static json_t *recipient_facts(struct job *job)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < job->envelope.n_recipients; i++) {
        const struct envelope_recipient *recipient = &job->envelope.recipients[i];
        if (!recipient->is_refused)
            json_array_append_new(list,
                json_pack("{s:o, s:o}", "address", json_text(address_strip(recipient->address)),
                    "args", json_text(recipient->args)));
    }
    return list;
}

static void add_envelope(struct job *job, json_t *facts)
{
    json_object_set_new(facts, "uid", json_text(job->request.uid));
    json_object_set_new(facts, "queue_id", json_text(client_macro(job, "i")));
    json_object_set_new(facts, "conn_id", json_text(job->request.conn_id));
    json_object_set_new(facts, "client", client_facts(job));
    json_object_set_new(facts, "helo", json_text(job->envelope.helo));
    json_object_set_new(facts, "auth", json_text(client_macro(job, "auth_authen")));
    json_object_set_new(facts, "direction", json_string(client_is_trusted(job) ? "out" : "in"));
    json_object_set_new(facts, "sender", json_text(address_strip(job->envelope.sender)));
    json_object_set_new(facts, "sender_args", json_text(job->envelope.sender_args));
    json_object_set_new(facts, "recipients", recipient_facts(job));
}

/* ---- the content ---- */

static json_t *header_fact(struct job *job, const char *name)
{
    const struct header_field *field = header_find(job_headers(job), slice_text(name), 1);
    if (field == NULL)
        return json_string("");
    struct slice value = mime_decode_header(field->value, job->arena);
    return json_text(text_after_blanks(value));
}

static json_t *part_facts(struct mime *mime, const struct mime_part *part)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < part->n_filenames && i < TRAP_FACTS_NAMES_MAX; i++)
        json_array_append_new(names, c_text(part->filenames[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:I}", "path", c_text(part->path), "type",
        c_text(part->type), "filename",
        part->filename != NULL ? c_text(part->filename) : json_null(), "filenames", names, "size",
        (json_int_t)mime_content_size(mime, part));
}

static json_t *parts_facts(struct mime *mime)
{
    json_t *list = json_array();
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(mime, &n);
    for (uint32_t i = 0; i < n && json_array_size(list) < TRAP_FACTS_PARTS_MAX; i++) {
        if (!parts[i]->is_container)
            json_array_append_new(list, part_facts(mime, parts[i]));
    }
    return list;
}

static json_t *defects_facts(struct mime *mime)
{
    json_t *list = json_array();
    uint32_t n;
    const struct mime_defect *defects = mime_defects(mime, &n);
    for (uint32_t i = 0; i < n && i < TRAP_FACTS_DEFECTS_MAX; i++) {
        const struct mime_part *part = defects[i].part;
        json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "kind", c_text(defects[i].kind),
                                        "part", part != NULL ? c_text(part->path) : json_null(),
                                        "detail", c_text(defects[i].detail)));
    }
    return list;
}

static void add_content(struct job *job, json_t *facts, const struct mime_part *part)
{
    struct mime *mime = job_mime(job);
    const struct slice bytes = part != NULL ? mime_content(mime, part) : job->message;
    char sha256[65];
    trap_facts_sha256(bytes, sha256);
    json_object_set_new(facts, "message_id", header_fact(job, "Message-ID"));
    json_object_set_new(facts, "subject", header_fact(job, "Subject"));
    json_object_set_new(facts, "bytes", json_integer((json_int_t)bytes.len));
    json_object_set_new(facts, "sha256", json_string(sha256));
    json_object_set_new(facts, "parts", parts_facts(mime));
    json_object_set_new(facts, "defects", defects_facts(mime));
    if (part != NULL)
        json_object_set_new(facts, "part", c_text(part->path));
}

/* ---- what was decided ---- */

static void add_verdict(json_t *facts, const struct wire_reply *reply)
{
    json_object_set_new(facts, "verdict", json_string(verdict_name(reply->verdict)));
    json_object_set_new(facts, "reply",
        reply->code == 0 ? json_null()
                         : json_pack("{s:i, s:o, s:o}", "code", (int)reply->code, "dsn",
                               json_text(reply->dsn), "text", json_text(reply->text)));
}

json_t *trap_facts_new(struct job *job, const struct trap_facts_more *more)
{
    if (job_need_recipients(job) != 0)
        return NULL;
    json_t *facts = json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "v", 1, "id", more->id,
        "kind", more->part != NULL ? "part" : "message", "mode", trap_mode_name(more->mode),
        "state", more->mode == TRAP_DEFER ? "waiting" : "kept", "time_ms",
        (json_int_t)clock_wall_ms(), "reason", c_text(more->reason), "where", c_text(more->where));
    if (facts == NULL)
        return NULL;
    add_envelope(job, facts);
    add_content(job, facts, more->part);
    add_verdict(facts, more->reply);
    return facts;
}
