/*
 * The text of a message that came as TNEF: plain, HTML, compressed RTF. Where a mail is nothing
 * else, that is what its reader sees; so each is a part, without a name, that is shown in place.
 */
#include <string.h>

#include "worker/mime_tnef.h"

enum { BODIES_MAX = 8, RTF_AT_MOST = 9 /* times as long */ };

enum {
    PR_BODY = 0x1000,
    PR_RTF_COMPRESSED = 0x1009,
    PR_HTML = 0x1013,
    PR_INTERNET_CPID = 0x3fde,
};

static struct mime_node *add_body(struct mime_tnef *tnef, const char *type, struct slice content)
{
    if (content.len == 0 || tnef->is_full)
        return NULL;
    if (tnef->n_bodies++ == BODIES_MAX) {
        mime_tnef_broken(tnef, "it has many texts");
        return NULL;
    }
    struct mime_node *node = mime_inside_add(tnef->inside, type, "", content);
    tnef->is_full = node == NULL;
    if (node != NULL) {
        node->part.disposition = "inline";
        node->is_tnef_text = true;
    }
    return node;
}

/* The bytes of a text, and their charset where the property says it. */
static struct mime_node *add_text(
    struct mime_tnef *tnef, const char *type, uint32_t property, struct slice value)
{
    struct mime *mime = tnef->inside->mime;
    const bool is_unicode = property == PT_UNICODE;
    if (is_unicode)
        value =
            mime_bytes_again(mime, tnef->inside->carrier, mime_tnef_from_utf16(value, mime->arena));
    while (value.len > 0 && value.data[value.len - 1] == '\0')
        value.len--;
    struct mime_node *node = add_body(tnef, type, value);
    if (node != NULL && is_unicode)
        node->part.charset = "utf-8";
    return node;
}

static void add_rtf(struct mime_tnef *tnef, struct slice value)
{
    struct mime *mime = tnef->inside->mime;
    struct mime_node *carrier = tnef->inside->carrier;
    const size_t left = (size_t)mime->decoded_left;
    const size_t most = value.len < left / RTF_AT_MOST ? value.len * RTF_AT_MOST : left + 1;
    struct slice rtf;
    if (!mime_rtf_unpack(value, most, mime->arena, &rtf))
        mime_tnef_broken(tnef, "a text that is compressed is broken");
    add_body(tnef, "application/rtf", mime_bytes_again(mime, carrier, rtf));
}

void mime_tnef_body_property(struct mime_tnef *tnef, uint32_t tag, struct slice value)
{
    size_t pos = 0;
    switch (tag >> 16) {
    case PR_BODY:
        add_text(tnef, "text/plain", tag & 0xffff, value);
        break;
    case PR_HTML:
        tnef->html = add_text(tnef, "text/html", tag & 0xffff, value);
        break;
    case PR_RTF_COMPRESSED:
        add_rtf(tnef, value);
        break;
    case PR_INTERNET_CPID:
        (void)mime_tnef_take_u32(value, &pos, &tnef->code_page);
        break;
    default:
        break;
    }
}

/* Numbers of Windows' code pages; of others, the content says it, or it is guessed. */
static const char *charset_of(uint32_t code_page, struct arena *arena)
{
    static const struct {
        uint32_t code_page;
        const char *charset;
    } rows[] = {{65001, "utf-8"}, {20127, "us-ascii"}, {932, "shift_jis"}, {936, "gb2312"},
        {949, "euc-kr"}, {950, "big5"}, {20866, "koi8-r"}, {21866, "koi8-u"},
        {50220, "iso-2022-jp"}, {51932, "euc-jp"}, {54936, "gb18030"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].code_page == code_page)
            return rows[i].charset;
    }
    if (code_page >= 1250 && code_page <= 1258)
        return arena_printf(arena, "windows-%u", (unsigned)code_page);
    if (code_page > 28590 && code_page <= 28605)
        return arena_printf(arena, "iso-8859-%u", (unsigned)(code_page - 28590));
    return "";
}

void mime_tnef_body_end(struct mime_tnef *tnef)
{
    if (tnef->html != NULL && tnef->html->part.charset[0] == '\0')
        tnef->html->part.charset = charset_of(tnef->code_page, tnef->inside->mime->arena);
}
