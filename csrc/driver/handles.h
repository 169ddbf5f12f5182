/* handles - what is behind the public handles, and which thread may touch what.
 *
 *     application's thread                                         engine's thread
 *     srmudp_... ── commands (mailbox of nodes) ────────────────>  srm_engine ── srm_endpoint (the core)
 *     next_event <──────────── events (mailbox of nodes) ────────      │
 *                                                                  sockets, timer, names
 *
 * For single turns the application's thread takes the engine's place (direct.h).
 *
 * Both mailboxes carry srm_message nodes. Most are messages of the application themselves, so that a message
 * is allocated once in its life; what a handle may have to say besides has nodes of its own, so that closing
 * or releasing cannot fail for lack of memory. Each field below says whose it is; "the engine's" is whoever
 * holds the engine's lock (direct.h). What is said to be of both
 * is atomic or has passed through a mailbox, which orders everything before the push before everything after
 * the take.
 *
 * Life of a connection. Its memory has a reference of the two threads together, and one for each message that
 * the application holds, since a message may outlive everything. release() marks it on the application's side
 * (from then on nothing delivers its events) and tells the engine, which lets the core forget it and sends
 * the same node back as SRM_NODE_GONE: behind it in the queue nothing names the connection, and the reference
 * goes. Closing the endpoint does the same to all. Listeners go the same way.
 */
#ifndef SRM_HANDLES_H
#define SRM_HANDLES_H

#include <stdatomic.h>

#include "../core/endpoint.h"
#include "../include/srmudp.h"
#include "ask.h"
#include "engine.h"
#include "mailbox.h"
#include "wakefd.h"

/* What a node in a mailbox is (`kind`), besides the srmudp_event_kind of events. `owner` is the connection
 * unless said otherwise. */
enum {
    SRM_NODE_SEND = 0x40,    /* the message itself */
    SRM_NODE_CONSUME,        /* the message itself */
    SRM_NODE_CLOSE,          /* close_timeout tells when */
    SRM_NODE_RECONNECT,      /* */
    SRM_NODE_RELEASE,        /* comes back as SRM_NODE_GONE */
    SRM_NODE_WANT_ROOM,      /* `number`: cost of what was refused; comes back as SRMUDP_EVENT_WRITABLE */
    SRM_NODE_FLUSH,          /* the node of a CLOSED event that must wait for messages still under way */
    SRM_NODE_LISTENER_CLOSE, /* owner: the listener; comes back as SRM_NODE_LISTENER_GONE */
    SRM_NODE_ASK,            /* owner: the srm_request */
    SRM_NODE_STOP,           /* owner: none; the endpoint is being closed */
    SRM_NODE_GONE,
    SRM_NODE_LISTENER_GONE,
};

/* A connection's own nodes, each under way at most once. */
enum { SRM_OWN_CLOSE, SRM_OWN_RECONNECT, SRM_OWN_RELEASE, SRM_OWN_ROOM, SRM_OWN_NODES };

#define SRM_SEND_SMALL 4096                    /* bytes of a message that is small */
#define SRM_SEND_RESERVE ((uint64_t)256 << 10) /* of the send buffer, at most, for those */
#define SRM_SEND_WAKE ((uint64_t)1 << 20)      /* free bytes that are told of, at most */

/* Keeps what two threads write on cache lines of their own. */
#define SRM_CACHE_LINE 64

struct srmudp_connection {
    /* The application's. */
    srmudp_endpoint *endpoint; /* NULL: closed; only messages still hold on to us */
    srmudp_listener *listener; /* that accepted it, NULL: opened; read for the ACCEPTED event only */
    void *user;
    bool released;
    bool closing;        /* close() was called */
    bool ended;          /* its end was told: no more sending */
    bool refused;        /* AGAIN was said and WRITABLE not yet */
    uint64_t sends;      /* messages handed over */
    uint64_t sequence;   /* of them on channel 0 */
    uint64_t *sequences; /* by channel, from 1 on; NULL: none was used yet */
    srmudp_stats stats;  /* as last asked */
    srm_message *own[SRM_OWN_NODES];

    /* Both. */
    _Alignas(SRM_CACHE_LINE) _Atomic uint64_t buffered; /* cost of what was accepted and is not yet freed */
    _Atomic uint32_t references;
    _Atomic uint32_t close_timeout; /* ms; the least asked for */
    _Atomic bool close_posted, reconnect_posted;

    /* The engine's. */
    _Alignas(SRM_CACHE_LINE) srm_conn *core; /* NULL: released */
    srmudp_connection *next, **previous;     /* all that the core knows */
    struct srm_name *name;                   /* NULL: opened to a literal, or accepted */
    srmudp_status status;
    srmudp_error failure; /* the driver ended it for this reason; SRMUDP_OK: it didn't */
    uint64_t sends_seen;
    uint64_t sends_at_end; /* of them, when CLOSED was said; the application's once it has that event */
    uint64_t room_wanted;  /* cost of the message refused; 0: WRITABLE isn't waited for */
};

struct srmudp_listener {
    srmudp_endpoint *endpoint;
    void *user;
    bool closed;      /* the application's */
    srm_message *own; /* SRM_NODE_LISTENER_CLOSE */
    srm_listener *core;
    srmudp_listener *next, **previous; /* the engine's */
};

struct srmudp_endpoint {
    srmudp_config config; /* never changes */
    srmudp_address addresses[2];
    size_t address_count;
    unsigned forks; /* of srm_build_forks, when it was bound: in a child the engine's thread doesn't exist */

    /* The application's. */
    bool forgotten;
    srm_message *fetched; /* events taken from the mailbox, oldest first */
    srm_message *stop;    /* SRM_NODE_STOP */
    srm_asker asker;

    /* Both. */
    _Alignas(SRM_CACHE_LINE) srm_mailbox commands;
    _Alignas(SRM_CACHE_LINE) srm_mailbox events;
    srm_wakefd ready; /* readable while events wait; none with on_ready */

    _Alignas(SRM_CACHE_LINE) srm_engine engine;
};

/* ---- connection.c: memory ---- */

/* NULL: no memory. One reference. */
srmudp_connection *srm_connection_new(srmudp_endpoint *endpoint, void *user);
void srm_connection_hold(srmudp_connection *connection);
void srm_connection_drop(srmudp_connection *connection);

srmudp_listener *srm_listener_new(srmudp_endpoint *endpoint, void *user);
void srm_listener_free(srmudp_listener *listener);

/* Frees a node of either mailbox that nobody will handle any more, and what it carries. Own nodes belong to
 * their handles and are left alone; those that say that the handle is gone let go of it. */
void srm_node_discard(srm_message *node);

/* The application's thread: puts a node into the engine's mailbox, and sees to it that it is run: see
 * direct.h. */
void srm_endpoint_post(srmudp_endpoint *endpoint, srm_message *node);
/* Whether this process may use the endpoint: it is the one that bound it. */
bool srm_endpoint_usable(const srmudp_endpoint *endpoint);

#endif
