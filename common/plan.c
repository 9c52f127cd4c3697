/*
 * From actions to a plan. Only names that some action speaks of are looked at: they are sorted
 * once, and each received field finds its name by bisection, so that the usual mail (two changes,
 * thirty fields) costs next to nothing and a hostile one n log n.
 */
#include "common/plan.h"

#include <stdlib.h>
#include <string.h>

#include "common/plan_recipients.h"

enum { NO_GROUP = UINT32_MAX };

/* What became of a received field: the last change or delete that names it. */
struct mark {
    uint32_t at;                 /* number of that action, from 1; 0: none */
    const struct action *change; /* NULL: a delete */
};

/* A field that we add, in the order asked for. */
struct added {
    const struct action *action; /* the last one asked for it: its name and value */
    bool is_insert;
    bool is_gone;
    uint32_t position; /* of an insert, as received */
};

/* All fields of one name. */
struct group {
    struct slice name;
    uint32_t *received; /* numbers of the received fields */
    uint32_t n_received;
    uint32_t *added; /* numbers of the added fields that are not gone */
    uint32_t n_added;
    uint32_t n_actions;
    uint32_t all_deleted_at; /* number of the last action that deleted them all, from 1; 0: none */
};

struct planner {
    const struct header_list *headers;
    const struct action_list *actions;
    struct arena *arena;
    struct group *groups; /* sorted by name */
    uint32_t n_groups;
    uint32_t *group_of_header; /* NO_GROUP: nobody speaks of it */
    uint32_t *nth_of_header;   /* from 1, among those of its name */
    struct mark *marks;        /* by received field */
    struct added *added;
    uint32_t n_added;
};

static int name_compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? strncasecmp(a.data, b.data, n) : 0;

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static int group_compare(const void *a, const void *b)
{
    return name_compare(((const struct group *)a)->name, ((const struct group *)b)->name);
}

static bool is_header_action(const struct action *action)
{
    return action->kind == ACTION_ADD_HEADER || action->kind == ACTION_INSERT_HEADER ||
           action->kind == ACTION_SET_HEADER || action->kind == ACTION_DELETE_HEADER;
}

static struct group *group_find(const struct planner *planner, struct slice name)
{
    const struct group key = {.name = name};

    if (planner->n_groups == 0)
        return NULL;
    return bsearch(
        &key, planner->groups, planner->n_groups, sizeof(*planner->groups), group_compare);
}

/* One group for each name in the actions. Returns how many header actions there are. */
static uint32_t make_groups(struct planner *planner)
{
    const struct action_list *actions = planner->actions;
    uint32_t n = 0, kept = 0;

    planner->groups = arena_calloc(planner->arena, actions->n + 1, sizeof(*planner->groups));
    for (uint32_t i = 0; i < actions->n; i++)
        if (is_header_action(&actions->items[i]))
            planner->groups[n++] = (struct group){.name = actions->items[i].name, .n_actions = 1};
    qsort(planner->groups, n, sizeof(*planner->groups), group_compare);
    for (uint32_t i = 0; i < n; i++) {
        if (kept > 0 && group_compare(&planner->groups[kept - 1], &planner->groups[i]) == 0)
            planner->groups[kept - 1].n_actions++;
        else
            planner->groups[kept++] = planner->groups[i];
    }
    planner->n_groups = kept;
    return n;
}

