#include "ctl/transaction.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "common/address.h"
#include "common/header.h"
#include "common/network.h"
#include "common/text.h"

enum { CLIENT_PORT = 40000, HEADERS_LOOKED_AT = 1000 };

/* The stage at which mail servers give a macro that the command line names; others come at connect.
 */
static const struct {
    const char *prefix;
    enum stage stage;
} macro_stages[] = {{"{tls_", STAGE_HELO}, {"{cipher", STAGE_HELO}, {"{cert_", STAGE_HELO},
    {"i", STAGE_MAIL}, {"{auth_", STAGE_MAIL}, {"{mail_", STAGE_MAIL}, {"{rcpt_", STAGE_RCPT},
    {"{msg_id}", STAGE_EOM}};

static enum stage macro_stage(struct slice name)
{
    for (size_t i = 0; i < sizeof(macro_stages) / sizeof(macro_stages[0]); i++) {
        size_t len = strlen(macro_stages[i].prefix);
        bool is_letter = len == 1;
        if (name.len >= len && (!is_letter || name.len == 1) &&
            memcmp(name.data, macro_stages[i].prefix, len) == 0) {
            return macro_stages[i].stage;
        }
    }
    return STAGE_CONNECT;
}

/* Sets or replaces. False: there is no room. */
static bool macro_set(
    struct transaction *t, enum stage stage, struct slice name, struct slice value)
{
    struct transaction_macros *macros = &t->macros[stage];
    for (uint32_t i = 0; i < macros->n; i++) {
        if (slice_equal(macros->items[i].name, name)) {
            macros->items[i].value = value;
            return true;
        }
    }
    if (macros->n == ENVELOPE_MACROS_MAX) {
        return false;
    }
    macros->items[macros->n++] = (struct envelope_macro){name, value};
    return true;
}

static void macro_set_text(
    struct transaction *t, enum stage stage, const char *name, struct slice value)
{
    macro_set(t, stage, slice_text(name), value);
}

/* "i=QID" or "auth_type=PLAIN" or "{auth_type}=PLAIN". */
static const char *macro_from_text(struct transaction *t, const char *text, struct arena *arena)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        return arena_printf(arena, "--macro needs NAME=VALUE, not \"%s\"", text);
    }
    size_t len = (size_t)(equals - text);
    bool is_bare = len > 1 && text[0] != '{';
    const char *name =
        is_bare ? arena_printf(arena, "{%.*s}", (int)len, text) : arena_memdup0(arena, text, len);
    struct slice key = slice_text(name);
    if (!macro_set(t, macro_stage(key), key, slice_text(equals + 1))) {
        return "too many --macro options";
    }
    return NULL;
}

/* Where an address ends and its ESMTP arguments begin: at the first blank outside quotes, or after
 * ">". */
static size_t address_length(const char *text)
{
    bool is_quoted = false;
    size_t i;
    for (i = 0; text[i] != 0; i++) {
        if (text[i] == '"') {
            is_quoted = !is_quoted;
        } else if (text[i] == '\\' && text[i + 1] != 0) {
            i++;
        } else if (text[i] == ' ' && !is_quoted) {
            break;
        }
    }
    return i;
}

static const char *address_from_text(
    const char *text, const char *option, struct arena *arena, struct transaction_address *out)
{
    size_t len = address_length(text);
    struct slice bare = address_strip(slice_of(text, len));
    struct slice args = slice_text(text + len);
    while (args.len > 0 && args.data[0] == ' ') {
        args = slice_of(args.data + 1, args.len - 1);
    }
    if (bare.len > ADDRESS_MAX || args.len > ADDRESS_MAX || text_has_line_break_or_nul(bare)) {
        return arena_printf(arena, "%s: too long, or a line break in it", option);
    }
    out->address =
        slice_text(arena_printf(arena, "<%.*s>", (int)bare.len, bare.len > 0 ? bare.data : ""));
    out->args = args;
    return NULL;
}

/*
 * The next address of a header value such as "A <a@example.org>, b@example.org (B)": what stands in
 * angle brackets, else the word with "@". Comments and quoted names are passed over. Returns false
 * at the end.
 */
