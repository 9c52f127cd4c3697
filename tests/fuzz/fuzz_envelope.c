/*
 * An envelope region. Input: four bytes of recipient offset, then the region. Never a crash; what
 * the front reader takes from a region, the whole reader takes too, and the two agree on the
 * connection.
 */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "common/envelope.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void touch(struct slice text)
{
    check(text.len <= ENVELOPE_TEXT_MAX);
    for (size_t i = 0; i < text.len; i++)
        check(text.data[i] != '\0');
}

static void touch_macros(const struct envelope_macro *macros, uint32_t n)
{
    check(n <= ENVELOPE_MACROS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        touch(macros[i].name);
        touch(macros[i].value);
    }
}

static void touch_all(const struct envelope *envelope)
{
    touch(envelope->ip);
    touch(envelope->hostname);
    touch(envelope->helo);
    touch(envelope->sender);
    touch(envelope->sender_args);
    for (int stage = 0; stage < STAGE_COUNT; stage++)
        touch_macros(envelope->macros[stage], envelope->n_macros[stage]);
    for (uint32_t i = 0; i < envelope->n_recipients; i++) {
        touch(envelope->recipients[i].address);
        touch(envelope->recipients[i].args);
        touch_macros(envelope->recipients[i].macros, envelope->recipients[i].n_macros);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct envelope front, one, all;
    struct arena *arena;
    size_t offset;

    if (len < 4)
        return 0;
    offset = (size_t)data[0] << 24 | (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    struct slice region = slice_of(data + 4, len - 4);
    arena = arena_new();
    int front_err = envelope_read_front(region, 0, arena, &front);
    if (front_err == 0)
        touch_all(&front);
    if (envelope_read_front(region, offset, arena, &one) == 0)
        touch_all(&one);
    if (envelope_read_all(region, arena, &all) == 0) {
        touch_all(&all);
        check(front_err == 0);
        check(front.n_recipients == 0);
    }
    arena_free(arena);
    return 0;
}
