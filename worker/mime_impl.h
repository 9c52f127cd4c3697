/*
 * What the files of the MIME reader share; nobody else includes it. Calls go down this list: mime.c
 * (life cycle) → mime_tree.c (parts) → mime_region.h (one reading) → mime_merge.c (two readings) →
 * mime_entity.c (what one part's header says) → mime_name.c, mime_param.c, mime_value.c (readings
 * of values) → mime_header.c, mime_charset.c; mime_content.c and mime_text.c decode on demand.
 */
#ifndef POSTERN_WORKER_MIME_IMPL_H
#define POSTERN_WORKER_MIME_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/archive.h"
#include "worker/mime.h"
#include "worker/mime_base64.h"
#include "worker/mime_bytes.h"
#include "worker/mime_cms.h"
#include "worker/mime_quoted.h"

enum mime_defect_kind {
#define DEFECT(id, kind, is_ambiguous, help) MIME_DEFECT_##id,
#include "worker/defects.def"
#undef DEFECT
    MIME_DEFECT_COUNT
};

enum {
    MIME_NAMES_MAX = 64,        /* candidate names of one part */
    MIME_NAME_BYTES = 3072,     /* of one name: 255 characters of 3 bytes, each written as %XX */
    MIME_VALUE_BYTES = 4096,    /* of one parameter's value looked at */
    MIME_PARAMS_MAX = 256,      /* parameters of one field, occurrences of one searched for */
    MIME_BOUNDARIES_MAX = 8,    /* readings of one boundary */
    MIME_BOUNDARY_BYTES = 1024, /* longer ones are cut: RFC 2046 allows 70 */
    MIME_DASHES_MAX = 128,      /* places where a boundary may be that are found in advance */
    MIME_DEFECTS_MAX = 1000,
    MIME_URLS_MAX = 1000,
    MIME_URL_BYTES = 2048,
    MIME_CHARSETS_MAX = 64,
    MIME_CHARSET_BYTES = 40,
};

enum { MIME_OTHERS_MAX = 4 };

/* What else the header of a leaf makes of it. */
struct mime_others {
    const char *types[MIME_OTHERS_MAX];
    const char *encodings[MIME_OTHERS_MAX];
    uint32_t n_types, n_encodings;
    const char *content; /* where it starts if the header ends at its first line that is no field;
                            NULL */
    const struct mime_part *leaf; /* with another header; NULL */
};

/* A part with what the reader needs about it. In the arena; never moves. */
struct mime_node {
    struct mime_part part;
    struct mime_node *parent;
    struct mime_node *first_child, *last_child, *next;
    uint32_t n_numbered;            /* children that have a path */
    struct mime_node *all_next;     /* in order of discovery */
    struct mime_node *same;         /* of the second reading: the node of the first that it is */
    const struct slice *boundaries; /* readings of its boundary; the first is the usual one */
    uint32_t n_boundaries;
    bool is_second;      /* only the second reading sees it */
    struct slice region; /* decoded content that its children are in, when it can be encoded
                            again; data NULL */
    size_t region_front; /* bytes at its start that are no content: the header of a multipart */
    bool is_multipart;   /* some Content-Type says multipart */
    bool is_digest;      /* some says multipart/digest: parts are messages when they do not say */
    bool is_message;     /* holds a whole message */
    bool is_indirect;    /* it does for some programs only */
    bool is_carried;     /* found in the content of a part that is no container */
    bool is_tnef_text;   /* the text of a message in TNEF */
    bool is_unread;      /* its content was not yet looked through for parts */
    bool has_end;        /* its end boundary was seen */
    const char *other_type;     /* a further Content-Type that is no container; NULL */
    struct mime_others *others; /* NULL: none */
    const char *gap;            /* bytes from here on are in none of its parts yet; NULL: in one */
    uint32_t n_strays;          /* boundaries taken from what stands outside its parts */
    uint64_t defects;           /* bits of those reported */
    enum mime_cms_kind cms;     /* what its content is, of S/MIME */
    uint8_t *room;              /* for the decoded content; NULL: nothing was decoded yet */
    size_t n_read;              /* encoded bytes that were decoded */
    struct slice decoded;       /* so far */
    struct mime_base64 base64;  /* between two pieces */
    bool has_decoded;           /* all of it */
    struct slice measured;      /* what may be decoded of it; its size is known and counted */
    size_t measured_size;
    bool has_measured;
    size_t whole_size;   /* decoded, were there no limit; known when the content was inspected */
    bool has_checked;    /* encoding was checked for defects */
    struct slice source; /* its content in UTF-8, tags and all */
    bool has_source;
    struct slice text; /* of that, up to worker.max_text */
    bool has_text;
    bool is_text_cut;
    const char *detected;                  /* NULL: not looked yet */
    const struct archive_listing *archive; /* NULL: not listed yet */
};

