#include "conn.h"

#include "msgframe.h"

/* What goes out next: the packets of one link at a time, as many as fit one batch. */

typedef struct packet_plan {
    srm_conn *conn;
    srm_link *link;
    srm_time now;
    srmudp_address to;
    bool data; /* messages may go in: window and pacing allow it, or it is a probe */
    bool eliciting;
    bool any;
    bool probe;  /* of the probe timer: whatever the window says */
    bool marked; /* ECT(0): the datagrams of one batch all are, or none */
} packet_plan;

static void record(packet_plan *p, uint8_t kind, uint8_t channel, uint64_t number, uint32_t offset,
                   size_t length) {
    srm_sent_frame frame = {
        .kind = kind, .channel = channel, .number = number, .offset = offset, .length = (uint32_t)length};
    (void)srm_sent_add_frame(&p->link->sent, &frame);
    p->any = true;
}

static void write_ack(packet_plan *p, srm_writer *w) {
    srm_acks *acks = &p->link->acks;
    uint64_t largest;
    if (!srm_acks_pending(acks) && !srm_acks_due(acks, p->now))
        return;
    if (!srm_acks_write(acks, p->now, w, srm_writer_left(w), &largest))
        return;
    record(p, SRM_SENT_ACK, 0, largest, 0, 0);
    if (srm_acks_take_elicit(acks))
        p->link->ping = true;
}

/* To an address that is not proved goes no more than came from there. */
static bool has_challenge_room(const packet_plan *p, const srm_writer *w) {
    const srm_link *link = p->link;
    size_t size = 1 + SRM_CID_SIZE + SRM_PACKET_BODY_MIN + srm_aead_tag_size(link->aead_kind);
    return link->challenge_purpose != SRM_CHALLENGE_PATH || size + srm_writer_used(w) <= link->challenge_room;
}

static void write_challenge(packet_plan *p, srm_writer *w) {
    srm_link *link = p->link;
    link->challenge_due = false;
    if (!has_challenge_room(p, w)) {
        link->challenge_at = SRM_TIME_NEVER;
        return;
    }
    link->challenge_at = p->now + link->challenge_wait;
    if (link->challenge_purpose != SRM_CHALLENGE_SILENCE) /* a living peer must not be taken for dead */
        link->challenge_wait *= 2;
    srm_write_u8(w, SRM_FRAME_CHALLENGE);
    srm_write_bytes(w, srm_span_of(link->challenge, sizeof link->challenge));
    p->any = p->eliciting = true;
}

static void write_challenges(packet_plan *p, srm_writer *w) {
    srm_link *link = p->link;
    if (link->respond_due && srm_writer_left(w) >= 9 && srm_address_equal(&link->respond_to, &p->to)) {
        link->respond_due = false;
        srm_write_u8(w, SRM_FRAME_RESPONSE);
        srm_write_bytes(w, srm_span_of(link->response, sizeof link->response));
        p->any = p->eliciting = true;
    }
    if (link->challenge_due && srm_writer_left(w) >= 9 && srm_address_equal(&link->challenge_to, &p->to))
        write_challenge(p, w);
}

static void write_max_data(packet_plan *p, srm_writer *w) {
    srm_link *link = p->link;
    uint64_t limit;
    if (srm_writer_left(w) < 9)
        return;
    if (!srm_inbox_max_data_due(&p->conn->inbox) && !link->max_data_due)
        return;
    limit = srm_inbox_max_data_announce(&p->conn->inbox);
    link->max_data_due = false;
    srm_write_u8(w, SRM_FRAME_MAX_DATA);
    srm_write_varint(w, limit);
    record(p, SRM_SENT_MAX_DATA, 0, limit, 0, 0);
    p->eliciting = true;
}

static void write_consumed(packet_plan *p, srm_writer *w) {
    uint8_t channel;
    uint64_t next;
    while (srm_writer_left(w) >= 10 && srm_inbox_next_consumed(&p->conn->inbox, &channel, &next)) {
        srm_write_u8(w, SRM_FRAME_CONSUMED);
        srm_write_u8(w, channel);
        srm_write_varint(w, next);
        record(p, SRM_SENT_CONSUMED, channel, next, 0, 0);
        p->eliciting = true;
    }
}

