/* The tree of parts, the names and the defects of small mails. A row: the mail (LF stands for CR
 * LF), the tree with all names, the defects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/mime_fixture.h"

struct row {
    const char *mail, *tree, *defects;
};

#define MULTI   "Content-Type: multipart/mixed; boundary=b\n\n"
#define TEXT    "--b\nContent-Type: text/plain\n\nx\n"
#define END     "--b--\n"
#define ATTACH  "--b\nContent-Disposition: attachment; filename=a.exe\n\nx\n"
#define NAME(n) "Content-Disposition: attachment; filename" n "\n\nx\n"

static const struct row trees[] = {
    {"", "text/plain", ""},
    {"Subject: x\n\nhello\n", "text/plain", ""},
    {"hello\n", "text/plain", "header-without-colon"},
    {"\nhello\n", "text/plain", ""},
    {MULTI TEXT ATTACH END, "multipart/mixed(text/plain text/plain[a.exe])", ""},
    {MULTI "preamble\n" TEXT END "epilogue\n", "multipart/mixed(text/plain)", ""},
    {MULTI TEXT "--b  \n\nx\n--b-- \n", "multipart/mixed(text/plain text/plain)", ""},
    {MULTI TEXT, "multipart/mixed(text/plain)", "missing-end-boundary"},
    {MULTI TEXT END ATTACH END, "multipart/mixed(text/plain text/plain[a.exe])", "parts-after-end"},
    {MULTI "nothing\n", "multipart/mixed", "empty-multipart"},
    {MULTI "--b\nContent-Type: text/html\n" END, "multipart/mixed(text/html)", "unended-header"},
    {MULTI "--b\nno header here\n" END, "multipart/mixed(text/plain)", "header-without-colon"},
    {"Content-Type: multipart/mixed\n\n" TEXT END, "multipart/mixed(text/plain)",
        "missing-boundary"},
    {"Content-Type: multipart/mixed\n\ntext\n", "multipart/mixed",
        "empty-multipart missing-boundary"},
    {"Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n",
        "multipart/mixed(text/plain)", "empty-boundary"},
    {"Content-Type: multipart/mixed; boundary=\"b\" (comment)\n\n" TEXT END,
        "multipart/mixed(text/plain)", "odd-boundary"},
    {"Content-Type: MULTIPART/Mixed (x) ;\n\tBOUNDARY = \"b\"\n\n" TEXT END,
        "multipart/mixed(text/plain)", ""},
    {"Content-Type: multipart / mixed; boundary=b\n\n" TEXT END, "multipart/mixed(text/plain)", ""},
    {"Content-Type: multipart/mixed boundary=b\n\n" TEXT END, "multipart/mixed(text/plain)", ""},
    {"Content-Type: text\n\nx\n", "text/plain", "bad-content-type"},
    /* two boundaries: parts under each */
    {"Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\nx\n" ATTACH END "--a--\n",
        "multipart/mixed(text/plain text/plain[a.exe])", "duplicate-parameter odd-boundary"},
    {"Content-Type: multipart/mixed; boundary=a\n" MULTI "--a\n\nx\n" ATTACH END "--a--\n",
        "multipart/mixed(text/plain text/plain[a.exe])", "conflicting-content-type"},
    {"Content-Type: text/plain\n" MULTI ATTACH END, "multipart/mixed(text/plain text/plain[a.exe])",
        "conflicting-content-type"},
    {"Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain\n\n" ATTACH END,
        "multipart/mixed(text/plain[a.exe] text/plain)", "conflicting-content-type"},
    {"Content-Type: text/plain\nContent-Type: text/plain\n\nx\n", "text/plain",
        "duplicate-content-type"},
    /* nesting */
    {MULTI "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nx\n--c\nContent-Type: "
           "text/html\n\ny\n--c--\n" ATTACH END,
        "multipart/mixed(multipart/alternative(text/plain text/html) text/plain[a.exe])", ""},
    {MULTI "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\nx\n--bb--\n" END,
        "multipart/mixed(multipart/alternative(text/plain))", "repeated-boundary"},
    {MULTI "--b\nContent-Type: multipart/alternative; boundary=b\n\n" ATTACH END END,
        "multipart/mixed(multipart/alternative(text/plain[a.exe]))", "repeated-boundary"},
    {MULTI "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nx\n" ATTACH END,
        "multipart/mixed(multipart/alternative(text/plain) text/plain[a.exe])",
        "missing-end-boundary"},
    {MULTI "--b\n\nx\n--bx\n" NAME("=a.exe") END, "multipart/mixed(text/plain text/plain[a.exe])",
        "boundary-prefix"},
    {"Content-Type: message/rfc822\n\nSubject: x\n" MULTI ATTACH END,
        "message/rfc822(multipart/mixed(text/plain[a.exe]))", ""},
    {"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b\nContent-Type: "
     "text/plain\n\nz\n" END,
        "multipart/digest(message/rfc822(text/plain) text/plain)", ""},
    {"Content-Type: message/partial; id=x; number=1\n\nx\n", "message/partial", "message-partial"},
    {"Content-Type: message/external-body; access-type=x\n\nx\n", "message/external-body",
        "external-body"},
    /* encoded containers */
    {"Content-Type: message/rfc822\nContent-Transfer-Encoding: "
     "base64\n\nQ29udGVudC1EaXNwb3NpdGlvbjogYXR0YWNobWVudDsgZmlsZW5hbWU9YS5leGUKCng=\n",
        "message/rfc822(text/plain[a.exe])", "multipart-with-encoding"},
    {"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" NAME("=a.exe"),
        "message/rfc822(text/plain[a.exe])", "multipart-with-encoding"},
    {"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: "
     "base64\n\nLS1iCkNvbnRlbnQtRGlzcG9zaXRpb246IGF0dGFjaG1lbnQ7IGZpbGVuYW1lPWEuZXhlCgp4Ci0tYi0tCg="
     "=\n",
        "multipart/mixed(multipart/mixed(text/plain[a.exe]))", "multipart-with-encoding"},
    {"Content-Type: application/octet-stream\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 "
     "a.exe\n#0V%T\n`\nend\n",
        "application/octet-stream[a.exe]", ""},
    /* header fields */
    {"garbage\nSubject: x\n\ny\n", "text/plain", "header-without-colon"},
    {"From a@b Thu Jan 1 00:00:00 1970\nSubject: x\n\ny\n", "text/plain", ""},
    {"Subject: x\n \n y\n\nz\n", "text/plain", ""},
    {"Subject: x\n \nContent-Type: text/html\n\nz\n", "text/html", "blank-continuation"},
    {"Content-Type : text/html\n\nx\n", "text/html", "odd-field-name"},
    {"Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\nx\n",
        "text/plain(text/plain text/plain)", "duplicate-content-transfer-encoding"},
    {"Content-Transfer-Encoding: rot13\n\nx\n", "text/plain", "unknown-encoding"},
    {"Subject: \xe4\n\nx\n", "text/plain", "raw-8bit-header"},
    {"Subject: \xc3\xa4\n\nx\n", "text/plain", ""},
    {"Content-Transfer-Encoding: base64\n\naGVsbG8=\n", "text/plain", ""},
    {"Content-Transfer-Encoding: base64\n\naGVs*bG8=\n", "text/plain", "broken-base64"},
    {"Content-Transfer-Encoding: base64\n\naGVsbG8=\naGVs\n", "text/plain", "broken-base64"},
    {"Content-Transfer-Encoding: quoted-printable\n\na=3D=\nb\n", "text/plain", ""},
    {"Content-Transfer-Encoding: quoted-printable\n\na=zz\n", "text/plain",
        "broken-quoted-printable"},
    /* not a defect: ordinary text that speaks of these things */
    {"Subject: x\n\nbegin 644 the work\nContent-Disposition: attachment; filename=\"a.exe\"\n--b\n",
        "text/plain", ""},
};