struct mime {
    const struct conf *conf;
    struct arena *arena;
    struct slice message;
    struct mime_bytes bytes; /* of the message */
    const struct header_list *headers;
    struct mime_node *root;
    const struct mime_part **parts; /* walk order */
    struct mime_node **nodes;       /* the same, by number */
    uint32_t n_parts;
    struct mime_defect *defects;
    uint32_t n_defects, cap_defects;
    uint64_t kinds_seen;
    bool is_muted;     /* a second reading is under way: its defects are those of the first */
    bool needs_second; /* something can be read in two ways that need a second pass */
    bool has_bare_cr;
    bool has_lines_checked; /* line lengths */
    bool has_content_checked;
    int64_t decoded_left;                 /* of worker.max_decoded */
    uint64_t decoded_bytes;               /* that decoders made */
    struct archive_budget archive_budget; /* what all archives may still cost */
    const char **charsets;
    uint32_t n_charsets;
    bool has_charsets;
    const char **urls;
    uint32_t n_urls;
    bool has_urls;
    struct slice message_text;
    bool has_message_text;
};

/* mime_defect.c: reports once for each kind and part. node NULL: the message. detail: static or in
 * the arena. */
void mime_defect_add(
    struct mime *mime, struct mime_node *node, enum mime_defect_kind kind, const char *detail);

/* mime_scan.c: lines and fields. */
struct mime_field {
    struct slice name;  /* without blanks; empty when the line is no field */
    struct slice value; /* folding and leading blanks kept, without the last line end; the whole
                           line when it is no field */
    struct slice raw;
    bool has_colon;
    bool has_blank_line; /* a continuation of blanks only */
    bool has_odd_name;   /* blanks around it */
};
/* The line at pos: without its end; *pos moves behind it. cr_ends: a bare CR ends a line too. */
struct slice mime_line_next(struct slice bytes, size_t *pos, bool cr_ends);
/* The next field of a header block; false at its end. */
bool mime_field_next(struct slice block, size_t *pos, bool cr_ends, struct mime_field *out);
/* Counts what is wrong with the bytes of the message and reports it. */
void mime_scan_bytes(struct mime *mime);
void mime_scan_lines(struct mime *mime);
bool mime_is_blank(struct slice s);                       /* spaces, tabs, line ends only */
bool mime_name_is(struct slice name, const char *lower);  /* caseless */
bool mime_begins_with(struct slice s, const char *lower); /* caseless */

/* mime_param.c: parameters of a content field. */
/* Behind a comment that starts at i (they nest; RFC 5322 section 3.2.2); the end when it does not
 * end. */
size_t mime_skip_comment(struct slice s, size_t i);
size_t mime_skip_spaces(struct slice s, size_t i);
size_t mime_skip_comments(struct slice s, size_t i); /* behind blanks and comments */
/* Reads "type/subtype" or "attachment" (lower case, blanks and comments removed) from the front of
 * a value; *rest_out is what follows. */
const char *mime_token_read(struct slice value, struct arena *arena, struct slice *rest_out);
/* The parameters as RFC 2045 and 2231 have them, the first of equal names. Returns what was odd:
 * there were more than are kept; one that decides how a part is read is there twice, with different
 * values. */
enum { MIME_PARAMS_CUT = 1, MIME_PARAMS_DUPLICATE = 2 };
unsigned mime_params_read(
    struct slice value, struct arena *arena, const struct mime_param **out, uint32_t *n_out);
const char *mime_param_find(
    const struct mime_param *params, uint32_t n, const char *name); /* NULL */