static void write_blocked(packet_plan *p, srm_writer *w) {
    uint64_t need;
    if (!p->link->blocked_due || srm_writer_left(w) < 9)
        return;
    p->link->blocked_due = false;
    if (!srm_outbox_blocked(&p->conn->outbox, &need))
        return;
    srm_write_u8(w, SRM_FRAME_DATA_BLOCKED);
    srm_write_varint(w, need);
    record(p, SRM_SENT_BLOCKED, 0, need, 0, 0);
    p->eliciting = true;
}

/* What a repair covers: the newest messages of one channel that nobody acknowledged. */
typedef struct cover {
    const srm_message *messages[SRM_REPAIR_WINDOW];
    size_t count;
    uint64_t newest;
} cover;

/* A combination is as long as the longest message in it: one that is much longer than who pays is left to its
 * own like, or one large message among small ones would make each of them pay for its size. */
static cover find_cover(const packet_plan *p, const srm_repair_entry *payer, size_t size) {
    cover c = {.count = 0};
    size_t limit = srm_size_max(2 * size, SRM_REPAIR_SIZE_FREE);
    srm_repair_entry *entry;
    for (size_t at = 0; (entry = srm_repair_out_covered(&p->link->repair_out, payer, &at)) != NULL; at++) {
        const srm_message *message = srm_outbox_find(&p->conn->outbox, entry->channel, entry->number);
        entry->gone = message == NULL;
        if (message == NULL || message->size > limit)
            continue;
        c.messages[c.count++] = message;
        c.newest = srm_u64_max(c.newest, entry->number);
    }
    return c;
}

/* The frame for a cover; messages too far behind the newest are left out of it. */
static srm_repair repair_of(const srm_repair_out *out, const cover *c) {
    SRM_ASSERT(c->count > 0 && c->messages[0] != NULL);
    srm_repair repair = {
        .first = c->newest, .channel = c->messages[0]->channel, .index = out->index, .symbol = {NULL, 0}};
    for (size_t i = 0; i < c->count; i++)
        if (c->newest - c->messages[i]->number < SRM_REPAIR_SPAN)
            repair.first = srm_u64_min(repair.first, c->messages[i]->number);
    for (size_t i = 0; i < c->count; i++) {
        const srm_message *message = c->messages[i];
        if (message->number < repair.first)
            continue;
        repair.mask |= (uint16_t)(1u << (message->number - repair.first));
        repair.symbol.size = srm_size_max(repair.symbol.size, SRM_REPAIR_HEAD + message->size);
    }
    return repair;
}

static void write_combination(srm_writer *w, const cover *c, const srm_repair *repair) {
    srm_repair_part parts[SRM_REPAIR_WINDOW];
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        const srm_message *message = c->messages[i];
        if (message->number >= repair->first)
            parts[count++] = (srm_repair_part){.data = srm_span_of(message->data, message->size),
                                               .flags = message->flags,
                                               .factor = srm_repair_factor(repair->index, message->number)};
    }
    srm_repair_combine(srm_repair_frame_write(w, repair), repair->symbol.size, parts, count);
}

/* One repair of what this message's channel has under way; false: it doesn't fit into this packet. */
static bool write_repair(packet_plan *p, srm_writer *w, const srm_repair_entry *payer) {
    srm_repair_out *out = &p->link->repair_out;
    const srm_message *own = srm_outbox_find(&p->conn->outbox, payer->channel, payer->number);
    if (own == NULL) {
        srm_repair_out_waive(out, payer);
        return true;
    }
    cover c = find_cover(p, payer, own->size);
    SRM_ASSERT(c.count > 0); /* the payer's own, if nothing else */
    srm_repair repair = repair_of(out, &c);
    srm_fragment copy = {.message = c.messages[0], .length = c.messages[0]->size, .whole = true};
    size_t size = c.count > 1 ? srm_repair_frame_size(&repair) : srm_msg_frame_overhead(&copy) + copy.length;
    if (size > srm_writer_left(w))
        return false;
    if (!srm_repair_out_afford(out, p->now, srm_cc_pacing_rate(&p->link->path->cc), size)) {
        srm_repair_out_waive(out, payer);
        return true;
    }
    if (c.count > 1) {
        write_combination(w, &c, &repair);
    } else { /* its acknowledgement is one of the message */
        record(p, SRM_SENT_COPY, copy.message->channel, copy.message->number, 0, copy.length);
        srm_msg_frame_write(w, &copy);
    }
    srm_repair_out_sent(out, payer, p->now, p->link->sent.next, p->link->rtt.smoothed);
    p->any = p->eliciting = true;
    return true;
}

