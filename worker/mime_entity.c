/*
 * What the header of one part says: type, parameters, boundaries, encoding, disposition, content id
 * and names. Repeated fields are all read: the first decides, the others give further readings.
 */
#include "worker/mime_entity.h"

#include "common/text.h"

enum {
    TOKEN_BYTES = 128,
    FIELD_NAME_BYTES = 200, /* in which a colon is looked for, with all that has no place there */
};

void mime_entity_keep(struct mime_entity *e, struct slice value)
{
    if (e->n_values < MIME_ENTITY_VALUES_MAX)
        e->values[e->n_values++] = value;
    else
        mime_entity_report(e, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
}

void mime_entity_params(
    struct mime_entity *e, struct slice rest, const struct mime_param **out, uint32_t *n_out)
{
    unsigned odd = mime_params_read(rest, e->mime->arena, out, n_out);
    if (odd & MIME_PARAMS_CUT)
        mime_entity_report(e, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
    if (odd & MIME_PARAMS_DUPLICATE)
        mime_entity_report(e, MIME_DEFECT_DUPLICATE_PARAMETER, NULL);
}

/* A known encoding that the value spells in some way, or one word among others; NULL: none. */
static const char *spelt_encoding(struct mime_entity *e, struct slice value)
{
    static const struct {
        const char *letters, *encoding;
    } rows[] = {
        {"base64", "base64"}, {"quotedprintable", "quoted-printable"}, {"uuencode", "x-uuencode"}};
    char letters[TOKEN_BYTES + 1];
    size_t n = 0;
    value = mime_without_comments(value, e->mime->arena);
    for (size_t i = 0; i < value.len && n < TOKEN_BYTES; i++) {
        char c = (char)(value.data[i] | 0x20);
        if ((c >= 'a' && c <= 'z') || (value.data[i] >= '0' && value.data[i] <= '9'))
            letters[n++] = (c >= 'a' && c <= 'z') ? c : value.data[i];
    }
    letters[n] = '\0';
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strstr(letters, rows[i].letters) != NULL)
            return rows[i].encoding;
    }
    return NULL;
}

static void on_encoding(struct mime_entity *e, struct slice value)
{
    struct slice rest;
    const char *encoding = mime_token_read(value, e->mime->arena, &rest);
    const char *spelt = spelt_encoding(e, value);
    size_t more = mime_skip_comments(rest, 0);
    if (more < rest.len && rest.data[more] != ';')
        mime_entity_report(e, MIME_DEFECT_ODD_ENCODING, NULL);
    if (spelt != NULL && (e->has_encoding || strcmp(spelt, encoding) != 0))
        mime_other_add_encoding(e->mime, e->node, spelt);
    if (e->has_encoding) {
        mime_entity_report(e, MIME_DEFECT_DUPLICATE_ENCODING, NULL);
        mime_other_add_encoding(e->mime, e->node, encoding);
        return;
    }
    e->has_encoding = true;
    e->node->part.encoding = encoding;
    if (mime_encoding_of(&e->node->part) == MIME_ENCODING_UNKNOWN)
        mime_entity_report(e, MIME_DEFECT_UNKNOWN_ENCODING, encoding);
}

static void on_disposition(struct mime_entity *e, struct slice value)
{
    mime_entity_keep(e, value);
    const struct mime_param *params;
    uint32_t n;
    struct slice rest;
    const char *token = mime_token_read(value, e->mime->arena, &rest);
    mime_entity_params(e, rest, &params, &n);
    if (e->disposition_name == NULL)
        e->disposition_name = mime_param_find(params, n, "filename");
    if (e->has_disposition) {
        mime_entity_report(e, MIME_DEFECT_DUPLICATE_DISPOSITION, NULL);
        return;
    }
    e->has_disposition = true;
    e->node->part.disposition = token;
}

static void on_id(struct mime_entity *e, struct slice value)
{
    if (e->has_id)
        return;
    e->has_id = true;
    struct slice id = text_trim(value);
    if (id.len >= 2 && id.data[0] == '<' && id.data[id.len - 1] == '>')
        id = slice_of(id.data + 1, id.len - 2);
    id = mime_guess_utf8(id, e->mime->arena);
    e->node->part.content_id = arena_memdup0(e->mime->arena, id.data, id.len);
}

