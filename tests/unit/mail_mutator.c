#include "tests/unit/mail_mutator.h"

#include <stdbool.h>
#include <string.h>

const char *const mail_samples[] = {
    "Subject: simple\nContent-Type: text/plain\n\nhello\n",

    "MIME-Version: 1.0\nSubject: two parts\nContent-Type: multipart/mixed; "
    "boundary=\"b1\"\n\npreamble\n--b1\n"
    "Content-Type: text/plain; charset=utf-8\n\nhello\n--b1\nContent-Type: "
    "application/octet-stream; name=\"a.exe\"\n"
    "Content-Transfer-Encoding: base64\nContent-Disposition: attachment; "
    "filename=\"a.exe\"\n\nTVqQAAMAAAAEAAAA\n--b1--\n",

    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: "
    "multipart/alternative;\n boundary=\"inner one\"\n\n"
    "--inner one\nContent-Type: text/plain\n\ntext\n--inner one\nContent-Type: "
    "text/html\n\n<b>text</b>\n--inner one--\n--outer\n"
    "Content-Type: image/png; name=pic.png\nContent-Disposition: inline; "
    "filename=pic.png\nContent-Id: <x@y>\n\nx\n--outer--\n",

    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=q\n\n--q\nContent-Disposition: "
    "attachment;\n"
    " filename*=UTF-8''na%C3%AFve%20file.scr\n\nx\n--q\nContent-Disposition: attachment; "
    "filename*0=\"long\"; filename*1=\" name\"; filename*2=\".js\"\n\nx\n"
    "--q\nContent-Disposition: attachment;\n filename*0*=iso-8859-1'en'%e4;\n filename*1*=%20b; "
    "filename*2=.vbs\n\nx\n--q--\n",

    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=w\n\n--w\nContent-Type: "
    "application/zip;\n"
    " name=\"=?utf-8?B?csOpc3Vtw6kuemlw?=\"\nContent-Disposition: attachment; "
    "filename=\"=?iso-8859-1?Q?r=E9sum=E9.zip?=\"\n\nx\n--w\n"
    "Content-Type: application/pdf; name*=''plain.pdf\nContent-Disposition: attachment; "
    "filename=\"a \\\"quoted\\\" one.pdf\"\n\nx\n--w--\n",

    "Subject: forwarded\nContent-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: "
    "inner\nContent-Type: multipart/mixed; boundary=e\n\n--e\n"
    "Content-Type: text/plain; name=inner.txt\n\nx\n--e--\n--d\nContent-Type: message/rfc822; "
    "name=\"mail.eml\"\n\nSubject: x\n"
    "Content-Disposition: attachment; filename=deep.bat\n\ny\n--d--\n",

    "Content-Type: multipart/signed; boundary=s; "
    "protocol=\"application/pgp-signature\"\n\n--s\nContent-Type: text/plain\n\nsigned\n--s\n"
    "Content-Type: application/pgp-signature; name=signature.asc\n\nx\n--s--\n",

    "Content-Type: application/octet-stream; name=\"top.com\"\nContent-Disposition: "
    "attachment;\n\tfilename=\"top.com\"\n\ncontent\n",

    "Content-Type: multipart/mixed; boundary=\"p\"\n\n--p\nContent-Type: text/plain; "
    "name=a(b)c.txt\n\nx\n--p\n"
    "Content-Disposition: attachment; filename=un quoted name.exe\n\nx\n--p\nContent-Disposition: "
    "attachment; filename=\"half.exe\n\nx\n--p--\n",
};
const uint32_t n_mail_samples = sizeof(mail_samples) / sizeof(mail_samples[0]);

enum { WORK_BYTES = 65536, ROUNDS_MAX = 6 };

struct work {
    uint64_t state;
    char bytes[WORK_BYTES];
    size_t len;
};