static void write_repairs(packet_plan *p, srm_writer *w) {
    const srm_link *link = p->link;
    const srm_repair_entry *payer;
    while ((payer = srm_repair_out_payer(&link->repair_out, p->now, link->sent.next)) != NULL)
        if (!write_repair(p, w, payer))
            return;
}

static void write_messages(packet_plan *p, srm_writer *w) {
    srm_outbox *outbox = &p->conn->outbox;
    srm_repair_out *out = &p->link->repair_out;
    srm_fragment fragment;
    while (srm_outbox_next(outbox, srm_writer_left(w), &fragment)) {
        srm_sent_frame frame = {.kind = SRM_SENT_MSG,
                                .channel = fragment.message->channel,
                                .number = fragment.message->number,
                                .offset = fragment.offset,
                                .length = fragment.length};
        if (!srm_sent_add_frame(&p->link->sent, &frame))
            return;
        srm_msg_frame_write(w, &fragment);
        srm_outbox_sent(outbox, &fragment);
        bool streams = srm_repair_out_on_trial(out, p->now) && srm_outbox_ready(outbox);
        if (fragment.whole && !streams)
            srm_repair_out_note(out, p->now, frame.channel, frame.number, frame.length, fragment.again,
                                p->link->sent.next, p->link->rtt.smoothed);
        p->any = p->eliciting = true;
    }
}

static void write_frames(packet_plan *p, srm_writer *w) {
    srm_link *link = p->link;
    bool mine = srm_address_equal(&p->to, &link->remote);
    write_challenges(p, w);
    if (!mine || srm_conn_is_foreign(link))
        return;
    write_ack(p, w);
    if (link == p->conn->current) {
        write_max_data(p, w);
        write_consumed(p, w);
        write_blocked(p, w);
        if (p->data) {
            write_repairs(p, w);
            write_messages(p, w);
        }
    }
    if (link->ping && srm_writer_left(w) >= 1) {
        link->ping = false;
        srm_write_u8(w, SRM_FRAME_PING);
        p->any = p->eliciting = true;
    }
    if (p->probe && p->any && srm_writer_left(w) >= 1)
        srm_write_u8(w, SRM_FRAME_IMMEDIATE_ACK);
}

/* Whether the link has anything to say besides messages. */
static bool control_due(const srm_conn *conn, const srm_link *link, srm_time now) {
    if (link->ping || link->max_data_due || link->blocked_due || srm_acks_due(&link->acks, now))
        return true;
    return link == conn->current && (srm_inbox_max_data_due(&conn->inbox) ||
                                     srm_inbox_consumed_since(&conn->inbox) <= now - SRM_CONSUMED_DELAY);
}

/* Writes one packet of at most `size` bytes; 0 when there is nothing to say. With `fill` it is padded to that
 * size if more messages wait: only packets of one size make a batch. */
