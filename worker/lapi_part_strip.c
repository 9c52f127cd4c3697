/* part:strip_html(): HTML becomes its text; where the text stands beside it already, it goes. */
#include <string.h>

#include "worker/append.h"
#include "worker/edit.h"
#include "worker/lapi_part.h"
#include "worker/mime_impl.h"
#include "worker/script.h"

static bool is_type(const struct mime_node *node, const char *type)
{
    return strcmp(node->part.type, type) == 0;
}

/* Whether it is plain text as it will be, or a container that begins with it. */
static bool begins_with_text(struct job *job, const struct mime_node *node)
{
    struct edit_now now;
    while (node->first_child != NULL)
        node = node->first_child;
    edit_part_now(job, &node->part, &now);
    return !now.is_gone && strcmp(now.type, "text/plain") == 0 &&
           strcmp(now.header->disposition, "attachment") != 0;
}

static bool has_plain_sibling(struct job *job, const struct mime_node *node)
{
    for (const struct mime_node *other = node->parent->first_child; other != NULL;
         other = other->next) {
        if (other != node && begins_with_text(job, other))
            return true;
    }
    return false;
}

/*
 * What goes when the text stands in another alternative: the HTML with the pictures that belong to
 * it (multipart/related), but nothing that only stands beside it, such as an attachment in the
 * same alternative. NULL: there is no such text.
 */
static const struct mime_part *find_spare(struct job *job, const struct mime_node *node)
{
    const struct mime_node *whole = node;
    while (whole->parent != NULL && is_type(whole->parent, "multipart/related"))
        whole = whole->parent;
    for (const struct mime_node *at = whole; at->parent != NULL; at = at->parent) {
        if (is_type(at->parent, "multipart/alternative"))
            return has_plain_sibling(job, at) ? &whole->part : NULL;
        if (!is_type(at->parent, "multipart/mixed") && !is_type(at->parent, "multipart/related"))
            return NULL;
    }
    return NULL;
}

static const char *strip(struct job *job, const struct mime_part *part)
{
    const struct mime_part *spare = find_spare(job, mime_node_of(job->mime, part));
    if (spare != NULL)
        return edit_drop(job, spare, slice_of(NULL, 0));
    const struct mime_part *now = edit_reading_now(job, part);
    const struct slice text = mime_whole_text(now->mime, now);
    if (mime_is_cut(now->mime))
        return "the message is over worker.max_decoded, and not all of it was decoded";
    const char *wrong = edit_set_content(job, part, text, EDIT_REMOVES);
    if (wrong == NULL)
        wrong = edit_set_header(
            job, part, slice_text("Content-Type"), slice_text("text/plain; charset=utf-8"));
    return wrong;
}

/* True, or false when it is no HTML. */
int lapi_part_strip_html(lua_State *L)
{
    const struct mime_part *part = lapi_part_check(L);
    struct job *job = script_job(L);
    struct edit_now now;
    edit_part_now(job, part, &now);
    const bool is_html = !part->is_container && append_is_html(now.type);
    const char *wrong = is_html && !now.is_gone ? strip(job, part) : NULL;
    if (wrong != NULL)
        return luaL_error(L, "part:strip_html: %s", wrong);
    lua_pushboolean(L, is_html && !now.is_gone);
    return 1;
}
