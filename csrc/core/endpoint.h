/* endpoint - the core's face: one UDP port's worth of connections, without a socket, a clock or a thread.
 *
 *                   datagram ──┐                       ┌── transmit   (srm_endpoint_transmit)
 *   doors in:       deadline ──┤── srm_endpoint ───────┤── next deadline (srm_endpoint_deadline)   : doors
 * out command  ──┘                       └── event      (srm_endpoint_events)
 *
 * Whoever drives it (the driver with real sockets, the simulator with virtual time) calls, whenever something
 * happened: the door in; then srm_endpoint_transmit until it says no; then takes the events; then sleeps
 * until srm_endpoint_deadline. `now` never goes back. Everything happens on one thread.
 *
 * The objects behind it: an srm_conn is one open() or one accepted peer, a *session* that outlives *links*; a
 * link is one confirmed handshake run: keys, packet numbers, congestion state, path. See
 * docs/architecture.md.
 */
#ifndef SRM_ENDPOINT_H
#define SRM_ENDPOINT_H

#include "../include/srmudp.h"
#include "base.h"
#include "message.h"

typedef struct srm_endpoint srm_endpoint;
typedef struct srm_conn srm_conn;
typedef struct srm_listener srm_listener;

/* What the core tells its driver at once, within a call; the hook must not call back into the core. */
typedef struct srm_hooks {
    void *context;
    /* A listener accepted a connection: returns the `user` pointer of the new connection, or NULL to refuse
     * it. The ACCEPTED event follows in the queue. */
    void *(*accepted)(void *context, void *listener_user, srm_conn *conn);
    /* `cost` bytes of the connection's send buffer (size + SRM_MESSAGE_COST a message) are free again. */
    void (*freed)(void *context, void *user, uint64_t cost);
} srm_hooks;

/* A new endpoint; NULL without memory. `config` is copied, `entropy` and `hooks` are kept. */
srm_endpoint *srm_endpoint_new(const srmudp_config *config, srm_entropy entropy, srm_hooks hooks,
                               srm_time now);
/* Frees everything, sends nothing. Connections' handles are invalid afterwards. */
void srm_endpoint_free(srm_endpoint *endpoint);

/* ---- Doors in
 * ----------------------------------------------------------------------------------------------- */

/* Bytes from one source, received at one time: one datagram, or several of `segment` bytes each (the last may
 * be shorter) as UDP_GRO hands them over. The core decrypts in place. */
typedef struct srm_datagram {
    uint8_t *data;
    size_t size;
    size_t segment; /* == size for a single datagram; never 0 */
    srmudp_address from;
    uint8_t ecn; /* the two ECN bits of the IP header */
} srm_datagram;

void srm_endpoint_receive(srm_endpoint *endpoint, srm_time now, const srm_datagram *datagram);

/* The deadline came (calling early or late does no harm). */
void srm_endpoint_timeout(srm_endpoint *endpoint, srm_time now);

typedef enum srm_send_failure {
    SRM_SEND_TOO_LARGE,   /* EMSGSIZE: larger than the path's or interface's MTU */
    SRM_SEND_UNREACHABLE, /* the network said no; the packet is lost as any other */
} srm_send_failure;

/* The operating system did not take a datagram of `size` bytes to `to`. */
void srm_endpoint_send_failed(srm_endpoint *endpoint, srm_time now, const srmudp_address *to, size_t size,
                              srm_send_failure failure);

/* ---- Commands (doors in too)
 * -------------------------------------------------------------------------------- */

/* Starts a connection towards any of `count` addresses (0: to be set when the name resolved). Key and label
 * are copied. Errors as srmudp_endpoint_open. `user` comes back as the owner of the connection's events. */
srmudp_error srm_endpoint_open(srm_endpoint *endpoint, srm_time now, srm_span key, srm_span label,
                               const srmudp_address *addresses, size_t count, void *user, srm_conn **out);
/* Replaces the addresses tried while no peer is there (a name resolved, or resolved to others). */
srmudp_error srm_conn_set_addresses(srm_conn *conn, srm_time now, const srmudp_address *addresses,
                                    size_t count);

srmudp_error srm_endpoint_listen(srm_endpoint *endpoint, srm_time now, srm_span key, srm_span label,
                                 void *user, srm_listener **out);
void srm_listener_close(srm_listener *listener);

/* Takes the message. On a connection that has ended it comes back in an UNDELIVERED event. */
void srm_conn_send(srm_conn *conn, srm_time now, srm_message *message);
/* The shortest round trip of its present link; 0: unknown. */
srm_time srm_conn_rtt_min(const srm_conn *conn);
/* The application consumed this message (one that an event gave); frees it. */
void srm_conn_consume(srm_conn *conn, srm_time now, srm_message *message);
/* As srmudp_connection_close; `timeout` in ns. */
void srm_conn_close(srm_conn *conn, srm_time now, srm_time timeout);
void srm_conn_reconnect(srm_conn *conn, srm_time now);
/* Nobody will use the connection again: closes it at once (one CLOSE, best effort) and emits no event any
 * more. The pointer is invalid for the caller from now on. Also allowed, and needed, after CLOSED. */
void srm_conn_release(srm_conn *conn, srm_time now);
void srm_conn_stats(const srm_conn *conn, srm_time now, srmudp_stats *out);
void srm_endpoint_stats(const srm_endpoint *endpoint, srmudp_endpoint_stats *out);
/* Tells every peer goodbye (one CLOSE each, to be fetched by transmit); before srm_endpoint_free. */
void srm_endpoint_goodbye(srm_endpoint *endpoint, srm_time now);

/* ---- Doors out
 * ---------------------------------------------------------------------------------------------- */

/* Datagrams to one address: `size` bytes in all, in datagrams of `segment` bytes, the last may be shorter. */
typedef struct srm_transmit {
    srmudp_address to;
    size_t size;
    size_t segment;
    uint8_t ecn;
} srm_transmit;

/* Writes the next datagrams to send into `buffer` (at least 2048 bytes; up to 65,535 are used, at most 64
 * datagrams; only one datagram when `batch` is false) and tells where they go. False: nothing to send now. */
bool srm_endpoint_transmit(srm_endpoint *endpoint, srm_time now, uint8_t *buffer, size_t capacity, bool batch,
                           srm_transmit *out);

/* When srm_endpoint_timeout wants to be called; SRM_TIME_NEVER: not at all. */
srm_time srm_endpoint_deadline(const srm_endpoint *endpoint);

/* All waiting events, oldest first, linked by `next`; NULL: none. Each is a node whose `owner` is the
 * connection's `user` and whose `kind` is an srmudp_event_kind; a MESSAGE is the message itself, any other
 * holds an srmudp_event in `data` (its `connection` and `listener` unset; ACCEPTED: `owner` is the new
 * connection's user). The caller owns the nodes (srm_message_free). */
srm_message *srm_endpoint_events(srm_endpoint *endpoint);

#endif
