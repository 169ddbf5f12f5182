#include "handles.h"

#include <stdlib.h>

#include "build.h"

/* ---- Connections ---- */

static void free_connection(srmudp_connection *connection) {
    for (size_t i = 0; i < SRM_OWN_NODES; i++)
        srm_message_free(connection->own[i]);
    free(connection->sequences);
    free(connection);
}

srmudp_connection *srm_connection_new(srmudp_endpoint *endpoint, void *user) {
    /* Its size is a multiple of its alignment, as C wants it here. */
    srmudp_connection *connection = aligned_alloc(SRM_CACHE_LINE, sizeof *connection);
    if (connection == NULL)
        return NULL;
    memset(connection, 0, sizeof *connection);
    connection->endpoint = endpoint;
    connection->user = user;
    atomic_init(&connection->buffered, 0);
    atomic_init(&connection->references, 1);
    atomic_init(&connection->close_timeout, UINT32_MAX);
    atomic_init(&connection->close_posted, false);
    atomic_init(&connection->reconnect_posted, false);
    for (size_t i = 0; i < SRM_OWN_NODES; i++) {
        connection->own[i] = srm_message_new(0, 0, 0);
        if (connection->own[i] == NULL) {
            free_connection(connection);
            return NULL;
        }
        connection->own[i]->owner = connection;
    }
    return connection;
}

void srm_connection_hold(srmudp_connection *connection) {
    /* Whoever calls has a reference already, so there is nothing to order. */
    atomic_fetch_add_explicit(&connection->references, 1, memory_order_relaxed);
}

void srm_connection_drop(srmudp_connection *connection) {
    /* Releases our last use of it to whoever frees it, and acquires theirs if that is us. */
    if (atomic_fetch_sub_explicit(&connection->references, 1, memory_order_acq_rel) == 1)
        free_connection(connection);
}

/* ---- Listeners ---- */

srmudp_listener *srm_listener_new(srmudp_endpoint *endpoint, void *user) {
    srmudp_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return NULL;
    listener->own = srm_message_new(0, 0, 0);
    if (listener->own == NULL) {
        free(listener);
        return NULL;
    }
    listener->own->owner = listener;
    listener->endpoint = endpoint;
    listener->user = user;
    return listener;
}

void srm_listener_free(srmudp_listener *listener) {
    srm_message_free(listener->own);
    free(listener);
}

/* ---- Nodes ---- */

static void discard_undelivered(srm_message *node) {
    srmudp_event event;
    memcpy(&event, node->data, sizeof event);
    srm_message_free_list(event.message);
}

void srm_node_discard(srm_message *node) {
    switch (node->kind) {
    case SRM_NODE_GONE:
        srm_connection_drop(node->owner);
        break;
    case SRM_NODE_LISTENER_GONE:
        srm_listener_free(node->owner);
        break;
    case SRM_NODE_CLOSE:
    case SRM_NODE_RECONNECT:
    case SRM_NODE_RELEASE:
    case SRM_NODE_WANT_ROOM:
    case SRM_NODE_LISTENER_CLOSE:
    case SRM_NODE_ASK:
    case SRM_NODE_STOP:
    case SRMUDP_EVENT_WRITABLE:
        break; /* freed with their handles */
    case SRMUDP_EVENT_UNDELIVERED:
        discard_undelivered(node);
        srm_message_free(node);
        break;
    default:
        srm_message_free(node);
    }
}

/* ---- Posting ---- */

bool srm_endpoint_usable(const srmudp_endpoint *endpoint) {
    return endpoint != NULL && !endpoint->forgotten && endpoint->forks == srm_build_forks();
}

void srm_endpoint_post(srmudp_endpoint *endpoint, srm_message *node) {
    srm_direct_post(&endpoint->engine, node);
}
