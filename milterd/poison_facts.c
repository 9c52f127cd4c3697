#include "milterd/poison_facts.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/envelope.h"
#include "common/text.h"
#include "common/version.h"

/* Bytes as a JSON string: what is no UTF-8 becomes U+FFFD. */
static json_t *text_json(struct slice text)
{
    json_t *value = json_stringn(text.len > 0 ? text.data : "", text.len);
    struct buf mended;

    if (value != NULL)
        return value;
    buf_init(&mended, 3 * text.len + 16);
    if (text_to_utf8(&mended, text) == 0)
        value = json_stringn((const char *)mended.data, mended.len);
    buf_clear(&mended);
    return value != NULL ? value : json_string("");
}

static struct slice next_field(struct slice *rest, char separator)
{
    const char *end = rest->len > 0 ? memchr(rest->data, separator, rest->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - rest->data) : rest->len;
    struct slice field = slice_of(rest->data, len);

    len += end != NULL ? 1 : 0;
    *rest = slice_of(rest->data + len, rest->len - len);
    return field;
}

static json_t *deaths_json(const char *lines)
{
    json_t *list = json_array();
    struct slice rest = slice_text(lines);

    while (rest.len > 0) {
        struct slice line = next_field(&rest, '\n');
        struct slice pid = next_field(&line, '\t');
        struct slice how = next_field(&line, '\t');

        /* The digits of a pid end at the tab. */
        json_array_append_new(list, json_pack("{s:i, s:o, s:o}", "pid", atoi(pid.data), "how",
                                        text_json(how), "last", text_json(line)));
    }
    return list;
}

static json_t *macros_json(const struct envelope *envelope)
{
    json_t *stages = json_object();

    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        json_t *macros = json_object();

        for (uint32_t i = 0; i < envelope->n_macros[stage] && stage != STAGE_RCPT; i++) {
            const struct envelope_macro *macro = &envelope->macros[stage][i];
            json_t *name = text_json(macro->name);

            json_object_set_new(macros, json_string_value(name), text_json(macro->value));
            json_decref(name);
        }
        if (json_object_size(macros) > 0)
            json_object_set(stages, stage_name((enum stage)stage), macros);
        json_decref(macros);
    }
    return stages;
}

static json_t *recipients_json(const struct envelope *envelope)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < envelope->n_recipients && i < POISON_FACTS_RECIPIENTS; i++)
        json_array_append_new(list,
            json_pack("{s:o, s:o, s:b}", "address", text_json(envelope->recipients[i].address),
                "arguments", text_json(envelope->recipients[i].args), "refused",
                envelope->recipients[i].is_refused));
    return list;
}

static void add_envelope(json_t *facts, struct slice region)
{
    struct arena *arena = arena_new();
    struct envelope envelope;

    if (envelope_read_all(region, arena, &envelope) == 0) {
        json_object_set_new(facts, "client",
            json_pack("{s:o, s:i, s:o}", "ip", text_json(envelope.ip), "port", (int)envelope.port,
                "name", text_json(envelope.hostname)));
        json_object_set_new(facts, "helo", text_json(envelope.helo));
        json_object_set_new(facts, "sender", text_json(envelope.sender));
        json_object_set_new(facts, "sender_arguments", text_json(envelope.sender_args));
        json_object_set_new(facts, "recipients", recipients_json(&envelope));
        json_object_set_new(facts, "n_recipients", json_integer((json_int_t)envelope.n_recipients));
        json_object_set_new(facts, "macros", macros_json(&envelope));
    }
    arena_free(arena);
}

json_t *poison_facts_json(const struct poison_facts *facts, struct slice envelope)
{
    json_t *object = json_pack("{s:i, s:s, s:I, s:s, s:o, s:s, s:I, s:I, s:I, s:I}", "version", 1,
        "postern", POSTERN_VERSION, "time_ms", (json_int_t)facts->when_ms, "uid", facts->uid,
        "queue_id", text_json(slice_text(facts->queue_id)), "hook", hook_info(facts->hook)->name,
        "generation", (json_int_t)facts->generation, "recipient_number",
        (json_int_t)facts->recipient_number, "header_bytes", (json_int_t)facts->header_bytes,
        "message_bytes", (json_int_t)facts->message_bytes);

    json_object_set_new(object, "deaths", deaths_json(facts->deaths));
    json_object_set_new(object, "answer",
        json_pack("{s:s, s:i}", "verdict", verdict_name(facts->verdict), "code", (int)facts->code));
    add_envelope(object, envelope);
    return object;
}