static size_t build(packet_plan *p, uint8_t *buffer, size_t size, bool fill) {
    srm_link *link = p->link;
    srm_path *path = link->path;
    srm_packet_out out;
    if (!srm_sent_begin(&link->sent))
        return 0;
    srm_link_packet_begin(link, buffer, size, &out);
    p->any = p->eliciting = false;
    write_frames(p, &out.w);
    if (!p->any) {
        srm_sent_abort(&link->sent);
        return 0;
    }
    if (fill && p->data && srm_outbox_ready(&p->conn->outbox))
        srm_write_zeros(&out.w, srm_writer_left(&out.w));
    size_t total = srm_link_packet_finish(link, &out);
    bool off_path = !srm_address_equal(&p->to, &link->remote);
    uint64_t before = path->flight.in_flight;
    srm_sent_commit(&link->sent, p->now, total,
                    (p->eliciting ? SRM_SENT_ELICITING : 0) | (p->probe ? SRM_SENT_PTO_PROBE : 0) |
                        (off_path ? SRM_SENT_OFF_PATH : 0) | (p->marked ? SRM_SENT_ECT0 : 0));
    if (p->marked && p->eliciting)
        srm_marks_on_sent(&link->marks);
    if (p->eliciting && !off_path) {
        if (before == 0)
            srm_cc_on_idle_restart(&path->cc, p->now);
        srm_cc_on_sent(&path->cc, p->now, total, path->flight.in_flight);
        srm_pacer_on_sent(&path->pacer, p->now, total);
    }
    if (off_path && srm_address_equal(&p->to, &link->challenge_to))
        link->challenge_room -= srm_u64_min(link->challenge_room, total);
    p->conn->totals.udp_bytes_sent += total;
    return total;
}

static size_t packet_size(const srm_link *link) {
    return srm_path_packet_size(link->path, link->peer.max_datagram);
}

/* An application that sends little is not what fills a queue: up to the initial window it may send at once,
 * whatever random losses or a probe for the RTT made of the congestion window, and whoever waits for room.
 * Not while probes go unanswered. */
static uint64_t thin_allowance(const srm_link *link) {
    if (link->path->links > 1 && link->sent.acked_end == 0) /* a newcomer says something first */
        return SRM_CC_PACKET - srm_u64_min(link->sent.in_flight, SRM_CC_PACKET);
    if (link->sent.app_limited_until == 0 || link->sent.pto_count > 0 ||
        link->sent.in_flight >= SRM_CC_INITIAL_WINDOW)
        return 0;
    return SRM_CC_INITIAL_WINDOW - link->sent.in_flight;
}

/* Bytes that window and pacing of the path leave. */
static uint64_t path_allowance(const srm_conn *conn, srm_path *path, srm_time now) {
    uint64_t paced = srm_pacer_allowance(&path->pacer, now, srm_cc_pacing_rate(&path->cc),
                                         srm_path_quantum(path, conn->endpoint->busy_count));
    return srm_u64_min(srm_path_room(path), paced);
}

/* Bytes of messages that may go now. */
static size_t budget(srm_conn *conn, srm_link *link, srm_time now) {
    if (link != conn->current)
        return 0;
    uint64_t shared = srm_conn_may_take(conn, link) ? path_allowance(conn, link->path, now) : 0;
    return (size_t)srm_u64_max(shared, thin_allowance(link));
}

bool srm_conn_data_due(const srm_conn *conn, srm_time now) {
    const srm_link *link = conn->current;
    if (conn->ended || link == NULL || link->state != SRM_LINK_CURRENT || link->sent.aside)
        return false;
    return srm_outbox_ready(&conn->outbox) || srm_repair_out_deadline(&link->repair_out) <= now;
}

/* Fills the batch with packets of one size; the last may be shorter. */
static size_t build_batch(packet_plan *p, uint8_t *buffer, size_t capacity, bool batch, size_t *segment) {
    srm_link *link = p->link;
    size_t most = srm_size_min(packet_size(link), capacity), total = 0, taken = 0;
    size_t left = budget(p->conn, link, p->now);
    size_t limit = batch ? srm_size_min(capacity, SRM_TRANSMIT_MAX_BYTES) : most;
    for (size_t count = 0; count < SRM_TRANSMIT_MAX_SEGMENTS && limit - total >= most; count++) {
        bool control = control_due(p->conn, link, p->now);
        p->probe = link->probes > 0;
        p->data = p->probe || (left >= most / 2 && srm_conn_data_due(p->conn, p->now));
        if (!p->data && !control)
            break;
        size_t allowed = count == 0 ? most : *segment;
        if (p->probe) /* it must get through, even if the path no longer carries large packets */
            allowed = srm_size_min(allowed, SRM_DATAGRAM_MIN_MTU);
        size_t size = build(p, buffer + total, allowed, batch);
        if (size == 0)
            break;
        if (p->probe)
            link->probes--;
        else if (p->data)
            taken += size;
        left -= srm_size_min(left, size);
        total += size;
        if (count == 0)
            *segment = size;
        if (size < allowed)
            break;
    }
    if (taken > 0)
        srm_conn_took(p->conn, p->now, taken);
    return total;
}

