/* The words of a list, one after the other. */
#include "common/spec_list.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/err.h"
#include "common/text.h"

static bool is_known(const struct spec_form *form, const char *specs, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(specs + i * form->bytes, name) == 0)
            return true;
    return false;
}

/* Reads the word into the place after the n that are there. */
static int read_word(
    const struct spec_form *form, const char *text, size_t len, char *specs, unsigned n)
{
    char word[SPEC_WORD_MAX + 1] = "";
    if (len > SPEC_WORD_MAX)
        return -ERR_BAD;
    if (n >= form->max)
        return -ERR_TOOBIG;
    memcpy(word, text, len);
    char *place = specs + n * form->bytes;
    int err = form->read(word, place);
    return err == 0 && is_known(form, specs, n, place) ? -ERR_IN_USE : err;
}

int spec_list_read(const struct spec_form *form, const char *text, void *out, unsigned *n_out,
    char *why, size_t why_bytes)
{
    static const char separators[] = ", \t";
    *n_out = 0;
    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t len = strcspn(text, separators);
        int err = read_word(form, text, len, out, *n_out);
        if (err != 0) {
            char shown[SPEC_WORD_MAX + 1];
            text_escape(shown, sizeof(shown), slice_of(text, len), '"');
            snprintf(why, why_bytes, "\"%s\": %s", shown, form->reason(err));
            return err;
        }
        (*n_out)++;
        text += len;
    }
    return 0;
}