/* Gives each received field its group and its number in it. */
static void sort_headers_into_groups(struct planner *planner)
{
    uint32_t n = planner->headers->n;

    planner->group_of_header = arena_calloc(planner->arena, n + 1, sizeof(uint32_t));
    planner->nth_of_header = arena_calloc(planner->arena, n + 1, sizeof(uint32_t));
    planner->marks = arena_calloc(planner->arena, n + 1, sizeof(*planner->marks));
    for (uint32_t i = 0; i < n; i++) {
        struct group *group = group_find(planner, planner->headers->items[i].name);
        planner->group_of_header[i] =
            group != NULL ? (uint32_t)(group - planner->groups) : NO_GROUP;
        if (group != NULL)
            planner->nth_of_header[i] = ++group->n_received;
    }
    for (uint32_t i = 0; i < planner->n_groups; i++) {
        struct group *group = &planner->groups[i];
        group->received = arena_calloc(planner->arena, group->n_received + 1, sizeof(uint32_t));
        group->added = arena_calloc(planner->arena, group->n_actions, sizeof(uint32_t));
    }
    for (uint32_t i = 0; i < n; i++)
        if (planner->group_of_header[i] != NO_GROUP)
            planner->groups[planner->group_of_header[i]].received[planner->nth_of_header[i] - 1] =
                i;
}

static void add_field(struct planner *planner, struct group *group, const struct action *action)
{
    bool is_insert = action->kind == ACTION_INSERT_HEADER;

    group->added[group->n_added++] = planner->n_added;
    planner->added[planner->n_added++] = (struct added){
        .action = action,
        .is_insert = is_insert,
        .position = is_insert ? action->index : 0,
    };
}

static void set_field(
    struct planner *planner, struct group *group, const struct action *action, uint32_t at)
{
    uint32_t nth = action->index > 0 ? action->index : 1;

    if (nth <= group->n_received)
        planner->marks[group->received[nth - 1]] = (struct mark){at, action};
    else if (nth - group->n_received <= group->n_added)
        planner->added[group->added[nth - group->n_received - 1]].action = action;
    else
        add_field(planner, group, action);
}

static void delete_all(struct planner *planner, struct group *group, uint32_t at)
{
    group->all_deleted_at = at;
    for (uint32_t i = 0; i < group->n_added; i++)
        planner->added[group->added[i]].is_gone = true;
    group->n_added = 0;
}

static void delete_field(
    struct planner *planner, struct group *group, const struct action *action, uint32_t at)
{
    uint32_t nth = action->index, which;

    if (nth == 0) {
        delete_all(planner, group, at);
    } else if (nth <= group->n_received) {
        planner->marks[group->received[nth - 1]] = (struct mark){at, NULL};
    } else if (nth - group->n_received <= group->n_added) {
        which = nth - group->n_received - 1;
        planner->added[group->added[which]].is_gone = true;
        group->n_added--;
        memmove(&group->added[which], &group->added[which + 1],
            (group->n_added - which) * sizeof(group->added[0]));
    }
}

static void take_header_actions(struct planner *planner, uint32_t n_header_actions)
{
    planner->added = arena_calloc(planner->arena, n_header_actions, sizeof(*planner->added));
    for (uint32_t i = 0; i < planner->actions->n; i++) {
        const struct action *action = &planner->actions->items[i];
        if (!is_header_action(action))
            continue;
        struct group *group = group_find(planner, action->name);
        if (action->kind == ACTION_SET_HEADER)
            set_field(planner, group, action, i + 1);
        else if (action->kind == ACTION_DELETE_HEADER)
            delete_field(planner, group, action, i + 1);
        else
            add_field(planner, group, action);
    }
}

/* What became of received field i: false when nothing; *change_out is NULL for a delete. */
static bool fate_of(const struct planner *planner, uint32_t i, const struct action **change_out)
{
    const struct mark *mark = &planner->marks[i];
    uint32_t deleted_at;

    *change_out = NULL;
    if (planner->group_of_header[i] == NO_GROUP)
        return false;
    deleted_at = planner->groups[planner->group_of_header[i]].all_deleted_at;
    if (mark->at > deleted_at)
        *change_out = mark->change;
    return mark->at > 0 || deleted_at > 0;
}

static void emit(
    struct plan *out, enum plan_op_kind kind, uint32_t index, struct slice name, struct slice value)
{
    out->ops[out->n_ops++] =
        (struct plan_op){.kind = kind, .index = index, .name = name, .value = value};
}