static const struct row names[] = {
    {NAME("=a.exe"), "text/plain[a.exe]", ""},
    {NAME("=\"a b.exe\""), "text/plain[a b.exe]", ""},
    {NAME(" = \"a.exe\" ; size=5"), "text/plain[a.exe]", ""},
    {NAME("=a b.exe"), "text/plain[a b.exe|a]", ""},
    {NAME("=\"a.exe"), "text/plain[a.exe|\"a.exe]", ""},
    {NAME("=\"a\\.exe\""), "text/plain[a.exe|a\\.exe|.exe]", "path-in-name"},
    {NAME("=\"a;b.exe\""), "text/plain[a;b.exe|a]", ""},
    {NAME("=\"a\".exe"), "text/plain[a|a.exe]", ""},
    {NAME("=a.exe(x)"), "text/plain[a.exe|a.exe(x)]", ""},
    {NAME("='a.exe'"), "text/plain['a.exe'|a.exe]", ""},
    {NAME("=\"a.txt\"; filename=\"b.exe\""), "text/plain[a.txt|b.exe]",
        "conflicting-names duplicate-parameter"},
    {NAME("=a%2Eexe"), "text/plain[a%2Eexe|a.exe]", ""},
    {NAME("=\"a.\n exe\""), "text/plain[a. exe|a.exe|a.|a]", ""},
    {"Content-Disposition: attachment;\nfilename=a.exe\n\nx\n",
        "text/plain[a.exe](text/plain[a.exe] text/plain[a.exe])", "header-without-colon"},
    {"Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=b.exe\n\nx\n",
        "text/plain[b.exe|a.txt]", "conflicting-names"},
    {"Content-Disposition: inline\nContent-Disposition: attachment; filename=b.exe\n\nx\n",
        "text/plain[b.exe]", "duplicate-content-disposition"},
    /* RFC 2231 */
    {NAME("*=utf-8''a%C3%A4.exe"),
        "text/"
        "plain[a\xc3\xa4.exe|a\xc3\x83\xc2\xa4.exe|a%C3%A4.exe|utf-8''a%C3%A4.exe|utf-8''a\xc3\xa4."
        "exe|utf-8''a\xc3\x83\xc2\xa4.exe]",
        ""},
    {NAME("*0=a; filename*1=.ex; filename*2=e"), "text/plain[a.exe]", ""},
    {NAME("*1=.exe; filename*0=a"), "text/plain[a.exe|.exea]", "conflicting-names odd-sections"},
    {NAME("*0=a; filename*2=.exe"), "text/plain[a|a.exe]", "odd-sections"},
    {NAME("*0=a.txt; filename*0=b.exe"), "text/plain[a.txt|b.exe|a.txtb.exe]",
        "conflicting-names duplicate-parameter odd-sections"},
    /* RFC 2047 */
    {NAME("=\"=?utf-8?Q?a=2Eexe?=\""), "text/plain[a.exe|=?utf-8?Q?a=2Eexe?=]",
        "encoded-word-in-parameter"},
    {NAME("=\"=?utf-8?B?YS5l?= =?utf-8?B?eGU=?=\""),
        "text/plain[a.exe|=?utf-8?B?YS5l?= =?utf-8?B?eGU=?=]", "encoded-word-in-parameter"},
    {NAME("==?utf-8?Q?a.exe?="), "text/plain[a.exe|=?utf-8?Q?a.exe?=]",
        "encoded-word-in-parameter"},
    /* raw */
    {NAME("=\"\xc3\xa4.exe\""), "text/plain[\xc3\xa4.exe|\xc3\x83\xc2\xa4.exe]", ""},
};

