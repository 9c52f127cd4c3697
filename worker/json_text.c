#include "worker/json_text.h"

#include "common/text.h"

json_t *json_text(struct slice text)
{
    json_t *value = json_stringn(text.len > 0 ? text.data : "", text.len);
    if (value != NULL)
        return value;
    struct buf mended;
    buf_init(&mended, 3 * text.len + 16);
    if (text_to_utf8(&mended, text) == 0)
        value = json_stringn((const char *)mended.data, mended.len);
    buf_clear(&mended);
    return value != NULL ? value : json_string("");
}