/* From the last field up, so that no deletion moves a field that is still to come. */
static void emit_changes(const struct planner *planner, struct plan *out)
{
    for (uint32_t i = planner->headers->n; i-- > 0;) {
        const struct action *change;
        if (!fate_of(planner, i, &change))
            continue;
        /* The name as received: sendmail keeps it anyway, Postfix would take a new spelling. */
        emit(out, change != NULL ? PLAN_CHANGE_HEADER : PLAN_DELETE_HEADER,
            planner->nth_of_header[i], planner->headers->items[i].name,
            change != NULL ? change->value : slice_of("", 0));
    }
}

/* Where an insert comes to stand among the received fields. */
static uint32_t place_of(const struct planner *planner, const struct added *added)
{
    return added->position < planner->headers->n ? added->position : planner->headers->n;
}

/* A Fenwick tree over places: how many inserts stand at a place or above it. */
static uint32_t tree_count(const uint32_t *tree, uint32_t place)
{
    uint32_t n = 0;

    for (uint32_t i = place + 1; i > 0; i -= i & -i)
        n += tree[i];
    return n;
}

static void tree_add(uint32_t *tree, uint32_t n_places, uint32_t place)
{
    for (uint32_t i = place + 1; i <= n_places; i += i & -i)
        tree[i]++;
}

/* For each place, how many of the received fields above it are deleted. */
static const uint32_t *count_deleted_above(const struct planner *planner)
{
    uint32_t *n_above =
        arena_calloc(planner->arena, (size_t)planner->headers->n + 1, sizeof(*n_above));

    for (uint32_t i = 0; i < planner->headers->n; i++) {
        const struct action *change;
        bool is_deleted = fate_of(planner, i, &change) && change == NULL;
        n_above[i + 1] = n_above[i] + is_deleted;
    }
    return n_above;
}

static void emit_inserts(const struct planner *planner, struct plan *out)
{
    const uint32_t *n_deleted_above = count_deleted_above(planner);
    uint32_t n_places = planner->headers->n + 1;
    uint32_t *tree = arena_calloc(planner->arena, (size_t)n_places + 1, sizeof(*tree));

    for (uint32_t i = 0; i < planner->n_added; i++) {
        const struct added *added = &planner->added[i];
        if (!added->is_insert || added->is_gone)
            continue;
        uint32_t place = place_of(planner, added);
        emit(out, PLAN_INSERT_HEADER, added->position + tree_count(tree, place),
            added->action->name, added->action->value);
        out->ops[out->n_ops - 1].is_below_top = place > 0;
        out->ops[out->n_ops - 1].n_deleted_above = n_deleted_above[place];
        tree_add(tree, n_places, place);
    }
}

static void emit_adds(const struct planner *planner, struct plan *out)
{
    for (uint32_t i = 0; i < planner->n_added; i++) {
        const struct added *added = &planner->added[i];
        if (!added->is_insert && !added->is_gone)
            emit(out, PLAN_ADD_HEADER, 0, added->action->name, added->action->value);
    }
}

static void render_added(const struct added *added, struct plan *out)
{
    out->fields[out->n_fields++] = (struct plan_field){
        .name = added->action->name,
        .value = added->action->value,
    };
}

static void render_received(const struct planner *planner, uint32_t i, struct plan *out)
{
    const struct header_field *field = &planner->headers->items[i];
    struct plan_field *to = &out->fields[out->n_fields];
    const struct action *change;

    if (!fate_of(planner, i, &change))
        *to = (struct plan_field){field->name, field->value, field};
    else if (change != NULL)
        *to = (struct plan_field){field->name, change->value, NULL};
    else
        return;
    out->n_fields++;
}

/*
 * Inserts by place, those of one place in call order: a counting sort. Returns them;
 * ends[place] becomes where those of place end.
 */