/* A field may hide others behind a bare CR or a NUL: they are searched for names as well. */
static bool hides_something(const struct mime *mime, struct slice raw)
{
    if (memchr(raw.data, 0, raw.len) != NULL)
        return true;
    if (!mime->has_bare_cr)
        return false;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] == '\r' && (i + 1 == raw.len || raw.data[i + 1] != '\n'))
            return true;
    }
    return false;
}

struct content_field {
    const char *name;
    void (*read)(struct mime_entity *e, struct slice value);
};

static const struct content_field content_fields[] = {
    {"content-type", mime_entity_type},
    {"content-transfer-encoding", on_encoding},
    {"content-disposition", on_disposition},
    {"content-id", on_id},
};

static const struct content_field *find_field(struct slice name)
{
    for (size_t i = 0; i < sizeof(content_fields) / sizeof(content_fields[0]); i++) {
        if (mime_name_is(name, content_fields[i].name))
            return &content_fields[i];
    }
    return NULL;
}

/* Of each the first counts, and it is nothing that readers take apart. */
static void note_title(struct mime_entity *e, const struct mime_field *field)
{
    if (e->description.data == NULL && mime_name_is(field->name, "content-description"))
        e->description = field->value;
    else if (e->location.data == NULL && mime_name_is(field->name, "content-location"))
        e->location = field->value;
}

static void on_content_field(struct mime_entity *e, const struct mime_field *field)
{
    const struct content_field *known = find_field(field->name);
    if (e->has_blank_line || field->has_blank_line)
        mime_entity_report(e, MIME_DEFECT_BLANK_CONTINUATION, NULL);
    if (field->has_odd_name)
        mime_entity_report(e, MIME_DEFECT_ODD_FIELD_NAME, NULL);
    if (known != NULL)
        known->read(e, field->value);
    else
        note_title(e, field);
}

/* The content field whose name a line has if all that has no place in a name is left out; its
 * value. */
static const struct content_field *find_odd_field(struct slice line, struct slice *value_out)
{
    char name[32];
    size_t n = 0, i = 0, end = line.len < FIELD_NAME_BYTES ? line.len : FIELD_NAME_BYTES;
    for (; i < end && line.data[i] != ':'; i++) {
        char c = line.data[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!is_letter && c != '-')
            continue;
        if (n == sizeof(name))
            return NULL;
        name[n++] = c;
    }
    if (i == end)
        return NULL;
    *value_out = slice_of(line.data + i + 1, line.len - i - 1);
    return find_field(slice_of(name, n));
}

bool mime_is_odd_field(struct slice line)
{
    struct slice value;
    return find_odd_field(line, &value) != NULL;
}

/* The second reading takes it for the field; the first for what may be. */
static void on_odd_field(
    struct mime_entity *e, const struct content_field *known, struct slice value)
{
    struct slice rest;
    mime_entity_report(e, MIME_DEFECT_ODD_FIELD_NAME, known->name);
    e->mime->needs_second = true;
    mime_entity_keep(e, value);
    if (e->is_second)
        known->read(e, value);
    else if (known->read == mime_entity_type)
        mime_other_add_type(e->mime, e->node, mime_entity_type_read(e, value, &rest));
    else if (known->read == on_encoding)
        mime_other_add_encoding(e->mime, e->node, mime_token_read(value, e->mime->arena, &rest));
}

/* A line that is no field: some readers skip it, some end the header there, some join it with the
 * field before. */
static void on_junk(struct mime_entity *e, const struct mime_field *field)
{
    bool is_mbox_line = e->node->parent == NULL && field->raw.data == e->node->part.header.data &&
                        mime_begins_with(field->raw, "from ");
    if (is_mbox_line || mime_is_blank(field->raw))
        return;
    struct slice value;
    const struct content_field *odd = find_odd_field(field->value, &value);
    if (odd != NULL || field->raw.data != e->node->part.header.data)
        mime_other_set_content(e->mime, e->node, field->raw.data);
    if (mime_begins_with(field->raw, "--"))
        e->mime->needs_second = true; /* perhaps the part's own boundary */
    if (odd != NULL) {
        on_odd_field(e, odd, value);
        return;
    }
    mime_entity_report(e, MIME_DEFECT_HEADER_WITHOUT_COLON, NULL);
    mime_entity_keep(e, field->value);
}

