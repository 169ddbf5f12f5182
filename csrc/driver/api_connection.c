#include <stdlib.h>

#include "../core/outbox.h"
#include "handles.h"

/* ---- Sending ---- */

static bool is_open(const srmudp_connection *connection) {
    return connection->endpoint != NULL && !connection->released && !connection->closing &&
           !connection->ended && !connection->endpoint->forgotten;
}

/* Asks once for the event that says that there is room again. */
static void want_room(srmudp_connection *connection, uint64_t cost) {
    srm_message *node = connection->own[SRM_OWN_ROOM];
    if (connection->refused)
        return;
    connection->refused = true;
    node->kind = SRM_NODE_WANT_ROOM;
    node->number = cost;
    srm_endpoint_post(connection->endpoint, node);
}

/* Most connections use channel 0 alone. */
static bool has_counter(srmudp_connection *connection, uint8_t channel) {
    if (channel != 0 && connection->sequences == NULL)
        connection->sequences = calloc(256, sizeof *connection->sequences);
    return channel == 0 || connection->sequences != NULL;
}

static uint64_t next_sequence(srmudp_connection *connection, uint8_t channel) {
    return channel == 0 ? ++connection->sequence : ++connection->sequences[channel];
}

/* Whether a message of this size can be handed over now; only this thread adds to the buffer, so what fits
 * now fits until it does. */
static srmudp_error admit(srmudp_connection *connection, size_t size, uint8_t channel) {
    if (!is_open(connection))
        return SRMUDP_CLOSED;
    const srmudp_config *config = &connection->endpoint->config;
    if (size > config->max_message_size)
        return SRMUDP_MESSAGE_TOO_LARGE;
    uint64_t cost = (uint64_t)size + SRM_MESSAGE_COST;
    /* A count and nothing else: see srm_engine_freed. */
    uint64_t buffered = atomic_load_explicit(&connection->buffered, memory_order_relaxed);
    if (buffered == 0 || buffered + cost <= srm_send_limit(config, cost))
        return has_counter(connection, channel) ? SRMUDP_OK : SRMUDP_NO_MEMORY;
    want_room(connection, cost);
    return SRMUDP_AGAIN;
}

/* A message that had another life (received, or come back undelivered) begins anew. */
static void make_new(srm_message *message) {
    if (message->owner != NULL)
        srm_connection_drop(message->owner);
    message->number = 0;
    message->done = 0;
    message->generation = 0;
    message->state = 0;
    message->flags &= SRM_MESSAGE_TEXT;
}

static void hand_over(srmudp_connection *connection, srm_message *message, uint64_t *sequence) {
    make_new(message);
    message->kind = SRM_NODE_SEND;
    message->owner = connection;
    connection->sends++;
    message->sequence = next_sequence(connection, message->channel);
    if (sequence != NULL)
        *sequence = message->sequence;
    atomic_fetch_add_explicit(&connection->buffered, srm_message_cost(message), memory_order_relaxed);
    srm_endpoint_post(connection->endpoint, message);
}

srmudp_error srmudp_connection_send(srmudp_connection *connection, srmudp_message *message,
                                    uint64_t *sequence) {
    srmudp_error error = admit(connection, message->size, message->channel);
    if (error == SRMUDP_OK)
        hand_over(connection, message, sequence);
    return error;
}

srmudp_error srmudp_connection_send_bytes(srmudp_connection *connection, const void *data, size_t size,
                                          uint8_t channel, uint8_t flags, uint64_t *sequence) {
    srmudp_error error = admit(connection, size, channel);
    if (error != SRMUDP_OK)
        return error;
    srm_message *message = srmudp_message_new(size, channel, flags);
    if (message == NULL)
        return SRMUDP_NO_MEMORY;
    if (size > 0)
        memcpy(message->data, data, size);
    hand_over(connection, message, sequence);
    return SRMUDP_OK;
}

/* ---- The rest ---- */

void *srmudp_connection_user(const srmudp_connection *connection) {
    return connection->user;
}

void srmudp_connection_set_user(srmudp_connection *connection, void *user) {
    connection->user = user;
}

static bool is_reachable(const srmudp_connection *connection) {
    return connection->endpoint != NULL && !connection->released && !connection->endpoint->forgotten;
}

static void post_own(srmudp_connection *connection, size_t which, uint8_t kind) {
    connection->own[which]->kind = kind;
    srm_endpoint_post(connection->endpoint, connection->own[which]);
}

void srmudp_connection_close(srmudp_connection *connection, uint32_t timeout) {
    if (!is_reachable(connection))
        return;
    connection->closing = true;
    if (timeout < atomic_load_explicit(&connection->close_timeout, memory_order_relaxed))
        atomic_store_explicit(&connection->close_timeout, timeout, memory_order_relaxed);
    /* Pairs with close_connection: see there. */
    if (!atomic_exchange_explicit(&connection->close_posted, true, memory_order_acq_rel))
        post_own(connection, SRM_OWN_CLOSE, SRM_NODE_CLOSE);
}

void srmudp_connection_reconnect(srmudp_connection *connection) {
    if (!is_reachable(connection))
        return;
    /* While one is on its way another would add nothing. Acquires the node from the engine. */
    if (!atomic_exchange_explicit(&connection->reconnect_posted, true, memory_order_acquire))
        post_own(connection, SRM_OWN_RECONNECT, SRM_NODE_RECONNECT);
}

void srmudp_connection_release(srmudp_connection *connection) {
    if (connection == NULL || !is_reachable(connection))
        return;
    connection->released = true;
    post_own(connection, SRM_OWN_RELEASE, SRM_NODE_RELEASE);
}

bool srmudp_connection_stats(srmudp_connection *connection, srmudp_stats *out) {
    srm_request request = {.question = SRM_ASK_STATS, .connection = connection, .stats = &connection->stats};
    bool there = is_reachable(connection) && srm_endpoint_usable(connection->endpoint);
    if (there)
        srm_ask(connection->endpoint, &request);
    *out = connection->stats;
    return there;
}