static void check_rows(const struct row *rows, size_t n)
{
    struct mime_fixture f;
    size_t n_wrong = 0;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < n; i++) {
        mime_fixture_read_text(&f, rows[i].mail);
        mime_fixture_check(&f);
        if (strcmp(mime_fixture_tree(&f), rows[i].tree) == 0 &&
            strcmp(mime_fixture_defects(&f), rows[i].defects) == 0)
            continue;
        n_wrong++;
        print_message("row %zu:\n%s\n%s | %s\n", i, rows[i].mail, mime_fixture_tree(&f),
            mime_fixture_defects(&f));
    }
    mime_fixture_close(&f);
    assert_int_equal(n_wrong, 0);
}

static void trees_are_read(void **state)
{
    (void)state;
    check_rows(trees, sizeof(trees) / sizeof(trees[0]));
}

static void names_are_read(void **state)
{
    (void)state;
    check_rows(names, sizeof(names) / sizeof(names[0]));
}

static void read_bytes(struct mime_fixture *f, const char *text, size_t len)
{
    mime_fixture_read(f, text, len);
    mime_fixture_check(f);
}

#define READ(f, literal) read_bytes(f, literal, sizeof(literal) - 1)

static void odd_bytes_are_seen(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    READ(&f, "Subject: x\n\ny\n"); /* all lines end with LF: nobody reads that in two ways */
    assert_string_equal(mime_fixture_defects(&f), "");
    READ(&f, "Subject: x\r\n\r\ny\n");
    assert_string_equal(mime_fixture_defects(&f), "bare-lf");
    READ(&f, "Subject: x\r\n\r\ny\rz\r\n");
    assert_string_equal(mime_fixture_defects(&f), "bare-cr");
    READ(&f, "Subject: x\0y\r\n\r\nz\r\n");
    assert_string_equal(mime_fixture_defects(&f), "nul-bytes");
    READ(&f, "Content-Disposition: attachment; filename=\"a.exe\0.txt\"\r\n\r\nz\r\n");
    assert_true(mime_fixture_has_name(&f, "a.exe"));
    assert_true(mime_fixture_has_name(&f, "a.exe.txt"));
    READ(&f, "Subject: x\rContent-Disposition: attachment; filename=a.exe\r\n\r\nz\r\n");
    assert_true(mime_fixture_has_name(&f, "a.exe"));
    READ(&f, "Subject: x\0Content-Disposition: attachment; filename=a.exe\r\n\r\nz\r\n");
    assert_true(mime_fixture_has_name(&f, "a.exe"));
    READ(&f,
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r--b\rContent-Disposition: "
        "attachment; filename=a.exe\r\ry\r\n--b--\r\n");
    assert_true(mime_fixture_has_name(&f, "a.exe"));
    READ(&f, "Content-Type: multipart/mixed; boundary=b\r\r\n\r\r\n--b\r\r\nContent-Type: "
             "text/html\r\r\n\r\r\nx\r\r\n--b--\r\r\n");
    assert_string_equal(mime_fixture_tree(&f), "multipart/mixed(text/html)");
    READ(&f, "Content-Disposition: attachment; filename=\"\xe4.exe\"\r\n\r\nz\r\n");
    assert_true(mime_fixture_has_name(&f, "\xc3\xa4.exe"));
    assert_true(mime_fixture_has_name(&f, "\xef\xbf\xbd.exe"));
    mime_fixture_close(&f);
}

