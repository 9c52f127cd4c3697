#include "milterd/callbacks.h"

#include "common/err.h"
#include "common/log.h"
#include "milterd/conn.h"
#include "milterd/front.h"
#include "milterd/negotiate.h"
#include "milterd/session.h"
#include "milterd/stage.h"

static struct front *callbacks_front;

/*
 * The connection's object. It is there from negotiate on; libmilter's own pool, if we had to fall
 * back to it, ends without telling us, so that on_close frees it, and a connection that goes on
 * after QUIT_NC then starts with nothing negotiated: it is told to come back.
 */
static struct conn *conn_of(SMFICTX *ctx)
{
    struct conn *conn = smfi_getpriv(ctx);

    if (conn == NULL) {
        conn = conn_new(callbacks_front, ctx, session_fd(ctx));
        conn->stages.answers = STAGE_BIT(STAGE_EOM);
        smfi_setpriv(ctx, conn);
    }
    return conn;
}

void callbacks_forget(SMFICTX *ctx)
{
    conn_free(smfi_getpriv(ctx));
    smfi_setpriv(ctx, NULL);
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps,
    unsigned long f2, unsigned long f3, unsigned long *actions_out, unsigned long *steps_out,
    unsigned long *f2_out, unsigned long *f3_out)
{
    (void)f2;
    (void)f3;
    negotiate(conn_of(ctx), actions, steps, actions_out, steps_out);
    *f2_out = *f3_out = 0;
    if (*actions_out & SMFIF_SETSYMLIST)
        macros_negotiate(&callbacks_front->macros, ctx);
    return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *hostname, _SOCK_ADDR *address)
{
    return stage_connect(conn_of(ctx), hostname, (const struct sockaddr *)address);
}

static sfsistat on_helo(SMFICTX *ctx, char *helo)
{
    return stage_helo(conn_of(ctx), helo);
}

static sfsistat on_envfrom(SMFICTX *ctx, char **argv)
{
    return stage_mail(conn_of(ctx), argv);
}

static sfsistat on_envrcpt(SMFICTX *ctx, char **argv)
{
    return stage_rcpt(conn_of(ctx), argv);
}

static sfsistat on_data(SMFICTX *ctx)
{
    return stage_data(conn_of(ctx));
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
    return stage_header(conn_of(ctx), name, value);
}

static sfsistat on_eoh(SMFICTX *ctx)
{
    return stage_eoh(conn_of(ctx));
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
    return stage_body(conn_of(ctx), data, len);
}

static sfsistat on_eom(SMFICTX *ctx)
{
    return stage_eom(conn_of(ctx));
}

static sfsistat on_abort(SMFICTX *ctx)
{
    stage_abort(conn_of(ctx));
    return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
    if (smfi_getpriv(ctx) == NULL)
        return SMFIS_CONTINUE;
    stage_close(conn_of(ctx));
    if (!session_is_ours())
        callbacks_forget(ctx);
    return SMFIS_CONTINUE;
}

static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
    return stage_unknown(conn_of(ctx), command);
}

int callbacks_register(struct front *front)
{
    static char name[] = "postern";
    const struct smfiDesc description = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_flags = 0, /* negotiate asks for all that is offered */
        .xxfi_connect = on_connect,
        .xxfi_helo = on_helo,
        .xxfi_envfrom = on_envfrom,
        .xxfi_envrcpt = on_envrcpt,
        .xxfi_header = on_header,
        .xxfi_eoh = on_eoh,
        .xxfi_body = on_body,
        .xxfi_eom = on_eom,
        .xxfi_abort = on_abort,
        .xxfi_close = on_close,
        .xxfi_unknown = on_unknown,
        .xxfi_data = on_data,
        .xxfi_negotiate = on_negotiate,
    };

    callbacks_front = front;
    return smfi_register(description) == MI_SUCCESS ? 0 : -ERR_SYSTEM;
}
