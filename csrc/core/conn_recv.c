#include "conn.h"

#include "msgframe.h"

#include <stdlib.h>

/* ---- What an ACK, or the loss timer, tells ---- */

static void frame_acked(void *context, const srm_sent_frame *frame) {
    srm_link *link = context;
    switch (frame->kind) {
    case SRM_SENT_MSG:
    case SRM_SENT_COPY:
        srm_outbox_acked(&link->conn->outbox, frame->channel, frame->number, frame->offset, frame->length);
        break;
    case SRM_SENT_ACK:
        srm_acks_on_ack_acked(&link->acks, frame->number);
        break;
    case SRM_SENT_PROBE:
        if (link == link->path->prober)
            srm_mtu_on_probe_acked(&link->path->mtu, link->event_now, frame->length);
        break;
    default:
        break;
    }
}

static void frame_lost(void *context, const srm_sent_frame *frame) {
    srm_link *link = context;
    switch (frame->kind) {
    case SRM_SENT_MSG:
        srm_outbox_lost(&link->conn->outbox, frame->channel, frame->number, frame->offset, frame->length);
        break;
    case SRM_SENT_MAX_DATA:
        link->max_data_due = true;
        break;
    case SRM_SENT_BLOCKED:
        link->blocked_due = true;
        break;
    case SRM_SENT_CONSUMED:
        srm_inbox_consumed_lost(&link->conn->inbox, frame->channel);
        break;
    case SRM_SENT_PROBE:
        if (link == link->path->prober)
            srm_mtu_on_probe_lost(&link->path->mtu, link->event_now, frame->length);
        break;
    default:
        break;
    }
}

srm_sent_sink srm_conn_sink(srm_link *link) {
    return (srm_sent_sink){frame_acked, frame_lost, link};
}

/* What others on the path heard meanwhile contradicts this link's bad news. */
static srm_cc_sample seen_by_all(const srm_path *path, const srm_sent_event *event) {
    srm_cc_sample sample = event->sample;
    sample.persistent_congestion &=
        path->links == 1 || path->flight.delivered_time <= sample.largest_lost_sent;
    return sample;
}

/* Many links find out one after the other about the packets that one overflow took from all of them: that is
 * one loss. Small packets that were lost with the large ones always count: they speak against a black hole.
 */
static void tell_mtu_of_loss(srm_path *path, srm_time now, const srm_sent_event *event) {
    if (event->sample.largest_lost_sent < path->loss_told && event->lost_size_min > SRM_DATAGRAM_MIN_MTU)
        return;
    path->loss_told = now;
    srm_mtu_on_packets_lost(&path->mtu, now, event->lost_size_min);
}

static void tell_path(srm_path *path, srm_link *link, srm_time now, const srm_sent_event *event) {
    if (event->undo && path->loser == link)
        srm_cc_on_spurious_loss(&path->cc, now, event->undo_bytes);
    if (event->has_sample) {
        srm_cc_sample sample = seen_by_all(path, event);
        srm_cc_on_sample(&path->cc, &sample);
    }
    if (event->sample.lost_bytes > 0)
        path->loser = link;
    if (event->sample.rtt > 0)
        path->round_trip = link->rtt.smoothed;
    if (event->acked_size_max > 0)
        srm_mtu_on_packets_acked(&path->mtu, now, event->acked_size_max);
    if (event->lost_size_min > 0)
        tell_mtu_of_loss(path, now, event);
}

/* Others don't wait for what is not answered: only this link's probes go out until it is. */
static bool must_stand_aside(const srm_link *link) {
    return link->path->links > 1 && link->sent.pto_count >= SRM_ASIDE_PTOS;
}

void srm_conn_apply_sent_event(srm_conn *conn, srm_link *link, srm_time now, const srm_sent_event *event) {
    tell_path(link->path, link, now, event);
    srm_sent_stand_aside(&link->sent, must_stand_aside(link));
    if (event->has_sample && event->sample.rtt > 0) {
        srm_acks_set_rtt(&link->acks, link->rtt.smoothed);
        uint64_t packets = srm_cc_window(&link->path->cc) / SRM_DATAGRAM_MIN_MTU;
        srm_replay_want(&link->replay, 2 * packets);
    }
    srm_repair_out_on_event(&link->repair_out, now, event->acked_packets - event->late_packets,
                            event->lost_packets);
    srm_marks_on_ack(&link->marks, &link->sent, event);
    if (event->probes > 0) {
        link->probes = event->probes;
        if (link == conn->current && !srm_outbox_probe(&conn->outbox))
            link->ping = true;
    }
    srm_conn_next_turn(conn->endpoint, link->path, now);
}

