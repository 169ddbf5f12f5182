#include "puppet.h"

#include "msgframe.h"

/* ---- Frames ---- */

static void look_at_msg(srm_reader *r, uint8_t type, puppet_frames *out) {
    srm_fragment_in fragment;
    if (srm_msg_frame_read(r, type, &fragment))
        out->channels[fragment.channel] = true;
    else
        r->failed = true;
}

static void look_at_repair(srm_reader *r, puppet_frames *out) {
    srm_repair repair;
    if (srm_repair_frame_read(r, &repair))
        out->channels[repair.channel] = true;
    else
        r->failed = true;
}

/* One frame behind its type. False: there is no such type. */
static bool look_at_frame(srm_reader *r, uint8_t type, puppet_frames *out) {
    srm_ack_frame ack;
    switch (type) {
    case SRM_FRAME_PING:
    case SRM_FRAME_IMMEDIATE_ACK:
        return true;
    case SRM_ACK_TYPE:
    case SRM_ACK_ECN_TYPE:
        r->failed |= !srm_ack_read(r, type, &ack);
        return true;
    case SRM_FRAME_MAX_DATA:
    case SRM_FRAME_DATA_BLOCKED:
        srm_read_varint(r);
        return true;
    case SRM_FRAME_CONSUMED:
        srm_read_u8(r);
        srm_read_varint(r);
        return true;
    case SRM_FRAME_CLOSE:
        out->close = true;
        srm_read_varint(r);
        srm_read_bytes(r, srm_read_varint(r));
        return true;
    case SRM_FRAME_CHALLENGE:
        out->challenge = srm_read_bytes(r, 8).data;
        return true;
    case SRM_FRAME_RESPONSE:
        srm_read_bytes(r, 8);
        return true;
    case SRM_FRAME_REPAIR:
        look_at_repair(r, out);
        return true;
    default:
        if ((type & 0xf0) == SRM_MSG_TYPE)
            look_at_msg(r, type, out);
        return (type & 0xf0) == SRM_MSG_TYPE;
    }
}

static bool is_risky(uint8_t type) {
    return type == SRM_ACK_TYPE || type == SRM_ACK_ECN_TYPE || type == SRM_FRAME_CONSUMED ||
           type == SRM_FRAME_CLOSE || type == SRM_FRAME_REPAIR || (type & 0xf0) == SRM_MSG_TYPE;
}

void puppet_look(srm_span frames, puppet_frames *out) {
    srm_reader r = srm_reader_of(frames);
    memset(out, 0, sizeof *out);
    out->well_formed = true;
    while (srm_reader_left(&r) > 0 && out->well_formed) {
        uint8_t type = srm_read_u8(&r);
        if (type == SRM_FRAME_PADDING)
            continue;
        if (is_risky(type))
            out->verdict = PUPPET_RISKY;
        out->eliciting |= type != SRM_ACK_TYPE && type != SRM_ACK_ECN_TYPE && type != SRM_FRAME_CLOSE;
        out->well_formed = look_at_frame(&r, type, out) && !r.failed;
    }
    if (!out->well_formed && out->verdict == PUPPET_HARMLESS)
        out->verdict = PUPPET_MALFORMED;
}

/* ---- What the victim sends ---- */

static puppet_link *find_link(puppet *p, const uint8_t *packet, size_t size) {
    if (size < SRM_PACKET_MIN_SIZE || (packet[0] & 0xc0) != 0x80)
        return NULL;
    for (int i = 0; i < p->link_count; i++)
        if (p->links[i].link->cid_local == srm_prefix64(packet + 1))
            return &p->links[i];
    return NULL;
}

static void no_frame(void *context, const srm_sent_frame *frame) {
    (void)context, (void)frame;
}

