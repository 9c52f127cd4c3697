#include "milterd/conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/envelope.h"
#include "common/err.h"
#include "common/log.h"
#include "common/network.h"
#include "common/parcel.h"
#include "common/xalloc.h"
#include "milterd/front.h"
#include "milterd/parcels.h"
#include "milterd/trace.h"

struct conn *conn_new(struct front *front, SMFICTX *ctx, int fd)
{
    struct conn *conn = xcalloc(1, sizeof *conn);

    conn->front = front;
    conn->ctx = ctx;
    conn->fd = fd;
    front_make_id(front, conn->id, sizeof conn->id);
    buf_init(&conn->lead, CONN_LEAD_MAX);
    buf_init(&conn->state, MESSAGE_STATE_MAX);
    message_init(&conn->message);
    return conn;
}

void conn_free(struct conn *conn)
{
    if (conn == NULL)
        return;
    conn_end(conn);
    generations_unclaim(conn->front->generations, &conn->claim);
    message_clear(&conn->message);
    buf_clear(&conn->lead);
    buf_clear(&conn->state);
    free(conn);
}

void conn_end(struct conn *conn)
{
    message_close(conn);
    conn_return_parcel(conn);
    buf_reset(&conn->lead);
    buf_reset(&conn->state);
    conn->lead_connect_bytes = 0;
    conn->is_connected = false;
    conn->is_accepted = false;
    conn->has_state = false;
    conn->n_messages = 0;
    conn->client_ip[0] = conn->client_name[0] = conn->helo[0] = '\0';
}

/* Family, canonical address and port of the client, as the envelope has them. */
static char read_address(const struct sockaddr *address, char *ip, uint16_t *port)
{
    char text[INET6_ADDRSTRLEN] = "";
    char family = '?';

    *port = 0;
    ip[0] = '\0';
    if (address == NULL)
        return family;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;

        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        *port = ntohs(v4->sin_port);
        family = '4';
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;

        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        *port = ntohs(v6->sin6_port);
        family = '6';
    } else if (address->sa_family == AF_UNIX) {
        family = 'l';
    }
    if (text[0] != '\0' && network_ip_canonical(text, ip) == 0 && strchr(ip, ':') == NULL)
        family = '4';
    return family;
}

void conn_begin(struct conn *conn, const char *hostname, const struct sockaddr *address)
{
    struct slice name = slice_of(hostname, strnlen(hostname, CONN_TEXT_MAX));
    uint16_t port;
    char family;

    conn_end(conn);
    if (conn->n_clients++ > 0)
        front_make_id(conn->front, conn->id, sizeof conn->id);
    conn->is_connected = true;
    family = read_address(address, conn->client_ip, &port);
    snprintf(conn->client_name, sizeof conn->client_name, "%s", hostname);
    if (envelope_put_connect(&conn->lead, family, slice_text(conn->client_ip), port, name) != 0 ||
        macros_put(&conn->front->macros, conn->ctx, STAGE_CONNECT, &conn->lead) != 0)
        log_warn("connection %s: what the MTA says of the client does not fit", conn->id);
    conn->lead_connect_bytes = conn->lead.len;
    generations_set_client(conn->front->generations, &conn->claim,
        slice_text(conn->client_ip[0] != '\0' ? conn->client_ip : conn->id));
    trace_connection(conn, port);
}

void conn_put_helo(struct conn *conn, const char *helo)
{
    struct slice name = slice_of(helo, strnlen(helo, CONN_TEXT_MAX));

    conn->lead.len = conn->lead_connect_bytes;
    snprintf(conn->helo, sizeof conn->helo, "%s", helo);
    if (envelope_put_helo(&conn->lead, name) != 0 ||
        macros_put(&conn->front->macros, conn->ctx, STAGE_HELO, &conn->lead) != 0)
        log_warn("connection %s: the client's HELO does not fit", conn->id);
}

int conn_need_parcel(struct conn *conn)
{
    int rc;

    if (conn->parcel != NULL)
        return 0;
    rc = parcels_take(conn->front->parcels, &conn->parcel);
    if (rc != 0) {
        conn->parcel = NULL;
        return rc;
    }
    conn->is_parcel_free = true;
    rc = parcel_append_envelope(conn->parcel, buf_slice(&conn->lead));
    if (rc != 0)
        conn_return_parcel(conn);
    return rc;
}

void conn_return_parcel(struct conn *conn)
{
    if (conn->message.is_open || conn->parcel == NULL)
        return;
    parcels_put(conn->front->parcels, conn->parcel, conn->is_parcel_free);
    conn->parcel = NULL;
}
