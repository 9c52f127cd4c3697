/* Values of header fields: unfolding, encoded words (RFC 2047) both ways. Bounded: hostile values
 * cost at most linear time. */
#include "worker/mime_impl.h"

#include "common/text.h"

enum {
    WORDS_MAX = 2000,  /* encoded words decoded in one value; the rest stays as it is */
    COLUMNS = 76,      /* of an encoded line, RFC 2047 section 2 */
    WORD_COLUMNS = 75, /* of one encoded word */
    OUTPUT_FACTOR = 4,
};

struct slice mime_unfold(struct slice value, struct arena *arena)
{
    value = text_trim(value);
    if (value.len == 0 || (memchr(value.data, '\n', value.len) == NULL &&
                              memchr(value.data, '\r', value.len) == NULL))
        return value;
    char *out = arena_alloc(arena, value.len);
    size_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] != '\r' && value.data[i] != '\n')
            out[n++] = value.data[i];
        else if (i + 1 == value.len || !text_is_space(value.data[i + 1]))
            out[n++] = ' '; /* a bare CR: not folding, but no line break in decoded text either */
    }
    return slice_of(out, n);
}

/* Where two bytes stand at or after from. Looked for by the first: sanitizers check all that
 * memmem() may read, at each call. */
static const char *find_two(struct slice s, size_t from, const char *two)
{
    for (; from + 2 <= s.len; from++) {
        const char *found = memchr(s.data + from, two[0], s.len - 1 - from);
        if (found == NULL || found[1] == two[1])
            return found;
        from = (size_t)(found - s.data);
    }
    return NULL;
}

bool mime_word_next(struct slice value, size_t *pos, struct mime_word *out)
{
    while (*pos + 8 <= value.len) {
        const char *start = find_two(value, *pos, "=?");
        if (start == NULL)
            return false;
        out->start = (size_t)(start - value.data);
        size_t i = out->start + 2, limit = i + MIME_CHARSET_BYTES + 8;
        size_t charset = i;
        while (i < value.len && i < limit && value.data[i] != '?' && !text_is_space(value.data[i]))
            i++;
        *pos = out->start + 2;
        if (i + 2 >= value.len || value.data[i] != '?' || value.data[i + 2] != '?')
            continue;
        out->encoding = (char)(value.data[i + 1] | 0x20);
        if (out->encoding != 'q' && out->encoding != 'b')
            continue;
        out->charset = slice_of(value.data + charset, i - charset);
        size_t text = i + 3;
        const char *end = find_two(value, text, "?=");
        if (end == NULL)
            return false; /* nor will any later word end */
        out->text = slice_of(value.data + text, (size_t)(end - value.data) - text);
        *pos = out->end = (size_t)(end - value.data) + 2;
        return true;
    }
    return false;
}

static struct slice word_charset(const struct mime_word *word)
{
    const char *language =
        memchr(word->charset.data, '*', word->charset.len); /* RFC 2231 section 5 */
    if (language == NULL)
        return word->charset;
    return slice_of(word->charset.data, (size_t)(language - word->charset.data));
}

/* Bytes of consecutive words of one charset, converted together: a character may be split between
 * words. */
struct words {
    struct arena *arena;
    struct buf *out;
    struct slice charset;
    uint8_t *bytes;
    size_t n;
};

static void words_flush(struct words *words)
{
    if (words->n == 0)
        return;
    const char *charset = arena_memdup0(words->arena, words->charset.data, words->charset.len);
    struct slice text = mime_to_utf8(
        slice_of(words->bytes, words->n), charset, words->out->max, words->arena, NULL);
    (void)buf_put(words->out, text.data, text.len); /* over the cap: cut */
    words->n = 0;
}

static void words_add(struct words *words, const struct mime_word *word)
{
    struct slice charset = word_charset(word);
    if (words->n > 0 && !slice_equal_nocase(charset, words->charset))
        words_flush(words);
    words->charset = charset;
    if (word->encoding == 'b')
        words->n +=
            mime_base64_decode(word->text.data, word->text.len, words->bytes + words->n, NULL);
    else
        words->n += mime_word_q_decode(word->text.data, word->text.len, words->bytes + words->n);
}

static void literal_add(struct words *words, struct slice literal)
{
    words_flush(words);
    struct slice text = mime_guess_utf8(literal, words->arena);
    (void)buf_put(words->out, text.data, text.len);
}

struct slice mime_words_decode(struct slice value, struct arena *arena)
{
    struct mime_word word;
    size_t pos = 0, done = 0;
    if (!mime_word_next(value, &pos, &word))
        return mime_guess_utf8(value, arena);
    struct buf out;
    buf_init(&out, value.len * OUTPUT_FACTOR + 16);
    struct words words = {.arena = arena, .out = &out, .bytes = arena_alloc(arena, value.len + 4)};
    for (int n = 0; n < WORDS_MAX; n++) {
        struct slice between = slice_of(value.data + done, word.start - done);
        if (n == 0 ? between.len > 0 : !mime_is_blank(between))
            literal_add(&words, between);
        words_add(&words, &word);
        done = word.end;
        if (!mime_word_next(value, &pos, &word))
            break;
    }
    literal_add(&words, slice_of(value.data + done, value.len - done));
    char *copy = arena_memdup0(arena, out.data, out.len);
    struct slice result = slice_of(copy, out.len);
    buf_clear(&out);
    return result;
}

