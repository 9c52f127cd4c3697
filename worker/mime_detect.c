/* The type of content by its first bytes: a table, whose first row that fits wins; what it does not
 * know, libmagic is asked. */
#include "worker/mime_impl.h"

#include "common/text.h"

enum { HEAD_BYTES = 1024, TAR_MAGIC_AT = 257, LAST_MAGIC_END = 0x8001 + 5 };

static const struct {
    const char *magic;
    size_t len, offset;
    const char *type;
} rows[] = {
#define MAGIC(bytes, offset, type)                                                                 \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, offset, type                                                     \
    }
    MAGIC("MZ", 0, "application/x-msdownload"),
    MAGIC("\x7f"
          "ELF",
        0, "application/x-executable"),
    MAGIC("PK\x03\x04", 0, "application/zip"),
    MAGIC("PK\x05\x06", 0, "application/zip"),
    MAGIC("PK\x07\x08", 0, "application/zip"),
    MAGIC("Rar!\x1a\x07", 0, "application/vnd.rar"),
    MAGIC("7z\xbc\xaf\x27\x1c", 0, "application/x-7z-compressed"),
    MAGIC("\x1f\x8b", 0, "application/gzip"),
    MAGIC("BZh", 0, "application/x-bzip2"),
    MAGIC("\xfd"
          "7zXZ\x00",
        0, "application/x-xz"),
    MAGIC("\x28\xb5\x2f\xfd", 0, "application/zstd"),
    MAGIC("MSCF", 0, "application/vnd.ms-cab-compressed"),
    MAGIC("\x60\xea", 0, "application/x-arj"),
    MAGIC("**ACE**", 7, "application/x-ace-compressed"),
    MAGIC("-lh", 2, "application/x-lzh-compressed"),
    MAGIC("ustar", TAR_MAGIC_AT, "application/x-tar"),
    MAGIC("CD001", 0x8001, "application/x-iso9660-image"),
    MAGIC("%PDF-", 0, "application/pdf"),
    MAGIC("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "application/x-ole-storage"),
    MAGIC("{\\rtf", 0, "application/rtf"),
    MAGIC("\x4c\x00\x00\x00\x01\x14\x02\x00", 0, "application/x-ms-shortcut"),
    MAGIC("ITSF", 0, "application/vnd.ms-htmlhelp"),
    MAGIC("\x78\x9f\x3e\x22", 0, "application/ms-tnef"),
    MAGIC("\xca\xfe\xba\xbe", 0, "application/java-vm"),
    MAGIC("\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", 0, "application/onenote"),
    MAGIC("%!PS", 0, "application/postscript"),
    MAGIC("FWS", 0, "application/x-shockwave-flash"),
    MAGIC("CWS", 0, "application/x-shockwave-flash"),
    MAGIC("\x89PNG\r\n\x1a\n", 0, "image/png"),
    MAGIC("\xff\xd8\xff", 0, "image/jpeg"),
    MAGIC("GIF87a", 0, "image/gif"),
    MAGIC("GIF89a", 0, "image/gif"),
    MAGIC("II*\x00", 0, "image/tiff"),
    MAGIC("MM\x00*", 0, "image/tiff"),
    MAGIC("WEBP", 8, "image/webp"),
    MAGIC("WAVE", 8, "audio/wav"),
    MAGIC("AVI ", 8, "video/x-msvideo"),
    MAGIC("ftyp", 4, "video/mp4"),
    MAGIC("OggS", 0, "application/ogg"),
    MAGIC("fLaC", 0, "audio/flac"),
    MAGIC("ID3", 0, "audio/mpeg"),
    MAGIC("-----BEGIN PGP MESSAGE-----", 0, "application/pgp-encrypted"),
    MAGIC("-----BEGIN PGP SIGNATURE-----", 0, "application/pgp-signature"),
    MAGIC("#!", 0, "text/x-script"),
    MAGIC("BEGIN:VCALENDAR", 0, "text/calendar"),
    MAGIC("BEGIN:VCARD", 0, "text/vcard"),
#undef MAGIC
};

/* Text formats that may start with blanks, a byte order mark and in any case. */
static const struct {
    const char *start;
    const char *type;
} texts[] = {
    {"<!doctype html", "text/html"},
    {"<html", "text/html"},
    {"<head", "text/html"},
    {"<script", "text/html"},
    {"<svg", "image/svg+xml"},
    {"<?xml", "text/xml"},
};

static const char *by_text(struct slice head)
{
    if (head.len >= 3 && memcmp(head.data, "\xef\xbb\xbf", 3) == 0)
        head = slice_of(head.data + 3, head.len - 3);
    if (mime_begins_as_message(head))
        return "message/rfc822";
    head = text_trim(head);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (mime_begins_with(head, texts[i].start))
            return texts[i].type;
    }
    return "";
}

static const char *detect(struct slice head)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (head.len >= rows[i].offset + rows[i].len &&
            memcmp(head.data + rows[i].offset, rows[i].magic, rows[i].len) == 0)
            return rows[i].type;
    }
    if (head.len > HEAD_BYTES)
        head.len = HEAD_BYTES;
    return by_text(head);
}

const char *mime_detected_type(struct mime *mime, const struct mime_part *part)
{
    struct mime_node *node = mime_node_of(mime, part);
    if (part->is_container)
        return "";
    if (node->detected == NULL) {
        struct slice head = mime_content_head(mime, node, LAST_MAGIC_END);
        node->detected = detect(head);
        if (node->detected[0] == '\0')
            node->detected = mime_magic_type(head, mime->arena);
    }
    return node->detected;
}