/* Of what is shown where it stands, nobody takes a description for a name. */
static void descriptions_name_attachments_alone(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool is_name;
    } rows[] = {
        {"Content-Type: text/plain\n", false},
        {"Content-Type: text/html\nContent-Disposition: inline\n", false},
        {"Content-Type: multipart/mixed; boundary=b\n", false},
        {"Content-Type: message/rfc822\n", false},
        {"Content-Type: text/plain\nContent-Disposition: attachment\n", true},
        {"Content-Type: application/octet-stream\n", true},
        {"Content-Type: application/octet-stream; name=a.txt\n", false},
    };
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char mail[200];
        snprintf(
            mail, sizeof(mail), "%sContent-Description: see example.com\n\nx\n", rows[i].header);
        mime_fixture_read_text(&f, mail);
        assert_int_equal(mime_fixture_has_name(&f, "see example.com"), rows[i].is_name);
        assert_true(rows[i].is_name || mime_root(f.mime)->n_filenames <= 1);
    }
    mime_fixture_close(&f);
}

/* What an S/MIME object is, its content says; where that cannot be read, the type and parameters.
 */
static void smime_is_what_it_holds(void **state)
{
    (void)state;
#define SIGNED                                                                                     \
    "MGEGCSqGSIb3DQEHAqBUMFICAQExDTALBglghkgBZQMEAgEwLQYJKoZIhvcNAQcBoCAEHkNvbnRlbnQtVHlwZTogdGV4" \
    "dC9wbGFpbg0KDQpoaaANMAtjZXJ0aWZpY2F0ZTEA"
#define PIECES                                                                                     \
    "MIAGCSqGSIb3DQEHAqCAMIACAQExDTALBglghkgBZQMEAgEwgAYJKoZIhvcNAQcBoIAkgAQHQ29udGVudAQHLVR5cGU6" \
    "IAQHdGV4dC9wbAQHYWluDQoNCgQCaGkAAAAAAACggDALY2VydGlmaWNhdGUAADEAAAAAAAAA"
#define SEALED "MBIGCSqGSIb3DQEHA6AFMAMCAQE="
#define DETACHED                                                                                   \
    "MD8GCSqGSIb3DQEHAqAyMDACAQExDTALBglghkgBZQMEAgEwCwYJKoZIhvcNAQcBoA0wC2NlcnRpZmljYXRlMQA="
#define COMPRESSED                                                                                 \
    "MFoGCyqGSIb3DQEJEAEJoEswSQIBATANBgsqhkiG9w0BCRADCDA1BgkqhkiG9w0BBwGgKAQmeNpzzs8rSc0r0Q2pLEi1" \
    "UihJrSjRL8hJzMzj5eLlysgEAKjrCgw="
    static const struct {
        const char *type, *content;
        bool is_signed, is_encrypted, has_part;
    } rows[] = {
        {"application/pkcs7-mime; smime-type=signed-data", SIGNED, true, false, true},
        {"application/pkcs7-mime; smime-type=enveloped-data", SIGNED, true, false, true},
        {"application/x-pkcs7-mime", PIECES, true, false, true},
        {"application/octet-stream", PIECES, true, false, true},
        {"application/pkcs7-mime; smime-type=enveloped-data", SEALED, false, true, false},
        {"application/pkcs7-mime; smime-type=signed-data", SEALED, false, true, false},
        {"application/octet-stream", SEALED, false, true, false},
        {"application/pkcs7-mime; smime-type=certs-only", DETACHED, false, false, false},
        {"application/pkcs7-mime; smime-type=compressed-data", COMPRESSED, false, false, true},
        {"application/pkcs7-mime; smime-type=signed-data", "AAAA", true, false, false},
        {"application/pkcs7-mime", "AAAA", false, true, false},
        {"application/octet-stream", "AAAA", false, false, false},
    };
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char mail[600];
        uint32_t n;
        snprintf(mail, sizeof(mail), "Content-Type: %s\nContent-Transfer-Encoding: base64\n\n%s\n",
            rows[i].type, rows[i].content);
        mime_fixture_read_text(&f, mail);
        mime_fixture_check(&f);
        const struct mime_part *root = mime_root(f.mime);
        assert_int_equal(root->is_signed, rows[i].is_signed);
        assert_int_equal(root->is_encrypted, rows[i].is_encrypted);
        const struct mime_part *const *parts = mime_parts(f.mime, &n);
        assert_int_equal(n, 1 + rows[i].has_part);
        if (!rows[i].has_part)
            continue;
        assert_int_equal(parts[1]->is_signed, rows[i].is_signed);
        assert_true(parts[1]->is_decoded && !root->is_container);
        assert_true(slice_equal(mime_content(f.mime, parts[1]), slice_text("hi")));
    }
    mime_fixture_close(&f);
}