/* Bytes for %XX; others as they are. */
struct slice mime_percent_decode(struct slice in, struct arena *arena);
/* Splits charset'language'text of RFC 2231; false when there are no two quotes. */
bool mime_extended_split(struct slice value, struct slice *charset_out, struct slice *text_out);
/* charset'language'text to UTF-8; a value without quotes is taken as text. */
struct slice mime_extended_decode(struct slice value, struct arena *arena);

/* mime_reading.c: the readings of one value. */
/* Calls cb with each reading of the value at the front of rest: quoted, unquoted, cut, escaped …
 * The usual one first. */
typedef void (*mime_reading_cb)(struct slice reading, void *context);
void mime_readings_each(struct slice rest, struct arena *arena, mime_reading_cb cb, void *context);
/* The first of them; *used_out: bytes that it takes. */
struct slice mime_usual_reading(struct slice rest, struct arena *arena, size_t *used_out);
struct slice mime_value_bounded(struct slice s); /* its first MIME_VALUE_BYTES */
/* What stands before the first of these characters, or all. */
struct slice mime_before(struct slice s, const char *stops);
bool mime_has_one_of(struct slice s, const char *chars);
struct slice mime_without_byte(struct slice s, char unwanted, struct arena *arena);
struct slice mime_without_comments(struct slice s, struct arena *arena);
bool mime_is_control(char c); /* but for tab, CR and LF */
bool mime_has_control(struct slice s);
struct slice mime_without_controls(struct slice s, struct arena *arena);

/* mime_occurrence.c: where a parameter's values are. */
/* One occurrence of a parameter in a value, however it got there. */
struct mime_occurrence {
    struct slice rest; /* from the first byte of the value */
    bool is_extended;  /* name*= or name*N*= */
    int32_t section;   /* name*N; -1: none */
    bool has_prefix;   /* "file" before "name" */
    bool is_odd;       /* the section is written as no program does */
};
/* Finds the next place at or after *pos where word, an optional *N*, and "=" follow each other. */
bool mime_occurrence_next(
    struct slice value, size_t *pos, const char *word, struct mime_occurrence *out);
/* "*", "*N" or "*N*" at i into out; returns what follows. */
size_t mime_section_read(struct slice s, size_t i, struct mime_occurrence *out);
/* A piece of a value (RFC 2231 section 3). */
struct mime_section {
    struct slice value; /* in its usual reading */
    int32_t number;
    uint32_t place; /* order of appearance */
    bool is_extended, has_prefix;
};
struct mime_section mime_section_make(
    const struct mime_occurrence *occurrence, uint32_t place, struct arena *arena);
void mime_sections_sort(struct mime_section *sections, uint32_t n); /* by number, then place */

/* mime_value.c */
/* Calls cb with each reading of each value that the parameter has in a field, sections joined. */
void mime_values_each(
    struct slice field, const char *word, struct arena *arena, mime_reading_cb cb, void *context);

/* mime_name.c: a collector of candidate names. */
struct mime_names {
    struct mime *mime;
    struct mime_node *node;
    const char **items; /* MIME_NAMES_MAX of them, made at the first */
    uint32_t n;
    uint32_t n_occurrences;
    bool is_variant; /* what is added comes of a name that is there */
};
static inline struct arena *mime_names_arena(const struct mime_names *names)
{
    return names->mime->arena;
}
static inline void mime_names_report(struct mime_names *names, enum mime_defect_kind kind)
{
    mime_defect_add(names->mime, names->node, kind, NULL);
}
void mime_names_add(struct mime_names *names, struct slice utf8);
/* Bytes over 127: UTF-8, or windows-1252, or left out. */
void mime_names_add_raw(struct mime_names *names, struct slice bytes);
/* One reading of a value: what its bytes may stand for. */
void mime_names_add_value(struct mime_names *names, struct slice value, bool is_extended);
/* Sections joined: percent-decoded where they say so, and as they are. */
void mime_names_add_joined(struct mime_names *names, struct slice decoded, struct slice raw);
/* Reports what the names of a part differ in. */
void mime_names_check(struct mime_names *names);

/* mime_name_field.c: the names in a content field. */
void mime_names_add_field(struct mime_names *names, struct slice value);
/* The name in the "begin" line of uuencoded content. */
void mime_names_add_uu(struct mime *mime, struct mime_node *node);

