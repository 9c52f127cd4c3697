/* Mail addresses: where they split, which may go to the MTA, which match a pattern. Quotes are
 * followed, nothing is rewritten. */
#include "common/address.h"

#include <string.h>

#include "common/text.h"

enum { ADDRESS_MADE_MAX = 1000 };

struct slice address_strip(struct slice in)
{
    in = text_trim(in);
    if (in.len >= 2 && in.data[0] == '<' && in.data[in.len - 1] == '>')
        in = slice_of(in.data + 1, in.len - 2);
    return in;
}

/* Index of the last "@" outside quotes, or address.len. */
static size_t find_at(struct slice address)
{
    size_t at = address.len;
    bool is_quoted = false;
    for (size_t i = 0; i < address.len; i++) {
        char c = address.data[i];
        if (c == '"')
            is_quoted = !is_quoted;
        else if (c == '\\' && is_quoted)
            i++;
        else if (c == '@' && !is_quoted)
            at = i;
    }
    return at;
}

struct slice address_domain(struct slice address)
{
    size_t at = find_at(address);
    if (at == address.len)
        return slice_of(NULL, 0);
    return slice_of(address.data + at + 1, address.len - at - 1);
}

struct slice address_local(struct slice address)
{
    return slice_of(address.data, find_at(address));
}

/* Valid UTF-8 without control characters, C1 included. */
static bool is_printable(struct slice in)
{
    if (!text_is_utf8(in))
        return false;
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.data[i];
        if (c < 0x20 || c == 0x7F)
            return false;
        if (c == 0xC2 && (unsigned char)in.data[i + 1] < 0xA0)
            return false;
    }
    return true;
}

bool address_is_same(struct slice a, struct slice b)
{
    return a.len == b.len && slice_equal_nocase(a, b) &&
           slice_equal(address_local(a), address_local(b));
}

bool address_is_valid(struct slice address, bool may_be_empty)
{
    if (address.len == 0)
        return may_be_empty;
    if (address.len > ADDRESS_MADE_MAX || !is_printable(address))
        return false;
    bool is_quoted = false;
    for (size_t i = 0; i < address.len; i++) {
        char c = address.data[i];
        if (c == '"')
            is_quoted = !is_quoted;
        else if (c == '\\' && is_quoted)
            i++;
        else if (!is_quoted && (c == ' ' || c == '<' || c == '>'))
            return false;
    }
    return !is_quoted;
}

bool address_args_are_valid(struct slice args)
{
    return args.len <= ADDRESS_MADE_MAX && is_printable(args);
}

/* pattern: "example.org", or ".example.org" for what is below it. */
static bool domain_matches(struct slice domain, struct slice pattern)
{
    if (pattern.data[0] != '.')
        return slice_equal_nocase(domain, pattern);
    if (domain.len <= pattern.len)
        return false;
    return slice_equal_nocase(
        slice_of(domain.data + domain.len - pattern.len, pattern.len), pattern);
}

bool address_matches(struct slice address, struct slice pattern)
{
    address = address_strip(address);
    struct slice domain = address_domain(address);
    size_t at = find_at(pattern);
    if (at == pattern.len)
        return pattern.len > 0 && slice_equal_nocase(domain, pattern);
    struct slice local_pattern = slice_of(pattern.data, at);
    struct slice domain_pattern = slice_of(pattern.data + at + 1, pattern.len - at - 1);
    if (local_pattern.len == 0 && domain_pattern.len == 0)
        return false;
    if (local_pattern.len > 0 && !slice_equal_nocase(address_local(address), local_pattern))
        return false;
    return domain_pattern.len == 0 || domain_matches(domain, domain_pattern);
}
