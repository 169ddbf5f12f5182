#include "../core/outbox.h"
#include "handles.h"

/* What happened, on its way from the core to the application; on the engine's thread. */

void srm_engine_emit(srm_engine *engine, srm_message *node, uint8_t kind) {
    node->kind = kind;
    node->next = NULL;
    *engine->events_last = node;
    engine->events_last = &node->next;
}

/* ---- The core's events ---- */

static void on_status(srm_engine *engine, srmudp_connection *connection, srmudp_event *event, srm_time now) {
    bool end = event->status == SRMUDP_STATUS_CLOSED || event->status == SRMUDP_FAILED;
    if (end && connection->failure != SRMUDP_OK) {
        event->status = SRMUDP_FAILED;
        event->reason = connection->failure;
    }
    connection->status = event->status;
    if (end)
        srm_engine_forget_name(engine, connection);
    else if (connection->name != NULL)
        srm_names_status(&engine->names, connection->name, event->status, now);
}

static void on_closed(srmudp_connection *connection, srmudp_event *event) {
    connection->sends_at_end = connection->sends_seen;
    event->status = connection->status;
    if (connection->failure != SRMUDP_OK)
        event->reason = connection->failure;
}

static void look_at(srm_engine *engine, srm_message *node, srm_time now) {
    srmudp_event event;
    if (node->kind != SRMUDP_EVENT_STATUS && node->kind != SRMUDP_EVENT_CLOSED)
        return;
    memcpy(&event, node->data, sizeof event);
    if (node->kind == SRMUDP_EVENT_STATUS)
        on_status(engine, node->owner, &event, now);
    else
        on_closed(node->owner, &event);
    memcpy(node->data, &event, sizeof event);
}

void srm_engine_collect(srm_engine *engine, srm_time now) {
    for (srm_message *next, *node = srm_endpoint_events(engine->core); node != NULL; node = next) {
        next = node->next;
        look_at(engine, node, now);
        srm_engine_emit(engine, node, node->kind);
    }
}

void srm_engine_publish(srm_engine *engine) {
    srmudp_endpoint *endpoint = engine->endpoint;
    srm_message *events = engine->events;
    if (events == NULL)
        return;
    engine->events = NULL;
    engine->events_last = &engine->events;
    if (!srm_mailbox_push_all(&endpoint->events, events))
        return;
    if (endpoint->config.on_ready != NULL)
        endpoint->config.on_ready(endpoint->config.on_ready_context);
    else
        srm_wakefd_set(&endpoint->ready);
}

/* ---- Room in the send buffer ---- */

/* Small messages have a part of the buffer to themselves, so that they never wait behind large ones. */
uint64_t srm_send_limit(const srmudp_config *config, uint64_t cost) {
    uint64_t reserve = srm_u64_min(config->send_buffer / 8, SRM_SEND_RESERVE);
    return cost <= SRM_SEND_SMALL + SRM_MESSAGE_COST ? config->send_buffer : config->send_buffer - reserve;
}

/* Not for each message that leaves: when a quarter of the buffer is free, or SRM_SEND_WAKE, and what was
 * refused fits, or when it is empty. */
static bool has_room(uint64_t buffered, uint64_t wanted, const srmudp_config *config) {
    uint64_t limit = srm_send_limit(config, wanted);
    uint64_t least = srm_u64_max(wanted, srm_u64_min(limit / 4, SRM_SEND_WAKE));
    return buffered == 0 || (buffered < limit && limit - buffered >= least);
}

static void check_room(srm_engine *engine, srmudp_connection *connection) {
    /* The application's additions until it was refused came with its node; ours are ours. */
    uint64_t buffered = atomic_load_explicit(&connection->buffered, memory_order_relaxed);
    if (!has_room(buffered, connection->room_wanted, &engine->endpoint->config))
        return;
    connection->room_wanted = 0;
    srm_engine_emit(engine, connection->own[SRM_OWN_ROOM], SRMUDP_EVENT_WRITABLE);
}

void srm_engine_want_room(srm_engine *engine, srmudp_connection *connection, uint64_t cost) {
    connection->room_wanted = cost;
    check_room(engine, connection);
}

void srm_engine_freed(void *context, void *handle, uint64_t cost) {
    srmudp_connection *connection = handle;
    /* Only a count: the room it tells of is used by new messages, which come through the mailbox. */
    atomic_fetch_sub_explicit(&connection->buffered, cost, memory_order_relaxed);
    if (connection->room_wanted != 0)
        check_room(context, connection);
}
