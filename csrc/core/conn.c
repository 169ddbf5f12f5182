#include "conn.h"

#include <stdlib.h>

/* ---- The queue of connections that may have something to send ---- */

void srm_conn_wake(srm_conn *conn) {
    srm_endpoint *endpoint = conn->endpoint;
    if (conn->sending)
        return;
    conn->sending = true;
    conn->send_next = NULL;
    conn->send_previous = endpoint->sending_last;
    if (endpoint->sending_last != NULL)
        endpoint->sending_last->send_next = conn;
    else
        endpoint->sending_first = conn;
    endpoint->sending_last = conn;
}

static void unqueue(srm_conn *conn) {
    srm_endpoint *endpoint = conn->endpoint;
    if (!conn->sending)
        return;
    conn->sending = false;
    if (conn->send_previous != NULL)
        conn->send_previous->send_next = conn->send_next;
    else
        endpoint->sending_first = conn->send_next;
    if (conn->send_next != NULL)
        conn->send_next->send_previous = conn->send_previous;
    else
        endpoint->sending_last = conn->send_previous;
}

/* One batch went out: the others' turn. */
void srm_conn_rotate(srm_conn *conn) {
    if (!conn->sending || conn->send_next == NULL)
        return;
    unqueue(conn);
    srm_conn_wake(conn);
}

void srm_conn_sent_all(srm_conn *conn, srm_time now) {
    unqueue(conn);
    if (conn->current != NULL)
        srm_conn_line_up(conn, now, srm_conn_data_due(conn, now));
    srm_endpoint_timed_set(conn->endpoint, &conn->timed, srm_conn_deadline(conn, now));
}

srm_conn *srm_conn_next(srm_conn *conn) {
    return conn->next;
}

/* ---- Events ---- */

void srm_conn_emit(srm_conn *conn, srmudp_event *event) {
    if (!conn->released)
        srm_endpoint_emit(conn->endpoint, conn->user, event);
}

void srm_event_node_free(srm_message *node) {
    if (node->kind == SRMUDP_EVENT_UNDELIVERED) {
        srmudp_event event;
        memcpy(&event, node->data, sizeof event);
        srm_message_free_list(event.message);
    }
    srm_message_free(node);
}

/* While no peer is there, one that nobody expects at its address may be the right one: a process that started
 * anew elsewhere. An accepted connection's peer doesn't come back as another. */
static void list_label(srm_conn *conn) {
    srm_table *labels = &conn->endpoint->labels;
    uint64_t key = srm_prefix64(conn->entry.label_hash);
    bool wanted = !conn->accepted && !conn->ended && !srm_conn_alive(conn);
    if (wanted && !conn->listed)
        conn->listed = srm_table_add(labels, key, &conn->entry);
    else if (!wanted && conn->listed) {
        srm_table_remove(labels, key, &conn->entry);
        conn->listed = false;
    }
}

void srm_conn_set_status(srm_conn *conn, srm_time now, srmudp_status status, srmudp_error reason) {
    if (status == SRMUDP_RECONNECTING && conn->status != SRMUDP_RECONNECTING)
        conn->reconnecting_since = now;
    if (status == SRMUDP_ESTABLISHED)
        conn->attempt = 0;
    conn->status = status;
    list_label(conn);
    srmudp_event event = {
        .kind = SRMUDP_EVENT_STATUS, .status = status, .reason = reason, .attempt = conn->attempt};
    if (conn->current != NULL) {
        event.remote = conn->current->remote;
        if (conn->current->peer.has_identity)
            memcpy(event.fingerprint, conn->current->peer.identity, sizeof event.fingerprint);
    }
    srm_conn_emit(conn, &event);
}

/* ---- Life ---- */