static void take_ack(puppet *p, srm_link *link, srm_reader *r, uint8_t type) {
    static const srm_sent_sink sink = {no_frame, no_frame, NULL};
    srm_ack_frame frame;
    srm_sent_event event;
    FUZZ_CHECK(srm_ack_read(r, type, &frame), "its ACK can be read");
    FUZZ_CHECK(srm_sent_on_ack(&link->sent, &frame, p->world->now, &link->rtt, &sink, &event) == SRM_SENT_OK,
               "nothing is acknowledged that was not sent");
}

static void take_probe(puppet *p, srm_reader *r, uint8_t type) {
    srm_fragment_in f;
    FUZZ_CHECK(srm_msg_frame_read(r, type, &f), "its MSG can be read");
    if (f.channel != PUPPET_PROBE_CHANNEL)
        return;
    FUZZ_CHECK(f.number == 0 && f.total == PUPPET_PROBE_SIZE, "the probe as it was given");
    for (size_t i = 0; i < f.data.size; i++) {
        FUZZ_CHECK(f.data.data[i] == PUPPET_PROBE_BYTE, "every byte of it");
        p->probe_bytes += !p->probe_came[f.offset + i];
        p->probe_came[f.offset + i] = true;
    }
}

static void take_frames(puppet *p, puppet_link *l, srm_span frames) {
    srm_reader r = srm_reader_of(frames);
    puppet_frames skipped;
    while (srm_reader_left(&r) > 0) {
        uint8_t type = srm_read_u8(&r);
        if (type == SRM_ACK_TYPE || type == SRM_ACK_ECN_TYPE)
            take_ack(p, l->link, &r, type);
        else if ((type & 0xf0) == SRM_MSG_TYPE)
            take_probe(p, &r, type);
        else if (type != SRM_FRAME_PADDING)
            look_at_frame(&r, type, &skipped);
    }
}

static void take_packet(puppet *p, puppet_link *l, uint8_t *data, size_t size) {
    uint64_t number;
    srm_span frames;
    puppet_frames seen;
    FUZZ_CHECK(srm_link_packet_open(l->link, p->world->now, data, size, &number, &frames) == SRM_OPEN_FINE,
               "what it sends can be opened");
    puppet_look(frames, &seen);
    FUZZ_CHECK(seen.well_formed, "what it sends is well formed");
    srm_acks_on_packet(&l->link->acks, number, p->world->now, seen.eliciting, SRM_ECN_NONE, false);
    if (seen.challenge != NULL) {
        memcpy(l->response, seen.challenge, sizeof l->response);
        l->respond = true;
    }
    l->acknowledge |= seen.eliciting;
    p->closed |= seen.close;
    take_frames(p, l, frames);
    if (p->answers)
        p->world->pause = true;
}

/* Session packets of the links it has are for the puppet, wherever they go; the rest is for a handshake. */
static bool on_datagram(peers *world, peer *from, const srmudp_address *to, uint8_t *data, size_t size) {
    puppet *p = world->user;
    puppet_link *l = from == p->victim ? find_link(p, data, size) : NULL;
    (void)to;
    if (l == NULL)
        return true;
    take_packet(p, l, data, size);
    return false;
}

/* ---- What it sends ---- */

void puppet_send(puppet *p, puppet_link *l, srm_span frames, uint8_t first_bits, uint8_t damage) {
    uint8_t buffer[8192];
    srm_packet_out out;
    srm_link *link = l->link;
    srm_link_update_keys(link, p->world->now);
    FUZZ_CHECK(srm_sent_begin(&link->sent), "memory");
    srm_link_packet_begin(link, buffer, sizeof buffer, &out);
    buffer[0] |= first_bits;
    srm_write_bytes(&out.w, srm_span_of(frames.data, srm_size_min(frames.size, srm_writer_left(&out.w))));
    size_t size = srm_link_packet_finish(link, &out);
    srm_sent_commit(&link->sent, p->world->now, size, 0);
    buffer[size - 1] ^= damage;
    peers_deliver(p->world, p->victim, &p->address, buffer, size);
}