/* ---- Frames ---- */

typedef struct packet_in {
    srm_link *link;
    srm_time now;
    const srmudp_address *from;
    bool eliciting, immediate;
    bool unready; /* not acknowledged, as if it had not come: the peer sends it again */
    int refusal;  /* a CLOSE code: the authenticated peer broke the protocol; -1 */
    bool gone;    /* the link, maybe the connection, is no more */
} packet_in;

static bool on_ack(packet_in *p, srm_reader *r, uint8_t type) {
    srm_ack_frame frame;
    srm_sent_event event;
    srm_link *link = p->link;
    if (!srm_ack_read(r, type, &frame))
        return false;
    srm_sent_sink sink = srm_conn_sink(link);
    link->event_now = p->now;
    if (srm_sent_on_ack(&link->sent, &frame, p->now, &link->rtt, &sink, &event) != SRM_SENT_OK)
        return false;
    srm_conn_apply_sent_event(link->conn, link, p->now, &event);
    return true;
}

static void count_consumed(srm_conn *conn, uint8_t channel, srm_message *list) {
    srmudp_event event = {.kind = SRMUDP_EVENT_CONSUMED, .channel = channel};
    uint64_t cost = 0;
    if (list == NULL)
        return;
    for (srm_message *next; list != NULL; list = next) {
        next = list->next;
        cost += srm_message_cost(list);
        event.count = list->sequence;
        srm_message_free(list);
    }
    if (conn->endpoint->hooks.freed != NULL && !conn->released)
        conn->endpoint->hooks.freed(conn->endpoint->hooks.context, conn->user, cost);
    srm_conn_emit(conn, &event);
}

static bool on_consumed(packet_in *p, srm_reader *r) {
    srm_conn *conn = p->link->conn;
    uint8_t channel = srm_read_u8(r);
    uint64_t next = srm_read_varint(r);
    srm_message *list = NULL;
    if (r->failed || !srm_outbox_consumed(&conn->outbox, channel, next, &list))
        return false;
    count_consumed(conn, channel, list);
    return true;
}

static void deliver(srm_conn *conn) {
    for (srm_message *message; (message = srm_inbox_take(&conn->inbox)) != NULL;) {
        conn->totals.messages_received++;
        conn->totals.bytes_received += message->size;
        if (conn->released)
            srm_message_free(message);
        else
            srm_endpoint_emit_node(conn->endpoint, conn->user, message, SRMUDP_EVENT_MESSAGE);
    }
}

/* A message, or a piece of one, for the inbox. False: it breaks the protocol. */
static bool give(packet_in *p, const srm_fragment_in *fragment) {
    srm_conn *conn = p->link->conn;
    switch (srm_inbox_on_fragment(&conn->inbox, fragment)) {
    case SRM_INBOX_TAKEN:
    case SRM_INBOX_DUPLICATE:
        return true;
    case SRM_INBOX_COMPLETE:
        deliver(conn);
        return true;
    case SRM_INBOX_NO_MEMORY:
        p->unready = true;
        return true;
    case SRM_INBOX_FLOW_CONTROL:
        p->refusal = SRM_CLOSE_FLOW_CONTROL;
        return false;
    case SRM_INBOX_MALFORMED:
        return false;
    }
    return false;
}

/* Messages that were lost, and that what came now tells. */
static bool give_recovered(packet_in *p) {
    srm_fragment_in fragment;
    while (srm_repair_in_take(p->link->repair_in, &fragment))
        if (!give(p, &fragment))
            return false;
    return true;
}

static bool on_msg(packet_in *p, srm_reader *r, uint8_t type) {
    srm_fragment_in fragment;
    if (!srm_msg_frame_read(r, type, &fragment) || !give(p, &fragment))
        return false;
    if (p->link->repair_in == NULL || p->unready)
        return true;
    srm_repair_in_on_message(p->link->repair_in, &fragment);
    return give_recovered(p);
}

/* What came before anything was kept for repairs can't be taken out of them again. */
static bool is_useful(const srm_link *link, const srm_repair *repair) {
    uint16_t unknown = srm_repair_in_unknown(link->repair_in, repair);
    for (unsigned i = 0; i < SRM_REPAIR_SPAN; i++)
        if ((unknown >> i & 1) != 0 && srm_inbox_has(&link->conn->inbox, repair->channel, repair->first + i))
            return false;
    return unknown != 0;
}

