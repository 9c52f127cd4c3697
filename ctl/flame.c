/* Stacks to a tree, the tree to boxes. */
#include "ctl/flame.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/xalloc.h"
#include "ctl/stacks.h"

enum {
    WIDTH = 1200,
    MARGIN = 10,
    ROW = 18,
    TITLE = 40,      /* height of the head */
    LETTER = 7,      /* width of one, of 12 px monospace, rounded up … */
    DEPTH_MAX = 128, /* a worker sends half as many frames */
};
#define WIDTH_MIN 0.2 /* of a box that is drawn, in px */

struct node {
    struct slice name; /* borrowed */
    uint64_t us;       /* with those above */
    struct node *first, *last, *next;
};

static struct node *child_of(struct node *parent, struct slice name)
{
    for (struct node *child = parent->first; child != NULL; child = child->next) {
        if (slice_equal(child->name, name)) {
            return child;
        }
    }
    struct node *child = xcalloc(1, sizeof(*child));
    child->name = name;
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
    return child;
}

static void add_stack(struct node *root, const char *stack, uint64_t us)
{
    struct slice rest = slice_text(stack), frame;
    struct node *node = root;
    root->us += us;
    for (int depth = 1; depth < DEPTH_MAX && stacks_next_frame(&rest, &frame); depth++) {
        node = child_of(node, frame);
        node->us += us;
    }
}

static void free_children(struct node *node)
{
    for (struct node *child = node->first, *next; child != NULL; child = next) {
        next = child->next;
        free_children(child);
        free(child);
    }
}

static int depth_of(const struct node *node)
{
    int most = 0;
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        int depth = depth_of(child);
        most = depth > most ? depth : most;
    }
    return most + 1;
}

/* ---- XML ---- */

/* XML has no place for control characters, escaped or not, nor for U+FFFE and U+FFFF. */
static void put_xml(FILE *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool is_end_of_plane = c == 0xef && i + 2 < text.len &&
                               (unsigned char)text.data[i + 1] == 0xbf &&
                               (unsigned char)text.data[i + 2] >= 0xbe;
        if (c == '&' || c == '<' || c == '>' || c == '"') {
            fprintf(out, "&#%d;", c);
        } else if (c < 0x20 || c == 0x7f || is_end_of_plane) {
            fputc('?', out);
            i += is_end_of_plane ? 2 : 0;
        } else {
            fputc(c, out);
        }
    }
}

/* A text cut to so many characters, at a character's start. */
static struct slice cut(struct slice text, size_t n_characters)
{
    size_t i = 0;
    for (size_t n = 0; i < text.len; i++) {
        n += ((unsigned char)text.data[i] & 0xc0) != 0x80;
        if (n > n_characters) {
            break;
        }
    }
    return slice_of(text.data, i);
}

/* ---- boxes ---- */

/* Warm colours for Lua, green ones for C, grey for all of it; the same frame has the same colour in
 * each picture. */
static void put_colour(FILE *out, const struct node *node, int depth)
{
    uint32_t hash = hash_bytes(node->name);
    hash ^= hash >> 15;
    unsigned a = hash % 50, b = (hash >> 8) % 80;
    if (depth == 0) {
        fprintf(out, "rgb(210,210,210)");
    } else if (stacks_is_c(node->name)) {
        fprintf(out, "rgb(%u,%u,%u)", 130 + a, 190 + b % 40, 120 + a);
    } else {
        fprintf(out, "rgb(%u,%u,%u)", 205 + a, 120 + b, 60 + a);
    }
}

static void put_box(
    FILE *out, const struct node *node, int depth, double x, double y, double width, double share)
{
    size_t room = (size_t)((width - 6) / LETTER);
    struct slice shown = width > 6 ? cut(node->name, room) : slice_of(NULL, 0);
    bool is_cut = shown.len < node->name.len;
    fprintf(out, "<g><title>");
    put_xml(out, node->name);
    fprintf(out,
        ": %.1f ms, %.1f %%</title><rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%d\" "
        "fill=\"",
        (double)node->us / 1000, share * 100, x, y, width, ROW - 1);
    put_colour(out, node, depth);
    fprintf(out, "\"/>");
    if (!is_cut || room > 3) {
        fprintf(out, "<text x=\"%.1f\" y=\"%.0f\">", x + 3, y + ROW - 5);
        put_xml(out, is_cut ? cut(node->name, room - 2) : shown);
        fprintf(out, "%s</text>", is_cut ? ".." : "");
    }
    fprintf(out, "</g>\n");
}

/* The box, those that it called above it, side by side. */
static void put_tree(
    FILE *out, const struct node *node, uint64_t all_us, int depth, double x, double bottom)
{
    double share = (double)node->us / (double)all_us;
    double width = share * (WIDTH - 2 * MARGIN);
    if (width < WIDTH_MIN) {
        return;
    }
    put_box(out, node, depth, x, bottom - (depth + 1) * ROW, width, share);
    for (const struct node *child = node->first; child != NULL; child = child->next) {
        put_tree(out, child, all_us, depth + 1, x, bottom);
        x += (double)child->us / (double)all_us * (WIDTH - 2 * MARGIN);
    }
}

void flame_write(FILE *out, const json_t *stacks, const char *title)
{
    struct node root = {.name = slice_text("all")};
    for (size_t i = 0; i < json_array_size(stacks); i++) {
        const json_t *row = json_array_get(stacks, i);
        const char *stack = json_string_value(json_array_get(row, 0));
        json_int_t us = json_integer_value(json_array_get(row, 1));
        if (stack != NULL && us > 0) {
            add_stack(&root, stack, (uint64_t)us);
        }
    }
    int height = TITLE + depth_of(&root) * ROW + MARGIN;
    fprintf(out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
        "%d\" "
        "font-family=\"monospace\" font-size=\"11\">\n"
        "<rect width=\"%d\" height=\"%d\" fill=\"rgb(253,251,245)\"/>\n"
        "<text x=\"%d\" y=\"24\" font-size=\"15\">",
        WIDTH, height, WIDTH, height, WIDTH, height, MARGIN);
    put_xml(out, slice_text(title));
    fprintf(out, "</text>\n");
    if (root.us > 0) {
        put_tree(out, &root, root.us, 0, MARGIN, height - MARGIN);
    }
    fprintf(out, "</svg>\n");
    free_children(&root);
}
