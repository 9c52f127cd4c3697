#include "ctl/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The number of the first line that begins with name; -1: none. Reads little files only. */
static int64_t read_number(int64_t pid, const char *file, const char *name)
{
    char path[64], line[256];
    int64_t value = -1;
    size_t len = strlen(name);
    snprintf(path, sizeof(path), "/proc/%" PRId64 "/%s", pid, file);
    FILE *in = fopen(path, "re");
    if (in == NULL) {
        return -1;
    }
    while (value < 0 && fgets(line, sizeof(line), in) != NULL) {
        if (strncmp(line, name, len) != 0 || sscanf(line + len, "%" SCNd64, &value) != 1) {
            value = -1;
        }
    }
    fclose(in);
    return value;
}

/*
 * rss_kb_out  resident size.
 * pss_kb_out  with each shared page counted in proportion; only root is told that of a worker.
 * Each -1 when the kernel does not tell.
 */
static void memory_of(int64_t pid, int64_t *rss_kb_out, int64_t *pss_kb_out)
{
    *rss_kb_out = pid > 0 ? read_number(pid, "status", "VmRSS:") : -1;
    *pss_kb_out = pid > 0 ? read_number(pid, "smaps_rollup", "Pss:") : -1;
}

static json_t *number_or_null(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

void memory_add(json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        int64_t rss_kb, pss_kb;
        memory_of(json_integer_value(json_object_get(row, "pid")), &rss_kb, &pss_kb);
        json_object_set_new(row, "rss_kb", number_or_null(rss_kb));
        json_object_set_new(row, "pss_kb", number_or_null(pss_kb));
    }
}