/* The CONFIRM that the peer has not answered yet, if there is one; its size. */
static size_t write_confirm(packet_plan *p, uint8_t *buffer) {
    srm_link *link = p->link;
    if (link->confirm == NULL)
        return 0;
    link->confirm[34] = (uint8_t)(link->confirm[34] == 255 ? 2 : link->confirm[34]);
    memcpy(buffer, link->confirm, link->confirm_size);
    link->confirm[34]++;
    link->confirm_at = p->now + link->confirm_wait;
    link->confirm_wait = srm_time_min(2 * link->confirm_wait, SRM_CONFIRM_MAX);
    return link->confirm_size;
}

/* A CONFIRM, with the first packet under the new keys behind it. */
static size_t build_confirm(packet_plan *p, uint8_t *buffer) {
    size_t confirm = write_confirm(p, buffer);
    p->data = p->link == p->conn->current && budget(p->conn, p->link, p->now) > 0;
    return confirm + build(p, buffer + confirm, SRM_DATAGRAM_MIN_MTU - confirm, false);
}

static size_t build_probe(packet_plan *p, uint8_t *buffer, size_t capacity) {
    srm_link *link = p->link;
    srm_path *path = link->path;
    size_t worth = srm_size_min(srm_path_worthwhile_size(path), capacity);
    size_t size = srm_mtu_probe_wanted(&path->mtu, p->now, worth);
    if (link != p->conn->current || size == 0 ||
        size > srm_size_max(link->peer.max_datagram, SRM_DATAGRAM_MIN_MTU) || link->confirm != NULL ||
        !srm_conn_alive(p->conn) || !srm_sent_begin(&link->sent))
        return 0;
    srm_packet_out out;
    srm_link_packet_begin(link, buffer, size, &out);
    srm_write_u8(&out.w, SRM_FRAME_PING);
    srm_write_zeros(&out.w, srm_writer_left(&out.w));
    record(p, SRM_SENT_PROBE, 0, 0, 0, size);
    SRM_ASSERT(srm_link_packet_finish(link, &out) == size);
    srm_sent_commit(&link->sent, p->now, size,
                    SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE | (p->marked ? SRM_SENT_ECT0 : 0));
    srm_mtu_on_probe_sent(&path->mtu, p->now, size);
    path->prober = link;
    p->conn->totals.udp_bytes_sent += size;
    return size;
}

/* Nothing comes after a CLOSE: what our application consumed must go along, or the peer would report as
 * undelivered what was delivered. */
static void write_last_consumed(packet_plan *p, srm_writer *w) {
    uint8_t channel;
    uint64_t next;
    srm_inbox_control_again(&p->conn->inbox);
    while (srm_writer_left(w) >= 32 && srm_inbox_next_consumed(&p->conn->inbox, &channel, &next)) {
        srm_write_u8(w, SRM_FRAME_CONSUMED);
        srm_write_u8(w, channel);
        srm_write_varint(w, next);
    }
}

