/* The header of the message itself: milter changes it field by field, so what an edit makes of its
 * content fields becomes actions. */
#include "worker/edit_impl.h"

#include <stdlib.h>
#include <strings.h>

#include "common/text.h"

static bool is_content(struct slice name)
{
    return mime_begins_with(name, "content-");
}

/* ---- as it is ---- */

static struct slice line_of(const struct plan_field *field, struct arena *arena)
{
    if (field->received == NULL)
        return edit_field_line(field->name, field->value, "\r\n", arena);
    const struct slice raw = field->received->raw;
    if (raw.len > 0 && raw.data[raw.len - 1] == '\n')
        return raw;
    return edit_join(raw, slice_of("\r\n", 2), arena);
}

struct slice edit_top_fields(struct job *job, struct arena *arena)
{
    const struct plan *plan = job_plan(job);
    struct slice *lines = arena_calloc(arena, plan->n_fields + 1, sizeof(*lines));
    size_t n = 0, bytes = 0;
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        if (!is_content(plan->fields[i].name))
            continue;
        lines[n] = line_of(&plan->fields[i], arena);
        bytes += lines[n++].len;
    }
    char *block = arena_alloc(arena, bytes + 1);
    char *at = block;
    for (size_t i = 0; i < n; i++)
        at = mempcpy(at, lines[i].data, lines[i].len);
    return slice_of(block, bytes);
}

struct slice edit_value(struct slice value, struct arena *arena)
{
    value = text_after_blanks(value);
    char *out = arena_alloc(arena, value.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        const char c = value.data[i];
        const bool is_pair = c == '\r' && i + 1 < value.len && value.data[i + 1] == '\n';
        if (is_pair)
            continue;
        out[n++] = c == '\r' || c == '\0' ? ' ' : c;
    }
    return slice_of(out, n);
}

/* ---- as it is to be ---- */

struct entry {
    struct slice name, value;
    uint32_t order;
    bool is_received; /* as it was: neither changed nor added */
};

struct entries {
    struct entry *items;
    uint32_t n;
};

static int compare_names(struct slice a, struct slice b)
{
    const size_t n = a.len < b.len ? a.len : b.len;
    const int order = strncasecmp(a.data, b.data, n);
    return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const int order = compare_names(x->name, y->name);
    return order != 0 ? order : x->order < y->order ? -1 : x->order > y->order;
}

static void sort_entries(struct entries *entries)
{
    qsort(entries->items, entries->n, sizeof(*entries->items), by_name);
}

/* Which fields of a header are meant. */
typedef bool (*edit_names_cb)(struct slice name);

static bool is_any(struct slice name)
{
    return name.len > 0;
}

static struct entries wanted_entries(
    struct slice block, edit_names_cb is_meant, struct arena *arena)
{
    struct entries entries = {NULL, 0};
    struct mime_field field;
    uint32_t n = 0;
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);)
        n++;
    entries.items = arena_calloc(arena, n + 1, sizeof(*entries.items));
    for (size_t pos = 0; mime_field_next(block, &pos, false, &field);) {
        if (!field.has_colon || !is_meant(field.name))
            continue;
        entries.items[entries.n] =
            (struct entry){field.name, edit_value(field.value, arena), entries.n, false};
        entries.n++;
    }
    sort_entries(&entries);
    return entries;
}

static struct entries standing_entries(
    const struct plan *plan, edit_names_cb is_meant, struct arena *arena)
{
    struct entries entries = {NULL, 0};
    entries.items = arena_calloc(arena, plan->n_fields + 1, sizeof(*entries.items));
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        const struct plan_field *field = &plan->fields[i];
        if (!is_meant(field->name))
            continue;
        entries.items[entries.n] = (struct entry){field->name, edit_value(field->value, arena),
            entries.n, field->received != NULL && field->value.data == field->received->value.data};
        entries.n++;
    }
    sort_entries(&entries);
    return entries;
}

/* How many entries from `at` on have this name. */
static uint32_t run_of(const struct entries *entries, uint32_t at, struct slice name)
{
    uint32_t n = 0;
    while (at + n < entries->n && compare_names(entries->items[at + n].name, name) == 0)
        n++;
    return n;
}

static bool are_equal(const struct entry *a, const struct entry *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!slice_equal(a[i].value, b[i].value))
            return false;
    }
    return true;
}

