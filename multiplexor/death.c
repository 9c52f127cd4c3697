/* Notes about dead workers, and their texts. */
#include "multiplexor/death.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/note.h"
#include "multiplexor/child.h"

static const char not_known[] = "it is not known how";

void deaths_add(struct deaths *deaths, struct child *child, const char *how)
{
    if (deaths->n == DEATHS_MAX)
        return;
    struct death *death = &deaths->items[deaths->n++];
    *death = (struct death){.pid = child->pid, .child = how == NULL ? child : NULL};
    snprintf(death->how, sizeof(death->how), "%s", how != NULL ? how : "");
    note_text(child->note, death->last, sizeof(death->last));
}

void deaths_tell(struct deaths *deaths, const struct child *child, const char *how)
{
    for (unsigned i = 0; i < deaths->n; i++) {
        struct death *death = &deaths->items[i];
        if (death->child != child)
            continue;
        death->child = NULL;
        snprintf(death->how, sizeof(death->how), "%s", how);
        note_text(child->note, death->last, sizeof(death->last)); /* its very last */
    }
}

bool deaths_are_known(const struct deaths *deaths)
{
    for (unsigned i = 0; i < deaths->n; i++)
        if (deaths->items[i].child != NULL)
            return false;
    return true;
}

void deaths_free(struct deaths *deaths)
{
    for (unsigned i = 0; deaths != NULL && i < deaths->n; i++)
        if (deaths->items[i].child != NULL)
            deaths->items[i].child->death_of = NULL;
    free(deaths);
}

static const char *how_text(const struct death *death)
{
    return death->how[0] != '\0' ? death->how : not_known;
}

void deaths_record(const struct deaths *deaths, char *out, size_t out_bytes)
{
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < deaths->n && n < out_bytes; i++) {
        const struct death *death = &deaths->items[i];
        n += (size_t)snprintf(out + n, out_bytes - n, "%s%d\t%s\t%s", i > 0 ? "\n" : "",
            (int)death->pid, how_text(death), death->last);
    }
}

void deaths_sentence(const struct deaths *deaths, char *out, size_t out_bytes)
{
    size_t n = (size_t)snprintf(out, out_bytes, "two workers died on it");
    for (unsigned i = 0; i < deaths->n && n < out_bytes; i++)
        n += (size_t)snprintf(
            out + n, out_bytes - n, "%s%s", i > 0 ? ", " : ": ", how_text(&deaths->items[i]));
}