static srm_conn *new_conn(srm_endpoint *endpoint, srm_time now, srm_span key, srm_span label) {
    if (endpoint->conn_count >= endpoint->config.max_connections)
        return NULL;
    srm_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->endpoint = endpoint;
    if (!srm_endpoint_timed_add(endpoint, &conn->timed, srm_conn_fire)) {
        free(conn);
        return NULL;
    }
    if (!srm_entry_init(&conn->entry, endpoint, &srm_conn_entry_owner, key, label, now)) {
        srm_endpoint_timed_remove(endpoint, &conn->timed);
        free(conn);
        return NULL;
    }
    srm_outbox_init(&conn->outbox);
    srm_inbox_init(&conn->inbox, endpoint->config.max_message_size, SRM_WINDOW_INITIAL,
                   endpoint->config.receive_buffer);
    conn->peer_max_message = UINT32_MAX;
    conn->close_at = conn->gone_at = SRM_TIME_NEVER;
    conn->next = endpoint->conns;
    conn->previous = &endpoint->conns;
    if (conn->next != NULL)
        conn->next->previous = &conn->next;
    endpoint->conns = conn;
    endpoint->conn_count++;
    return conn;
}

static void register_ids(srm_conn *conn) {
    srm_endpoint *endpoint = conn->endpoint;
    (void)srm_table_add(&endpoint->own_ids, srm_prefix64(conn->entry.connection_id), &conn->entry);
    list_label(conn);
}

static void unregister_ids(srm_conn *conn) {
    srm_endpoint *endpoint = conn->endpoint;
    srm_table_remove(&endpoint->own_ids, srm_prefix64(conn->entry.connection_id), &conn->entry);
    if (conn->listed)
        srm_table_remove(&endpoint->labels, srm_prefix64(conn->entry.label_hash), &conn->entry);
    if (conn->session)
        srm_table_remove(&endpoint->sessions, srm_prefix64(conn->peer_id), &conn->entry);
}

void srm_conn_free(srm_conn *conn) {
    srm_endpoint *endpoint = conn->endpoint;
    unqueue(conn);
    srm_conn_forget_links(conn, true);
    unregister_ids(conn);
    srm_entry_fini(&conn->entry);
    srm_outbox_fini(&conn->outbox);
    srm_inbox_fini(&conn->inbox);
    srm_endpoint_timed_remove(endpoint, &conn->timed);
    *conn->previous = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    endpoint->conn_count--;
    free(conn);
}

/* Those that have a peer are found by its connection id; only who waits for one has its key tried. */
static bool address_busy(srm_endpoint *endpoint, const srmudp_address *address, const srm_entry *like) {
    size_t same = 0, cursor = 0;
    uint64_t hash = srm_address_hash(endpoint, address, true);
    for (srm_entry_address *slot; (slot = srm_table_each(&endpoint->addresses, hash, &cursor)) != NULL;)
        same += !slot->entry->closing && !slot->entry->accepted && slot->entry != like &&
                slot->entry->owner->session(slot->entry) == SRM_SESSION_NONE &&
                srm_address_equal(&slot->address, address) &&
                memcmp(slot->entry->label_hash, like->label_hash, SRM_LABEL_HASH_SIZE) == 0;
    return same >= SRM_OPENS_PER_ADDRESS_MAX;
}

srmudp_error srm_conn_set_addresses(srm_conn *conn, srm_time now, const srmudp_address *addresses,
                                    size_t count) {
    for (size_t i = 0; i < count; i++)
        if (address_busy(conn->endpoint, &addresses[i], &conn->entry))
            return SRMUDP_ADDRESS_BUSY;
    if (!srm_entry_set_addresses(&conn->entry, addresses, count))
        return SRMUDP_NO_MEMORY;
    if (conn->entry.init != NULL)
        conn->entry.init->next_send = now;
    srm_conn_wake(conn);
    return SRMUDP_OK;
}

srmudp_error srm_endpoint_open(srm_endpoint *endpoint, srm_time now, srm_span key, srm_span label,
                               const srmudp_address *addresses, size_t count, void *user, srm_conn **out) {
    endpoint->now = now;
    if (key.size < 1 || key.size > SRM_KEY_MAX_SIZE)
        return SRMUDP_INVALID_KEY;
    if (label.size > SRM_LABEL_MAX_SIZE)
        return SRMUDP_INVALID_ARGUMENT;
    if (endpoint->conn_count >= endpoint->config.max_connections)
        return SRMUDP_TOO_MANY;
    srm_conn *conn = new_conn(endpoint, now, key, label);
    if (conn == NULL)
        return SRMUDP_NO_MEMORY;
    conn->user = user;
    register_ids(conn);
    srmudp_error error = srm_conn_set_addresses(conn, now, addresses, count);
    if (error != SRMUDP_OK) {
        srm_conn_free(conn);
        return error;
    }
    srm_entry_start(&conn->entry, now, true);
    *out = conn;
    return SRMUDP_OK;
}

