/*
 * The ring's file and its entries, as posternctl why and trace read them: whatever is in them,
 * every text is valid UTF-8 and printed without a control character. Input: one byte; odd: the rest
 * is an entry, even: the rest is a file.
 */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"
#include "ctl/render.h"
#include "ctl/trace_entry.h"
#include "ctl/why_text.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_line(const json_t *entry)
{
    struct buf line;

    buf_init(&line, TRACE_LINE_MAX);
    trace_entry_line(entry, &line);
    check(line.len > 0 && line.len <= TRACE_LINE_MAX);
    buf_clear(&line);
}

/* As why shows it: the entry as a message, and as the one stage and action of it. */
static void check_screen(json_t *entry)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    json_t *found = json_pack("{s:s, s:O, s:[O], s:[O]}", "uid", "x", "connection", entry, "stages",
        entry, "actions", entry);

    check(out != NULL && found != NULL);
    why_text_print(out, entry, true);
    why_text_print(out, found, false);
    fclose(out);
    check(text_is_utf8(slice_of(text, len)));
    for (size_t i = 0; i < len; i++)
        check(text[i] == '\n' || (unsigned char)text[i] >= ' ');
    free(text);
    json_decref(found);
}

static void run_entry(struct slice bytes)
{
    json_t *entry = trace_entry_json(bytes);

    if (entry == NULL)
        return;
    char *text = json_dumps(entry, JSON_COMPACT);
    check(text != NULL && strchr(text, '\n') == NULL);
    free(text);
    check_line(entry);
    check_screen(entry);
    json_decref(entry);
}

static void run_file(const uint8_t *data, size_t len)
{
    static char path[] = "/tmp/postern-fuzz-trace.XXXXXX";
    struct ring_reader reader;
    int fd = mkstemp(path);

    check(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    close(fd);
    if (ring_reader_open(&reader, path) == 0)
        while (reader.next < reader.end) {
            struct slice entry;

            if (ring_next(&reader, &entry) == 0)
                run_entry(entry);
            else
                ring_skip(&reader);
        }
    ring_reader_close(&reader);
    unlink(path);
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    if (data[0] % 2 == 1)
        run_entry(slice_of(data + 1, len - 1));
    else
        run_file(data + 1, len - 1);
    return 0;
}
