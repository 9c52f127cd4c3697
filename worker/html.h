/*
 * What is done with HTML: its text, the addresses it links to, the place for text at its end, the
 * charset it names. Input to html_text and html_links_each is valid UTF-8, and so is what comes
 * out; the others take any bytes in which ASCII means ASCII.
 */
#ifndef POSTERN_WORKER_HTML_H
#define POSTERN_WORKER_HTML_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/buf.h"

/* The text that is shown: tags removed, scripts, styles and titles left out, block elements as line
 * breaks, references decoded, blanks joined. At most max bytes, of which no more than html.len are
 * ever needed; in the arena. *is_cut_out (may be NULL): whether there was more. */
struct slice html_text(struct slice html, size_t max, struct arena *arena, bool *is_cut_out);

/* The charset that a <meta> in the first 1024 bytes names (HTML standard, prescan), lower case, in
 * the arena; "" when there is none. One of two bytes a unit means UTF-8 there. */
const char *html_meta_charset(struct slice html, struct arena *arena);

/*
 * Where something put into the HTML is shown at its end: before the last </body>, failing that
 * before the last </html>, failing that at the end; never in a comment, a tag, or the content of a
 * script that ends with the HTML.
 */
size_t html_place(struct slice html);

enum html_link_place {
    HTML_LINK_ATTRIBUTE = 0, /* value is an attribute's, references decoded */
    HTML_LINK_STYLE,         /* value is the content of a <style> */
    HTML_LINK_TEXT,          /* value is an address that stands in the text, outside <a> */
    HTML_LINK_PAGE           /* value is the HTML in a srcdoc, the address somewhere in it */
};

struct html_link {
    enum html_link_place place;
    size_t from, to;    /* what value stands for, in the HTML; an attribute's with its quotes */
    struct slice value; /* one attribute may have several links (srcset, style) */
    size_t url_from, url_to; /* in value */
    struct slice url;        /* references and the escapes of CSS decoded */
};
typedef void (*html_link_cb)(const struct html_link *link, void *context);
/*
 * Each address in attributes (href, src, srcset, action, style …, meta refresh), in style sheets,
 * and, with_text, in the text, in order. In comments and scripts too: some programs show what they
 * hold; and in the page of a srcdoc, but not in one within that. Any scheme.
 */
void html_links_each(
    struct slice html, bool with_text, struct arena *arena, html_link_cb cb, void *context);

#endif
