/*
 * How fast mail is read: Postern's reader and GMime's over the same files, in turn.
 *
 *   postern-reading [-r ROUNDS] [-m MILLISECONDS] [-d DEPTH] [-p] FILE...
 *
 * For each file and each depth of reading one line of JSON: the nanoseconds of processor time that
 * one message took, a number for each round, and the bytes that Postern decoded. Rounds alternate
 * between the two; each repeats its work for MILLISECONDS. -d: one depth alone; -p: Postern's
 * reader alone, for a profiler. Both must come to the same number of parts and of decoded bytes, or
 * the program ends with 1.
 */
#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/conf.h"
#include "common/header.h"
#include "common/xalloc.h"
#include "worker/mime.h"

enum { ROUNDS_MAX = 100 };

/* What a reading came to; equal for both readers. */
struct sum {
    uint64_t parts, bytes;
};

struct mail {
    char *data;
    size_t len;
    const struct conf *conf;
};

/* ---- Postern's reader, with the life cycle that a worker gives it ---- */

typedef void (*ours_cb)(struct mime *mime, const struct mime_part *part, struct sum *sum);

static uint64_t ours(const struct mail *mail, ours_cb each, struct sum *sum)
{
    struct arena *arena = arena_new();
    struct slice message = slice_of(mail->data, mail->len);
    struct header_list headers;
    size_t body;
    uint32_t n;
    size_t header = header_block_length(message, &body);
    header_list_scan(
        slice_of(mail->data, header), (uint32_t)mail->conf->worker.max_headers, arena, &headers);
    struct mime *mime = mime_new(message, &headers, mail->conf, arena);
    const struct mime_part *const *parts = mime_parts(mime, &n);
    for (uint32_t i = 0; i < n; i++) {
        sum->parts++;
        if (each != NULL && !parts[i]->is_container)
            each(mime, parts[i], sum);
    }
    uint64_t decoded = mime_decoded_bytes(mime);
    mime_free(mime);
    arena_free(arena);
    return decoded;
}

static void ours_size(struct mime *mime, const struct mime_part *part, struct sum *sum)
{
    sum->bytes += mime_content_size(mime, part);
}

static void ours_content(struct mime *mime, const struct mime_part *part, struct sum *sum)
{
    sum->bytes += mime_content(mime, part).len;
}

static void ours_text(struct mime *mime, const struct mime_part *part, struct sum *sum)
{
    if (strncmp(part->type, "text/", 5) == 0)
        sum->bytes += mime_content(mime, part).len;
    (void)mime_text(mime, part);
}

static void ours_defects(struct mime *mime, const struct mime_part *part, struct sum *sum)
{
    uint32_t n;
    (void)part;
    (void)mime_defects(mime, &n);
    sum->bytes += n;
}

/* ---- GMime's ---- */

typedef void (*gmime_cb)(GMimePart *part, struct sum *sum);

struct walk {
    gmime_cb each;
    struct sum *sum;
};

static void on_part(GMimeObject *parent, GMimeObject *object, gpointer context)
{
    struct walk *walk = context;
    (void)parent;
    walk->sum->parts++;
    if (GMIME_IS_MESSAGE_PART(object))
        g_mime_message_foreach(
            g_mime_message_part_get_message(GMIME_MESSAGE_PART(object)), on_part, context);
    else if (GMIME_IS_PART(object) && walk->each != NULL)
        walk->each(GMIME_PART(object), walk->sum);
}

static void gmime(const struct mail *mail, gmime_cb each, struct sum *sum)
{
    GByteArray *bytes = g_byte_array_new_take((guint8 *)mail->data, mail->len);
    GMimeStream *stream = g_mime_stream_mem_new_with_byte_array(bytes);
    g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE); /* no copy */
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
    struct walk walk = {each, sum};
    if (message != NULL) {
        g_mime_message_foreach(message, on_part, &walk);
        g_object_unref(message);
    }
    g_object_unref(parser);
    g_object_unref(stream);
    g_byte_array_free(bytes, FALSE);
}

static void gmime_names(GMimePart *part, struct sum *sum)
{
    (void)sum;
    (void)g_mime_part_get_filename(part);
}

static void gmime_content(GMimePart *part, struct sum *sum)
{
    GMimeDataWrapper *content = g_mime_part_get_content(part);
    if (content == NULL)
        return;
    GMimeStream *sink = g_mime_stream_mem_new();
    ssize_t n = g_mime_data_wrapper_write_to_stream(content, sink);
    sum->bytes += n > 0 ? (uint64_t)n : 0;
    g_object_unref(sink);
}

static void gmime_text(GMimePart *part, struct sum *sum)
{
    if (!GMIME_IS_TEXT_PART(part))
        return;
    gmime_content(part, sum);
    g_free(g_mime_text_part_get_text(GMIME_TEXT_PART(part)));
}

/* ---- one beside the other ---- */

