/*
 * Reads files of mail with Postern's reader and with GMime, and compares: the tree with its types,
 * where each leaf's content stands in the message, its decoded bytes, its text in UTF-8, its name
 * and the decoded values of its header fields. Where our reader says that a mail can be read in two
 * ways, GMime's leaves must be among ours.
 *
 *   test_equal_gmime [-v] [-w FOLDER] [-m MUTANTS] FILE...
 *
 * -v: all differences, not the first ones alone; -w: each message that differs, into the folder.
 * Prints what was left out and why, files, leaves, differences; ends with 1 when there is one that
 * is not in the table of GMime's known deviations.
 */
#include <gmime/gmime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/header.h"
#include "common/text.h"
#include "tests/hostile/gmime_view.h"
#include "tests/unit/mail_mutator.h"
#include "tests/unit/mime_fixture.h"

enum { MAIL_MAX = 256 << 20, NAME_BYTES = 1024, SHOWN_MAX = 20, FIELDS_MAX = 10000 };

/* ---- GMime's known deviations ---- */

/* What is compared. */
enum aspect {
    ASPECT_TREE = 0,
    ASPECT_SPAN,
    ASPECT_CONTENT,
    ASPECT_TEXT,
    ASPECT_NAME,
    ASPECT_FIELD,
    ASPECT_UNION,
    ASPECT_COUNT
};
static const char *const aspect_names[ASPECT_COUNT] = {
    "tree", "span", "content", "text", "name", "header", "union"};

struct difference {
    struct mime_fixture *f;
    enum aspect aspect;
    const struct mime_part *ours;    /* NULL: none at this place */
    const struct gmime_part *theirs; /* NULL: none at this place */
    const struct gmime_field *field; /* of ASPECT_FIELD */
    struct slice our_value, their_value;
};

#include "tests/hostile/gmime_deviations.h"

/* ---- comparing ---- */

struct totals {
    uint32_t files, ambiguous, left_out, leaves, texts, fields, names, nothings, carried;
    uint32_t known[N_DEVIATIONS], unknown[ASPECT_COUNT];
    uint32_t shown;
    bool is_verbose;
    const char *folder; /* NULL: none */
};

struct comparison {
    struct mime_fixture *f;
    struct totals *totals;
    const char *name;
    struct gmime_view view;
};

static void show_value(const char *who, struct slice value)
{
    char text[400];
    text_escape(text, sizeof(text), value, 0);
    printf("    %-6s %s\n", who, text);
}

static void show(struct comparison *c, const struct difference *d)
{
    struct totals *totals = c->totals;
    if (totals->shown >= SHOWN_MAX && !totals->is_verbose)
        return;
    totals->shown++;
    printf("%s: %s, part %s%s%s\n    ours:  %s\n    says:  %s\n", c->name, aspect_names[d->aspect],
        d->ours != NULL ? d->ours->path : "-", d->field != NULL ? ", " : "",
        d->field != NULL ? d->field->name : "", mime_fixture_tree(c->f),
        mime_fixture_defects(c->f));
    printf("    GMime:");
    for (uint32_t i = 0; i < c->view.n; i++)
        printf(" %u:%s", c->view.parts[i].depth, c->view.parts[i].type);
    printf("\n");
    show_value("ours", d->our_value);
    show_value("GMime", d->their_value);
}

static void keep(struct comparison *c)
{
    char path[4096];
    if (c->totals->folder == NULL)
        return;
    snprintf(path, sizeof(path), "%s/%s", c->totals->folder, c->name);
    if (!g_file_set_contents(path, c->f->message.data, (gssize)c->f->message.len, NULL))
        fprintf(stderr, "cannot write %s\n", path);
}

static void report(struct comparison *c, struct difference d)
{
    d.f = c->f;
    for (size_t i = 0; i < N_DEVIATIONS; i++) {
        if (deviations[i].aspect == d.aspect && deviations[i].is_it(&d)) {
            c->totals->known[i]++;
            return;
        }
    }
    c->totals->unknown[d.aspect]++;
    show(c, &d);
    keep(c);
}

static struct slice number_text(struct comparison *c, size_t start, size_t end)
{
    return slice_text(arena_printf(c->f->arena, "%zu to %zu", start, end));
}

