/*
 * The bare filter: the least that a libmilter filter can do for the same work, all in one process
 * and in C. The limit that Postern is compared with.
 *
 *   postern-bare [-g] [-d] [-e] [-s] -p SOCKET
 *     -g  parses with GMime at end of message, decodes every leaf part, counts the parts, refuses
 *         one named *.exe
 *     -d  the decoded content is kept in memory, part by part
 *     -e  the mail server waits for a reply at each stage of the envelope
 *     -s  only the end of message is negotiated: the mail server sends no mail at all
 * Registers every callback, without replies (SMFIP_NR_*) but for -e, keeps header and body in
 * memory, adds one header.
 */
#include <getopt.h>
#include <gmime/gmime.h>
#include <libmilter/mfapi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct message {
    char *data;
    size_t len, cap;
};

struct found {
    int parts;
    size_t bytes;
    bool is_bad;
};

static bool does_parse, does_keep, answers_envelope;

static bool put(struct message *message, const void *data, size_t len)
{
    if (message->len + len > message->cap) {
        size_t cap = (message->len + len) * 2;
        char *grown = realloc(message->data, cap);
        if (grown == NULL)
            return false;
        message->data = grown;
        message->cap = cap;
    }
    memcpy(message->data + message->len, data, len);
    message->len += len;
    return true;
}

static struct message *message_of(SMFICTX *ctx)
{
    struct message *message = smfi_getpriv(ctx);

    if (message == NULL && (message = calloc(1, sizeof *message)) != NULL)
        smfi_setpriv(ctx, message);
    return message;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
    unsigned long unused2, unsigned long unused3, unsigned long *actions_out,
    unsigned long *steps_out, unsigned long *out2, unsigned long *out3)
{
    (void)ctx, (void)unused2, (void)unused3;
    *actions_out = actions & SMFIF_ADDHDRS;
    *steps_out = steps & (SMFIP_NR_HDR | SMFIP_NR_UNKN | SMFIP_NR_BODY);
    if (!answers_envelope)
        *steps_out |= steps & (SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT |
                                  SMFIP_NR_DATA | SMFIP_NR_EOH);
    *out2 = *out3 = 0;
    return SMFIS_CONTINUE;
}

static sfsistat envelope_answer(void)
{
    return answers_envelope ? SMFIS_CONTINUE : SMFIS_NOREPLY;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address)
{
    (void)host, (void)address;
    return message_of(ctx) != NULL ? envelope_answer() : SMFIS_TEMPFAIL;
}

static sfsistat on_helo(SMFICTX *ctx, char *name)
{
    (void)ctx, (void)name;
    return envelope_answer();
}

static sfsistat on_mail(SMFICTX *ctx, char **args)
{
    struct message *message = message_of(ctx);

    (void)args;
    if (message == NULL)
        return SMFIS_TEMPFAIL;
    message->len = 0;
    return envelope_answer();
}

static sfsistat on_rcpt(SMFICTX *ctx, char **args)
{
    (void)ctx, (void)args;
    return envelope_answer();
}

static sfsistat on_data(SMFICTX *ctx)
{
    (void)ctx;
    return envelope_answer();
}

static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
    (void)ctx, (void)command;
    return SMFIS_NOREPLY;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
    struct message *message = message_of(ctx);
    bool ok = message != NULL && put(message, name, strlen(name)) && put(message, ": ", 2) &&
              put(message, value, strlen(value)) && put(message, "\r\n", 2);

    return ok ? SMFIS_NOREPLY : SMFIS_TEMPFAIL;
}

static sfsistat on_eoh(SMFICTX *ctx)
{
    struct message *message = message_of(ctx);

    return message != NULL && put(message, "\r\n", 2) ? envelope_answer() : SMFIS_TEMPFAIL;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
    struct message *message = message_of(ctx);

    return message != NULL && put(message, data, len) ? SMFIS_NOREPLY : SMFIS_TEMPFAIL;
}