static const struct depth {
    const char *name;
    ours_cb ours;
    gmime_cb gmime;
    bool has_gmime;
} depths[] = {
    {"parts", NULL, gmime_names, true}, /* names are read with the part */
    {"sizes", ours_size, gmime_content, true}, {"content", ours_content, gmime_content, true},
    {"text", ours_text, gmime_text, true},
    {"defects", ours_defects, NULL, false}, /* it has no such thing */
};

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct measured {
    double ours[ROUNDS_MAX], gmime[ROUNDS_MAX]; /* ns for a message */
    struct sum our_sum, gmime_sum;              /* of one message */
    uint64_t decoded;
};

static double repeat(const struct mail *mail, const struct depth *depth, bool is_ours, int64_t ns,
    struct measured *m)
{
    int64_t start = cpu_ns(), spent;
    uint64_t n = 0;
    do {
        struct sum sum = {0};
        if (is_ours)
            m->decoded = ours(mail, depth->ours, &sum);
        else
            gmime(mail, depth->gmime, &sum);
        *(is_ours ? &m->our_sum : &m->gmime_sum) = sum;
        n++;
        spent = cpu_ns() - start;
    } while (spent < ns);
    return (double)spent / (double)n;
}

static void print_numbers(const char *name, const double *numbers, int n)
{
    printf(", \"%s\": [", name);
    for (int i = 0; i < n; i++)
        printf("%s%.1f", i > 0 ? ", " : "", numbers[i]);
    printf("]");
}

static bool measure(
    const char *path, const struct mail *mail, const struct depth *depth, int rounds, int64_t ns)
{
    struct measured m = {0};
    for (int i = 0; i < rounds; i++) {
        m.ours[i] = repeat(mail, depth, true, ns, &m);
        if (depth->has_gmime)
            m.gmime[i] = repeat(mail, depth, false, ns, &m);
    }
    printf(
        "{\"file\": \"%s\", \"depth\": \"%s\", \"bytes\": %zu, \"parts\": %llu, \"decoded\": %llu",
        path, depth->name, mail->len, (unsigned long long)m.our_sum.parts,
        (unsigned long long)m.decoded);
    print_numbers("postern", m.ours, rounds);
    print_numbers("gmime", m.gmime, depth->has_gmime ? rounds : 0);
    puts("}");
    fflush(stdout);
    if (!depth->has_gmime ||
        (m.our_sum.parts == m.gmime_sum.parts && m.our_sum.bytes == m.gmime_sum.bytes))
        return true;
    fprintf(stderr, "%s, %s: Postern found %llu parts, %llu bytes; GMime %llu parts, %llu bytes\n",
        path, depth->name, (unsigned long long)m.our_sum.parts, (unsigned long long)m.our_sum.bytes,
        (unsigned long long)m.gmime_sum.parts, (unsigned long long)m.gmime_sum.bytes);
    return false;
}

static bool read_file(const char *path, struct mail *mail)
{
    FILE *file = fopen(path, "rb");
    long len = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        len = ftell(file);
    if (len < 0 || fseek(file, 0, SEEK_SET) != 0) {
        perror(path);
        return false;
    }
    mail->len = (size_t)len;
    mail->data = xmalloc(mail->len + 1);
    bool is_read = fread(mail->data, 1, mail->len, file) == mail->len;
    fclose(file);
    return is_read;
}

static int usage(void)
{
    fputs("usage: postern-reading [-r ROUNDS] [-m MILLISECONDS] [-d DEPTH] [-p] FILE...\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    int rounds = 9, ms = 20, c;
    const char *only = NULL;
    bool is_alone = false;
    while ((c = getopt(argc, argv, "r:m:d:p")) != -1) {
        if (c == '?')
            return usage();
        if (c == 'p')
            is_alone = true;
        else if (c == 'd')
            only = optarg;
        else
            *(c == 'r' ? &rounds : &ms) = atoi(optarg);
    }
    if (optind == argc || rounds < 1 || rounds > ROUNDS_MAX || ms < 0)
        return usage();
    mime_start();
    struct conf *conf;
    char *error = NULL;
    if (conf_load(NULL, NULL, 0, &conf, &error) < 0) {
        fprintf(stderr, "postern-reading: %s\n", error);
        return 1;
    }
    bool is_equal = true;
    for (; optind < argc; optind++) {
        struct mail mail = {.conf = conf};
        if (!read_file(argv[optind], &mail))
            return 1;
        for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
            struct depth depth = depths[i];
            depth.has_gmime = depth.has_gmime && !is_alone;
            if (only == NULL || strcmp(only, depth.name) == 0)
                is_equal =
                    measure(argv[optind], &mail, &depth, rounds, ms * INT64_C(1000000)) && is_equal;
        }
        free(mail.data);
    }
    conf_free(conf);
    return is_equal ? 0 : 1;
}
