/* What is looked into, and in which ways; archives in archives. */
#include "worker/archive.h"

#include <string.h>

#include "common/clock.h"
#include "worker/archive_impl.h"

/* A disc image may hold a second file system (ECMA-167), which systems prefer and libarchive does
 * not read. */
static bool has_udf(struct slice bytes)
{
    enum { SECTOR = 2048, FIRST = 16, LAST = 32 };
    for (size_t sector = FIRST; sector < LAST; sector++) {
        size_t at = sector * SECTOR + 1;
        if (at + 4 <= bytes.len && memcmp(bytes.data + at, "NSR0", 4) == 0)
            return true;
    }
    return false;
}

static void list_iso(struct lister *lister, const struct archive_place *place)
{
    archive_read_list(lister, place, ARCHIVE_WAY_ISO_PLAIN, ARCHIVE_ADD_NEW);
    archive_read_list(lister, place, ARCHIVE_WAY_ISO_JOLIET, ARCHIVE_ADD_NEW);
}

static bool begins_as_zip(struct slice bytes)
{
    return bytes.len >= 4 && memcmp(bytes.data, "PK\x03\x04", 4) == 0;
}

static bool list_zip(struct lister *lister, const struct archive_place *place)
{
    const uint32_t n_before = lister->n;
    enum archive_zip zip = archive_zip_list(lister, place);
    if (zip == ARCHIVE_ZIP_NONE)
        return false;
    if (!lister->is_stopped && lister->n > n_before &&
        archive_read_list(lister, place, ARCHIVE_WAY_ZIP, ARCHIVE_ADD_NONE) == ARCHIVE_READ_NONE)
        archive_fail(lister, "files in it cannot be looked into");
    if (zip == ARCHIVE_ZIP_DISAGREES && !lister->is_stopped)
        archive_read_list(lister, place, ARCHIVE_WAY_ZIP_LOCAL, ARCHIVE_ADD_NONE);
    return true;
}

/* A compressed file in which no archive was found is a file all the same: what begins with zeros is
 * an empty tar for libarchive, and what is broken has a name nevertheless. */
static enum archive_read list_packed(
    struct lister *lister, const struct archive_place *place, uint32_t n_before)
{
    enum archive_read result =
        archive_read_list(lister, place, ARCHIVE_WAY_UNPACK, ARCHIVE_ADD_ALL);
    if (lister->n > n_before || lister->is_stopped)
        return result;
    struct archive_item *item = archive_item_add(lister, place);
    if (item != NULL)
        archive_item_name_unpacked(lister, item, place, slice_of(NULL, 0));
    return result;
}

/* is_zip: what it is as a zip is listed already. */
static void list_other(struct lister *lister, const struct archive_place *place, bool is_zip)
{
    uint32_t n_before = lister->n;
    enum archive_read result = archive_read_list(lister, place,
        is_zip ? ARCHIVE_WAY_OTHER : ARCHIVE_WAY_USUAL, is_zip ? ARCHIVE_ADD_NEW : ARCHIVE_ADD_ALL);
    if (result == ARCHIVE_READ_UNPACK ||
        (lister->n == n_before && !lister->is_stopped && archive_is_packed(place->bytes)))
        result = list_packed(lister, place, n_before);
    if (result == ARCHIVE_READ_ISO)
        list_iso(lister, place);
    if (result == ARCHIVE_READ_NONE && !is_zip && !lister->is_stopped &&
        (archive_is_named(place->names, place->n_names) || archive_has_magic(place->bytes))) {
        lister->is_archive = true;
        archive_fail(lister, "it is no archive that can be read");
    }
}

static void list(struct lister *lister, const struct archive_place *place)
{
    const bool is_zip = list_zip(lister, place);
    /* A zip is read from its end: what stands before it may be an archive of another kind. */
    if (!lister->is_stopped && !(is_zip && begins_as_zip(place->bytes)))
        list_other(lister, place, is_zip);
    if (has_udf(place->bytes)) {
        lister->is_archive = true;
        archive_fail(lister, "it has a UDF file system, which cannot be listed");
    }
}

void archive_list_inside(struct lister *lister, const struct archive_place *outer,
    const struct archive_item *item, struct slice bytes)
{
    const struct archive_place place = {.bytes = bytes,
        .names = item->names,
        .n_names = item->n_names,
        .within = outer->within[0] == '\0'
                      ? item->name
                      : arena_printf(lister->arena, "%s/%s", outer->within, item->name),
        .depth = outer->depth + 1};
    list(lister, &place);
}

const struct archive_listing *archive_list(struct slice bytes, const char *const *names,
    uint32_t n_names, struct archive_budget *budget, int64_t deadline_ms, struct arena *arena)
{
    int64_t start_ms = clock_now_ms();
    int64_t own_ms = start_ms + budget->time_left_ms;
    struct lister lister = {.arena = arena,
        .budget = budget,
        .deadline_ms = own_ms < deadline_ms ? own_ms : deadline_ms};
    const struct archive_place place = {
        .bytes = bytes, .names = names, .n_names = n_names, .within = "", .depth = 1};
    if (bytes.len > 0)
        list(&lister, &place);
    else if (archive_is_named(names, n_names)) {
        lister.is_archive = true;
        archive_fail(&lister, "it is empty");
    }
    int64_t spent_ms = clock_now_ms() - start_ms;
    budget->time_left_ms -= spent_ms < budget->time_left_ms ? spent_ms : budget->time_left_ms;
    struct archive_listing *listing = arena_calloc(arena, 1, sizeof(*listing));
    *listing = (struct archive_listing){.items = lister.items,
        .n = lister.n,
        .is_archive = lister.is_archive,
        .error = lister.error};
    return listing;
}
