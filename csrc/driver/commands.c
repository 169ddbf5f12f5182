#include "handles.h"

/* What the application's thread asked for, done on the engine's. */

static void link_connection(srm_engine *engine, srmudp_connection *connection) {
    connection->next = engine->connections;
    connection->previous = &engine->connections;
    if (connection->next != NULL)
        connection->next->previous = &connection->next;
    engine->connections = connection;
}

static void unlink_connection(srmudp_connection *connection) {
    *connection->previous = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
}

void srm_engine_forget_name(srm_engine *engine, srmudp_connection *connection) {
    if (connection->name != NULL)
        srm_names_remove(&engine->names, connection->name);
    connection->name = NULL;
}

/* ---- Addresses ---- */

bool srm_engine_usable(void *context, const srmudp_address *address) {
    srm_engine *engine = context;
    const srm_udp_socket *s = srm_udp_socket_for(&engine->udp, address->family);
    if (s == NULL || address->port == 0 || srm_address_is_unspecified(address) ||
        srm_address_is_group(address))
        return false;
    /* A socket that is bound to a link needs no zone. */
    return !srm_address_lacks_zone(address) || s->address.scope != 0;
}

bool srm_engine_allowed(void *context, const srmudp_address *address) {
    const srmudp_config *config = &((srm_engine *)context)->endpoint->config;
    char host[64];
    if (config->allow == NULL)
        return true;
    srmudp_address_host(address, host);
    return config->allow(config->allow_context, host, address->port);
}

srmudp_error srm_engine_found(void *context, srmudp_connection *connection, const srmudp_address *addresses,
                              size_t count) {
    (void)context;
    return srm_conn_set_addresses(connection->core, srm_clock_now(), addresses, count);
}

void srm_engine_not_found(void *context, srmudp_connection *connection, srmudp_error reason,
                          uint32_t failures, bool end) {
    srm_engine *engine = context;
    if (end) {
        connection->failure = reason;
        srm_conn_close(connection->core, srm_clock_now(), 0);
        return;
    }
    srm_engine_collect(engine, srm_clock_now()); /* so that `status` is what was told last */
    srmudp_event event = {
        .kind = SRMUDP_EVENT_STATUS, .status = connection->status, .reason = reason, .attempt = failures};
    srm_message *node = srm_message_new(sizeof event, 0, 0);
    if (node == NULL)
        return; /* it only informs */
    memcpy(node->data, &event, sizeof event);
    node->owner = connection;
    srm_engine_emit(engine, node, SRMUDP_EVENT_STATUS);
}

/* ---- Questions ---- */

static srmudp_error open_connection(srm_engine *engine, srm_time now, const srm_request *request) {
    srmudp_connection *connection = request->connection;
    bool literal = request->name == NULL;
    if (literal && !srm_engine_usable(engine, &request->address))
        return SRMUDP_INVALID_ADDRESS;
    if (literal && !srm_engine_allowed(engine, &request->address))
        return SRMUDP_POLICY_DENIED;
    srmudp_error error = srm_endpoint_open(engine->core, now, request->key, request->label, &request->address,
                                           literal ? 1 : 0, connection, &connection->core);
    if (error != SRMUDP_OK)
        return error;
    if (!literal) {
        connection->name =
            srm_names_add(&engine->names, connection, request->name, request->address.port, now);
        if (connection->name == NULL) {
            srm_conn_release(connection->core, now);
            return SRMUDP_NO_MEMORY;
        }
    }
    link_connection(engine, connection);
    return SRMUDP_OK;
}

static srmudp_error listen_for_peers(srm_engine *engine, srm_time now, const srm_request *request) {
    srmudp_listener *listener = request->listener;
    srmudp_error error =
        srm_endpoint_listen(engine->core, now, request->key, request->label, listener, &listener->core);
    if (error != SRMUDP_OK)
        return error;
    listener->next = engine->listeners;
    listener->previous = &engine->listeners;
    if (listener->next != NULL)
        listener->next->previous = &listener->next;
    engine->listeners = listener;
    return SRMUDP_OK;
}

void srm_engine_run_request(srm_engine *engine, srm_time now, srm_request *request) {
    request->error = SRMUDP_OK;
    switch (request->question) {
    case SRM_ASK_OPEN:
        request->error = open_connection(engine, now, request);
        break;
    case SRM_ASK_LISTEN:
        request->error = listen_for_peers(engine, now, request);
        break;
    case SRM_ASK_STATS:
        srm_conn_stats(request->connection->core, now, request->stats);
        break;
    case SRM_ASK_ENDPOINT_STATS:
        srm_endpoint_stats(engine->core, request->endpoint_stats);
        break;
    }
}