static void parts_tell_about_themselves(void **state)
{
    (void)state;
    struct mime_fixture f;
    mime_fixture_open(&f, NULL);
    mime_fixture_read_text(&f,
        "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: Text/Plain; "
        "charset=\"UTF-8\"; x*=utf-8''%41\nContent-ID: <i@d>\n"
        "Content-Transfer-Encoding: Base64 (yes)\nContent-Disposition: Inline; "
        "filename=\"x.txt\"\n\naGVsbG8=\n"
        "--b\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nMZ\n--b--\n");
    mime_fixture_check(&f);
    const struct mime_part *part = mime_fixture_part(&f, "1.1");
    assert_string_equal(part->type, "text/plain");
    assert_string_equal(part->charset, "utf-8");
    assert_string_equal(part->encoding, "base64");
    assert_string_equal(part->disposition, "inline");
    assert_string_equal(part->content_id, "i@d");
    assert_string_equal(part->filename, "x.txt");
    assert_int_equal(part->n_params, 2);
    assert_string_equal(part->params[1].name, "x");
    assert_string_equal(part->params[1].value, "A");
    assert_true(part->is_signed && !part->is_encrypted && !part->is_container);
    assert_true(part->parent == mime_root(f.mime) && part->depth == 1);
    assert_true(slice_equal(part->content, slice_text("aGVsbG8=")));
    assert_true(slice_equal(mime_content(f.mime, part), slice_text("hello")));
    assert_true(
        slice_equal(mime_part_header(f.mime, part, slice_text("content-ID")), slice_text("<i@d>")));
    assert_null(mime_part_header(f.mime, part, slice_text("Subject")).data);
    part = mime_fixture_part(&f, "1.2");
    assert_true(part->is_signed && part->is_encrypted);
    assert_string_equal(mime_detected_type(f.mime, part), "application/x-msdownload");
    assert_string_equal(mime_root(f.mime)->path, "1");
    assert_true(mime_root(f.mime)->is_container && mime_root(f.mime)->is_signed);
    mime_fixture_close(&f);
}