static void add_action(struct edit_actions *out, struct action action, struct arena *arena)
{
    if (out->n == out->cap) {
        const uint32_t cap = out->cap == 0 ? 8 : out->cap * 2;
        struct action *grown = arena_calloc(arena, cap, sizeof(*grown));
        if (out->n > 0)
            memcpy(grown, out->items, out->n * sizeof(*grown));
        out->items = grown;
        out->cap = cap;
    }
    out->items[out->n++] = action;
}

/* All fields of one name: those that there are, and those that are to be. */
struct group {
    struct slice name;
    const struct entry *is, *want;
    uint32_t n_is, n_want;
};

/* All at their places as received, so that each can be changed by its number. */
static bool are_received(const struct entry *entries, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!entries[i].is_received)
            return false;
    }
    return true;
}

static void change_each(const struct group *group, struct arena *arena, struct edit_actions *out)
{
    for (uint32_t i = 0; i < group->n_is || i < group->n_want; i++) {
        struct action action = {.kind = ACTION_SET_HEADER, .index = i + 1, .name = group->name};
        if (i < group->n_is && i < group->n_want &&
            slice_equal(group->is[i].value, group->want[i].value))
            continue;
        if (i >= group->n_want)
            action.kind = ACTION_DELETE_HEADER;
        else
            action.value = group->want[i].value;
        if (i >= group->n_is && i > 0) {
            action.kind = ACTION_ADD_HEADER;
            action.index = 0;
        }
        add_action(out, action, arena);
    }
}

static void change_group(const struct group *group, struct arena *arena, struct edit_actions *out)
{
    const struct action all = {.kind = ACTION_DELETE_HEADER, .name = group->name};
    struct group rest = *group;
    if (group->n_is == group->n_want && are_equal(group->is, group->want, group->n_is))
        return;
    if (group->n_want == 0 || !are_received(group->is, group->n_is)) {
        add_action(out, all, arena);
        rest.n_is = 0;
    }
    change_each(&rest, arena, out);
}

/* Those that go first, then in the order in which they are wanted. */
static int by_wish(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->n_want == 0 || y->n_want == 0)
        return (x->n_want > 0) - (y->n_want > 0);
    return x->want->order < y->want->order ? -1 : x->want->order > y->want->order;
}

static uint32_t make_groups(
    const struct entries *is, const struct entries *want, struct group *groups)
{
    uint32_t i = 0, k = 0, n = 0;
    while (i < is->n || k < want->n) {
        const bool is_first = k >= want->n || (i < is->n && compare_names(is->items[i].name,
                                                                want->items[k].name) <= 0);
        struct group *group = &groups[n++];
        group->name = is_first ? is->items[i].name : want->items[k].name;
        group->is = is->items + i;
        group->want = want->items + k;
        i += group->n_is = run_of(is, i, group->name);
        k += group->n_want = run_of(want, k, group->name);
    }
    qsort(groups, n, sizeof(*groups), by_wish);
    return n;
}

static bool has_field(const struct plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->n_fields; i++) {
        if (slice_equal_nocase(plan->fields[i].name, slice_text(name)))
            return true;
    }
    return false;
}

static void change_fields(struct job *job, struct slice block, edit_names_cb is_meant,
    struct arena *arena, struct edit_actions *out)
{
    const struct entries is = standing_entries(job_plan(job), is_meant, arena);
    const struct entries want = wanted_entries(block, is_meant, arena);
    struct group *groups = arena_calloc(arena, (size_t)is.n + want.n + 1, sizeof(*groups));
    const uint32_t n = make_groups(&is, &want, groups);
    for (uint32_t i = 0; i < n; i++)
        change_group(&groups[i], arena, out);
}

void edit_top_change(
    struct job *job, struct slice block, struct arena *arena, struct edit_actions *out)
{
    static const char version[] = "MIME-Version";
    change_fields(job, block, is_content, arena, out);
    if (block.len > 0 && out->n > 0 && !has_field(job_plan(job), version))
        add_action(out,
            (struct action){.kind = ACTION_SET_HEADER,
                .index = 1,
                .name = slice_text(version),
                .value = slice_text("1.0")},
            arena);
}

void edit_top_replace(
    struct job *job, struct slice block, struct arena *arena, struct edit_actions *out)
{
    change_fields(job, block, is_any, arena, out);
}