/* ---- The core's hook ---- */

void *srm_engine_accepted(void *context, void *listener_handle, srm_conn *conn) {
    srm_engine *engine = context;
    srmudp_listener *listener = listener_handle;
    srmudp_connection *connection = srm_connection_new(engine->endpoint, listener->user);
    if (connection == NULL)
        return NULL;
    connection->listener = listener;
    connection->core = conn;
    link_connection(engine, connection);
    return connection;
}

/* ---- Commands ---- */

static void close_connection(srmudp_connection *connection, srm_time now) {
    /* Pairs with the exchange in srmudp_connection_close: a time-out stored before this is seen here, one
     * stored later posts the node again, which is released by this. */
    atomic_exchange_explicit(&connection->close_posted, false, memory_order_acq_rel);
    uint32_t timeout = atomic_load_explicit(&connection->close_timeout, memory_order_relaxed);
    srm_conn_close(connection->core, now, (srm_time)timeout * SRM_MILLISECOND);
}

static void reconnect(srmudp_connection *connection, srm_time now) {
    /* Releases the node, which may be posted again from here on, to srmudp_connection_reconnect. */
    atomic_store_explicit(&connection->reconnect_posted, false, memory_order_release);
    srm_conn_reconnect(connection->core, now);
}

/* What the core said of it before stands before the last node. */
static void release(srm_engine *engine, srmudp_connection *connection, srm_time now) {
    srm_engine_forget_name(engine, connection);
    srm_engine_collect(engine, now);
    srm_conn_release(connection->core, now);
    connection->core = NULL;
    unlink_connection(connection);
    srm_engine_emit(engine, connection->own[SRM_OWN_RELEASE], SRM_NODE_GONE);
}

/* All that was sent before the end was told is with the core now, and came back. */
static void flush(srm_engine *engine, srmudp_connection *connection, srm_message *node, srm_time now) {
    srm_engine_collect(engine, now);
    connection->sends_at_end = connection->sends_seen;
    srm_engine_emit(engine, node, SRMUDP_EVENT_CLOSED);
}

static void close_listener(srm_engine *engine, srmudp_listener *listener, srm_time now) {
    srm_listener_close(listener->core);
    *listener->previous = listener->next;
    if (listener->next != NULL)
        listener->next->previous = listener->previous;
    srm_engine_collect(engine, now);
    srm_engine_emit(engine, listener->own, SRM_NODE_LISTENER_GONE);
}

static void run_command(srm_engine *engine, srm_time now, srm_message *node) {
    srmudp_connection *connection = node->owner;
    switch (node->kind) {
    case SRM_NODE_SEND:
        connection->sends_seen++;
        srm_conn_send(connection->core, now, node);
        break;
    case SRM_NODE_CONSUME:
        srm_conn_consume(connection->core, now, node);
        break;
    case SRM_NODE_CLOSE:
        close_connection(connection, now);
        break;
    case SRM_NODE_RECONNECT:
        reconnect(connection, now);
        break;
    case SRM_NODE_RELEASE:
        release(engine, connection, now);
        break;
    case SRM_NODE_WANT_ROOM:
        srm_engine_want_room(engine, connection, node->number);
        break;
    case SRM_NODE_FLUSH:
        flush(engine, connection, node, now);
        break;
    case SRM_NODE_LISTENER_CLOSE:
        close_listener(engine, node->owner, now);
        break;
    case SRM_NODE_ASK:
        srm_engine_run_request(engine, now, node->owner);
        srm_ask_answered(&engine->endpoint->asker);
        break;
    default:
        SRM_ASSERT(node->kind == SRM_NODE_STOP);
        engine->stopping = true;
    }
}

bool srm_engine_commands(srm_engine *engine, srm_time now, size_t max) {
    /* So that the end of a connection is counted before what was sent to it in ignorance: `sends_at_end`. */
    srm_engine_collect(engine, now);
    if (engine->commands == NULL)
        engine->commands = srm_mailbox_take(&engine->endpoint->commands);
    for (size_t i = 0; i < max && engine->commands != NULL; i++) {
        srm_message *node = engine->commands;
        engine->commands = node->next;
        run_command(engine, now, node);
    }
    return engine->commands != NULL;
}