static size_t build_close(packet_plan *p, uint8_t *buffer) {
    srm_link *link = p->link;
    srm_packet_out out;
    if (!srm_sent_begin(&link->sent))
        return 0;
    link->close_due = false;
    link->close_said = p->now;
    if (link->close_at <= p->now) {
        link->close_at = p->now + link->close_wait;
        link->close_wait = srm_time_min(2 * link->close_wait, SRM_CLOSE_LINGER);
    }
    size_t confirm = write_confirm(p, buffer); /* without it the peer doesn't know this run */
    srm_link_packet_begin(link, buffer + confirm, SRM_DATAGRAM_MIN_MTU - confirm, &out);
    if (!srm_conn_is_foreign(link))
        write_last_consumed(p, &out.w);
    srm_write_u8(&out.w, SRM_FRAME_CLOSE);
    srm_write_varint(&out.w, srm_conn_is_foreign(link) ? SRM_CLOSE_PEER_BUSY : p->conn->close_code);
    srm_write_varint(&out.w, 0);
    size_t size = srm_link_packet_finish(link, &out);
    srm_sent_commit(&link->sent, p->now, size, 0);
    p->conn->totals.udp_bytes_sent += size;
    return confirm + size;
}

/* Handshake and path validation go without a mark: they are to get through, whatever a path does to marks. */
static void mark(packet_plan *p) {
    p->marked = srm_marks_wanted(&p->link->marks, &p->link->sent);
}

static bool transmit_link(srm_conn *conn, srm_link *link, srm_time now, uint8_t *buffer, size_t capacity,
                          bool batch, srm_transmit *out) {
    packet_plan p = {.conn = conn, .link = link, .now = now, .to = link->remote};
    size_t size = 0, segment = 0;
    if (link->state == SRM_LINK_CLOSING) {
        size = link->close_due ? build_close(&p, buffer) : 0;
    } else if (link->confirm != NULL && link->confirm_at <= now) {
        size = build_confirm(&p, buffer);
    } else {
        srm_link_update_keys(link, now);
        if (link->respond_due || link->challenge_due) {
            p.to = link->respond_due ? link->respond_to : link->challenge_to;
            size = build(&p, buffer, SRM_DATAGRAM_MIN_MTU, false);
        }
        if (size == 0) {
            p.to = link->remote;
            mark(&p);
            size = build_probe(&p, buffer, capacity);
        }
        if (size == 0)
            size = build_batch(&p, buffer, capacity, batch, &segment);
    }
    *out = (srm_transmit){.to = p.to,
                          .size = size,
                          .segment = segment > 0 ? segment : size,
                          .ecn = p.marked ? SRM_ECN_ECT0 : 0};
    return size > 0;
}

/* Everything the application gave is under way: if nobody waits for room on the path, rate samples now tell
 * the applications' speed, not the path's. */
static void note_app_limited(srm_conn *conn, srm_time now) {
    srm_link *link = conn->current;
    if (link == NULL || conn->ended)
        return;
    srm_path *path = link->path;
    bool alone = path->waiting == 0 && (path->turn == NULL || path->turn == conn);
    bool room = path_allowance(conn, path, now) > 0;
    if (!srm_outbox_ready(&conn->outbox) && (room || path->links > 1 || thin_allowance(link) > 0))
        srm_sent_app_limited(&link->sent, room && alone);
    uint64_t need;
    if (srm_outbox_blocked(&conn->outbox, &need) && need != conn->blocked_told) {
        conn->blocked_told = need;
        link->blocked_due = true;
    }
}

bool srm_conn_transmit(srm_conn *conn, srm_time now, uint8_t *buffer, size_t capacity, bool batch,
                       srm_transmit *out) {
    for (srm_link *link = conn->candidates; link != NULL; link = link->next)
        if (transmit_link(conn, link, now, buffer, capacity, batch, out))
            return true;
    if (conn->current == NULL)
        return false;
    if (transmit_link(conn, conn->current, now, buffer, capacity, batch, out))
        return true;
    note_app_limited(conn, now);
    return conn->current->blocked_due &&
           transmit_link(conn, conn->current, now, buffer, capacity, batch, out);
}

srm_time srm_conn_send_time(const srm_conn *conn, srm_time now) {
    const srm_link *link = conn->current;
    if (link == NULL || conn->ended)
        return SRM_TIME_NEVER;
    srm_time at = srm_inbox_consumed_since(&conn->inbox);
    if (at != SRM_TIME_NEVER)
        at += SRM_CONSUMED_DELAY;
    srm_time repair_at = srm_repair_out_deadline(&link->repair_out);
    return repair_at > now ? srm_time_min(at, repair_at) : at;
}