static void compare_content(
    struct comparison *c, const struct mime_part *ours, const struct gmime_part *theirs)
{
    struct slice content = mime_content(c->f->mime, ours);
    size_t start = (size_t)(ours->content.data - c->f->message.data);
    c->totals->leaves++;
    if (!ours->is_decoded && theirs->content.data != NULL &&
        (start != theirs->start || start + ours->content.len != theirs->end))
        report(c, (struct difference){.aspect = ASPECT_SPAN,
                      .ours = ours,
                      .theirs = theirs,
                      .our_value = number_text(c, start, start + ours->content.len),
                      .their_value = number_text(c, theirs->start, theirs->end)});
    if (!slice_equal(content, theirs->content))
        report(c, (struct difference){.aspect = ASPECT_CONTENT,
                      .ours = ours,
                      .theirs = theirs,
                      .our_value = content,
                      .their_value = theirs->content});
}

static void compare_text(
    struct comparison *c, const struct mime_part *ours, const struct gmime_part *theirs)
{
    if (theirs->text == NULL || strcmp(ours->type, "text/html") == 0)
        return; /* tags are not GMime's business */
    struct slice text = mime_text(c->f->mime, ours), wanted = slice_text(theirs->text);
    c->totals->texts++;
    if (!slice_equal(text, wanted))
        report(c, (struct difference){.aspect = ASPECT_TEXT,
                      .ours = ours,
                      .theirs = theirs,
                      .our_value = text,
                      .their_value = wanted});
}

static bool has_name(const struct mime_part *part, struct slice name)
{
    for (uint32_t i = 0; i < part->n_filenames; i++) {
        if (slice_equal(slice_text(part->filenames[i]), name))
            return true;
    }
    return false;
}

static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.data[s.len - 1]) != NULL)
        s.len--;
    while (s.len > 0 && strchr(" \t\r\n", s.data[0]) != NULL)
        s = slice_of(s.data + 1, s.len - 1);
    return s;
}

/* The name that a reader would show is one of ours, which are those of every reader. GMime writes
 * "?" for what it cannot convert; such names are left out, and those over our bound. */
static void compare_name(
    struct comparison *c, const struct mime_part *ours, const struct gmime_part *theirs)
{
    struct slice name = trimmed(slice_text(theirs->filename));
    if (name.len == 0 || name.len > NAME_BYTES || memchr(name.data, '?', name.len) != NULL ||
        !text_is_utf8(name))
        return;
    c->totals->names++;
    if (!has_name(ours, name))
        report(c, (struct difference){.aspect = ASPECT_NAME,
                      .ours = ours,
                      .theirs = theirs,
                      .our_value = slice_text(ours->filename),
                      .their_value = name});
}

static bool is_first_of_name(const struct gmime_part *part, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (strcasecmp(part->fields[i].name, part->fields[at].name) == 0)
            return false;
    }
    return true;
}

enum { FIELDS_COMPARED = 200 }; /* of one part */

static void compare_fields(
    struct comparison *c, const struct mime_part *ours, const struct gmime_part *theirs)
{
    uint32_t n = theirs->n_fields < FIELDS_COMPARED ? theirs->n_fields : FIELDS_COMPARED;
    for (uint32_t i = 0; i < n; i++) {
        const struct gmime_field *field = &theirs->fields[i];
        if (field->value == NULL || !is_first_of_name(theirs, i))
            continue;
        struct slice value = mime_part_header(c->f->mime, ours, slice_text(field->name));
        c->totals->fields++;
        if (value.data == NULL || !slice_equal(value, slice_text(field->value)))
            report(c, (struct difference){.aspect = ASPECT_FIELD,
                          .ours = ours,
                          .theirs = theirs,
                          .field = field,
                          .our_value = value,
                          .their_value = slice_text(field->value)});
    }
}

/* Two boundary lines on end: a part without header and content, which GMime does not list (RFC 2046
 * section 5.1.1 wants a line end between them that is part of neither). In a digest it is a message
 * with a part. */
static bool is_nothing(const struct mime_part *part)
{
    return part->header.len == 0 && part->content.len == 0 && part->parent != NULL;
}

static bool is_same_node(const struct mime_part *ours, const struct gmime_part *theirs)
{
    return ours->depth == theirs->depth && ours->is_container == theirs->is_container &&
           strcmp(ours->type, theirs->type) == 0;
}

