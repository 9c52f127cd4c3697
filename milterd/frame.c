#include "milterd/frame.h"

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <stdint.h>
#include <string.h>

enum frame_shape {
    FRAME_FREE = 0, /* anything */
    FRAME_TEXTS,    /* one text or more, the last one ended too */
    FRAME_HAS_TEXT, /* begins with a text */
    FRAME_MACROS,   /* a command's letter, then pairs of texts */
};

static const enum frame_shape frame_shapes[UINT8_MAX + 1] = {
    [SMFIC_CONNECT] = FRAME_HAS_TEXT,
    [SMFIC_HELO] = FRAME_TEXTS,
    [SMFIC_MAIL] = FRAME_TEXTS,
    [SMFIC_RCPT] = FRAME_TEXTS,
    [SMFIC_HEADER] = FRAME_TEXTS,
    [SMFIC_UNKNOWN] = FRAME_TEXTS,
    [SMFIC_MACRO] = FRAME_MACROS,
};

static bool has_pairs(const char *data, size_t len)
{
    size_t n_texts = 0;

    for (size_t i = 1; i < len; i++)
        n_texts += data[i] == '\0';
    return n_texts % 2 == 0 && (len == 1 || data[len - 1] == '\0');
}

bool frame_is_sound(char command, const char *data, size_t len)
{
    enum frame_shape shape = frame_shapes[(uint8_t)command];

    if (shape == FRAME_FREE)
        return true;
    if (data == NULL || len == 0)
        return false;
    if (shape == FRAME_TEXTS)
        return data[len - 1] == '\0';
    return shape == FRAME_MACROS ? has_pairs(data, len) : memchr(data, '\0', len) != NULL;
}