void srm_conn_accept(srm_listener *listener, srm_time now, const srm_confirmed *run,
                     srm_span session_packets) {
    srm_endpoint *endpoint = listener->endpoint;
    (void)session_packets; /* they reach the new link by its CID, right after this */
    srm_conn *conn = new_conn(endpoint, now, srm_span_of(listener->entry.key, listener->entry.key_size),
                              srm_span_of(listener->entry.label, listener->entry.label_size));
    if (conn == NULL)
        return;
    conn->accepted = conn->entry.accepted = true;
    memcpy(conn->entry.connection_id, run->own_id, sizeof run->own_id);
    register_ids(conn);
    conn->user = endpoint->hooks.accepted(endpoint->hooks.context, listener->user, conn);
    if (conn->user == NULL) {
        srm_conn_free(conn);
        return;
    }
    srmudp_event event = {.kind = SRMUDP_EVENT_ACCEPTED};
    srm_conn_emit(conn, &event);
    srm_entry_take_attempts(&conn->entry, &listener->entry, run->peer_id);
    srm_entry_forget_attempts(&conn->entry, run->created);
    srm_conn_confirmed(conn, now, run);
    if (conn->current != NULL)
        srm_conn_end_predecessors(conn, now);
}

/* ---- Commands ---- */

/* Messages that leave without having been consumed: their room is free again, and they are reported. */
void srm_conn_undelivered(srm_conn *conn, srm_message *list) {
    srmudp_event event = {.kind = SRMUDP_EVENT_UNDELIVERED, .message = list};
    uint64_t cost = 0;
    for (const srm_message *at = list; at != NULL; at = at->next, event.count++)
        cost += srm_message_cost(at);
    if (event.count == 0)
        return;
    if (conn->released) {
        srm_message_free_list(list);
        return;
    }
    if (conn->endpoint->hooks.freed != NULL)
        conn->endpoint->hooks.freed(conn->endpoint->hooks.context, conn->user, cost);
    srm_conn_emit(conn, &event);
}

void srm_conn_send(srm_conn *conn, srm_time now, srm_message *message) {
    (void)now;
    conn->totals.messages_sent++;
    conn->totals.bytes_sent += message->size;
    message->next = NULL;
    if (conn->ended || message->size > conn->peer_max_message || !srm_outbox_push(&conn->outbox, message))
        srm_conn_undelivered(conn, message);
    else
        srm_conn_wake(conn);
}

srm_time srm_conn_rtt_min(const srm_conn *conn) {
    return conn->current != NULL ? conn->current->rtt.min : 0;
}

void srm_conn_consume(srm_conn *conn, srm_time now, srm_message *message) {
    if (!conn->ended)
        srm_inbox_consumed(&conn->inbox, message, now,
                           conn->current != NULL ? conn->current->rtt.smoothed : SRM_RTT_INITIAL);
    srm_message_free(message);
    srm_conn_wake(conn);
}

void srm_conn_close(srm_conn *conn, srm_time now, srm_time timeout) {
    if (conn->ended)
        return;
    conn->closing = true;
    conn->close_at = srm_time_min(conn->close_at, now + timeout);
    bool nothing_left = srm_outbox_empty(&conn->outbox);
    if (timeout <= 0 || nothing_left)
        srm_conn_end(conn, now, false, SRMUDP_OK, SRM_CLOSE_GOODBYE);
    srm_conn_wake(conn);
}