static const struct added **inserts_by_place(const struct planner *planner, uint32_t *ends)
{
    const struct added **sorted =
        arena_calloc(planner->arena, (size_t)planner->n_added + 1, sizeof(*sorted));

    for (uint32_t i = 0; i < planner->n_added; i++)
        if (planner->added[i].is_insert && !planner->added[i].is_gone)
            ends[place_of(planner, &planner->added[i]) + 1]++;
    for (uint32_t place = 1; place <= planner->headers->n; place++)
        ends[place] += ends[place - 1];
    /* ends[place] is where the inserts of place begin, and where they end once all are in. */
    for (uint32_t i = 0; i < planner->n_added; i++)
        if (planner->added[i].is_insert && !planner->added[i].is_gone)
            sorted[ends[place_of(planner, &planner->added[i])]++] = &planner->added[i];
    return sorted;
}

static void render(const struct planner *planner, struct plan *out)
{
    uint32_t n = planner->headers->n, done = 0;
    uint32_t *ends = arena_calloc(planner->arena, (size_t)n + 2, sizeof(*ends));
    const struct added **inserts = inserts_by_place(planner, ends);

    for (uint32_t place = 0; place <= n; place++) {
        while (done < ends[place])
            render_added(inserts[done++], out);
        if (place < n)
            render_received(planner, place, out);
    }
    for (uint32_t i = 0; i < planner->n_added; i++)
        if (!planner->added[i].is_insert && !planner->added[i].is_gone)
            render_added(&planner->added[i], out);
}

static void render_unchanged(const struct planner *planner, struct plan *out)
{
    for (uint32_t i = 0; i < planner->headers->n; i++) {
        const struct header_field *field = &planner->headers->items[i];
        out->fields[out->n_fields++] = (struct plan_field){field->name, field->value, field};
    }
}

static void plan_headers(struct planner *planner, struct plan *out)
{
    uint32_t n_header_actions = make_groups(planner);
    size_t n_most = (size_t)planner->headers->n + n_header_actions;

    out->fields = arena_calloc(planner->arena, n_most + 1, sizeof(*out->fields));
    if (n_header_actions == 0) {
        render_unchanged(planner, out);
        return;
    }
    out->ops = arena_calloc(planner->arena, n_most, sizeof(*out->ops));
    sort_headers_into_groups(planner);
    take_header_actions(planner, n_header_actions);
    emit_changes(planner, out);
    emit_inserts(planner, out);
    emit_adds(planner, out);
    render(planner, out);
}

/* Sender, body, hold. */
static void plan_rest(const struct planner *planner, struct plan *out)
{
    for (uint32_t i = 0; i < planner->actions->n; i++) {
        const struct action *action = &planner->actions->items[i];
        if (action->kind == ACTION_SET_SENDER) {
            out->has_sender = true;
            out->sender = action->address;
            out->sender_args = action->args;
        } else if (action->kind == ACTION_REPLACE_BODY) {
            out->has_body = true;
            out->body = action->body;
        } else if (action->kind == ACTION_HOLD && !out->has_hold) {
            out->has_hold = true;
            out->hold_reason = action->value;
        }
    }
}

void plan_make(const struct header_list *headers, const struct action_list *actions,
    struct arena *arena, struct plan *out)
{
    struct planner planner = {.headers = headers, .actions = actions, .arena = arena};

    memset(out, 0, sizeof(*out));
    plan_headers(&planner, out);
    plan_recipients_make(actions, arena, out);
    plan_rest(&planner, out);
}

uint32_t plan_insert_index(const struct plan_op *op, enum plan_mta mta)
{
    /* The slots of the stock sendmail.cf's own header lines, behind Received. */
    enum { SENDMAIL_SLOTS = 8 };

    if (!op->is_below_top || mta == PLAN_MTA_OTHER)
        return op->index;
    if (mta == PLAN_MTA_SENDMAIL)
        return op->index + SENDMAIL_SLOTS;
    return op->index + 1 - op->n_deleted_above;
}