static bool next_address(struct slice value, size_t *pos, struct slice *out)
{
    size_t word = value.len, i = *pos;
    int comments = 0;
    bool is_quoted = false, has_at = false;
    for (; i <= value.len; i++) {
        char c = i < value.len ? value.data[i] : ',';
        if (i < value.len && (is_quoted || comments > 0)) {
            i += c == '\\';
            is_quoted = is_quoted && c != '"';
            comments += comments > 0 ? (c == '(') - (c == ')') : 0;
            continue;
        }
        bool is_end = strchr(" \t\r\n,;<>()\"", c) != NULL;
        if (has_at && is_end) {
            *out = slice_of(value.data + word, i - word);
            *pos = i + 1;
            return true;
        }
        is_quoted = c == '"';
        comments = c == '(';
        if (is_end) {
            word = value.len;
        } else {
            word = word == value.len ? i : word;
            has_at = has_at || c == '@';
        }
    }
    *pos = value.len + 1;
    return false;
}

static struct transaction_address bracketed(struct slice bare, struct arena *arena)
{
    return (struct transaction_address){.address = slice_text(arena_printf(arena, "<%.*s>",
                                            (int)bare.len, bare.len > 0 ? bare.data : ""))};
}

static struct transaction_address sender_from_header(
    const struct header_list *headers, struct arena *arena)
{
    static const char *const names[] = {"Return-Path", "From"};
    for (int i = 0; i < 2; i++) {
        const struct header_field *field = header_find(headers, slice_text(names[i]), 1);
        struct slice bare;
        size_t pos = 0;
        if (field == NULL) {
            continue;
        }
        if (next_address(field->value, &pos, &bare) && bare.len <= ADDRESS_MAX) {
            return bracketed(bare, arena);
        }
        if (i == 0 && memmem(field->value.data, field->value.len, "<>", 2) != NULL) {
            return bracketed(slice_of(NULL, 0), arena);
        }
    }
    return bracketed(slice_text("sender@example.org"), arena);
}

static void recipients_from_header(
    const struct header_list *headers, struct arena *arena, struct transaction *t)
{
    static const char *const names[] = {"Delivered-To", "To"};
    t->recipients = arena_calloc(arena, TRANSACTION_HEADER_RECIPIENTS_MAX, sizeof(*t->recipients));
    for (int i = 0; i < 2 && t->n_recipients == 0; i++) {
        const struct header_field *field = header_find(headers, slice_text(names[i]), 1);
        struct slice bare;
        size_t pos = 0;
        while (field != NULL && t->n_recipients < TRANSACTION_HEADER_RECIPIENTS_MAX &&
               next_address(field->value, &pos, &bare)) {
            if (bare.len <= ADDRESS_MAX) {
                t->recipients[t->n_recipients++] = bracketed(bare, arena);
            }
        }
    }
    if (t->n_recipients == 0) {
        t->recipients[t->n_recipients++] = bracketed(slice_text("recipient@example.net"), arena);
    }
}

static const char *make_envelope(const struct args *args, const struct mail_file *mail,
    struct arena *arena, struct transaction *t)
{
    struct header_list headers;
    header_list_scan(mail->header, HEADERS_LOOKED_AT, arena, &headers);

    const char *sender = args_get(args, ARG_SENDER);
    const char *wrong = NULL;
    if (sender != NULL) {
        wrong = address_from_text(sender, "--sender", arena, &t->sender);
    } else {
        t->sender = sender_from_header(&headers, arena);
    }
    const struct arg_values *given = &args->values[ARG_RECIPIENT];
    if (given->n == 0) {
        recipients_from_header(&headers, arena, t);
        return wrong;
    }
    if (given->n > TRANSACTION_RECIPIENTS_MAX) {
        return "too many --recipient options";
    }
    t->recipients = arena_calloc(arena, (size_t)given->n, sizeof(*t->recipients));
    for (int i = 0; i < given->n && wrong == NULL; i++) {
        wrong = address_from_text(given->items[i], "--recipient", arena, &t->recipients[i]);
        t->n_recipients++;
    }
    return wrong;
}

