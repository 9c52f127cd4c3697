/* A file of any bytes under some name, listed as an archive: never a crash, never over a limit, and
 * names that are texts. The first byte picks limits and name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/text.h"
#include "tests/fuzz/fuzz.h"
#include "worker/archive.h"

enum { TIME_MS = 60000 };

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "does not hold: %s\n", what);
        abort();
    }
}

static void check_item(const struct archive_item *item, const struct archive_budget *limits)
{
    require(item->depth >= 1 && item->depth <= limits->depth, "depth within its limit");
    require(item->size >= -1, "a size, or none");
    require(text_is_utf8(slice_text(item->within)), "names around it are UTF-8");
    require(item->n_names == 0 ? item->name[0] == '\0' : item->name == item->names[0],
        "the first name is the name");
    for (uint32_t i = 0; i < item->n_names; i++)
        require(item->names[i][0] != '\0' && text_is_utf8(slice_text(item->names[i])),
            "names are UTF-8");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const names[] = {"a.zip", "a.tar.gz", "run.exe.gz", "x", "a.iso", NULL};
    static struct arena *arena;
    if (len == 0)
        return 0;
    if (arena == NULL)
        arena = arena_new();
    bool is_small = (data[0] & 0x80) != 0;
    const struct archive_budget limits = {.depth = is_small ? 2 : 5,
        .ratio = 100,
        .entries_left = is_small ? 3 : 1000,
        .bytes_left = is_small ? 4096 : 8 << 20,
        .time_left_ms = TIME_MS};
    const char *name = names[(data[0] & 0x7f) % (sizeof(names) / sizeof(names[0]))];
    struct archive_budget budget = limits;
    const struct archive_listing *listing = archive_list(slice_of(data + 1, len - 1), &name,
        name != NULL ? 1 : 0, &budget, clock_now_ms() + TIME_MS, arena);
    require(listing->n <= limits.entries_left, "entries within their limit");
    require(budget.entries_left >= 0 && budget.bytes_left >= 0 && budget.time_left_ms >= 0,
        "nothing is overspent");
    require(listing->is_archive || listing->n == 0, "only an archive has entries");
    require(listing->error == NULL || text_is_utf8(slice_text(listing->error)), "errors are texts");
    for (uint32_t i = 0; i < listing->n; i++)
        check_item(&listing->items[i], &limits);
    arena_reset(arena);
    return 0;
}
