/*
 * posternctl why ID: what was decided about a message and by whom, from the front end's ring; needs
 * no server. Looks through the ring of the process before as well, twice each: for what bears the
 * name, then for what belongs to it.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/conf.h"
#include "common/log.h"
#include "common/text.h"
#include "common/trace_entry.h"
#include "common/trace_file.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/trace_entry.h"
#include "ctl/trace_ring.h"
#include "ctl/why_text.h"

/* What one name may bring up: somebody may send a thousand messages with one Message-ID. */
enum { FOUND_MAX = 200, ENTRIES_MAX = 20000, SHOWN_MAX = 300 };

struct why {
    struct slice wanted;               /* without angle brackets */
    char paths[2][TRACE_PATH_MAX + 4]; /* the old one first */
    json_t *messages;                  /* by uid; in the order of the ring */
    json_t *connections;               /* by connection id */
    int64_t oldest_us, n_entries;
    bool is_cut;             /* there was more than is shown */
    int error, error_number; /* why the present ring cannot be read; 0: it can */
};

typedef void (*entry_cb)(struct why *why, struct slice bytes, const struct trace_view *view);

/* What is written while we read is left alone: this comes to an end. */
static void each_entry_of(struct why *why, struct ring_reader *reader, entry_cb on_entry)
{
    uint64_t end = reader->end;
    while (reader->next < end) {
        struct trace_view view;
        struct slice bytes;
        if (ring_next(reader, &bytes) != 0) {
            ring_skip(reader);
        } else if (trace_view_read(bytes, &view) == 0) {
            on_entry(why, bytes, &view);
        }
    }
}

static void each_entry(struct why *why, entry_cb on_entry)
{
    for (int i = 0; i < 2; i++) {
        struct ring_reader reader;
        int rc = ring_reader_open(&reader, why->paths[i]);
        if (rc == 0) {
            each_entry_of(why, &reader, on_entry);
        } else if (i == 1) {
            why->error = rc;
            why->error_number = errno;
        }
        ring_reader_close(&reader);
    }
}

/* The connection's part of a message's uid. */
static struct slice conn_of_uid(struct slice uid)
{
    const char *dot = uid.len > 0 ? memchr(uid.data, '.', uid.len) : NULL;
    return dot != NULL ? slice_of(uid.data, (size_t)(dot - uid.data)) : uid;
}

static struct slice without_brackets(struct slice text)
{
    if (text.len >= 2 && text.data[0] == '<' && text.data[text.len - 1] == '>') {
        return slice_of(text.data + 1, text.len - 2);
    }
    return text;
}

/* The object for an id within objects, made when there is none yet; NULL when there are too many.
 */
static json_t *object_for(struct why *why, json_t *objects, struct slice id)
{
    json_t *name = render_json_text(id);
    json_t *object = json_object_get(objects, json_string_value(name));
    if (object == NULL && json_object_size(objects) < FOUND_MAX) {
        object = json_object();
        json_object_set_new(objects, json_string_value(name), object);
    } else if (object == NULL) {
        why->is_cut = true;
    }
    json_decref(name);
    return object;
}

static json_t *find_object(json_t *objects, struct slice id)
{
    json_t *name = render_json_text(id);
    json_t *object = id.len > 0 ? json_object_get(objects, json_string_value(name)) : NULL;
    json_decref(name);
    return object;
}

/* First look: notes the messages and connections that bear the name. */
static void note_name(struct why *why, struct slice bytes, const struct trace_view *view)
{
    struct slice uid = trace_view_text(view, TRACE_FIELD_UID);
    struct slice conn = uid.len > 0 ? conn_of_uid(uid) : trace_view_text(view, TRACE_FIELD_CONN);
    struct slice name = without_brackets(trace_view_text(view, TRACE_FIELD_MESSAGE_ID));
    (void)bytes;
    if (why->oldest_us == 0 || view->time_us < why->oldest_us) {
        why->oldest_us = view->time_us;
    }
    bool is_meant = slice_equal(uid, why->wanted) || slice_equal(conn, why->wanted) ||
                    slice_equal(trace_view_text(view, TRACE_FIELD_ID), why->wanted) ||
                    slice_equal(name, why->wanted);
    if (is_meant && uid.len > 0) {
        object_for(why, why->messages, uid);
    }
    if (is_meant && conn.len > 0) {
        object_for(why, why->connections, conn);
    }
}

/* Adds an entry without what the object says already. */
static void append(json_t *object, const char *member, json_t *entry)
{
    static const char *const known[] = {"kind", "conn", "uid", "id", "ip", "from"};
    json_t *list = json_object_get(object, member);
    if (list == NULL) {
        list = json_array();
        json_object_set_new(object, member, list);
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        json_object_del(entry, known[i]);
    }
    json_array_append(list, entry);
}

