/*
 * A header block and actions upon it. Input: two bytes of header length, the header, the actions.
 * Never a crash; the fields of the header as it would leave are what is left of those received and
 * what was added, and operations are in the order that an MTA needs.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "common/plan.h"

enum { FIELDS_MAX = 1000 };

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_headers(const struct header_list *headers, struct slice block)
{
    const char *at = block.data;

    check(headers->n <= FIELDS_MAX);
    for (uint32_t i = 0; i < headers->n; i++) {
        const struct header_field *field = &headers->items[i];
        check(field->raw.data == at && field->raw.len > 0);
        at += field->raw.len;
        check(field->value.data >= field->raw.data && field->value.data + field->value.len <= at);
        check(field->name.len <= field->raw.len);
    }
    check(headers->is_cut || at == block.data + block.len);
}

static void check_plan(const struct plan *plan, const struct header_list *headers)
{
    uint32_t n[4] = {0}, n_received = 0;

    for (uint32_t i = 0; i < plan->n_ops; i++) {
        const struct plan_op *op = &plan->ops[i];
        n[op->kind]++;
        check(i == 0 || plan->ops[i - 1].kind <= op->kind || op->kind == PLAN_CHANGE_HEADER);
        if (op->kind == PLAN_CHANGE_HEADER || op->kind == PLAN_DELETE_HEADER)
            check(header_find(headers, op->name, op->index) != NULL);
    }
    for (uint32_t i = 0; i < plan->n_fields; i++)
        n_received += plan->fields[i].received != NULL;
    check(plan->n_fields ==
          headers->n - n[PLAN_DELETE_HEADER] + n[PLAN_INSERT_HEADER] + n[PLAN_ADD_HEADER]);
    check(n_received == headers->n - n[PLAN_DELETE_HEADER] - n[PLAN_CHANGE_HEADER]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct header_list headers;
    struct action_list actions;
    struct arena *arena;
    struct plan plan;
    size_t header_bytes, body_offset;

    if (len < 2)
        return 0;
    header_bytes = (size_t)data[0] << 8 | data[1];
    if (header_bytes > len - 2)
        return 0;
    struct slice block = slice_of(data + 2, header_bytes);
    check(header_block_length(block, &body_offset) <= body_offset && body_offset <= header_bytes);
    arena = arena_new();
    header_list_scan(block, FIELDS_MAX, arena, &headers);
    check_headers(&headers, block);
    if (action_list_get(
            slice_of(data + 2 + header_bytes, len - 2 - header_bytes), arena, &actions) == 0) {
        plan_make(&headers, &actions, arena, &plan);
        check_plan(&plan, &headers);
    }
    arena_free(arena);
    return 0;
}
