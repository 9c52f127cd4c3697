/*
 * What stands in a mail where a part was, and the index of files behind links. First byte even: a
 * template up to the first NUL, then a name out of a mail; what comes out is UTF-8, and values
 * bring neither control characters nor tags into it. Odd: an entry of the index, under the name
 * that it asks for; one that is taken can be trusted as parts of a path.
 */
#include "tests/fuzz/fuzz.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/link_index.h"
#include "worker/link_text.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* How many bytes of a set a text has. */
static size_t count(struct slice text, const char *set)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] != '\0' && strchr(set, text.data[i]) != NULL;
    return n;
}

static size_t count_controls(struct slice text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f;
    return n;
}

static void fill(struct slice template, struct slice name, bool is_html)
{
    struct arena *arena = arena_new();
    const struct link_facts facts = {.name = name,
        .url = "https://files.example.org/mail/00/0.bin",
        .type = "application/pdf",
        .sha256 = "00",
        .size = name.len * 1000003,
        .expires_secs = (int64_t)name.len * 86400};
    struct slice out;
    if (link_text_fill(template, &facts, is_html, arena, &out) == NULL) {
        check(out.len <= LINK_TEXT_MAX && text_is_utf8(out));
        check(count_controls(out) <= count_controls(template));
        check(!is_html || count(out, "<>\"'") <= count(template, "<>\"'"));
    }
    arena_free(arena);
}

static void fill_both(const uint8_t *data, size_t len)
{
    const uint8_t *nul = len > 0 ? memchr(data, 0, len) : NULL;
    const size_t n = nul != NULL ? (size_t)(nul - data) : len;
    const struct slice template = slice_of(data, n);
    const struct slice name = nul != NULL ? slice_of(nul + 1, len - n - 1) : slice_of("", 0);
    fill(template, name, false);
    fill(template, name, true);
}

/* The name of the file that it would have to be in. */
static void name_of(struct slice text, char out[LINK_INDEX_NAME_MAX])
{
    json_error_t where;
    json_t *entry = json_loadb(text.len > 0 ? text.data : "", text.len, 0, &where);
    const char *id = json_string_value(json_object_get(entry, "id"));
    const char *directory = json_string_value(json_object_get(entry, "directory"));
    out[0] = '\0';
    if (id != NULL && directory != NULL && link_id_is_good(id))
        link_index_name(id, directory, out);
    json_decref(entry);
}

static void parse(struct slice text)
{
    char name[LINK_INDEX_NAME_MAX];
    json_t *entry = NULL;
    name_of(text, name);
    if (link_index_parse(name, text, &entry) != 0)
        return;
    const char *directory = json_string_value(json_object_get(entry, "directory"));
    check(link_id_is_good(json_string_value(json_object_get(entry, "id"))));
    check(directory[0] == '/' && strlen(directory) < PATH_MAX);
    check(json_integer_value(json_object_get(entry, "size")) >= 0);
    const json_t *uses = json_object_get(entry, "uses");
    check(json_array_size(uses) > 0 && json_array_size(uses) <= LINK_USES_MAX);
    json_decref(entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    if ((data[0] & 1) == 0)
        fill_both(data + 1, len - 1);
    else
        parse(slice_of(data + 1, len - 1));
    return 0;
}