/* Content or fields, of a message in a digest those of its part. */
static bool has_something(struct comparison *c, const struct gmime_part *part)
{
    if (part->is_container && part + 1 < c->view.parts + c->view.n)
        return part->n_fields > 0 || has_something(c, part + 1);
    return part->content.len > 0 || part->n_fields > 0;
}

/* Parts that GMime has not at this place: what is carried in TNEF, uuencode, yEnc or a file, and
 * nothing.
 */
static bool is_ours_alone(
    struct comparison *c, const struct mime_part *ours, const struct gmime_part *theirs)
{
    if (ours->is_decoded) {
        c->totals->carried++;
        return true;
    }
    bool has_same = theirs != NULL && is_same_node(ours, theirs) && !has_something(c, theirs);
    if (!is_nothing(ours) || has_same)
        return false;
    c->totals->nothings++;
    return true;
}

static void compare_nodes(
    struct comparison *c, const struct mime_part *ours, const struct gmime_part *theirs)
{
    if (!ours->is_container) {
        compare_content(c, ours, theirs);
        compare_text(c, ours, theirs);
        compare_name(c, ours, theirs);
    }
    compare_fields(c, ours, theirs);
}

/* Walks both trees, which have the same order. */
static void compare_trees(struct comparison *c)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(c->f->mime, &n);
    for (uint32_t i = 0, k = 0; i < n || k < c->view.n; i++, k++) {
        const struct gmime_part *theirs = k < c->view.n ? &c->view.parts[k] : NULL;
        while (i < n && is_ours_alone(c, parts[i], theirs))
            i++;
        const struct mime_part *ours = i < n ? parts[i] : NULL;
        if (ours == NULL && theirs == NULL)
            return;
        if (ours == NULL || theirs == NULL || !is_same_node(ours, theirs)) {
            report(c, (struct difference){.aspect = ASPECT_TREE,
                          .ours = ours,
                          .theirs = theirs,
                          .our_value = slice_text(ours != NULL ? ours->type : NULL),
                          .their_value = slice_text(theirs != NULL ? theirs->type : NULL)});
            return; /* what follows is shifted */
        }
        compare_nodes(c, ours, theirs);
    }
}

/* Where the part begins in the message; past its end when it is not part of it. */
static size_t start_of(struct comparison *c, const struct mime_part *part)
{
    return part->is_decoded ? SIZE_MAX : (size_t)(part->content.data - c->f->message.data);
}

/* A part of ours begins where theirs does, has the same bytes, or has them among others. */
static bool has_content(
    struct comparison *c, const struct mime_part *part, const struct gmime_part *theirs)
{
    size_t start = start_of(c, part);
    if (start == theirs->start)
        return true;
    if (part->is_container)
        return false;
    struct slice content = mime_content(c->f->mime, part);
    if (start == SIZE_MAX || theirs->start < start || theirs->start > start + part->content.len)
        return slice_equal(content, theirs->content);
    return memmem(content.data, content.len, theirs->content.data, theirs->content.len) != NULL;
}

static bool is_among_ours(struct comparison *c, const struct gmime_part *theirs)
{
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(c->f->mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (has_content(c, parts[i], theirs))
            return true;
    }
    return false;
}

static void compare_union(struct comparison *c)
{
    for (uint32_t i = 0; i < c->view.n; i++) {
        const struct gmime_part *theirs = &c->view.parts[i];
        if (theirs->is_container || theirs->content.len == 0)
            continue; /* nothing hides in nothing */
        c->totals->leaves++;
        if (!is_among_ours(c, theirs))
            report(c, (struct difference){.aspect = ASPECT_UNION,
                          .theirs = theirs,
                          .our_value = slice_text(""),
                          .their_value = theirs->content});
    }
}

/* ---- what GMime must not see ---- */

/* Address fields nest without end in GMime's parser, which recurses: each ":" and "(" may open
 * something. */
enum { OPENINGS_MAX = 1000 };

static bool nests(struct slice header)
{
    uint32_t n = 0;
    for (size_t i = 0; i < header.len; i++)
        n += header.data[i] == ':' || header.data[i] == '(' || header.data[i] == '<';
    return n > OPENINGS_MAX;
}

/* Why a message is kept from GMime; NULL: it is not. All of it follows from our own caps but for
 * the last. */
