#include "tests/unit/mime_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "common/xalloc.h"

enum { TEXT_MAX = 1 << 22 };

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

void mime_fixture_open(struct mime_fixture *f, const char *const *overrides)
{
    *f = (struct mime_fixture){0};
    char *error = NULL;
    int n = 0;
    while (overrides != NULL && overrides[n] != NULL)
        n++;
    mime_start();
    if (conf_load(NULL, overrides, n, &f->conf, &error) < 0) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    f->arena = arena_new();
}

static void forget(struct mime_fixture *f)
{
    mime_free(f->mime);
    f->mime = NULL;
    free(f->bytes);
    f->bytes = NULL;
    arena_reset(f->arena);
}

void mime_fixture_close(struct mime_fixture *f)
{
    forget(f);
    arena_free(f->arena);
    conf_free(f->conf);
}

void mime_fixture_read(struct mime_fixture *f, const void *data, size_t len)
{
    forget(f);
    f->bytes = xmalloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(f->bytes, data, len);
    f->message = slice_of(f->bytes, len);
    size_t body;
    size_t header = header_block_length(f->message, &body);
    header_list_scan(
        slice_of(f->bytes, header), (uint32_t)f->conf->worker.max_headers, f->arena, &f->headers);
    f->mime = mime_new(f->message, &f->headers, f->conf, f->arena);
}

void mime_fixture_read_text(struct mime_fixture *f, const char *text)
{
    struct buf message;
    buf_init(&message, TEXT_MAX);
    for (; *text != '\0'; text++)
        require(buf_put(&message, *text == '\n' ? "\r\n" : text, *text == '\n' ? 2 : 1) == 0,
            "the message is short");
    mime_fixture_read(f, message.data, message.len);
    buf_clear(&message);
}

static struct slice text_of(struct mime_fixture *f, struct buf *buf)
{
    struct slice s = slice_of(arena_memdup0(f->arena, buf->data, buf->len), buf->len);
    buf_clear(buf);
    return s;
}

const char *mime_fixture_names(struct mime_fixture *f, const struct mime_part *part)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    for (uint32_t i = 0; i < part->n_filenames; i++)
        buf_printf(&out, "%s%s", i > 0 ? "|" : "", part->filenames[i]);
    return text_of(f, &out).data;
}

const char *mime_fixture_tree(struct mime_fixture *f)
{
    struct buf out;
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    buf_init(&out, TEXT_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            buf_printf(&out, "%s", parts[i]->parent == parts[i - 1] ? "(" : " ");
        buf_printf(&out, "%s", parts[i]->type);
        if (parts[i]->n_filenames > 0)
            buf_printf(&out, "[%s]", mime_fixture_names(f, parts[i]));
        uint32_t next_depth = i + 1 < n ? parts[i + 1]->depth : 0;
        for (uint32_t depth = parts[i]->depth; depth > next_depth; depth--)
            buf_printf(&out, ")");
    }
    return text_of(f, &out).data;
}

static int by_kind(const void *a, const void *b)
{
    const struct mime_defect *x = a, *y = b;
    return strcmp(x->kind, y->kind);
}

const char *mime_fixture_defects(struct mime_fixture *f)
{
    uint32_t n;
    const struct mime_defect *defects = mime_defects(f->mime, &n);
    struct mime_defect *sorted = arena_calloc(f->arena, n + 1, sizeof(*sorted));
    if (n > 0)
        memcpy(sorted, defects, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_kind);
    struct buf out;
    buf_init(&out, TEXT_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(sorted[i].kind, sorted[i - 1].kind) != 0)
            buf_printf(&out, "%s%s", i > 0 ? " " : "", sorted[i].kind);
    }
    return text_of(f, &out).data;
}

bool mime_fixture_has_defect(struct mime_fixture *f, const char *kind)
{
    uint32_t n;
    const struct mime_defect *defects = mime_defects(f->mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(defects[i].kind, kind) == 0)
            return true;
    }
    return false;
}