struct slice mime_words_bytes(struct slice value, struct arena *arena)
{
    struct mime_word word;
    char *out = arena_alloc(arena, value.len + 4);
    size_t n = 0, done = 0, pos = 0;
    for (int i = 0; i < WORDS_MAX && mime_word_next(value, &pos, &word); i++) {
        struct slice between = slice_of(value.data + done, word.start - done);
        if (between.len > 0 && !mime_is_blank(between)) {
            memcpy(out + n, between.data, between.len);
            n += between.len;
        }
        uint8_t *to = (uint8_t *)out + n;
        n += word.encoding == 'b' ? mime_base64_decode(word.text.data, word.text.len, to, NULL)
                                  : mime_word_q_decode(word.text.data, word.text.len, to);
        done = word.end;
    }
    if (done < value.len)
        memcpy(out + n, value.data + done, value.len - done);
    return slice_of(out, n + value.len - done);
}

struct slice mime_decode_header(struct slice value, struct arena *arena)
{
    return mime_words_decode(mime_unfold(value, arena), arena);
}

/* ---- the other way ---- */

struct encoder {
    struct buf out;
    size_t column;
};

static void put(struct encoder *e, const char *data, size_t len)
{
    (void)buf_put(&e->out, data, len);
    e->column += len;
}

/* Starts a continuation line; the blank that makes it one is the blank between two words. */
static void fold(struct encoder *e)
{
    (void)buf_put(&e->out, "\n ", 2);
    e->column = 1;
}

static size_t blanks_at(struct slice s, size_t i)
{
    size_t n = 0;
    while (i + n < s.len && (s.data[i + n] == ' ' || s.data[i + n] == '\t'))
        n++;
    return n;
}

static size_t word_at(struct slice s, size_t i)
{
    size_t n = 0;
    while (i + n < s.len && !text_is_space(s.data[i + n]))
        n++;
    return n;
}

/* A word and the blanks before it; the line is broken at the first blank when the word does not
 * fit. */
static void put_plain(struct encoder *e, struct slice blanks, struct slice word)
{
    bool fits = e->column + blanks.len + word.len <= COLUMNS;
    if (!fits && blanks.len > 0) {
        (void)buf_put(&e->out, "\n", 1);
        e->column = 0;
    }
    put(e, blanks.data, blanks.len);
    put(e, word.data, word.len);
}

static size_t char_bytes(struct slice s, size_t i)
{
    size_t n = 1;
    while (i + n < s.len && ((uint8_t)s.data[i + n] & 0xc0) == 0x80)
        n++;
    return n;
}

static const char word_start[] = "=?UTF-8?B?";

/* Encodes a run of words, split between characters so that each encoded word keeps to the line. */
static void put_encoded(struct encoder *e, struct slice run)
{
    enum { FRAME = sizeof(word_start) - 1 + 2 };
    for (size_t i = 0; i < run.len;) {
        if (e->column + FRAME + 8 > COLUMNS)
            fold(e);
        size_t room = (e->column + WORD_COLUMNS < COLUMNS ? WORD_COLUMNS : COLUMNS - e->column);
        size_t bytes = (room - FRAME) / 4 * 3, n = 0;
        while (i + n < run.len && n + char_bytes(run, i + n) <= bytes)
            n += char_bytes(run, i + n);
        if (n == 0) /* no character is this long in valid UTF-8 */
            n = run.len - i < bytes ? run.len - i : bytes;
        char text[WORD_COLUMNS + 1];
        size_t len = mime_base64_encode((const uint8_t *)run.data + i, n, text);
        put(e, word_start, sizeof(word_start) - 1);
        put(e, text, len);
        put(e, "?=", 2);
        i += n;
        if (i < run.len)
            fold(e);
    }
}

/* Bytes from i on up to the last word in a row that is not plain; blanks between such words are
 * part of it. */
static size_t run_at(struct slice s, size_t i)
{
    size_t end = i;
    while (i < s.len) {
        size_t word = word_at(s, i);
        if (word == 0 || text_is_ascii(slice_of(s.data + i, word)))
            break;
        end = i + word;
        i = end + blanks_at(s, end);
    }
    return end;
}

struct slice mime_encode_header(struct slice text, size_t name_len, struct arena *arena)
{
    struct encoder e = {.column = name_len + 2};
    buf_init(&e.out, text.len * OUTPUT_FACTOR + 1024);
    for (size_t i = 0; i < text.len;) {
        if (text.data[i] == '\n' || text.data[i] == '\r') { /* folded by the caller */
            put(&e, text.data + i++, 1);
            e.column = 0;
            continue;
        }
        struct slice blanks = slice_of(text.data + i, blanks_at(text, i));
        i += blanks.len;
        size_t end = run_at(text, i);
        if (end > i) {
            put_plain(&e, blanks, slice_of(NULL, 0));
            put_encoded(&e, slice_of(text.data + i, end - i));
            i = end;
            continue;
        }
        size_t word = word_at(text, i);
        put_plain(&e, blanks, slice_of(text.data + i, word));
        i += word;
    }
    struct slice result = slice_of(arena_memdup0(arena, e.out.data, e.out.len), e.out.len);
    buf_clear(&e.out);
    return result;
}
