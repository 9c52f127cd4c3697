/*
 * What Content-Type says of a part: its type, the container that it asks for, charset and
 * boundaries. The first field decides; others give further readings.
 */
#include "worker/mime_entity.h"

#include "common/text.h"

enum { BOUNDARY_USUAL = 70 }; /* RFC 2046 section 5.1.1 */

static void keep_boundary(struct mime_entity *e, struct slice boundary)
{
    for (uint32_t i = 0; i < e->n_boundaries; i++) {
        if (slice_equal(e->boundaries[i], boundary))
            return;
    }
    if (e->n_boundaries == MIME_BOUNDARIES_MAX) {
        mime_entity_report(e, MIME_DEFECT_TOO_MANY_PARAMETERS, NULL);
        return;
    }
    if (e->boundaries == NULL)
        e->boundaries = arena_calloc(e->mime->arena, MIME_BOUNDARIES_MAX, sizeof(struct slice));
    e->boundaries[e->n_boundaries++] = boundary;
}

/* Blanks at its end are no part of it (RFC 2046); those at its front may be. */
static void add_boundary(struct slice reading, void *context)
{
    struct mime_entity *e = context;
    if (reading.len > BOUNDARY_USUAL)
        mime_entity_report(
            e, MIME_DEFECT_LONG_BOUNDARY, arena_printf(e->mime->arena, "%zu bytes", reading.len));
    if (reading.len > MIME_BOUNDARY_BYTES)
        reading.len = MIME_BOUNDARY_BYTES;
    struct slice trimmed = text_trim(reading);
    if (trimmed.len == 0)
        mime_entity_report(e, MIME_DEFECT_EMPTY_BOUNDARY, NULL);
    else if (trimmed.len < reading.len)
        mime_entity_report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
    if (trimmed.len > 0 && trimmed.data != reading.data)
        keep_boundary(
            e, slice_of(reading.data, (size_t)(trimmed.data + trimmed.len - reading.data)));
    keep_boundary(e, trimmed);
}

/* Many programs know nothing of RFC 2231. */
static void find_boundaries(struct mime_entity *e, struct slice value)
{
    struct mime_occurrence place;
    size_t pos = 0;
    for (int i = 0; i < MIME_PARAMS_MAX && mime_occurrence_next(value, &pos, "boundary", &place);
         i++) {
        if (place.is_extended || place.section >= 0)
            mime_entity_report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
    }
    mime_values_each(value, "boundary", e->mime->arena, add_boundary, e);
}

static bool is_message_type(const char *type)
{
    return strcmp(type, "message/rfc822") == 0 || strcmp(type, "message/global") == 0 ||
           strcmp(type, "message/news") == 0;
}

bool mime_is_indirect_type(const char *type)
{
    return strcmp(type, "message/partial") == 0 || strcmp(type, "message/external-body") == 0;
}

/* The kind of container that a type asks for; the first type decides in the first reading, any in
 * the second. */
static void note_container(struct mime_entity *e, const char *type, struct slice value)
{
    struct mime_node *node = e->node;
    if (strncmp(type, "multipart/", 10) == 0) {
        node->is_multipart = true;
        node->is_digest = node->is_digest || strcmp(type, "multipart/digest") == 0;
        find_boundaries(e, value);
    } else if (is_message_type(type) || (e->is_second && mime_is_indirect_type(type))) {
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

const char *mime_entity_type_read(struct mime_entity *e, struct slice value, struct slice *rest_out)
{
    const char *type = mime_token_read(value, e->mime->arena, rest_out);
    if (is_good_type(type))
        return type;
    mime_entity_report(e, MIME_DEFECT_BAD_CONTENT_TYPE, type);
    return strchr(type, '/') != NULL ? type : "text/plain";
}

/* A type that is none, or with control characters in it, may be a multipart for programs that mend
 * it: the second reading takes it for one when there is a boundary. */
static void note_mended(struct mime_entity *e, struct slice value, const char *type)
{
    struct mime_occurrence place;
    size_t pos = 0;
    if ((is_good_type(type) && !mime_has_control(value)) || e->node->is_multipart ||
        !mime_occurrence_next(value, &pos, "boundary", &place))
        return;
    mime_entity_report(e, MIME_DEFECT_BAD_CONTENT_TYPE, type);
    e->mime->needs_second = true;
    if (!e->is_second)
        return;
    e->node->is_multipart = true;
    find_boundaries(e, value);
}

/* Lower case, printable ASCII; what is no name of a charset stays recognisable as none. */
static const char *charset_name(struct mime_entity *e, const char *value)
{
    char *name = arena_memdup0(e->mime->arena, value, strnlen(value, MIME_CHARSET_BYTES));
    for (char *p = name; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 127)
            *p = '?';
    }
    text_lower(name);
    return name;
}

static void first_type(struct mime_entity *e, struct slice value)
{
    struct mime_part *part = &e->node->part;
    struct slice rest;
    part->type = mime_entity_type_read(e, value, &rest);
    mime_entity_params(e, rest, &part->params, &part->n_params);
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
        mime_entity_report(e, MIME_DEFECT_ODD_BOUNDARY, NULL);
    if (e->node->is_multipart && strncmp(part->type, "multipart/", 10) != 0)
        part->type = "multipart/mixed";
}

void mime_entity_type(struct mime_entity *e, struct slice value)
{
    mime_entity_keep(e, value);
    if (!e->has_type) {
        e->has_type = true;
        e->type_value = value;
        first_type(e, value);
        return;
    }
    bool is_same = slice_equal(text_trim(value), text_trim(e->type_value));
    mime_entity_report(e,
        is_same ? MIME_DEFECT_DUPLICATE_CONTENT_TYPE : MIME_DEFECT_CONFLICTING_CONTENT_TYPE, NULL);
    if (is_same)
        return;
    e->mime->needs_second = true;
    struct slice rest;
    const char *type = mime_entity_type_read(e, value, &rest);
    note_mended(e, value, type);
    if (e->is_second)
        note_container(e, type, value);
    if (strncmp(type, "multipart/", 10) != 0 && !is_message_type(type))
        mime_other_add_type(e->mime, e->node, type);
}
