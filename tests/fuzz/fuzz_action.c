/*
 * Actions as a worker might send them: never a crash; what decodes encodes to the same bytes, and
 * the check only looks.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "common/action.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* What passes may go to an MTA: no line can be smuggled in. */
static void check_passed(const struct action *action)
{
    const struct slice texts[] = {action->name, action->address, action->args};

    for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
        for (size_t i = 0; i < texts[k].len; i++)
            check(texts[k].data[i] != '\r' && texts[k].data[i] != '\n' && texts[k].data[i] != '\0');
    for (size_t i = 0; i < action->value.len; i++) {
        char c = action->value.data[i];
        check(c != '\r' && c != '\0');
        if (c == '\n')
            check(i + 1 < action->value.len &&
                  (action->value.data[i + 1] == ' ' || action->value.data[i + 1] == '\t'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct arena *arena = arena_new();
    struct action_list list;
    struct buf again;

    if (action_list_get(slice_of(data, len), arena, &list) == 0) {
        buf_init(&again, len);
        for (uint32_t i = 0; i < list.n; i++) {
            check(action_put(&again, &list.items[i]) == 0);
            if (action_check(&list.items[i], MTA_CAN_ALL) == NULL)
                check_passed(&list.items[i]);
        }
        check(slice_equal(buf_slice(&again), slice_of(data, len)));
        buf_clear(&again);
    }
    arena_free(arena);
    return 0;
}
