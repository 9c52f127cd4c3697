#include "tests/hostile/gmime_view.h"

#include <gmime/gmime.h>
#include <string.h>

#include "common/text.h"

struct reader {
    struct gmime_view *view;
    struct arena *arena;
    uint32_t max_depth;
};

static struct gmime_part *part_new(struct reader *r)
{
    struct gmime_view *view = r->view;
    if (view->n == view->cap) {
        uint32_t cap = view->cap > 0 ? view->cap * 2 : 16;
        struct gmime_part *parts = arena_calloc(r->arena, cap, sizeof(*parts));
        if (view->n > 0)
            memcpy(parts, view->parts, view->n * sizeof(*parts));
        view->parts = parts;
        view->cap = cap;
    }
    return &view->parts[view->n++];
}

static const char *copy(struct reader *r, const char *text)
{
    return text != NULL ? arena_memdup0(r->arena, text, strlen(text)) : NULL;
}

/* A message has its own fields in one list, those of its content in another. */
static void read_fields(struct reader *r, struct gmime_part *part, GMimeObject *const *objects)
{
    int n = 0;
    for (int i = 0; objects[i] != NULL; i++)
        n += g_mime_header_list_get_count(g_mime_object_get_header_list(objects[i]));
    part->fields = arena_calloc(r->arena, (size_t)n + 1, sizeof(*part->fields));
    for (int i = 0; objects[i] != NULL; i++) {
        GMimeHeaderList *list = g_mime_object_get_header_list(objects[i]);
        for (int k = 0; k < g_mime_header_list_get_count(list); k++) {
            GMimeHeader *header = g_mime_header_list_get_header_at(list, k);
            part->fields[part->n_fields++] = (struct gmime_field){
                copy(r, g_mime_header_get_name(header)), copy(r, g_mime_header_get_value(header))};
        }
    }
}

static void read_type(struct reader *r, struct gmime_part *part, GMimeObject *object)
{
    GMimeContentType *type = g_mime_object_get_content_type(object);
    char *text = type != NULL ? g_mime_content_type_get_mime_type(type) : NULL;
    char *lower =
        arena_memdup0(r->arena, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
    text_lower(lower);
    part->type = lower;
    g_free(text);
}

static void read_content(struct reader *r, struct gmime_part *part, GMimePart *object)
{
    GMimeDataWrapper *content = g_mime_part_get_content(object);
    if (content == NULL)
        return;
    GMimeStream *stream = g_mime_data_wrapper_get_stream(content);
    part->start = (size_t)stream->bound_start;
    part->end = (size_t)(stream->bound_end >= 0 ? stream->bound_end : stream->bound_start);
    GMimeStream *sink = g_mime_stream_mem_new();
    g_mime_data_wrapper_write_to_stream(content, sink);
    GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(sink));
    part->content = slice_of(arena_memdup0(r->arena, bytes->data, bytes->len), bytes->len);
    g_object_unref(sink);
    if (GMIME_IS_TEXT_PART(object)) {
        char *text = g_mime_text_part_get_text(GMIME_TEXT_PART(object));
        part->text = copy(r, text);
        g_free(text);
    }
}

/* message: of which object is the content; NULL. */
static void read_object(
    struct reader *r, GMimeObject *object, GMimeMessage *message, uint32_t depth)
{
    if (depth > r->max_depth)
        return;
    uint32_t at = r->view->n;
    struct gmime_part part = {.depth = depth};
    read_type(r, &part, object);
    GMimeObject *objects[] = {object, GMIME_OBJECT(message), NULL};
    if (message == NULL)
        objects[1] = NULL;
    read_fields(r, &part, objects);
    *part_new(r) = part;
    if (GMIME_IS_MULTIPART(object)) {
        r->view->parts[at].is_container = true;
        for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(object)); i++)
            read_object(r, g_mime_multipart_get_part(GMIME_MULTIPART(object), i), NULL, depth + 1);
    } else if (GMIME_IS_MESSAGE_PART(object)) {
        r->view->parts[at].is_container = true;
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
        if (inner != NULL && g_mime_message_get_mime_part(inner) != NULL)
            read_object(r, g_mime_message_get_mime_part(inner), inner, depth + 1);
    } else if (GMIME_IS_PART(object)) {
        read_content(r, &r->view->parts[at], GMIME_PART(object));
        r->view->parts[at].filename = copy(r, g_mime_part_get_filename(GMIME_PART(object)));
    }
}

void gmime_view_read(
    struct gmime_view *view, struct slice message, uint32_t max_depth, struct arena *arena)
{
    struct reader r = {view, arena, max_depth};
    *view = (struct gmime_view){0};
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(message.data, message.len);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *parsed = g_mime_parser_construct_message(parser, NULL);
    if (parsed != NULL && g_mime_message_get_mime_part(parsed) != NULL) {
        view->is_message = true;
        read_object(&r, g_mime_message_get_mime_part(parsed), parsed, 0);
    }
    if (parsed != NULL)
        g_object_unref(parsed);
    g_object_unref(parser);
    g_object_unref(stream);
}