/* mime_name_title.c: what a Content-Description, or a Content-Location (is_address), has that looks
 * like the name of a file. Reports no defects. */
void mime_names_add_title(struct mime_names *names, struct slice value, bool is_address);

/* mime_name_variant.c: what becomes of a name (UTF-8), and what is odd about it. */
/* Calls cb with the name without folders, unseen characters, codes … where that is another. False
 * when there are more of these than are told. */
bool mime_name_variants_each(
    struct slice name, struct arena *arena, mime_reading_cb cb, void *context);
/* Letters and digits behind the last dot, with a letter among them; else empty. */
struct slice mime_name_extension(struct slice name);
bool mime_name_is_deceptive(struct slice name, struct arena *arena);
bool mime_name_has_path(struct slice name);
/* UTF-8 with more bytes than a character takes; and ASCII characters written so put right. */
bool mime_has_overlong(struct slice bytes);
struct slice mime_overlong_decode(struct slice bytes, struct arena *arena);

/* mime_entity.c: reads a part's header block (node->part.header) into node. */
/* Whether a line that is no field would be a content field without what has no place in its name.
 */
bool mime_is_odd_field(struct slice line);
void mime_entity_read(struct mime *mime, struct mime_node *node, bool cr_ends, bool is_in_digest);

/* mime_merge.c: lists of parts in order of discovery, linked by all_next. */
struct mime_found {
    struct mime_node *first, *last;
    uint32_t n;
};
void mime_found_append(struct mime_found *found, struct mime_node *node);
void mime_child_append(struct mime_node *parent, struct mime_node *node); /* parent may be NULL */
/* Adds to the first reading what only the second found; the second is used up. */
void mime_readings_merge(struct mime *mime, struct mime_found *first, struct mime_found *second);

/* mime_other.c: further readings of a leaf. */
void mime_other_add_type(struct mime *mime, struct mime_node *node, const char *type);
void mime_other_add_encoding(struct mime *mime, struct mime_node *node, const char *encoding);
/* The first call counts. */
void mime_other_set_content(struct mime *mime, struct mime_node *node, const char *start);
/* What the second reading has at the same place; borrowed. */
void mime_other_set_leaf(struct mime *mime, struct mime_node *node, const struct mime_part *leaf);
/* Lists those of node, when it is a leaf, as leaves below it. */
void mime_others_list(struct mime *mime, struct mime_found *found, struct mime_node *node);

/* mime_tree.c */
struct mime_node *mime_tree_read(struct mime *mime);

/* mime_magic.c: "" when libmagic does not know it either. Looks at MIME_MAGIC_BYTES. */
enum { MIME_MAGIC_BYTES = 32768 };
const char *mime_magic_type(struct slice head, struct arena *arena);

/* mime_inside.c: what a part carries that is no container. */
struct mime_inside {
    struct mime *mime;
    struct mime_found *found;
    struct mime_node *carrier;
};
/* Adds to found the parts in the content of a carrier, whose header has been read. Returns the
 * entity, header and content, that is to be read below it as well; empty: none. */
struct slice mime_inside_read(
    struct mime *mime, struct mime_found *found, struct mime_node *carrier);
/* A new child of the carrier, with its content still encoded; NULL when there are too many parts.
 * type, encoding: static or in the arena. */
struct mime_node *mime_inside_add(
    struct mime_inside *inside, const char *type, const char *encoding, struct slice content);
void mime_inside_name(struct mime *mime, struct mime_node *node, struct slice utf8);
/* mime_letter.c */
/* By its first field. */
bool mime_begins_as_message(struct slice content);
/* Whether an attachment of another type is a message to those who open it: by its names, or by how
 * it begins. */
bool mime_is_letter(const struct mime_node *node);
/* mime_smime.c: parts that are S/MIME objects. */
/* head: the first decoded bytes. May know by them what the carrier is. */
bool mime_smime_is_at(struct mime_node *carrier, struct slice head);
/* What mime_inside_read returns. */
struct slice mime_smime_read(struct mime_inside *inside, struct slice content);
/* What the part says of itself, where its content does not. */
bool mime_smime_is_signed(const struct mime_node *node);
bool mime_smime_is_encrypted(const struct mime_node *node);
/* mime_tnef.c */
bool mime_tnef_is_at(struct slice bytes);
void mime_tnef_read(struct mime_inside *inside, struct slice bytes);
/* mime_rtf.c: at most so many bytes of a document, in the arena. False: it is broken; out is what
 * there is. */
