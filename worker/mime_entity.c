/*
 * What the header of one part says: type, parameters, boundaries, encoding, disposition, content id
 * and names. Repeated fields are all read: the first decides, the others give further readings.
 */
#include "worker/mime_impl.h"

#include "common/text.h"

enum {
    VALUES_MAX = 24, /* content fields of one header kept for the search for names */
    TOKEN_BYTES = 128,
    FIELD_NAME_BYTES = 200, /* in which a colon is looked for, with all that has no place there */
};

struct entity {
    struct mime *mime;
    struct mime_node *node;
    bool is_second;
    struct slice values[VALUES_MAX]; /* dispositions, types, and lines that are no fields */
    uint32_t n_values;
    struct slice type_value, disposition_value, encoding_value;
    bool has_type, has_disposition, has_encoding, has_id;
    struct slice description, location;       /* the first of each; data NULL: none */
    const char *disposition_name, *type_name; /* the names of filename= and name= that count */
    bool has_blank_line;
    struct slice *boundaries;
    uint32_t n_boundaries;
};

static void report(struct entity *e, enum mime_defect_kind kind, const char *detail)
{
    mime_defect_add(e->mime, e->node, kind, detail);
}

static void keep_value(struct entity *e, struct slice value)
{
    if (e->n_values < VALUES_MAX)
        e->values[e->n_values++] = value;
    else
        report(e, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
}

static void keep_boundary(struct entity *e, struct slice boundary)
{
    for (uint32_t i = 0; i < e->n_boundaries; i++) {
        if (slice_equal(e->boundaries[i], boundary))
            return;
    }
    if (e->n_boundaries == MIME_BOUNDARIES_MAX) {
        report(e, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
        return;
    }
    if (e->boundaries == NULL)
        e->boundaries = arena_calloc(e->mime->arena, MIME_BOUNDARIES_MAX, sizeof(struct slice));
    e->boundaries[e->n_boundaries++] = boundary;
}

enum { BOUNDARY_USUAL = 70 }; /* RFC 2046 section 5.1.1 */

/* Blanks at its end are no part of it (RFC 2046); those at its front may be. */
static void add_boundary(struct slice reading, void *context)
{
    struct entity *e = context;
    if (reading.len > BOUNDARY_USUAL)
        report(
            e, MIME_DEFECT_LONG_BOUNDARY, arena_printf(e->mime->arena, "%zu bytes", reading.len));
    if (reading.len > MIME_BOUNDARY_BYTES)
        reading.len = MIME_BOUNDARY_BYTES;
    struct slice trimmed = text_trim(reading);
    if (trimmed.len == 0)
        report(e, MIME_DEFECT_EMPTY_BOUNDARY, NULL);
    else if (trimmed.len < reading.len)
        report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
    if (trimmed.len > 0 && trimmed.data != reading.data)
        keep_boundary(
            e, slice_of(reading.data, (size_t)(trimmed.data + trimmed.len - reading.data)));
    keep_boundary(e, trimmed);
}

/* Many programs know nothing of RFC 2231. */
static void find_boundaries(struct entity *e, struct slice value)
{
    struct mime_occurrence place;
    size_t pos = 0;
    for (int i = 0; i < MIME_PARAMS_MAX && mime_occurrence_next(value, &pos, "boundary", &place);
         i++) {
        if (place.is_extended || place.section >= 0)
            report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
    }
    mime_values_each(value, "boundary", e->mime->arena, add_boundary, e);
}

static bool is_message_type(const char *type)
{
    return strcmp(type, "message/rfc822") == 0 || strcmp(type, "message/global") == 0 ||
           strcmp(type, "message/news") == 0;
}

/* Those that hold a message, or its header, only for some programs: those that put pieces together,
 * or fetch the rest. */
static bool is_indirect_type(const char *type)
{
    return strcmp(type, "message/partial") == 0 || strcmp(type, "message/external-body") == 0;
}

/* The kind of container that a type asks for; the first type decides in the first reading, any in
 * the second. */
static void note_container(struct entity *e, const char *type, struct slice value)
{
    struct mime_node *node = e->node;
    if (strncmp(type, "multipart/", 10) == 0) {
        node->is_multipart = true;
        node->is_digest = node->is_digest || strcmp(type, "multipart/digest") == 0;
        find_boundaries(e, value);
    } else if (is_message_type(type) || (e->is_second && is_indirect_type(type))) {
        node->is_message = true;
        node->is_indirect = !is_message_type(type);
    } else if (node->other_type == NULL) {
        node->other_type = type;
    }
}

/* RFC 2045 section 5.1: no special characters but one slash. */
static bool is_good_type(const char *type)
{
    const char *slash = strchr(type, '/');
    return slash != NULL && slash != type && slash[1] != '\0' && strchr(slash + 1, '/') == NULL &&
           type[strcspn(type, "()<>@,;:\\\"[]?=")] == '\0';
}

static const char *read_type(struct entity *e, struct slice value, struct slice *rest_out)
{
    const char *type = mime_token_read(value, e->mime->arena, rest_out);
    if (is_good_type(type))
        return type;
    report(e, MIME_DEFECT_BAD_CONTENT_TYPE, type);
    return strchr(type, '/') != NULL ? type : "text/plain";
}

/* A type that is none, or with control characters in it, may be a multipart for programs that mend
 * it: the second reading takes it for one when there is a boundary. */
static void note_mended(struct entity *e, struct slice value, const char *type)
{
    struct mime_occurrence place;
    size_t pos = 0;
    if ((is_good_type(type) && !mime_has_control(value)) || e->node->is_multipart ||
        !mime_occurrence_next(value, &pos, "boundary", &place))
        return;
    report(e, MIME_DEFECT_BAD_CONTENT_TYPE, type);
    e->mime->needs_second = true;
    if (!e->is_second)
        return;
    e->node->is_multipart = true;
    find_boundaries(e, value);
}

static void read_params(
    struct entity *e, struct slice rest, const struct mime_param **out, uint32_t *n_out)
{
    unsigned odd = mime_params_read(rest, e->mime->arena, out, n_out);
    if (odd & MIME_PARAMS_CUT)
        report(e, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
    if (odd & MIME_PARAMS_DUPLICATE)
        report(e, MIME_DEFECT_DUPLICATE_PARAMETER, NULL);
}

/* Lower case, printable ASCII; what is no name of a charset stays recognisable as none. */
static const char *charset_name(struct entity *e, const char *value)
{
    char *name = arena_memdup0(e->mime->arena, value, strnlen(value, MIME_CHARSET_BYTES));
    for (char *p = name; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 127)
            *p = '?';
    }
    text_lower(name);
    return name;
}

static void first_type(struct entity *e, struct slice value)
{
    struct mime_part *part = &e->node->part;
    struct slice rest;
    part->type = read_type(e, value, &rest);
    read_params(e, rest, &part->params, &part->n_params);
    const char *charset = mime_param_find(part->params, part->n_params, "charset");
    if (charset != NULL)
        part->charset = charset_name(e, charset);
    const char *boundary = mime_param_find(part->params, part->n_params, "boundary");
    if (boundary != NULL && strncmp(part->type, "multipart/", 10) == 0)
        add_boundary(slice_text(boundary), e);
    e->type_name = mime_param_find(part->params, part->n_params, "name");
    note_container(e, part->type, value);
    note_mended(e, value, mime_token_read(value, e->mime->arena, &rest));
    if (boundary == NULL && e->n_boundaries > 0)
        report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
    if (e->node->is_multipart && strncmp(part->type, "multipart/", 10) != 0)
        part->type = "multipart/mixed";
}

static void on_type(struct entity *e, struct slice value)
{
    keep_value(e, value);
    if (!e->has_type) {
        e->has_type = true;
        e->type_value = value;
        first_type(e, value);
        return;
    }
    bool is_same = slice_equal(text_trim(value), text_trim(e->type_value));
    report(e, is_same ? MIME_DEFECT_DUPLICATE_CONTENT_TYPE : MIME_DEFECT_CONFLICTING_CONTENT_TYPE,
        NULL);
    if (is_same)
        return;
    e->mime->needs_second = true;
    struct slice rest;
    const char *type = read_type(e, value, &rest);
    note_mended(e, value, type);
    if (e->is_second)
        note_container(e, type, value);
    if (strncmp(type, "multipart/", 10) != 0 && !is_message_type(type))
        mime_other_add_type(e->mime, e->node, type);
}

/* A known encoding that the value spells in some way, or one word among others; NULL: none. */
static const char *spelt_encoding(struct entity *e, struct slice value)
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

static void on_encoding(struct entity *e, struct slice value)
{
    struct slice rest;
    const char *encoding = mime_token_read(value, e->mime->arena, &rest);
    const char *spelt = spelt_encoding(e, value);
    size_t more = mime_skip_comments(rest, 0);
    if (more < rest.len && rest.data[more] != ';')
        report(e, MIME_DEFECT_ODD_ENCODING, NULL);
    if (spelt != NULL && (e->has_encoding || strcmp(spelt, encoding) != 0))
        mime_other_add_encoding(e->mime, e->node, spelt);
    if (e->has_encoding) {
        report(e, MIME_DEFECT_DUPLICATE_ENCODING, NULL);
        mime_other_add_encoding(e->mime, e->node, encoding);
        return;
    }
    e->has_encoding = true;
    e->node->part.encoding = encoding;
    if (mime_encoding_of(&e->node->part) == MIME_ENCODING_UNKNOWN)
        report(e, MIME_DEFECT_UNKNOWN_ENCODING, encoding);
}

static void on_disposition(struct entity *e, struct slice value)
{
    keep_value(e, value);
    const struct mime_param *params;
    uint32_t n;
    struct slice rest;
    const char *token = mime_token_read(value, e->mime->arena, &rest);
    read_params(e, rest, &params, &n);
    if (e->disposition_name == NULL)
        e->disposition_name = mime_param_find(params, n, "filename");
    if (e->has_disposition) {
        report(e, MIME_DEFECT_DUPLICATE_DISPOSITION, NULL);
        return;
    }
    e->has_disposition = true;
    e->node->part.disposition = token;
}

static void on_id(struct entity *e, struct slice value)
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
    void (*read)(struct entity *e, struct slice value);
};

static const struct content_field content_fields[] = {
    {"content-type", on_type},
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
static void note_title(struct entity *e, const struct mime_field *field)
{
    if (e->description.data == NULL && mime_name_is(field->name, "content-description"))
        e->description = field->value;
    else if (e->location.data == NULL && mime_name_is(field->name, "content-location"))
        e->location = field->value;
}

static void on_content_field(struct entity *e, const struct mime_field *field)
{
    const struct content_field *known = find_field(field->name);
    if (e->has_blank_line || field->has_blank_line)
        report(e, MIME_DEFECT_BLANK_CONTINUATION, NULL);
    if (field->has_odd_name)
        report(e, MIME_DEFECT_ODD_FIELD_NAME, NULL);
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
static void on_odd_field(struct entity *e, const struct content_field *known, struct slice value)
{
    struct slice rest;
    report(e, MIME_DEFECT_ODD_FIELD_NAME, known->name);
    e->mime->needs_second = true;
    keep_value(e, value);
    if (e->is_second)
        known->read(e, value);
    else if (known->read == on_type)
        mime_other_add_type(e->mime, e->node, read_type(e, value, &rest));
    else if (known->read == on_encoding)
        mime_other_add_encoding(e->mime, e->node, mime_token_read(value, e->mime->arena, &rest));
}

/* A line that is no field: some readers skip it, some end the header there, some join it with the
 * field before. */
static void on_junk(struct entity *e, const struct mime_field *field)
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
    report(e, MIME_DEFECT_HEADER_WITHOUT_COLON, NULL);
    keep_value(e, field->value);
}

static void on_field(struct entity *e, struct mime_field *field)
{
    size_t max_bytes = (size_t)e->mime->conf->worker.max_header_line;
    if (field->raw.len > max_bytes) {
        report(e, MIME_DEFECT_HEADER_TOO_LONG,
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
            keep_value(e, field->raw);
    }
    e->has_blank_line = e->has_blank_line || field->has_blank_line;
}

static void read_fields(struct entity *e)
{
    struct slice block = e->node->part.header;
    int64_t max = e->mime->conf->worker.max_headers, n = 0;
    struct mime_field field;
    for (size_t pos = 0; mime_field_next(block, &pos, e->is_second, &field); n++) {
        if (n >= max) {
            report(e, MIME_DEFECT_TOO_MANY_HEADERS, NULL);
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

static void read_names(struct entity *e)
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
    if (names.n == 0 && e->description.data != NULL)
        mime_names_add_title(&names, e->description, false);
    if (e->node->part.filename == NULL && e->location.data != NULL)
        mime_names_add_title(&names, e->location, true);
    e->node->part.filenames = names.items;
    e->node->part.n_filenames = names.n;
}

static void report_specials(struct entity *e)
{
    if (is_indirect_type(e->node->part.type))
        e->mime->needs_second = true;
    if (strcmp(e->node->part.type, "message/partial") == 0)
        report(e, MIME_DEFECT_MESSAGE_PARTIAL, NULL);
    if (strcmp(e->node->part.type, "message/external-body") == 0)
        report(e, MIME_DEFECT_EXTERNAL_BODY, NULL);
    if (!text_is_ascii(e->node->part.header) && !text_is_utf8(e->node->part.header))
        report(e, MIME_DEFECT_RAW_8BIT_HEADER, NULL);
    if (e->n_boundaries > 1) {
        report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
        e->mime->needs_second = true;
    }
}

void mime_entity_read(struct mime *mime, struct mime_node *node, bool is_second, bool is_in_digest)
{
    struct entity e = {.mime = mime, .node = node, .is_second = is_second};
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
