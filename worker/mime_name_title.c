/*
 * A name for a part that has none in its type and disposition: some mail readers take it from
 * Content-Description or Content-Location. Few parts mean it so, so only what looks like a file
 * name counts, a description only of what is an attachment, and nothing that is odd about it is a
 * defect.
 */
#include "worker/mime_impl.h"

#include <string.h>

#include "common/text.h"

enum { EXTENSION_MAX = 10 };

static struct slice last_piece(struct slice s)
{
    for (size_t i = s.len; i-- > 0;) {
        if (s.data[i] == '/' || s.data[i] == '\\')
            return slice_of(s.data + i + 1, s.len - i - 1);
    }
    return s;
}

/* The path of an address, or of a part of one (RFC 3986 section 3): no host, which would have an
 * extension too, no query and no fragment. */
static struct slice path_of(struct slice address)
{
    size_t n = 0;
    while (n < address.len && address.data[n] != '?' && address.data[n] != '#')
        n++;
    address.len = n;
    if (mime_begins_with(address, "cid:") || mime_begins_with(address, "mid:"))
        return slice_of("", 0);
    const char *host = n > 0 ? memmem(address.data, n, "//", 2) : NULL;
    if (host == NULL || (host > address.data && host[-1] != ':'))
        return address;
    const size_t left = (size_t)(address.data + n - host - 2);
    const char *slash = left > 0 ? memchr(host + 2, '/', left) : NULL;
    return slash == NULL ? slice_of("", 0) : slice_of(slash, (size_t)(address.data + n - slash));
}

static void add_if_name(struct mime_names *names, struct slice value)
{
    const struct slice name = text_trim(last_piece(text_trim(value)));
    const struct slice extension = mime_name_extension(name);
    if (extension.len > 0 && extension.len <= EXTENSION_MAX && name.len > extension.len + 1)
        mime_names_add_raw(names, name);
}

void mime_names_add_title(struct mime_names *names, struct slice value, bool is_address)
{
    struct mime *mime = names->mime;
    const bool was_muted = mime->is_muted;
    if (value.len > MIME_VALUE_BYTES)
        value = slice_of(value.data + value.len - MIME_VALUE_BYTES, MIME_VALUE_BYTES);
    value = mime_unfold(value, mime->arena);
    mime->is_muted = true;
    const struct slice decoded = mime_words_decode(value, mime->arena);
    add_if_name(names, is_address ? path_of(text_trim(decoded)) : decoded);
    if (is_address) /* folders may be written as codes, too */
        add_if_name(names, mime_percent_decode(path_of(text_trim(decoded)), mime->arena));
    mime->is_muted = was_muted;
}
