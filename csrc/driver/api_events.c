#include "handles.h"

/* Events on the application's thread: from the mailbox to whoever calls. */

/* All that waits, oldest first. Between calls the descriptor is set whenever the mailbox is awake: then
 * events may wait that nobody will tell of. */
static srm_message *refill(srmudp_endpoint *endpoint) {
    bool descriptor = endpoint->ready.read >= 0, told = !srm_mailbox_is_asleep(&endpoint->events);
    srm_message *list = srm_mailbox_take(&endpoint->events);
    if (list != NULL)
        return list;
    srm_direct_look(&endpoint->engine);
    list = srm_mailbox_take(&endpoint->events);
    if (list == NULL || list->next == NULL) {
        /* In this order: whoever pushes after we sleep sets it again. */
        if (descriptor && told)
            srm_wakefd_clear(&endpoint->ready);
        if (srm_mailbox_sleep(&endpoint->events))
            return list;
        if (list == NULL)
            list = srm_mailbox_take(&endpoint->events);
    }
    if (descriptor)
        srm_wakefd_set(&endpoint->ready);
    return list;
}

/* The next node, oldest first; NULL: none, and the descriptor or on_ready will tell of the next. */
static srm_message *fetch(srmudp_endpoint *endpoint) {
    if (endpoint->fetched == NULL)
        endpoint->fetched = refill(endpoint);
    srm_message *node = endpoint->fetched;
    if (node == NULL)
        return NULL;
    endpoint->fetched = node->next;
    node->next = NULL;
    return node;
}

static bool deliver_message(srmudp_connection *connection, srm_message *node, srmudp_event *out) {
    srm_connection_hold(connection);
    out->message = node;
    return true;
}

static bool deliver_writable(srmudp_connection *connection) {
    connection->refused = false;
    return !connection->ended;
}

/* CLOSED is the last event: messages handed over before the application could know of the end come back
 * first, in an UNDELIVERED event. The node goes to the engine and returns behind it. */
static bool must_wait(srmudp_connection *connection, srm_message *node) {
    connection->ended = true;
    if (connection->sends == connection->sends_at_end)
        return false;
    node->kind = SRM_NODE_FLUSH;
    srm_endpoint_post(connection->endpoint, node);
    return true;
}

static void give_back(srm_message *list) {
    for (; list != NULL; list = list->next)
        list->owner = NULL; /* the application's, and of no connection */
}

static bool deliver_other(srmudp_connection *connection, srm_message *node, srmudp_event *out) {
    if (node->kind == SRMUDP_EVENT_CLOSED && must_wait(connection, node))
        return false;
    memcpy(out, node->data, sizeof *out);
    srm_message_free(node);
    if (out->kind == SRMUDP_EVENT_STATUS && out->status >= SRMUDP_STATUS_CLOSED)
        connection->ended = true;
    if (out->kind == SRMUDP_EVENT_UNDELIVERED)
        give_back(out->message);
    if (out->kind == SRMUDP_EVENT_ACCEPTED && !connection->listener->closed)
        out->listener = connection->listener;
    return true;
}

/* False: it was nothing for the application. */
static bool deliver(srm_message *node, srmudp_event *out) {
    srmudp_connection *connection = node->owner;
    if (node->kind == SRM_NODE_GONE || node->kind == SRM_NODE_LISTENER_GONE || connection->released) {
        srm_node_discard(node);
        return false;
    }
    *out = (srmudp_event){.kind = (srmudp_event_kind)node->kind};
    bool told;
    if (node->kind == SRMUDP_EVENT_MESSAGE)
        told = deliver_message(connection, node, out);
    else if (node->kind == SRMUDP_EVENT_WRITABLE)
        told = deliver_writable(connection);
    else
        told = deliver_other(connection, node, out);
    out->connection = connection;
    return told;
}

bool srmudp_endpoint_next_event(srmudp_endpoint *endpoint, srmudp_event *out) {
    if (!srm_endpoint_usable(
            endpoint)) /* a fork's copy: the events, and who is told of them, are the parent's */
        return false;
    for (srm_message *node; (node = fetch(endpoint)) != NULL;)
        if (deliver(node, out))
            return true;
    return false;
}

bool srmudp_endpoint_expects(srmudp_endpoint *endpoint) {
    return srm_endpoint_usable(endpoint) && endpoint->ready.read >= 0 &&
           srm_direct_expects(&endpoint->engine);
}

bool srmudp_endpoint_linger(srmudp_endpoint *endpoint) {
    return srm_endpoint_usable(endpoint) && endpoint->ready.read >= 0 && srm_direct_linger(&endpoint->engine);
}

bool srmudp_endpoint_wait(srmudp_endpoint *endpoint, int timeout) {
    if (!srm_endpoint_usable(endpoint) || endpoint->ready.read < 0)
        return false;
    return srm_direct_wait(&endpoint->engine, timeout);
}