static const char *make_client(const struct args *args, struct arena *arena, struct transaction *t)
{
    const char *ip = args_get(args, ARG_IP);
    const char *hostname = args_get(args, ARG_HOSTNAME);
    if (ip != NULL && strcmp(ip, "local") == 0) {
        t->family = 'l';
        t->hostname = slice_text(hostname != NULL ? hostname : "localhost");
        t->helo = slice_text("localhost");
    } else {
        char canonical[INET6_ADDRSTRLEN];
        if (network_ip_canonical(ip != NULL ? ip : "192.0.2.1", canonical) < 0) {
            return arena_printf(arena, "--ip %s is no address", ip);
        }
        t->ip = slice_text(arena_memdup0(arena, canonical, strlen(canonical)));
        t->family = strchr(canonical, ':') != NULL ? '6' : '4';
        t->port = CLIENT_PORT;
        const char *other =
            ip != NULL ? arena_printf(arena, "[%s]", canonical) : "client.example.org";
        t->hostname = slice_text(hostname != NULL ? hostname : other);
        t->helo = t->hostname;
    }
    const char *helo = args_get(args, ARG_HELO);
    t->helo = helo != NULL ? slice_text(helo) : t->helo;
    if (t->hostname.len > 255 || t->helo.len > 1000) {
        return "--hostname or --helo is too long";
    }
    return NULL;
}

/* What both mail servers tell when they are asked for it. */
static void make_macros(struct transaction *t, uint32_t number, struct arena *arena)
{
    bool is_verified = t->hostname.len > 0 && t->hostname.data[0] != '[';
    struct slice name = is_verified ? t->hostname : slice_text("");
    macro_set_text(t, STAGE_CONNECT, "j", slice_text("mx.example.net"));
    macro_set_text(t, STAGE_CONNECT, "{daemon_name}", slice_text("MTA"));
    macro_set_text(t, STAGE_CONNECT, "{client_addr}", t->ip);
    macro_set_text(t, STAGE_CONNECT, "{client_name}", t->hostname);
    macro_set_text(t, STAGE_CONNECT, "{client_ptr}", name);
    macro_set_text(t, STAGE_CONNECT, "{client_resolve}", slice_text(is_verified ? "OK" : "FAIL"));
    if (t->port != 0) {
        macro_set_text(t, STAGE_CONNECT, "{client_port}",
            slice_text(arena_printf(arena, "%u", (unsigned)t->port)));
    }
    macro_set_text(
        t, STAGE_MAIL, "i", slice_text(arena_printf(arena, "TEST%06u", (unsigned)number)));
}

const char *transaction_make(const struct args *args, const struct mail_file *mail, uint32_t number,
    struct arena *arena, struct transaction *out)
{
    memset(out, 0, sizeof(*out));
    const char *wrong = make_client(args, arena, out);
    if (wrong == NULL) {
        wrong = make_envelope(args, mail, arena, out);
    }
    if (wrong != NULL) {
        return wrong;
    }
    make_macros(out, number, arena);
    const struct arg_values *macros = &args->values[ARG_MACRO];
    for (int i = 0; i < macros->n && wrong == NULL; i++) {
        wrong = macro_from_text(out, macros->items[i], arena);
    }
    return wrong;
}

void transaction_of_envelope(
    const struct envelope *envelope, struct arena *arena, struct transaction *out)
{
    *out = (struct transaction){.family = envelope->family,
        .ip = envelope->ip,
        .port = envelope->port,
        .hostname = envelope->hostname,
        .helo = envelope->helo,
        .sender = {.address = envelope->sender, .args = envelope->sender_args},
        .n_recipients = envelope->n_recipients};
    out->recipients = arena_calloc(arena, envelope->n_recipients, sizeof(*out->recipients));
    for (uint32_t i = 0; i < envelope->n_recipients; i++) {
        const struct envelope_recipient *from = &envelope->recipients[i];
        out->recipients[i] = (struct transaction_address){.address = from->address,
            .args = from->args,
            .macros = from->macros,
            .n_macros = from->n_macros};
    }
    for (int stage = 0; stage < STAGE_COUNT; stage++) {
        uint32_t n = stage == STAGE_RCPT ? 0 : envelope->n_macros[stage];
        n = n < ENVELOPE_MACROS_MAX ? n : ENVELOPE_MACROS_MAX;
        for (uint32_t i = 0; i < n; i++) {
            out->macros[stage].items[i] = envelope->macros[stage][i];
        }
        out->macros[stage].n = n;
    }
}