/* xorshift64* */
static uint32_t draw(struct work *w, uint32_t below)
{
    w->state ^= w->state >> 12;
    w->state ^= w->state << 25;
    w->state ^= w->state >> 27;
    return (uint32_t)((w->state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void replace(struct work *w, size_t at, size_t gone, const char *text, size_t len)
{
    if (at + gone > w->len || w->len - gone + len > WORK_BYTES)
        return;
    memmove(w->bytes + at + len, w->bytes + at + gone, w->len - at - gone);
    memcpy(w->bytes + at, text, len);
    w->len += len - gone;
}

/* The start of a line, and its length with its end. */
static size_t some_line(struct work *w, size_t *len_out)
{
    size_t at = draw(w, (uint32_t)w->len + 1);
    while (at > 0 && w->bytes[at - 1] != '\n')
        at--;
    const char *lf = memchr(w->bytes + at, '\n', w->len - at);
    *len_out = lf != NULL ? (size_t)(lf - w->bytes) + 1 - at : w->len - at;
    return at;
}

static const struct {
    const char *text;
    size_t len;
} pieces[] = {
#define PIECE(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    PIECE("\""),
    PIECE("\\"),
    PIECE(";"),
    PIECE("="),
    PIECE(" "),
    PIECE("\t"),
    PIECE("\r"),
    PIECE("\n"),
    PIECE("\r\n"),
    PIECE("\0"),
    PIECE("("),
    PIECE(")"),
    PIECE("--"),
    PIECE("'"),
    PIECE("%2E"),
    PIECE("*"),
    PIECE("*0"),
    PIECE("*1*"),
    PIECE("=?utf-8?Q?="),
    PIECE("?="),
    PIECE("\xe4"),
    PIECE("\xc3\xa4"),
    PIECE("name=b.exe"),
    PIECE("; filename=b.exe"),
    PIECE("; boundary=b1"),
    PIECE("; boundary=\"\""),
    PIECE("\r\n "),
    PIECE("\r\n\t"),
    PIECE("\r\n \r\n"),
    PIECE("\r\n\r\n"),
    PIECE("\r\n--b1\r\n"),
    PIECE("\r\n--b1--\r\n"),
    PIECE("."),
    PIECE(":"),
    PIECE("Content-Disposition: attachment; filename=c.scr\r\n"),
    PIECE("Content-Type: text/html; name=d.hta\r\n"),
    PIECE("Content-Type: multipart/mixed; boundary=z\r\n"),
    PIECE("Content-Transfer-Encoding: base64\r\n"),
    PIECE("garbage\r\n"),
#undef PIECE
};

static void mutate_once(struct work *w)
{
    char copy[1024];
    size_t len, other_len;
    size_t at = some_line(w, &len);
    switch (draw(w, 7)) {
    case 0: /* a line goes */
        replace(w, at, len, "", 0);
        break;
    case 1: /* a line twice */
        if (len <= sizeof(copy)) {
            memcpy(copy, w->bytes + at, len);
            replace(w, at, 0, copy, len);
        }
        break;
    case 2: { /* a line elsewhere */
        size_t other = some_line(w, &other_len);
        if (len <= sizeof(copy)) {
            memcpy(copy, w->bytes + at, len);
            replace(w, other, 0, copy, len);
        }
        break;
    }
    case 3: /* a byte changes */
        if (w->len > 0)
            w->bytes[draw(w, (uint32_t)w->len)] = (char)draw(w, 256);
        break;
    case 4: /* a few bytes go */
        replace(w, draw(w, (uint32_t)w->len + 1), draw(w, 4), "", 0);
        break;
    default: { /* something comes in */
        uint32_t piece = draw(w, sizeof(pieces) / sizeof(pieces[0]));
        size_t where = draw(w, 2) == 0 ? at : draw(w, (uint32_t)w->len + 1);
        replace(w, where, 0, pieces[piece].text, pieces[piece].len);
    }
    }
}

void mail_sample(uint32_t number, struct buf *out)
{
    buf_reset(out);
    for (const char *p = mail_samples[number]; *p != '\0'; p++)
        (void)buf_put(out, *p == '\n' ? "\r\n" : p, *p == '\n' ? 2 : 1);
}

void mail_mutate(uint64_t seed, struct buf *out)
{
    struct work w;
    w.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    mail_sample(draw(&w, n_mail_samples), out);
    w.len = out->len;
    memcpy(w.bytes, out->data, out->len);
    for (uint32_t rounds = 1 + draw(&w, ROUNDS_MAX); rounds > 0; rounds--)
        mutate_once(&w);
    buf_reset(out);
    (void)buf_put(out, w.bytes, w.len);
}