static const char *reason_to_leave_out(struct mime_fixture *f)
{
    static const char *const caps[] = {"too-many-headers", "header-too-long", "too-many-parts",
        "too-many-parameters", "too-many-names"};
    uint32_t n;
    const struct mime_part *const *parts = mime_parts(f->mime, &n);
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (mime_fixture_has_defect(f, caps[i]))
            return caps[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        if (nests(parts[i]->header))
            return "nested groups or comments";
    }
    return NULL;
}

static void compare(struct mime_fixture *f, struct totals *totals, const char *name)
{
    struct comparison c = {.f = f, .totals = totals, .name = name};
    const char *reason = reason_to_leave_out(f);
    if (reason != NULL) {
        totals->left_out++;
        printf("left out: %-50s %s\n", name, reason);
        return;
    }
    totals->files++;
    gmime_view_read(&c.view, f->message, (uint32_t)f->conf->worker.max_depth + 2, f->arena);
    if (mime_fixture_is_ambiguous(f)) {
        totals->ambiguous++;
        compare_union(&c);
    } else if (c.view.is_message) {
        compare_trees(&c);
    } else {
        report(&c, (struct difference){.aspect = ASPECT_TREE, .ours = mime_root(f->mime)});
    }
}

static void compare_mutants(struct mime_fixture *f, struct totals *totals, uint32_t n)
{
    struct buf mail;
    buf_init(&mail, MAIL_MAX);
    for (uint32_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof(name), "mutant %u", i);
        mail_mutate(i, &mail);
        mime_fixture_read(f, mail.data, mail.len);
        compare(f, totals, name);
    }
    buf_clear(&mail);
}

static bool compare_file(struct mime_fixture *f, struct totals *totals, const char *path)
{
    gchar *data;
    gsize len;
    GError *error = NULL;
    if (!g_file_get_contents(path, &data, &len, &error)) {
        fprintf(stderr, "%s\n", error->message);
        g_error_free(error);
        return false;
    }
    mime_fixture_read(f, data, len);
    g_free(data);
    const char *slash = strrchr(path, '/');
    compare(f, totals, slash != NULL ? slash + 1 : path);
    return true;
}

/* Of the tree, found while it was walked. */
static uint32_t print_known(uint32_t n, const char *why)
{
    if (n > 0)
        printf("known: %6u %-8s %s\n", n, aspect_names[ASPECT_TREE], why);
    return n;
}

static uint32_t print_totals(const struct totals *totals)
{
    uint32_t sum = 0, known = 0;
    for (size_t i = 0; i < N_DEVIATIONS; i++) {
        if (totals->known[i] > 0)
            printf("known: %6u %-8s %s\n", totals->known[i], aspect_names[deviations[i].aspect],
                deviations[i].why);
        known += totals->known[i];
    }
    known += print_known(totals->nothings, "two boundary lines on end: no empty part between them");
    known +=
        print_known(totals->carried, "parts carried in TNEF, uuencode, yEnc or a file: not listed");
    for (int i = 0; i < ASPECT_COUNT; i++) {
        if (totals->unknown[i] > 0)
            printf("DIFFERENT: %u in %s\n", totals->unknown[i], aspect_names[i]);
        sum += totals->unknown[i];
    }
    printf("%u messages (%u ambiguous), %u leaves, %u texts, %u names, %u header fields; %u left "
           "out, %u known deviations of GMime, %u differences\n",
        totals->files, totals->ambiguous, totals->leaves, totals->texts, totals->names,
        totals->fields, totals->left_out, known, sum);
    return sum;
}

int main(int argc, char **argv)
{
    static const char *const limits[] = {
        "worker.max_text=1G", "worker.max_decoded=1G", "worker.max_depth=500", NULL};
    struct totals totals = {0};
    struct mime_fixture f;
    uint32_t mutants = 0;
    int c;
    while ((c = getopt(argc, argv, "vm:w:")) != -1) {
        if (c == 'v')
            totals.is_verbose = true;
        else if (c == 'w')
            totals.folder = optarg;
        else if (c == 'm')
            mutants = (uint32_t)atoi(optarg);
        else
            return 2;
    }
    mime_fixture_open(&f, limits);
    compare_mutants(&f, &totals, mutants);
    for (; optind < argc; optind++) {
        if (!compare_file(&f, &totals, argv[optind]))
            return 1;
    }
    uint32_t sum = print_totals(&totals);
    mime_fixture_close(&f);
    return sum == 0 && totals.leaves > 0 ? 0 : 1;
}