static void answer(puppet *p, puppet_link *l) {
    uint8_t bytes[1024];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    uint64_t largest;
    if (l->respond) {
        srm_write_u8(&w, SRM_FRAME_RESPONSE);
        srm_write_bytes(&w, srm_span_of(l->response, sizeof l->response));
    }
    if (l->acknowledge)
        (void)srm_acks_write(&l->link->acks, p->world->now, &w, srm_writer_left(&w), &largest);
    l->respond = l->acknowledge = false;
    if (srm_writer_used(&w) > 0)
        puppet_send(p, l, srm_writer_span(&w), 0, 0);
}

void puppet_pass(puppet *p, srm_time span) {
    srm_time end = p->world->now + span;
    do {
        peers_run(p->world, end - p->world->now);
        for (int i = 0; i < p->link_count && p->answers; i++)
            answer(p, &p->links[i]);
    } while (p->world->now < end);
}

/* ---- Links ---- */

void puppet_init(puppet *p, peer *victim, peer *self) {
    *p = (puppet){.world = victim->world, .victim = victim, .self = self, .address = self->address};
    p->world->on_datagram = on_datagram;
    p->world->user = p;
    p->answers = true;
    peers_kill(self);
}

void puppet_fini(puppet *p) {
    for (int i = 0; i < p->link_count; i++)
        srm_link_free(p->links[i].link);
}

/* The endpoint that made the handshake has done its work; the puppet keeps its link. */
static bool take_link(puppet *p, const peer_conn *conn) {
    srm_conn *from = conn != NULL && conn->at == p->self ? conn->conn : NULL;
    bool got = from != NULL && from->current != NULL;
    if (got) {
        srm_link *link = from->current;
        srm_table_remove(&from->endpoint->links, link->cid_local, link);
        puppet_link *mine = &p->links[p->link_count++];
        srm_conn_leave_line(from, p->world->now);
        from->current = NULL;
        link->conn = NULL;
        *mine = (puppet_link){.link = link, .acknowledge = true};
        srm_path *path = link->path;
        srm_path_init(&mine->path, p->world->now, &link->remote, &from->endpoint->config,
                      link->peer.max_datagram);
        srm_link_set_path(link, p->world->now, &mine->path, false, false);
        srm_conn_leave_path(from->endpoint, path, p->world->now);
    }
    peers_kill(p->self);
    return got;
}

bool puppet_meet(puppet *p, const srmudp_config *config, const char *key, bool victim_dials,
                 const uint8_t *as, uint64_t seed) {
    if (p->link_count == PUPPET_LINKS || p->world->conn_count + 2 > PEERS_CONNS)
        return false;
    peer_conn *conn = NULL;
    peers_start(p->self, config, seed);
    if (victim_dials) {
        peers_listen(p->self, key);
        peers_open(p->victim, key, &p->self->address);
    } else {
        conn = peers_open(p->self, key, &p->victim->address);
        if (as != NULL)
            memcpy(conn->conn->entry.connection_id, as, SRM_CONNECTION_ID_SIZE);
    }
    for (int i = 0; i < 40; i++) {
        puppet_pass(p, 5 * SRM_MILLISECOND);
        if (victim_dials && conn == NULL)
            conn = peers_accepted(p->world, p->self);
        if (conn != NULL && conn->conn != NULL && conn->conn->current != NULL &&
            conn->conn->current->confirm == NULL)
            break;
    }
    return take_link(p, conn);
}

srm_link *puppet_twin(const puppet *p, const puppet_link *l) {
    return srm_table_find(&p->victim->endpoint->links, l->link->cid_remote);
}

srm_conn *puppet_current(const puppet *p, const puppet_link *l) {
    srm_link *twin = puppet_twin(p, l);
    return twin != NULL && twin == twin->conn->current && twin->state == SRM_LINK_CURRENT ? twin->conn : NULL;
}
