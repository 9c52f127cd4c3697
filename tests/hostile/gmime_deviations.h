/*
 * Where GMime 3.2 is known to read otherwise than Postern, and who is right. Part of
 * test_equal_gmime.c: each row is tried on a difference of its aspect.
 */

static bool has_bytes(struct slice s, const char *text)
{
    return s.len > 0 && memmem(s.data, s.len, text, strlen(text)) != NULL;
}

/* The part's field as received; data NULL: it has none. */
static struct slice raw_field(
    const struct difference *d, const struct mime_part *part, const char *name)
{
    struct header_list list;
    if (part == NULL)
        return slice_of(NULL, 0);
    header_list_scan(part->header, FIELDS_MAX, d->f->arena, &list);
    const struct header_field *field = header_find(&list, slice_text(name), 1);
    return field != NULL ? field->value : slice_of(NULL, 0);
}

/* ---- the tree ---- */

static bool is_token_char(char c)
{
    return c > ' ' && c < 127 && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

static size_t skip(struct slice s, size_t i, const char *chars)
{
    while (i < s.len && s.data[i] != '\0' && strchr(chars, s.data[i]) != NULL)
        i++;
    return i;
}

static size_t skip_token(struct slice s, size_t i)
{
    while (i < s.len && is_token_char(s.data[i]))
        i++;
    return i;
}

static size_t skip_value(struct slice s, size_t i)
{
    if (i >= s.len || s.data[i] != '"')
        return skip_token(s, i);
    for (i++; i < s.len && s.data[i] != '"'; i++)
        i += s.data[i] == '\\';
    return i < s.len ? i + 1 : 0; /* not closed: as good as nothing */
}

/* RFC 2045 section 5.1, without comments: type "/" subtype *(";" attribute "=" value). */
static bool is_content_type(struct slice value)
{
    static const char blanks[] = " \t\r\n";
    size_t start = skip(value, 0, blanks), i = skip_token(value, start);
    if (i == start || i >= value.len || value.data[i] != '/')
        return false;
    size_t subtype = i + 1;
    i = skip_token(value, subtype);
    if (i == subtype)
        return false;
    for (i = skip(value, i, blanks); i < value.len; i = skip(value, i, blanks)) {
        if (value.data[i] != ';')
            return false;
        size_t name = skip(value, i + 1, blanks);
        if (name == value.len)
            return true; /* a last ";" with nothing behind it is everywhere */
        i = skip_token(value, name);
        if (i == name || value.data[name] == '*' || /* RFC 2231 section 7 */
            i >= value.len || value.data[i] != '=')
            return false;
        size_t parameter = i + 1;
        i = skip_value(value, parameter);
        if (i <= parameter)
            return false;
    }
    return true;
}

static bool has_bad_type(const struct difference *d, const struct mime_part *part)
{
    struct slice value = raw_field(d, part, "Content-Type");
    return value.data != NULL && !is_content_type(value);
}

static bool is_bad_type(const struct difference *d)
{
    return d->ours != NULL && (has_bad_type(d, d->ours) || has_bad_type(d, d->ours->parent));
}

static bool is_empty_message(const struct difference *d)
{
    return d->theirs == NULL && d->f->message.len == 0;
}

/* ---- content ---- */

static bool ends_with_boundary(const struct difference *d)
{
    struct slice message = d->f->message;
    size_t end = d->theirs->end;
    return end > 0 && end < message.len && message.data[end - 1] == '\r' &&
           message.data[end] == '\n' &&
           memchr(message.data + end + 1, '\n', message.len - end - 1) == NULL;
}

static bool has_odd_encoding(const struct difference *d)
{
    struct slice value = raw_field(d, d->ours, "Content-Transfer-Encoding");
    size_t start = skip(value, 0, " \t\r\n");
    return value.data != NULL && skip(value, skip_token(value, start), " \t\r\n") < value.len;
}

static bool is_incomplete_base64(const struct difference *d)
{
    size_t ours = d->our_value.len, theirs = d->their_value.len;
    return strcmp(d->ours->encoding, "base64") == 0 && ours > theirs && ours - theirs <= 2 &&
           memcmp(d->our_value.data, d->their_value.data, theirs) == 0;
}

/* Each "=" of well-formed content begins a code or ends its line. */
static bool is_odd_quoted(const struct difference *d)
{
    struct slice s = d->ours->content;
    if (strcmp(d->ours->encoding, "quoted-printable") != 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool is_code =
            i + 2 < s.len && g_ascii_isxdigit(s.data[i + 1]) && g_ascii_isxdigit(s.data[i + 2]);
        bool is_soft = i + 2 < s.len && s.data[i + 1] == '\r' && s.data[i + 2] == '\n';
        if (s.data[i] == '=' && !is_code && !is_soft)
            return true;
    }
    return false;
}

/* ---- text ---- */

static bool is_no_utf8(const struct difference *d)
{
    return !text_is_utf8(d->their_value);
}

static bool has_nul(const struct difference *d)
{
    return memchr(d->our_value.data, 0, d->our_value.len) != NULL;
}

static bool has_replacement(const struct difference *d)
{
    return has_bytes(d->our_value, "\xef\xbf\xbd");
}

static bool is_high_ascii(const struct difference *d)
{
    const char *charset = d->ours->charset;
    return (*charset == '\0' || strcmp(charset, "us-ascii") == 0) &&
           !text_is_ascii(mime_content(d->f->mime, d->ours));
}

/* ---- header fields ---- */

static bool is_mbox(const struct difference *d)
{
    return d->ours->parent == NULL && d->f->message.len > 5 &&
           memcmp(d->f->message.data, "From ", 5) == 0;
}

static bool is_raw_8bit(const struct difference *d)
{
    struct slice value = raw_field(d, d->ours, d->field->name);
    return !text_is_ascii(value) && !text_is_utf8(value);
}

static bool has_word(const struct difference *d)
{
    return has_bytes(raw_field(d, d->ours, d->field->name), "=?");
}

static const struct deviation {
    enum aspect aspect;
    bool (*is_it)(const struct difference *d);
    const char *why;
} deviations[] = {
    {ASPECT_TREE, is_bad_type,
        "Content-Type against RFC 2045 section 5.1: GMime finds no type or no boundary, we read "
        "what is meant"},
    {ASPECT_TREE, is_empty_message,
        "no bytes at all: for GMime no message, for us one without header and content"},
    {ASPECT_SPAN, ends_with_boundary,
        "last boundary without line end: GMime leaves the CR before it to the content; RFC 2046 "
        "section 5.1.1 does not"},
    {ASPECT_CONTENT, ends_with_boundary, "the same"},
    {ASPECT_CONTENT, has_odd_encoding,
        "comment or more behind the encoding's name (RFC 2045 section 6.1): GMime decodes nothing, "
        "we do"},
    {ASPECT_CONTENT, is_incomplete_base64,
        "last group of base64 incomplete (RFC 2045 section 6.8): GMime drops its bytes, we keep "
        "those that are whole"},
    {ASPECT_CONTENT, is_odd_quoted,
        "blanks behind a soft line break (RFC 2045 section 6.7, rule 3: to be removed, which GMime "
        "does not), or an = that begins nothing"},
    {ASPECT_TEXT, ends_with_boundary, "the same"},
    {ASPECT_TEXT, is_no_utf8, "text of no charset: GMime gives its bytes, we give UTF-8"},
    {ASPECT_TEXT, has_nul, "NUL: GMime's text ends there"},
    {ASPECT_TEXT, has_replacement,
        "bytes that are none of the charset: GMime leaves them out, we write U+FFFD"},
    {ASPECT_TEXT, is_high_ascii,
        "bytes over 127 in US-ASCII: GMime leaves them out, we take UTF-8 or windows-1252"},
    {ASPECT_FIELD, is_mbox,
        "a line of an mbox before the header, which no mail server sends: the job's list of fields "
        "is empty then"},
    {ASPECT_FIELD, is_raw_8bit,
        "bytes over 127 that are not UTF-8 (RFC 6532 section 3.2): GMime takes ISO 8859-1, we take "
        "windows-1252"},
    {ASPECT_FIELD, has_replacement,
        "encoded words with bytes that are none of the charset: ? in GMime, U+FFFD in ours"},
    {ASPECT_FIELD, has_word,
        "encoded words: GMime joins base64 of several before it decodes, so that padding ends it "
        "(RFC 2047 section 2: each is whole in itself)"},
};
enum { N_DEVIATIONS = sizeof(deviations) / sizeof(deviations[0]) };