static void read_repeated(
    struct mime_fixture *f, const char *front, const char *again, int n, const char *back)
{
    struct buf mail;
    buf_init(&mail, 1 << 20);
    (void)buf_printf(&mail, "%s", front);
    for (int i = 0; i < n; i++)
        (void)buf_printf(&mail, "%s", again);
    (void)buf_printf(&mail, "%s", back);
    read_bytes(f, (const char *)mail.data, mail.len);
    buf_clear(&mail);
}

static void limits_hold(void **state)
{
    (void)state;
    static const char *const limits[] = {"worker.max_parts=3", "worker.max_depth=2",
        "worker.max_headers=10", "worker.max_header_line=1024", "worker.max_decoded=65536",
        "worker.max_text=1024", NULL};
    struct mime_fixture f;
    mime_fixture_open(&f, limits);
    mime_fixture_read_text(&f, MULTI TEXT TEXT END);
    assert_string_equal(mime_fixture_defects(&f), "");
    mime_fixture_read_text(&f, MULTI TEXT TEXT TEXT END);
    assert_true(mime_fixture_has_defect(&f, "too-many-parts"));
    assert_true(mime_fixture_is_ambiguous(&f));
    mime_fixture_read_text(&f, "Content-Type: message/rfc822\n\nContent-Type: "
                               "message/rfc822\n\nContent-Type: message/rfc822\n\nx\n");
    assert_string_equal(mime_fixture_tree(&f), "message/rfc822(message/rfc822(message/rfc822))");
    assert_string_equal(mime_fixture_defects(&f), "too-deep");
    mime_fixture_read_text(
        &f, "A: 1\nA: 2\nA: 3\nA: 4\nA: 5\nA: 6\nA: 7\nA: 8\nA: 9\nA: 10\nA: 11\n\nx\n");
    assert_string_equal(mime_fixture_defects(&f), "too-many-headers");
    read_repeated(&f, "Content-Type: text/plain; name=", "x", 1100, "\r\n\r\nx\r\n");
    assert_true(mime_fixture_has_defect(&f, "header-too-long"));
    assert_true(mime_fixture_is_ambiguous(&f));
    read_repeated(&f, "Content-Transfer-Encoding: base64\r\n\r\n", "QUJD", 30000, "\r\n");
    mime_content(f.mime, mime_root(f.mime));
    assert_true(mime_fixture_has_defect(&f, "too-much-decoded"));
    assert_true(mime_fixture_is_ambiguous(&f));
    read_repeated(&f, "\r\n", "some text ", 200, "\r\n");
    mime_text(f.mime, mime_root(f.mime));
    assert_true(mime_fixture_has_defect(&f, "text-too-long"));
    mime_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_are_read),
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(odd_bytes_are_seen),
        cmocka_unit_test(descriptions_name_attachments_alone),
        cmocka_unit_test(smime_is_what_it_holds),
        cmocka_unit_test(parts_tell_about_themselves),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