static bool on_repair(packet_in *p, srm_reader *r) {
    srm_link *link = p->link;
    srm_repair repair;
    if (!srm_repair_frame_read(r, &repair))
        return false;
    if (link->repair_in == NULL)
        link->repair_in = srm_repair_in_new(p->now);
    if (link->repair_in == NULL)
        return true;
    link->repair_in->used = p->now;
    if (!is_useful(link, &repair))
        return true;
    srm_repair_in_on_repair(link->repair_in, &repair);
    return give_recovered(p);
}

static void on_challenge(packet_in *p, srm_reader *r) {
    srm_link *link = p->link;
    srm_read_copy(r, link->response, sizeof link->response);
    link->respond_due = !r->failed;
    link->respond_to = *p->from;
    link->answered = p->now;
}

/* A peer that closed says so under the keys of any run of the session: it may have none in common with us
 * that we use. That it is busy with another process doesn't end what lives. */
static bool ends_session(const srm_link *link, uint64_t code) {
    const srm_conn *conn = link->conn;
    if (link == conn->current)
        return true;
    return !srm_conn_is_foreign(link) && (code != SRM_CLOSE_PEER_BUSY || !srm_conn_alive(conn));
}

static bool on_close(packet_in *p, srm_reader *r) {
    srm_conn *conn = p->link->conn;
    uint64_t code = srm_read_varint(r);
    srm_read_bytes(r, srm_read_varint(r));
    if (r->failed)
        return false;
    p->gone = true;
    if (!ends_session(p->link, code)) {
        srm_conn_drop_candidate(conn, p->link);
        return true;
    }
    if (code == SRM_CLOSE_PEER_BUSY) {
        srm_conn_end(conn, p->now, true, SRMUDP_PEER_BUSY, UINT8_MAX);
    } else if (code == SRM_CLOSE_GOODBYE) {
        srmudp_event event = {.kind = SRMUDP_EVENT_PEER_CLOSED};
        srm_conn_emit(conn, &event);
        srm_conn_end(conn, p->now, false, SRMUDP_PEER_CLOSED, UINT8_MAX);
    } else {
        srm_conn_end(conn, p->now, true,
                     code == SRM_CLOSE_LOST ? SRMUDP_CONNECTION_LOST : SRMUDP_PROTOCOL_VIOLATION, UINT8_MAX);
    }
    return true;
}

static bool on_session_frame(packet_in *p, srm_reader *r, uint8_t type) {
    srm_conn *conn = p->link->conn;
    if (srm_conn_is_foreign(p->link)) {
        p->unready = true;
        return false;
    }
    if ((type & 0xf0) == SRM_MSG_TYPE)
        return on_msg(p, r, type);
    uint64_t value;
    switch (type) {
    case SRM_ACK_TYPE:
    case SRM_ACK_ECN_TYPE:
        return on_ack(p, r, type);
    case SRM_FRAME_MAX_DATA:
        value = srm_read_varint(r);
        if (!r->failed)
            srm_outbox_max_data(&conn->outbox, value);
        return true;
    case SRM_FRAME_DATA_BLOCKED:
        value = srm_read_varint(r);
        if (!r->failed && srm_inbox_on_blocked(&conn->inbox, value))
            p->link->max_data_due = true;
        return true;
    case SRM_FRAME_CONSUMED:
        return on_consumed(p, r);
    case SRM_FRAME_REPAIR:
        return on_repair(p, r);
    default:
        return false;
    }
}

/* One frame. False: malformed. */
static bool on_frame(packet_in *p, srm_reader *r) {
    uint8_t type = srm_read_u8(r);
    if (type == SRM_FRAME_PADDING)
        return true;
    if (type != SRM_ACK_TYPE && type != SRM_ACK_ECN_TYPE && type != SRM_FRAME_CLOSE)
        p->eliciting = true;
    switch (type) {
    case SRM_FRAME_PING:
        return true;
    case SRM_FRAME_IMMEDIATE_ACK:
        p->immediate = true;
        return true;
    case SRM_FRAME_CLOSE:
        return on_close(p, r);
    case SRM_FRAME_CHALLENGE:
        on_challenge(p, r);
        return !r->failed;
    case SRM_FRAME_RESPONSE: {
        uint8_t data[8];
        srm_read_copy(r, data, sizeof data);
        if (!r->failed)
            srm_conn_on_response(p->link, p->now, data);
        return !r->failed;
    }
    default:
        return on_session_frame(p, r, type);
    }
}

/* ---- Packets ---- */

static void count_dropped(srm_conn *conn, srm_endpoint *endpoint, srm_open_result result) {
    conn->totals.dropped_forged += result == SRM_OPEN_FORGED;
    conn->totals.dropped_replayed += result == SRM_OPEN_REPLAYED;
    conn->totals.dropped_malformed += result == SRM_OPEN_MALFORMED;
    endpoint->stats.dropped_forged += result == SRM_OPEN_FORGED;
    endpoint->stats.dropped_replayed += result == SRM_OPEN_REPLAYED;
    endpoint->stats.dropped_malformed += result == SRM_OPEN_MALFORMED;
}

