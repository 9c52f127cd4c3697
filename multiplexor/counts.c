/* A sorted list: it is searched for each count that comes, and shown in order. */
#include "multiplexor/counts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/count.h"
#include "common/xalloc.h"

enum { CAP_MIN = 16 };

static int compare(const struct sum *sum, const char *name, const char *labels)
{
    int order = strcmp(sum->name, name);
    return order != 0 ? order : strcmp(sum->labels, labels);
}

/* Where it stands, or belongs. */
static size_t place_of(
    const struct counts *counts, const char *name, const char *labels, bool *is_there_out)
{
    size_t low = 0, high = counts->n;
    *is_there_out = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(counts->sums[middle], name, labels);
        if (order == 0) {
            *is_there_out = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sum *insert(struct counts *counts, size_t at, const char *name, const char *labels)
{
    size_t name_bytes = strlen(name) + 1, labels_bytes = strlen(labels) + 1;
    struct sum *sum = xcalloc(1, sizeof(*sum) + name_bytes + labels_bytes);
    memcpy(sum->name, name, name_bytes);
    sum->labels = memcpy(sum->name + name_bytes, labels, labels_bytes);
    sum->help = xstrdup("");
    if (counts->n == counts->cap) {
        counts->cap = counts->cap > 0 ? counts->cap * 2 : CAP_MIN;
        counts->sums = xreallocarray(counts->sums, counts->cap, sizeof(struct sum *));
    }
    memmove(&counts->sums[at + 1], &counts->sums[at], (counts->n - at) * sizeof(*counts->sums));
    counts->sums[at] = sum;
    counts->n++;
    return sum;
}

/* False: it has no place. */
static bool add(struct counts *counts, const struct count *count, size_t max)
{
    char name[COUNT_NAME_MAX + 1] = "";
    struct buf labels;
    bool is_there;
    memcpy(name, count->name.data, count->name.len);
    buf_init(&labels, COUNT_KEY_MAX);
    bool is_fine = count_put_labels(&labels, count) == 0 && buf_put_u8(&labels, '\0') == 0;
    const char *text = is_fine ? (const char *)labels.data : "";
    size_t at = place_of(counts, name, text, &is_there);
    is_fine = is_fine && (is_there || counts->n < max);
    if (is_fine) {
        struct sum *sum = is_there ? counts->sums[at] : insert(counts, at, name, text);
        sum->value += count->add <= INT64_MAX - sum->value ? count->add : INT64_MAX - sum->value;
        if (count->help.len > 0) {
            free(sum->help);
            sum->help = xmemdup0(count->help.data, count->help.len);
        }
    }
    buf_clear(&labels);
    return is_fine;
}

int counts_add(struct counts *counts, struct slice field, size_t max, uint64_t *n_dropped_out)
{
    struct buf in;
    int err = 0;
    *n_dropped_out = 0;
    buf_view(&in, field.data, field.len);
    while (buf_left(&in) > 0 && err == 0) {
        struct count count;
        err = count_get(&in, &count);
        if (err == 0 && !add(counts, &count, max))
            ++*n_dropped_out;
    }
    return err;
}

void counts_clear(struct counts *counts)
{
    for (size_t i = 0; i < counts->n; i++) {
        free(counts->sums[i]->help);
        free(counts->sums[i]);
    }
    free(counts->sums);
    *counts = (struct counts){.n = 0};
}

json_t *counts_json(const struct counts *counts)
{
    json_t *object = json_object();
    for (size_t i = 0; i < counts->n; i++) {
        const struct sum *sum = counts->sums[i];
        bool has_labels = sum->labels[0] != '\0';
        char *key = xasprintf(
            "%s%s%s%s", sum->name, has_labels ? "{" : "", sum->labels, has_labels ? "}" : "");
        json_object_set_new(object, key, json_integer((json_int_t)sum->value));
        free(key);
    }
    return object;
}

/* A new counter begins: its head, with what the filter says about any of its counts. */
static void put_head(const struct counts *counts, size_t first, struct buf *out)
{
    const char *name = counts->sums[first]->name, *help = "";
    for (size_t i = first; i < counts->n && strcmp(counts->sums[i]->name, name) == 0; i++)
        help = counts->sums[i]->help[0] != '\0' ? counts->sums[i]->help : help;
    (void)buf_printf(out, "# TYPE postern_user_%s counter\n# HELP postern_user_%s ", name, name);
    for (const char *c = help[0] != '\0' ? help : "counted by the filter"; *c != '\0'; c++)
        (void)buf_printf(out, *c == '\\' || *c == '"' ? "\\%c" : "%c", *c);
    (void)buf_printf(out, "\n");
}

void counts_put(const struct counts *counts, struct buf *out)
{
    for (size_t i = 0; i < counts->n; i++) {
        const struct sum *sum = counts->sums[i];
        if (i == 0 || strcmp(counts->sums[i - 1]->name, sum->name) != 0)
            put_head(counts, i, out);
        const char *open = sum->labels[0] != '\0' ? "{" : "", *close = open[0] != '\0' ? "}" : "";
        (void)buf_printf(out, "postern_user_%s_total%s%s%s %" PRIu64 "\n", sum->name, open,
            sum->labels, close, sum->value);
    }
}
