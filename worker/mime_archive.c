/* Archives among the parts: listed once, within what all of a message may cost. */
#include "worker/mime_impl.h"

void mime_archive_budget(const struct conf *conf, struct archive_budget *out)
{
    *out = (struct archive_budget){.depth = (uint32_t)conf->worker.max_archive_depth,
        .ratio = (uint32_t)conf->worker.max_archive_ratio,
        .entries_left = conf->worker.max_archive_entries,
        .bytes_left = conf->worker.max_archive_bytes,
        .time_left_ms = conf->worker.max_archive_time};
}

const struct archive_listing *mime_archive(
    struct mime *mime, const struct mime_part *part, int64_t deadline_ms)
{
    static const struct archive_listing none;
    struct mime_node *node = mime_node_of(mime, part);
    if (part->is_container)
        return &none;
    if (node->archive == NULL)
        node->archive = archive_list(mime_content(mime, part), part->filenames, part->n_filenames,
            &mime->archive_budget, deadline_ms, mime->arena);
    return node->archive;
}
