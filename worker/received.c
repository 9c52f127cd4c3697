#include "worker/received.h"

#include <string.h>
#include <strings.h>

#include "common/network.h"
#include "common/text.h"

/*
 * A reader over one field's value. Words are separated by blanks and line ends; a comment is what
 * stands in the outermost brackets.
 */
struct reader {
    const char *at, *end;
};

static void skip_blanks(struct reader *in)
{
    while (in->at < in->end && text_is_space(*in->at))
        in->at++;
}

static struct slice take_word(struct reader *in)
{
    skip_blanks(in);
    const char *start = in->at;
    while (in->at < in->end && !text_is_space(*in->at) && *in->at != '(' && *in->at != ';')
        in->at++;
    return slice_of(start, (size_t)(in->at - start));
}

/* The text of a comment without its brackets; false when the next thing is none or it does not end.
 */
static bool take_comment(struct reader *in, struct slice *out)
{
    skip_blanks(in);
    if (in->at == in->end || *in->at != '(')
        return false;
    const char *start = ++in->at;
    for (int depth = 1; in->at < in->end; in->at++) {
        if (*in->at == '\\' && in->at + 1 < in->end) {
            in->at++;
            continue;
        }
        depth += *in->at == '(' ? 1 : *in->at == ')' ? -1 : 0;
        if (depth == 0) {
            *out = slice_of(start, (size_t)(in->at++ - start));
            return true;
        }
    }
    return false;
}

static bool ip_from_slice(struct slice text, char out[INET6_ADDRSTRLEN])
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (strlen(copy) != text.len)
        return false;
    return network_ip_canonical(copy, out) == 0;
}

/* The last "[address]": what stands before it (an ident answer, a name) may be the client's words.
 */
static bool find_bracketed_ip(struct slice text, char out[INET6_ADDRSTRLEN], size_t *at_out)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.data[i - 1] != '[')
            continue;
        const char *start = text.data + i;
        const char *close = memchr(start, ']', text.len - i);
        if (close != NULL && ip_from_slice(slice_of(start, (size_t)(close - start)), out)) {
            *at_out = i - 1;
            return true;
        }
    }
    return false;
}

/* "ident@name" before the address gives the name; "unknown" is none. */
static struct slice name_before(struct slice text, size_t len)
{
    struct slice name = text_trim(slice_of(text.data, len));
    for (size_t i = name.len; i > 0; i--) {
        if (text_is_space(name.data[i - 1]) || name.data[i - 1] == '@') {
            name = slice_of(name.data + i, name.len - i);
            break;
        }
    }
    if (slice_equal_nocase(name, slice_text("unknown")) || memchr(name.data, '[', name.len) != NULL)
        return slice_of(NULL, 0);
    return name;
}

/* Exim puts "helo=name", qmail "HELO name" into a comment. */
static void read_helo(struct slice comment, struct received *out)
{
    for (size_t i = 0; i + 5 < comment.len; i++) {
        const bool at_word = i == 0 || text_is_space(comment.data[i - 1]);
        if (!at_word || strncasecmp(comment.data + i, "helo", 4) != 0)
            continue;
        if (comment.data[i + 4] != '=' && comment.data[i + 4] != ' ')
            continue;
        struct reader in = {comment.data + i + 5, comment.data + comment.len};
        out->helo = take_word(&in);
        return;
    }
}

static bool read_comment(struct slice comment, struct received *out)
{
    size_t at = 0;
    read_helo(comment, out);
    if (find_bracketed_ip(comment, out->ip, &at)) {
        const struct slice name = name_before(comment, at);
        if (name.len > 0)
            out->hostname = name;
        return true;
    }
    return ip_from_slice(text_trim(comment), out->ip);
}

/* Exim without a verified name: "from [192.0.2.1] (helo=name)". */
static bool read_literal(struct slice word, struct received *out)
{
    size_t at = 0;
    if (word.len < 2 || word.data[0] != '[' || !find_bracketed_ip(word, out->ip, &at))
        return false;
    if (slice_equal(out->helo, word))
        out->helo = slice_of(NULL, 0);
    return true;
}

bool received_from_text(struct slice value, struct received *out)
{
    *out = (struct received){0};
    if (value.len == 0)
        return false;
    struct reader in = {value.data, value.data + value.len};
    if (!slice_equal_nocase(take_word(&in), slice_text("from")))
        return false;
    const struct slice first = take_word(&in);
    out->helo = first;
    struct slice comment;
    while (take_comment(&in, &comment)) {
        if (read_comment(comment, out))
            return true;
    }
    return read_literal(first, out);
}
