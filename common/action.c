/*
 * Actions as data: the codec, and the one check that stands between a filter (or a worker gone
 * wrong) and the MTA.
 */
#include "common/action.h"

#include <string.h>

#include "common/address.h"
#include "common/err.h"
#include "common/text.h"

enum { ACTION_REASON_MAX = 1000 };

static const struct action_info infos[] = {
#define ACTION(id, number, name, fields, capability) {ACTION_##id, name, fields, capability},
#include "common/actions.def"
#undef ACTION
};

/* The text fields in the order in which they travel. */
static const struct text_field {
    unsigned has;
    size_t offset;
    size_t max;
} text_fields[] = {
    {ACTION_HAS_NAME, offsetof(struct action, name), ACTION_NAME_MAX},
    {ACTION_HAS_VALUE, offsetof(struct action, value), ACTION_VALUE_MAX},
    {ACTION_HAS_ADDRESS, offsetof(struct action, address), ADDRESS_MAX},
    {ACTION_HAS_ARGS, offsetof(struct action, args), ADDRESS_MAX},
    {ACTION_HAS_BODY, offsetof(struct action, body), ACTION_BODY_MAX},
};
enum { N_TEXT_FIELDS = sizeof(text_fields) / sizeof(text_fields[0]) };

const struct action_info *action_info(unsigned kind)
{
    for (size_t i = 0; i < sizeof(infos) / sizeof(infos[0]); i++)
        if ((unsigned)infos[i].kind == kind)
            return &infos[i];
    return NULL;
}

static const char *name_check(struct slice name)
{
    if (name.len == 0)
        return "the header name is empty";
    if (name.len > ACTION_NAME_MAX)
        return "the header name is too long";
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= 32 || name.data[i] >= 127 || name.data[i] == ':')
            return "the header name contains a character that is not allowed there";
    return NULL;
}

static const char *value_check(struct slice value)
{
    if (value.len > ACTION_VALUE_MAX)
        return "the header value is too long";
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        if (c == '\0' || c == '\r')
            return "the header value contains a CR or NUL";
        if (c == '\n' &&
            (i + 1 == value.len || (value.data[i + 1] != ' ' && value.data[i + 1] != '\t')))
            return "the header value contains a line end that is not followed by a blank";
    }
    return NULL;
}

static const char *reason_check(struct slice reason)
{
    if (reason.len == 0)
        return "the reason is empty";
    if (reason.len > ACTION_REASON_MAX)
        return "the reason is too long";
    return text_has_line_break_or_nul(reason) ? "the reason contains a CR, LF or NUL" : NULL;
}

static const char *index_check(const struct action *action)
{
    if (action->index > INT32_MAX)
        return "the index is too large";
    if (action->kind == ACTION_SET_HEADER && action->index == 0)
        return "the index counts from 1";
    return NULL;
}

static const char *address_check(const struct action *action)
{
    /*
     * One that the MTA itself gave may be odd: to delete it, it only has to be safe to hand back.
     */
    if (action->kind == ACTION_DELETE_RECIPIENT) {
        bool is_fine = action->address.len > 0 && action->address.len <= ADDRESS_MAX &&
                       !text_has_line_break_or_nul(action->address);
        return is_fine ? NULL : "the address is not valid";
    }
    if (!address_is_valid(action->address, action->kind == ACTION_SET_SENDER))
        return "the address is not valid";
    return NULL;
}

static const char *args_check(const struct action *action, uint32_t can)
{
    if (action->args.len == 0)
        return NULL;
    if (action->kind == ACTION_ADD_RECIPIENT && (can & MTA_CAN_ADD_RECIPIENT_ARGS) == 0)
        return "the MTA does not offer to add a recipient with arguments";
    return address_args_are_valid(action->args) ? NULL : "the arguments are not valid";
}