static void on_part(GMimeObject *parent, GMimeObject *object, gpointer context)
{
    struct found *found = context;

    (void)parent;
    found->parts++;
    if (!GMIME_IS_PART(object))
        return;
    const char *name = g_mime_part_get_filename(GMIME_PART(object));
    if (name != NULL && strlen(name) > 4 && strcasecmp(name + strlen(name) - 4, ".exe") == 0)
        found->is_bad = true;
    GMimeDataWrapper *content = g_mime_part_get_content(GMIME_PART(object));
    if (content != NULL) {
        GMimeStream *sink = does_keep ? g_mime_stream_mem_new() : g_mime_stream_null_new();
        ssize_t n = g_mime_data_wrapper_write_to_stream(content, sink);
        found->bytes += n > 0 ? (size_t)n : 0;
        g_object_unref(sink);
    }
}

/* Takes the message's memory. */
static struct found walk(struct message *message)
{
    struct found found = {0};
    GByteArray *bytes = g_byte_array_new_take((guint8 *)message->data, message->len);
    GMimeStream *stream = g_mime_stream_mem_new_with_byte_array(bytes);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *mail = g_mime_parser_construct_message(parser, NULL);

    if (mail != NULL) {
        GMimeObject *top = g_mime_message_get_mime_part(mail);
        on_part(NULL, top, &found);
        if (GMIME_IS_MULTIPART(top))
            g_mime_multipart_foreach(GMIME_MULTIPART(top), on_part, &found);
        g_object_unref(mail);
    }
    g_object_unref(parser);
    g_object_unref(stream);
    *message = (struct message){0};
    return found;
}

static sfsistat on_eom(SMFICTX *ctx)
{
    struct message *message = message_of(ctx);
    char value[80];

    if (message == NULL)
        return SMFIS_TEMPFAIL;
    if (does_parse) {
        struct found found = walk(message);
        if (found.is_bad)
            return SMFIS_REJECT;
        snprintf(value, sizeof value, "parts=%d bytes=%zu", found.parts, found.bytes);
    } else {
        snprintf(value, sizeof value, "bytes=%zu", message->len);
    }
    char name[] = "X-Scanned";
    return smfi_addheader(ctx, name, value) == MI_SUCCESS ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

static sfsistat on_abort(SMFICTX *ctx)
{
    struct message *message = message_of(ctx);

    if (message != NULL)
        message->len = 0;
    return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
    struct message *message = smfi_getpriv(ctx);

    if (message != NULL) {
        free(message->data);
        free(message);
        smfi_setpriv(ctx, NULL);
    }
    return SMFIS_CONTINUE;
}

int main(int argc, char **argv)
{
    struct smfiDesc filter = {.xxfi_version = SMFI_VERSION,
        .xxfi_flags = SMFIF_ADDHDRS,
        .xxfi_eom = on_eom,
        .xxfi_close = on_close};
    char name[] = "bare", *socket = NULL;
    bool only_end = false;
    int c;

    while ((c = getopt(argc, argv, "gdesp:")) != -1) {
        if (c == 'g')
            does_parse = true;
        else if (c == 'd')
            does_keep = true;
        else if (c == 'e')
            answers_envelope = true;
        else if (c == 's')
            only_end = true;
        else if (c == 'p')
            socket = optarg;
    }
    if (socket == NULL) {
        fputs("usage: postern-bare [-g] [-d] [-e] [-s] -p SOCKET\n", stderr);
        return 2;
    }
    g_mime_init();
    filter.xxfi_name = name;
    if (!only_end) {
        filter.xxfi_negotiate = on_negotiate;
        filter.xxfi_connect = on_connect;
        filter.xxfi_helo = on_helo;
        filter.xxfi_envfrom = on_mail;
        filter.xxfi_envrcpt = on_rcpt;
        filter.xxfi_data = on_data;
        filter.xxfi_header = on_header;
        filter.xxfi_eoh = on_eoh;
        filter.xxfi_body = on_body;
        filter.xxfi_abort = on_abort;
        filter.xxfi_unknown = on_unknown;
    }
    if (smfi_setconn(socket) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS ||
        smfi_opensocket(true) != MI_SUCCESS) {
        fputs("postern-bare: cannot set up the socket\n", stderr);
        return 1;
    }
    return smfi_main() == MI_SUCCESS ? 0 : 1;
}