/* An entry's place within the object of its message or connection. */
static void gather(json_t *object, json_t *entry)
{
    static const struct {
        const char *kind, *member;
    } lists[] = {{"stage", "stages"}, {"action", "actions"}, {"lookup", "lookups"}};
    const char *kind = render_text_of(entry, "kind");
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (strcmp(kind, lists[i].kind) == 0) {
            append(object, lists[i].member, entry);
            return;
        }
    }
    json_object_del(entry, "kind");
    json_object_update(object, entry);
}

/* Second look: everything that belongs to what was noted. */
static void take_entry(struct why *why, struct slice bytes, const struct trace_view *view)
{
    struct slice uid = trace_view_text(view, TRACE_FIELD_UID);
    json_t *object = uid.len > 0
                         ? find_object(why->messages, uid)
                         : find_object(why->connections, trace_view_text(view, TRACE_FIELD_CONN));
    if (object == NULL) {
        return;
    }
    if (why->n_entries >= ENTRIES_MAX) {
        why->is_cut = true;
        return;
    }
    json_t *entry = trace_entry_json(bytes);
    if (entry != NULL) {
        why->n_entries++;
        gather(object, entry);
    }
    json_decref(entry);
}

/* Puts lists behind the members that describe the message. */
static void put_last(json_t *object, const char *member)
{
    json_t *value = json_incref(json_object_get(object, member));
    if (value != NULL) {
        json_object_del(object, member);
        json_object_set_new(object, member, value);
    }
}

/* Each message gets its connection; those without one of the messages stand for themselves. */
static json_t *list_found(struct why *why)
{
    json_t *found = json_array();
    json_t *alone = json_copy(why->connections);
    const char *id;
    json_t *message, *connection;
    json_object_foreach(why->messages, id, message)
    {
        json_t *name = render_json_text(conn_of_uid(slice_text(id)));
        connection = json_object_get(why->connections, json_string_value(name));
        if (json_object_size(connection) > 0) {
            json_object_set(message, "connection", connection);
        }
        json_object_del(alone, json_string_value(name));
        json_decref(name);
        put_last(message, "stages");
        put_last(message, "actions");
        json_array_append(found, message);
    }
    json_object_foreach(alone, id, connection)
    {
        if (json_object_size(connection) > 0) {
            json_array_append_new(found, json_pack("{s:O}", "connection", connection));
        }
    }
    json_decref(alone);
    return found;
}

static int fail_nothing(const struct why *why, const char *given)
{
    char shown[SHOWN_MAX], age[32], day[32] = "";
    time_t oldest = (time_t)(why->oldest_us / 1000000);
    struct tm tm;
    text_escape(shown, sizeof(shown), slice_text(given), 0);
    if (why->oldest_us == 0) {
        fprintf(stderr, "posternctl: nothing is known of %s: the ring is empty\n", shown);
        return EXIT_CODE_FOUND;
    }
    render_duration(age, sizeof(age), (int64_t)(time(NULL) - oldest));
    if (gmtime_r(&oldest, &tm) != NULL) {
        strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    fprintf(stderr, "posternctl: nothing is known of %s; the ring reaches back to %s (%s)\n", shown,
        day, age);
    return EXIT_CODE_FOUND;
}

static void print_found(const struct why *why, const json_t *found, bool is_json)
{
    size_t i;
    json_t *item;
    json_array_foreach(found, i, item)
    {
        if (is_json) {
            render_json_line(stdout, item);
        } else {
            why_text_print(stdout, item, i == 0);
        }
    }
    if (why->is_cut) {
        fprintf(stderr, "posternctl: there is more of that name than is shown\n");
    }
}

static int search(struct why *why, const char *given, bool is_json)
{
    why->wanted = without_brackets(slice_text(given));
    each_entry(why, note_name);
    if (why->error != 0 && why->oldest_us == 0) {
        errno = why->error_number;
        return trace_ring_fail(why->paths[1], why->error);
    }
    each_entry(why, take_entry);
    json_t *found = list_found(why);
    int code = json_array_size(found) > 0 ? EXIT_CODE_OK : fail_nothing(why, given);
    print_found(why, found, is_json);
    json_decref(found);
    return code;
}

int command_why(const struct args *args)
{
    struct conf *conf;
    int rc = trace_ring_conf(args, &conf);
    if (rc != EXIT_CODE_OK) {
        return rc;
    }
    struct why why = {.messages = json_object(), .connections = json_object()};
    trace_path_old(conf, why.paths[0]);
    trace_path(conf, why.paths[1]);
    int code = search(&why, command_argument(args, 0), args_has(args, ARG_JSON));
    json_decref(why.messages);
    json_decref(why.connections);
    conf_free(conf);
    return code;
}