bool mime_fixture_is_ambiguous(struct mime_fixture *f)
{
    uint32_t n;
    const struct mime_defect *defects = mime_defects(f->mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (defects[i].is_ambiguous)
            return true;
    }
    return false;
}

const struct mime_part *mime_fixture_part(struct mime_fixture *f, const char *path)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(parts[i]->path, path) == 0)
            return parts[i];
    }
    require(false, path);
    return NULL;
}

bool mime_fixture_has_name(struct mime_fixture *f, const char *name)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < parts[i]->n_filenames; k++) {
            if (strcmp(parts[i]->filenames[k], name) == 0)
                return true;
        }
    }
    return false;
}

static bool is_utf8(const char *text)
{
    return text_is_utf8(slice_text(text));
}

static void check_texts(const struct mime_part *part)
{
    require(is_utf8(part->type) && is_utf8(part->charset) && is_utf8(part->encoding) &&
                is_utf8(part->disposition) && is_utf8(part->content_id),
        "texts are UTF-8");
    /* Without: what a description or a location says is among the names. */
    require(part->filename == NULL || part->n_filenames > 0, "the name is one of the names");
    for (uint32_t i = 0; i < part->n_filenames; i++)
        require(is_utf8(part->filenames[i]) && part->filenames[i][0] != '\0', "names are UTF-8");
    for (uint32_t i = 0; i < part->n_params; i++)
        require(is_utf8(part->params[i].name) && is_utf8(part->params[i].value),
            "parameters are UTF-8");
}

static bool is_inside(struct slice outer, struct slice s)
{
    return s.data >= outer.data && s.data + s.len <= outer.data + outer.len;
}

static void check_part(struct mime_fixture *f, const struct mime_part *const *parts, uint32_t i)
{
    const struct mime_part *part = parts[i];
    require(part->number == i && part->mime == f->mime, "numbers");
    require((part->parent == NULL) == (i == 0), "one root");
    require(part->parent == NULL ||
                (part->parent->number < i && part->depth == part->parent->depth + 1 &&
                    (part->parent->is_container || part->is_decoded)),
        "parents");
    require(part->is_decoded ||
                (is_inside(f->message, part->header) && is_inside(f->message, part->content)),
        "slices of the message");
    check_texts(part);
}

void mime_fixture_check(struct mime_fixture *f)
{
    uint32_t n, n_texts;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    require(
        n >= 1 && n <= (uint32_t)f->conf->worker.max_parts * 2 && parts[0] == mime_root(f->mime),
        "a root");
    for (uint32_t i = 0; i < n; i++) {
        check_part(f, parts, i);
        struct slice content = mime_content(f->mime, parts[i]);
        require(content.len <= parts[i]->content.len + 4, "decoding does not grow");
        require(text_is_utf8(mime_text(f->mime, parts[i])), "text is UTF-8");
        require(mime_detected_type(f->mime, parts[i]) != NULL, "a type or none");
        struct slice value = mime_part_header(f->mime, parts[i], slice_text("Content-Type"));
        require(text_is_utf8(value), "header values are UTF-8");
    }
    require(text_is_utf8(mime_message_text(f->mime)), "the text is UTF-8");
    const char *const *urls = mime_urls(f->mime, &n_texts);
    for (uint32_t i = 0; i < n_texts; i++)
        require(is_utf8(urls[i]), "addresses are UTF-8");
    const char *const *charsets = mime_charsets(f->mime, &n_texts);
    for (uint32_t i = 0; i < n_texts; i++)
        require(is_utf8(charsets[i]), "charsets are UTF-8");
    mime_defects(f->mime, &n_texts);
    for (uint32_t i = 0; i < f->headers.n; i++) {
        struct slice text = mime_decode_header(f->headers.items[i].value, f->arena);
        require(text_is_utf8(text), "decoded values are UTF-8");
    }
}