void srm_conn_reconnect(srm_conn *conn, srm_time now) {
    if (conn->ended || conn->closing)
        return;
    if (conn->status == SRMUDP_ESTABLISHED)
        srm_conn_set_status(conn, now, SRMUDP_RECONNECTING, SRMUDP_OK);
    conn->asked_until = now + SRM_INIT_LIFE;
    conn->entry.init_after = now;
    srm_entry_start(&conn->entry, now, true);
}

void srm_conn_release(srm_conn *conn, srm_time now) {
    conn->released = true;
    if (!conn->ended)
        srm_conn_end(conn, now, false, SRMUDP_OK, SRM_CLOSE_GOODBYE);
    if (conn->gone_at == SRM_TIME_NEVER)
        conn->gone_at = now; /* freed by the timer: we may be inside one of its callbacks */
    srm_conn_wake(conn);
}

/* The peer may have gone over to one of them already, and know no other keys any more. */
static void close_candidates(srm_conn *conn, srm_time now) {
    for (srm_link *link = conn->candidates, *next; link != NULL; link = next) {
        next = link->next;
        if (srm_conn_same_session(conn, link))
            srm_conn_close_link(link, now);
        else
            srm_conn_drop_candidate(conn, link);
    }
}

void srm_conn_end(srm_conn *conn, srm_time now, bool failed, srmudp_error reason, uint8_t code) {
    if (conn->ended)
        return;
    conn->ended = conn->entry.closing = true;
    conn->close_reason = reason;
    srm_entry_stop(&conn->entry);
    srm_entry_forget_attempts(&conn->entry, SRM_TIME_NEVER);
    srm_conn_set_status(conn, now, failed ? SRMUDP_FAILED : SRMUDP_STATUS_CLOSED, reason);
    srm_conn_undelivered(conn, srm_outbox_take_all(&conn->outbox));
    srmudp_event event = {.kind = SRMUDP_EVENT_CLOSED, .status = conn->status, .reason = reason};
    srm_conn_emit(conn, &event);
    if (conn->current != NULL && code != UINT8_MAX) {
        conn->close_code = code;
        srm_conn_close_link(conn->current, now);
        close_candidates(conn, now);
        conn->gone_at = now + srm_time_min(SRM_CLOSE_LINGER, 8 * conn->current->close_wait);
    } else {
        srm_conn_forget_links(conn, true);
        conn->gone_at = now;
    }
    srm_conn_wake(conn);
}

/* ---- Statistics ---- */

static void add_link(srmudp_stats *out, const srm_link *link) {
    out->packets_sent += link->sent.next;
    out->packets_lost += link->sent.packets_lost;
    out->packets_spurious += link->sent.packets_late;
}

void srm_conn_count_link(srm_conn *conn, const srm_link *link) {
    add_link(&conn->totals, link);
}

void srm_conn_stats(const srm_conn *conn, srm_time now, srmudp_stats *out) {
    *out = conn->totals;
    out->status = conn->status;
    out->attempt = conn->attempt;
    out->wrong_keys = conn->entry.wrong_keys;
    out->messages_unconsumed = srm_outbox_count(&conn->outbox);
    out->bytes_unconsumed = srm_outbox_cost(&conn->outbox) - out->messages_unconsumed * SRM_MESSAGE_COST;
    out->duplicates = srm_inbox_duplicates(&conn->inbox);
    out->guesses_left = srm_bucket_level(&conn->entry.key_bucket->bucket, SRM_GUESS_KEY, now);
    const srm_link *link = conn->current;
    if (link == NULL)
        return;
    add_link(out, link);
    out->remote = link->remote;
    out->bytes_in_flight = link->sent.in_flight;
    out->congestion_window = srm_cc_window(&link->path->cc);
    out->pacing_rate = srm_cc_pacing_rate(&link->path->cc);
    if (srm_rtt_has_sample(&link->rtt)) {
        out->rtt_us = (uint64_t)(link->rtt.smoothed / SRM_MICROSECOND);
        out->rtt_min_us = (uint64_t)(link->rtt.min / SRM_MICROSECOND);
        out->rtt_var_us = (uint64_t)(link->rtt.variance / SRM_MICROSECOND);
    }
    out->mtu = (uint32_t)srm_mtu_current(&link->path->mtu);
    out->aead = link->aead_kind;
}