static void on_field(struct mime_entity *e, struct mime_field *field)
{
    size_t max_bytes = (size_t)e->mime->conf->worker.max_header_line;
    if (field->raw.len > max_bytes) {
        mime_entity_report(e, MIME_DEFECT_HEADER_TOO_LONG,
            arena_printf(e->mime->arena, "%zu bytes", field->raw.len));
        field->raw.len = max_bytes;
        if (field->value.data + field->value.len > field->raw.data + max_bytes)
            field->value.len = field->value.data < field->raw.data + max_bytes
                                   ? (size_t)(field->raw.data + max_bytes - field->value.data)
                                   : 0;
    }
    if (!field->has_colon) {
        on_junk(e, field);
    } else {
        if (mime_begins_with(field->name, "content-"))
            on_content_field(e, field);
        if (hides_something(e->mime, field->raw))
            mime_entity_keep(e, field->raw);
    }
    e->has_blank_line = e->has_blank_line || field->has_blank_line;
}

static void read_fields(struct mime_entity *e)
{
    struct slice block = e->node->part.header;
    int64_t max = e->mime->conf->worker.max_headers, n = 0;
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, e->is_second, &field); n++) {
        if (n >= max) {
            mime_entity_report(e, MIME_DEFECT_TOO_MANY_HEADERS, NULL);
            break;
        }
        on_field(e, &field);
    }
}

static void set_defaults(struct mime_part *part)
{
    part->type = "text/plain";
    part->charset = part->encoding = part->disposition = part->content_id = "";
}

/* A text, or what holds others, is shown where it stands unless it says otherwise; nobody keeps it
 * as a file called what describes it, which may well end in the name of a host. */
static bool is_shown_in_place(const struct mime_node *node)
{
    return strcmp(node->part.disposition, "attachment") != 0 &&
           (strncmp(node->part.type, "text/", 5) == 0 || node->is_multipart || node->is_message);
}

static void read_names(struct mime_entity *e)
{
    struct mime_names names = {.mime = e->mime, .node = e->node};
    if (e->disposition_name != NULL)
        mime_names_add(&names, slice_text(e->disposition_name));
    if (e->type_name != NULL)
        mime_names_add(&names, slice_text(e->type_name));
    for (uint32_t i = 0; i < e->n_values; i++)
        mime_names_add_field(&names, e->values[i]);
    mime_names_check(&names);
    e->node->part.filename = names.n > 0 ? names.items[0] : NULL;
    if (names.n == 0 && e->description.data != NULL && !is_shown_in_place(e->node))
        mime_names_add_title(&names, e->description, false);
    if (e->node->part.filename == NULL && e->location.data != NULL)
        mime_names_add_title(&names, e->location, true);
    e->node->part.filenames = names.items;
    e->node->part.n_filenames = names.n;
}

static void report_specials(struct mime_entity *e)
{
    if (mime_is_indirect_type(e->node->part.type))
        e->mime->needs_second = true;
    if (strcmp(e->node->part.type, "message/partial") == 0)
        mime_entity_report(e, MIME_DEFECT_MESSAGE_PARTIAL, NULL);
    if (strcmp(e->node->part.type, "message/external-body") == 0)
        mime_entity_report(e, MIME_DEFECT_EXTERNAL_BODY, NULL);
    if (!text_is_ascii(e->node->part.header) && !text_is_utf8(e->node->part.header))
        mime_entity_report(e, MIME_DEFECT_RAW_8BIT_HEADER, NULL);
    if (e->n_boundaries > 1) {
        mime_entity_report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
        e->mime->needs_second = true;
    }
}

void mime_entity_read(struct mime *mime, struct mime_node *node, bool is_second, bool is_in_digest)
{
    struct mime_entity e = {.mime = mime, .node = node, .is_second = is_second};
    set_defaults(&node->part);
    read_fields(&e);
    if (!e.has_type && is_in_digest) {
        node->part.type = "message/rfc822";
        node->is_message = true;
    }
    node->boundaries = e.boundaries;
    node->n_boundaries = e.n_boundaries;
    if (!node->is_multipart && !node->is_message)
        node->other_type = NULL;
    report_specials(&e);
    read_names(&e);
}