const char *action_check(const struct action *action, uint32_t can)
{
    const struct action_info *info = action_info(action->kind);
    const char *wrong = NULL;

    if (info == NULL)
        return "there is no such action";
    if ((info->capability & can) == 0)
        return "the MTA does not offer this change";
    if ((info->fields & ACTION_HAS_INDEX) != 0)
        wrong = index_check(action);
    if (wrong == NULL && (info->fields & ACTION_HAS_NAME) != 0)
        wrong = name_check(action->name);
    if (wrong == NULL && (info->fields & ACTION_HAS_VALUE) != 0)
        wrong =
            action->kind == ACTION_HOLD ? reason_check(action->value) : value_check(action->value);
    if (wrong == NULL && (info->fields & ACTION_HAS_ADDRESS) != 0)
        wrong = address_check(action);
    if (wrong == NULL && (info->fields & ACTION_HAS_ARGS) != 0)
        wrong = args_check(action, can);
    if (wrong == NULL && (info->fields & ACTION_HAS_BODY) != 0 &&
        action->body.len > ACTION_BODY_MAX)
        wrong = "the body is too long";
    return wrong;
}

static const struct slice *field_of(const struct action *action, const struct text_field *field)
{
    return (const struct slice *)((const char *)action + field->offset);
}

int action_put(struct buf *out, const struct action *action)
{
    const struct action_info *info = action_info(action->kind);
    size_t start = out->len;
    int err;

    if (info == NULL)
        return -ERR_BAD;
    err = buf_put_u8(out, (uint8_t)action->kind);
    if (err == 0 && (info->fields & ACTION_HAS_INDEX) != 0)
        err = buf_put_u32(out, action->index);
    for (int i = 0; i < N_TEXT_FIELDS && err == 0; i++) {
        const struct slice *text = field_of(action, &text_fields[i]);
        if ((info->fields & text_fields[i].has) == 0)
            continue;
        err = text->len <= text_fields[i].max ? buf_put_bytes(out, *text) : -ERR_TOOBIG;
    }
    if (err != 0)
        out->len = start;
    return err;
}

int action_get(struct buf *in, struct action *out)
{
    const struct action_info *info;
    size_t start = in->pos;
    uint8_t kind = 0;
    int err;

    memset(out, 0, sizeof(*out));
    if (buf_left(in) == 0)
        return -ERR_NOTFOUND;
    err = buf_get_u8(in, &kind);
    info = action_info(kind);
    if (err == 0 && info == NULL)
        err = -ERR_BAD;
    if (err == 0 && (info->fields & ACTION_HAS_INDEX) != 0)
        err = buf_get_u32(in, &out->index);
    for (int i = 0; i < N_TEXT_FIELDS && err == 0; i++)
        if ((info->fields & text_fields[i].has) != 0)
            err = buf_get_bytes(
                in, text_fields[i].max, (struct slice *)((char *)out + text_fields[i].offset));
    if (err != 0) {
        in->pos = start;
        return err;
    }
    out->kind = info->kind;
    return 0;
}

/* Counts first, so that the list is one allocation. */
static int count_actions(struct slice bytes, uint32_t *n_out)
{
    struct buf in;
    struct action action;
    uint32_t n = 0;
    int err;

    buf_view(&in, bytes.data, bytes.len);
    while ((err = action_get(&in, &action)) == 0)
        if (++n > ACTION_COUNT_MAX)
            return -ERR_TOOBIG;
    *n_out = n;
    return err == -ERR_NOTFOUND ? 0 : err;
}

int action_list_get(struct slice bytes, struct arena *arena, struct action_list *out)
{
    struct buf in;
    uint32_t n = 0;
    int err = count_actions(bytes, &n);

    memset(out, 0, sizeof(*out));
    if (err != 0)
        return err;
    if (n > 0)
        out->items = arena_calloc(arena, n, sizeof(*out->items));
    buf_view(&in, bytes.data, bytes.len);
    while (out->n < n && action_get(&in, &out->items[out->n]) == 0)
        out->n++;
    return 0;
}