bool mime_rtf_unpack(struct slice packed, size_t most, struct arena *arena, struct slice *out);
/* mime_blocks.c: uuencode and yEnc in a text. */
bool mime_blocks_are_in(struct slice text);
void mime_blocks_read(struct mime_inside *inside, struct slice text);

/* mime_header.c: values of header fields. */
struct slice mime_unfold(struct slice value, struct arena *arena);
/* RFC 2047 words replaced; bytes in between are taken as UTF-8 or windows-1252. */
struct slice mime_words_decode(struct slice value, struct arena *arena);
/* The bytes of the words, not converted, and those in between. */
struct slice mime_words_bytes(struct slice value, struct arena *arena);
/* The next encoded word at or after *pos. */
struct mime_word {
    struct slice charset, text;
    char encoding; /* 'q' or 'b' */
    size_t start, end;
};
bool mime_word_next(struct slice value, size_t *pos, struct mime_word *out);

/* mime_charset.c */
/* To UTF-8, at most max bytes; the result is valid and may be the input itself. *is_known_out (may
 * be NULL): whether the charset could be converted. */
struct slice mime_to_utf8(
    struct slice bytes, const char *charset, size_t max, struct arena *arena, bool *is_known_out);
/* At most max bytes of UTF-8, not in the middle of a character. */
struct slice mime_cut_utf8(struct slice s, size_t max);
/* UTF-8 when it is valid, else windows-1252. */
struct slice mime_guess_utf8(struct slice bytes, struct arena *arena);
struct slice mime_windows1252(struct slice bytes, size_t max, struct arena *arena);
/* Each byte as the character of that number. */
struct slice mime_latin1(struct slice bytes, struct arena *arena);

/* mime_base64.c, mime_codec.c: transfer encodings. out has room for n bytes; each
 * returns the bytes written; *broken_out (may be NULL) is set, never cleared. */
size_t mime_base64_decode(const char *in, size_t n, uint8_t *out, bool *broken_out);
size_t mime_uu_decode(const char *in, size_t n, uint8_t *out);
size_t mime_yenc_decode(const char *in, size_t n, uint8_t *out);
size_t mime_word_q_decode(const char *in, size_t n, uint8_t *out); /* "Q" of RFC 2047 */
size_t mime_base64_encode(const uint8_t *in, size_t n, char *out); /* without line breaks or NUL */

/* mime_content.c */
enum mime_encoding {
    MIME_ENCODING_IDENTITY = 0,
    MIME_ENCODING_BASE64,
    MIME_ENCODING_QUOTED,
    MIME_ENCODING_UU,
    MIME_ENCODING_YENC,
    MIME_ENCODING_UNKNOWN
};
enum mime_encoding mime_encoding_of(const struct mime_part *part);
/* Decodes bytes for node, counting against worker.max_decoded. */
struct slice mime_bytes_decode(struct mime *mime, struct mime_node *node, struct slice bytes);
/* Bytes of the node that are read once more, as they stand: as many as worker.max_decoded leaves,
 * counted as if they had been decoded. */
struct slice mime_bytes_again(struct mime *mime, struct mime_node *node, struct slice bytes);
/* At least the first n decoded bytes, or all: what was decoded already, and no more than about
 * that. */
struct slice mime_content_head(struct mime *mime, struct mime_node *node, size_t n);
/* mime_content before parts are numbered. */
struct slice mime_node_content(struct mime *mime, struct mime_node *node);
/* The first decoded bytes, by looking at the first encoded ones; keeps nothing. */
enum { MIME_PEEK_BYTES = 264 };
size_t mime_content_peek(const struct mime_node *node, uint8_t out[static MIME_PEEK_BYTES]);
/* Finds what is wrong with the encoded content of all parts. */
void mime_content_check(struct mime *mime);
struct mime_node *mime_node_of(struct mime *mime, const struct mime_part *part);

#endif
