#include "common/log_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/text.h"

/* Room that is kept for the end: ,"cut":true} and the NUL. */
enum { END_ROOM = 16, KEY_MAX = 80, MARK_BYTES = 3 };

static const char key_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

void log_json_begin(struct log_json *json, char *out, size_t max)
{
    LOG_INVARIANT(max >= LOG_JSON_LEAST);
    *json = (struct log_json){.out = out, .max = max - END_ROOM};
    json->out[json->len++] = '{';
}

static size_t room(const struct log_json *json)
{
    return json->max - json->len;
}

static void put(struct log_json *json, const char *bytes, size_t len)
{
    memcpy(json->out + json->len, bytes, len);
    json->len += len;
}

/* The comma, the key, the colon. False, and nothing is put, when there is no room for that and
 * need more bytes. */
static bool put_key(struct log_json *json, const char *key, size_t need)
{
    char text[KEY_MAX + 8];
    size_t len = strlen(key);

    if (len == 0 || len > KEY_MAX || strspn(key, key_characters) != len)
        return false;
    len = (size_t)snprintf(text, sizeof text, "%s\"%s\":", json->len > 1 ? "," : "", key);
    if (len + need > room(json)) {
        json->is_cut = true;
        return false;
    }
    put(json, text, len);
    return true;
}

/* How many bytes the UTF-8 sequence at text has; 0: it is none. */
static size_t sequence(struct slice text)
{
    unsigned char first = (unsigned char)text.data[0];
    size_t len = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    return len <= text.len && text_is_utf8(slice_of(text.data, len)) ? len : 0;
}

/* What stands in JSON for the character at the front of text, of which it takes *taken_out bytes.
 * out: 8 bytes. */
static size_t escape(struct slice text, char *out, size_t *taken_out)
{
    static const char names[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
    unsigned char c = (unsigned char)text.data[0];
    const char *named = c != '\0' ? strchr(names, c) : NULL;
    size_t len = sequence(text);

    *taken_out = len > 0 ? len : 1;
    if (named != NULL)
        return (size_t)snprintf(out, 8, "\\%c", letters[named - names]);
    if (len == 0 || c == '\0') /* a NUL is allowed in JSON, and refused by many who read it */
        return (size_t)snprintf(out, 8, "\xEF\xBF\xBD");
    if (c < 0x20 || c == 0x7F)
        return (size_t)snprintf(out, 8, "\\u%04x", c);
    if (len == 2 && c == 0xC2 && (unsigned char)text.data[1] < 0xA0)
        return (size_t)snprintf(out, 8, "\\u%04x", (unsigned char)text.data[1]);
    memcpy(out, text.data, len);
    return len;
}

void log_json_text(struct log_json *json, const char *key, struct slice text, size_t max_bytes)
{
    size_t end, mark;

    if (!put_key(json, key, 2 + MARK_BYTES))
        return;
    put(json, "\"", 1);
    end = json->len + (room(json) - 1 < max_bytes ? room(json) - 1 : max_bytes);
    mark = json->len; /* where the dots would stand */
    while (text.len > 0) {
        char shown[8];
        size_t taken, len = escape(text, shown, &taken);

        if (json->len + len > end) {
            json->len = mark;
            put(json, "...", MARK_BYTES);
            json->is_cut = true;
            break;
        }
        put(json, shown, len);
        text = slice_of(text.data + taken, text.len - taken);
        if (json->len + MARK_BYTES <= end)
            mark = json->len;
    }
    put(json, "\"", 1);
}

void log_json_number(struct log_json *json, const char *key, uint64_t number)
{
    char text[24];
    size_t len = (size_t)snprintf(text, sizeof text, "%" PRIu64, number);

    if (put_key(json, key, len))
        put(json, text, len);
}

size_t log_json_end(struct log_json *json)
{
    static const char cut[] = ",\"cut\":true", only[] = "\"cut\":true";

    if (json->is_cut && json->len > 1)
        put(json, cut, sizeof cut - 1);
    else if (json->is_cut)
        put(json, only, sizeof only - 1);
    put(json, "}", 1);
    json->out[json->len] = '\0';
    return json->len;
}
