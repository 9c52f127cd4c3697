#include "worker/smtp_text.h"

#include <stdbool.h>

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

size_t smtp_text_put(struct slice text, size_t *at, char *out, size_t max)
{
    size_t n = 0, i = *at;
    for (; i < text.len && n + SMTP_TEXT_PIECE_MIN <= max; i++) {
        const char c = text.data[i];
        const char before = i > 0 ? text.data[i - 1] : '\n';
        if (c == '\n' && before == '\r' && i > 0)
            continue;
        if (is_line_end(c)) {
            out[n++] = '\r';
            out[n++] = '\n';
            continue;
        }
        if (c == '.' && is_line_end(before))
            out[n++] = '.';
        out[n++] = c;
    }
    *at = i;
    return n;
}

const char *smtp_text_end(struct slice text)
{
    const bool is_ended = text.len == 0 || is_line_end(text.data[text.len - 1]);
    return is_ended ? ".\r\n" : "\r\n.\r\n";
}
