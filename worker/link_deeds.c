#include "worker/link_deeds.h"

#include "worker/job.h"

struct link_deeds *link_deeds_of(struct job *job)
{
    if (job->links == NULL)
        job->links = arena_calloc(job->arena, 1, sizeof(*job->links));
    return job->links;
}

void link_deeds_add(struct link_deeds *deeds, struct link_deed *deed)
{
    deed->next = NULL;
    if (deeds->last != NULL)
        deeds->last->next = deed;
    else
        deeds->first = deed;
    deeds->last = deed;
    deeds->n++;
}

const struct link_deed *link_deeds_find(
    const struct link_deeds *deeds, const struct mime_part *part)
{
    const struct link_deed *deed = deeds->first;
    while (deed != NULL && deed->part != part)
        deed = deed->next;
    return deed;
}

void link_deeds_fail(struct link_deeds *deeds, const char *why)
{
    if (deeds->failure == NULL)
        deeds->failure = why;
}

const char *link_deeds_failure(const struct job *job)
{
    return job->links != NULL ? job->links->failure : NULL;
}

const char *link_deeds_do(struct job *job, int64_t deadline_ms)
{
    const struct link_deed *deed = job->links != NULL ? job->links->first : NULL;
    for (; deed != NULL; deed = deed->next) {
        const char *why = link_store(&deed->link, job->conf, job->arena, deadline_ms);
        if (why != NULL)
            return arena_printf(job->arena, "part:replace_with_url: %s", why);
    }
    return NULL;
}