static bool asks_for_path(const srm_link *link, const srmudp_address *to) {
    return link->challenge_open && link->challenge_purpose == SRM_CHALLENGE_PATH &&
           srm_address_equal(&link->challenge_to, to);
}

/* The path follows the newest packet, once the new address has answered a CHALLENGE. Until then no more goes
 * there than came from there: who moved the packet there may not be who made it. */
static void follow_path(srm_link *link, srm_time now, const srmudp_address *from, uint64_t number,
                        size_t size) {
    if (number < link->highest)
        return;
    link->highest = number;
    if (link->state != SRM_LINK_CURRENT || srm_address_equal(&link->remote, from))
        return;
    if (!asks_for_path(link, from))
        srm_conn_challenge(link, now, SRM_CHALLENGE_PATH, from);
    if (!asks_for_path(link, from))
        return;
    link->challenge_room += size;
    link->challenge_due |= link->challenge_at == SRM_TIME_NEVER;
}

/* Something under its keys came: the peer lives. */
static void revive(srm_conn *conn, srm_time now, const srm_link *link) {
    if (link != conn->current)
        return;
    conn->silent = false;
    if (conn->status != SRMUDP_RECONNECTING || now < conn->asked_until)
        return;
    srm_entry_stop(&conn->entry);
    srm_conn_set_status(conn, now, SRMUDP_ESTABLISHED, SRMUDP_OK);
}

static void note_heard(srm_link *link, srm_time now) {
    link->heard = now;
    free(link->confirm);
    link->confirm = NULL;
    link->confirm_at = SRM_TIME_NEVER;
}

static void on_frames(packet_in *p, srm_span frames, uint64_t number, uint8_t ecn) {
    srm_link *link = p->link;
    srm_conn *conn = link->conn;
    srm_reader r = srm_reader_of(frames);
    bool malformed = frames.size == 0;
    while (srm_reader_left(&r) > 0 && !malformed && !p->gone)
        malformed = !on_frame(p, &r) || r.failed;
    if (p->gone || p->unready || conn->ended)
        return;
    if (malformed) {
        conn->totals.dropped_malformed++;
        if (link != conn->current) { /* maybe another process's: no reason to end what lives */
            srm_conn_drop_candidate(conn, link);
            return;
        }
        srm_conn_end(conn, p->now, true, SRMUDP_PROTOCOL_VIOLATION,
                     (uint8_t)(p->refusal >= 0 ? p->refusal : SRM_CLOSE_PROTOCOL));
        return;
    }
    srm_acks_on_packet(&link->acks, number, p->now, p->eliciting, (srm_ecn)(ecn & 3), p->immediate);
    if (conn->closing && srm_outbox_empty(&conn->outbox))
        srm_conn_end(conn, p->now, false, SRMUDP_OK, SRM_CLOSE_GOODBYE);
}

/* The peer missed our CLOSE, maybe because it is somewhere else by now: a few bytes need no CHALLENGE. */
static void say_close_again(srm_link *link, srm_time now, const srmudp_address *from, uint64_t number) {
    if (number >= link->highest) {
        link->highest = number;
        link->remote = *from;
    }
    link->close_due |= now - link->close_said >= SRM_CLOSE_EACH;
    srm_conn_wake(link->conn);
}

void srm_conn_on_packet(srm_link *link, srm_time now, uint8_t *data, size_t size, const srmudp_address *from,
                        uint8_t ecn) {
    srm_conn *conn = link->conn;
    uint64_t number;
    srm_span frames;
    srm_open_result result = srm_link_packet_open(link, now, data, size, &number, &frames);
    if (result != SRM_OPEN_FINE) {
        count_dropped(conn, conn->endpoint, result);
        if (link->forged == SRM_FORGED_MAX &&
            link == conn->current) /* [R31]; strangers end no session [R23] */
            srm_conn_reconnect(conn, now);
        return;
    }
    conn->totals.packets_received++;
    conn->totals.udp_bytes_received += size;
    note_heard(link, now);
    if (conn->ended || link->state == SRM_LINK_CLOSING) {
        say_close_again(link, now, from, number);
        return;
    }
    packet_in p = {.link = link, .now = now, .from = from, .refusal = -1};
    revive(conn, now, link);
    follow_path(link, now, from, number, size);
    on_frames(&p, frames, number, ecn);
    srm_conn_wake(conn);
}
