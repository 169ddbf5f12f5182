/* Frames of an authenticated peer: a session is established, then the input says what comes under its keys,
 * and how time passes. Whatever that is: no crash, no leak, memory within what the settings allow. A
 * malformed packet ends the connection with protocol_violation; one that is harmless never does. At the end
 * each connection of the victim either has told its application why it ended, or it lives, and a message
 * crosses in both directions.
 *
 * first byte  1: the victim dials, else it listens   2: CUBIC   4: no path MTU discovery   8: it doesn't
 * consume kind % 16   0..5  a packet of these frames; kind / 16: under which run's keys, 0 the newest 6 the
 * same from another port 7     time passes 8     the victim sends a message 9     the victim's application
 * does something else 10    the puppet answers, or no longer does 11    a piece of the next message of a
 * channel 12    an ACK frame with ranges counted downwards from the newest packet 13    another run of the
 * handshake: the same process, or a new one 14    the puppet's next epoch of keys 15    a packet that was
 * damaged, or has reserved bits
 */
#include "puppet.h"

#include "msgframe.h"

const bool fuzz_records = true;

#define KEY "key"
#define RECEIVE_BUFFER (256 << 10)
#define MAX_MESSAGE (64 << 10)
#define PADDED SRM_PACKET_BODY_MIN /* fewer bytes of frames are padded when they are sealed */
#define SLACK (256 << 10)
#define SENT_MAX (2 << 20) /* bytes the victim is made to send */
#define RUNS_MAX 3         /* of the handshake; they are slow */

typedef struct scene {
    peers world;
    puppet puppet;
    srmudp_config config;
    bool victim_dials;
    bool told[256];         /* channels on which the puppet said something */
    uint64_t next[256];     /* numbers of the puppet's own pieces */
    bool close_said, acted; /* a CLOSE frame went out; the application closed or asked to reconnect */
    int runs;
    size_t sent;          /* bytes the victim was made to send, and what holds them */
    size_t before, begun; /* memory held before all, and once the session was there */
} scene;

static scene s;

/* ---- Memory ---- */

/* A message is charged 64 bytes besides its own, and takes about as much of bookkeeping; a byte that came
 * alone is a range of 16 besides, but an input can't bring many. What grows by itself: records of packets. */
static void check_memory(void) {
    size_t conns = 0;
    for (int i = 0; i < s.world.conn_count; i++)
        conns += s.world.conns[i].at == s.puppet.victim;
    size_t limit = s.begun + conns * (RECEIVE_BUFFER + RECEIVE_BUFFER / 4) + 2 * s.sent + SLACK;
    FUZZ_CHECK(fuzz_allocated() <= limit, "memory is bounded by the receive buffer");
}

/* ---- Packets ---- */

static puppet_link *link_of(unsigned which) {
    puppet *p = &s.puppet;
    return &p->links[p->link_count - 1 - (int)(which % (unsigned)p->link_count)];
}

static void check_verdict(const puppet_frames *seen, const srm_conn *conn) {
    if (seen->verdict == PUPPET_MALFORMED)
        FUZZ_CHECK(conn->ended && conn->close_reason == SRMUDP_PROTOCOL_VIOLATION,
                   "a malformed packet is a violation of the protocol");
    if (seen->verdict == PUPPET_HARMLESS)
        FUZZ_CHECK(!conn->ended, "what is harmless ends nothing");
}

static void send_frames(puppet_link *l, srm_span frames) {
    puppet_frames seen;
    uint8_t padded[PADDED] = {0};
    if (frames.size < sizeof padded) { /* sealing would pad it, and it would say something else */
        memcpy(padded, frames.data, frames.size);
        frames = srm_span_of(padded, sizeof padded);
    }
    puppet_look(frames, &seen);
    s.close_said |= seen.close;
    for (int i = 0; i < 256; i++)
        s.told[i] |= seen.channels[i];
    srm_conn *conn = puppet_current(&s.puppet, l);
    bool plain = conn != NULL && !conn->ended && !conn->closing;
    puppet_send(&s.puppet, l, frames, 0, 0);
    if (plain)
        check_verdict(&seen, conn);
}

static void from_elsewhere(puppet_link *l, fuzz_input *in) {
    srmudp_address home = s.puppet.address;
    uint8_t port = fuzz_take_u8(in), ip = fuzz_take_u8(in);
    s.puppet.address.port = (uint16_t)(home.port + port);
    s.puppet.address.ip[3] = (ip & 1) != 0 ? ip : home.ip[3];
    send_frames(l, srm_span_of(in->at, fuzz_left(in)));
    if ((ip & 2) == 0)
        s.puppet.address = home;
}

/* Damage may change what the header seems to say, too: then the packet looks like one that came before. */
static uint64_t dropped(const srm_conn *conn) {
    return conn->totals.dropped_forged + conn->totals.dropped_malformed + conn->totals.dropped_replayed;
}

/* Nothing changes but a counter. */
static void send_damaged(puppet_link *l, fuzz_input *in) {
    uint8_t bits = fuzz_take_u8(in) & 7, damage = bits == 0 ? (uint8_t)(fuzz_take_u8(in) | 1) : 0;
    srm_link *twin = puppet_twin(&s.puppet, l);
    srm_conn *conn = twin != NULL ? twin->conn : NULL;
    uint64_t before = conn != NULL ? dropped(conn) : 0;
    bool ended = conn != NULL && conn->ended;
    srm_time heard = twin != NULL ? twin->heard : 0;
    puppet_send(&s.puppet, l, srm_span_of(in->at, fuzz_left(in)), bits, damage);
    if (conn == NULL)
        return;
    FUZZ_CHECK(dropped(conn) == before + 1, "it is counted");
    FUZZ_CHECK(conn->ended == ended && twin->heard == heard, "and does nothing else");
}

static void send_piece(puppet_link *l, fuzz_input *in) {
    static uint8_t bytes[2048];
    uint8_t channel = fuzz_take_u8(in), what = fuzz_take_u8(in);
    uint32_t total = (uint32_t)fuzz_take(in, 2);
    srm_message *message = srm_message_new(total, channel, what >> 6);
    FUZZ_CHECK(message != NULL, "memory");
    memset(message->data, channel, total);
    message->number = s.next[channel] + (what >> 2 & 15);
    s.next[channel] += (what & 1) == 0;
    srm_fragment fragment = {.message = message};
    fragment.offset = total > 0 ? (uint32_t)fuzz_take(in, 2) % total : 0;
    fragment.length = (uint32_t)srm_u64_min(total - fragment.offset, 1024);
    fragment.whole = fragment.length == total;
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    srm_msg_frame_write(&w, &fragment);
    srm_message_free(message);
    send_frames(l, srm_writer_span(&w));
}

static void send_ack(puppet_link *l, fuzz_input *in) {
    uint8_t bytes[512];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    uint64_t back = fuzz_take_u8(in), delay = fuzz_take_u8(in), first = fuzz_take_u8(in);
    uint64_t newest = l->link->replay.next + 1; /* one that was never sent may be named too */
    uint64_t largest = newest > back ? newest - back : 0, low = largest - srm_u64_min(first, largest);
    srm_write_u8(&w, SRM_ACK_TYPE);
    srm_write_varint(&w, largest);
    srm_write_varint(&w, delay);
    uint8_t *count = srm_write_reserve(&w, 1);
    *count = 0;
    srm_write_varint(&w, largest - low);
    for (uint64_t gap, length; fuzz_left(in) > 0 && *count < 63; ++*count) {
        gap = fuzz_take_u8(in);
        length = fuzz_take_u8(in);
        if (low < gap + length + 2)
            break;
        srm_write_varint(&w, gap);
        srm_write_varint(&w, length);
        low -= gap + length + 2;
    }
    send_frames(l, srm_writer_span(&w));
}

/* ---- Everything else that happens ---- */

static void pass(fuzz_input *in) {
    static const srm_time units[] = {100 * SRM_MICROSECOND,      SRM_MILLISECOND, 20 * SRM_MILLISECOND,
                                     200 * SRM_MILLISECOND,      SRM_SECOND,      4 * SRM_SECOND,
                                     600 * SRM_SECOND / (1 << 4)};
    srm_time unit = units[fuzz_take_below(in, SRM_COUNT_OF(units))];
    puppet_pass(&s.puppet, unit * (srm_time)(1 + fuzz_take_u8(in) % 16));
}

/* The newest connection of the victim that lives, or the newest. */
static peer_conn *victims_conn(void) {
    peer_conn *found = NULL;
    for (int i = 0; i < s.world.conn_count; i++)
        if (s.world.conns[i].at == s.puppet.victim && (found == NULL || s.world.conns[i].conn != NULL))
            found = &s.world.conns[i];
    return found;
}

static void victim_sends(fuzz_input *in) {
    uint8_t channel = fuzz_take_u8(in);
    uint32_t size = (uint32_t)fuzz_take(in, 2);
    if (channel == PUPPET_PROBE_CHANNEL || s.sent + size > SENT_MAX)
        return;
    s.sent += size + 256;
    peers_send(victims_conn(), channel, size, channel);
}

static void victim_acts(fuzz_input *in) {
    peer_conn *conn = victims_conn();
    unsigned what = fuzz_take_u8(in), span = fuzz_take_u8(in);
    if (conn->conn == NULL)
        return;
    srmudp_stats stats;
    switch (what % 6) {
    case 0:
        conn->hold = true;
        break;
    case 1:
        conn->hold = false;
        peers_release(conn);
        break;
    case 2:
        srm_conn_reconnect(conn->conn, s.world.now);
        s.acted = true;
        break;
    case 3:
        srm_conn_close(conn->conn, s.world.now, (srm_time)span * 20 * SRM_MILLISECOND);
        s.acted = true;
        break;
    case 4: /* the system says so, or somebody who can send ICMP */
        srm_endpoint_send_failed(s.puppet.victim->endpoint, s.world.now, &s.puppet.address, 6 * span,
                                 SRM_SEND_TOO_LARGE);
        break;
    default:
        srm_conn_stats(conn->conn, s.world.now, &stats);
        FUZZ_CHECK(stats.mtu >= SRM_DATAGRAM_MIN_MTU || conn->conn->current == NULL, "a size that travels");
        break;
    }
}

static void another_run(fuzz_input *in) {
    uint8_t id[SRM_CONNECTION_ID_SIZE];
    bool same = (fuzz_take_u8(in) & 1) != 0 && puppet_current(&s.puppet, link_of(0)) != NULL;
    if (s.runs == RUNS_MAX)
        return;
    s.runs++;
    if (same)
        memcpy(id, puppet_current(&s.puppet, link_of(0))->peer_id, sizeof id);
    (void)puppet_meet(&s.puppet, &s.config, KEY, false, same ? id : NULL, 100 + (uint64_t)s.runs);
}

static void step(uint8_t kind, fuzz_input *body) {
    puppet_link *l = link_of(kind / 16);
    switch (kind % 16) {
    case 6:
        from_elsewhere(l, body);
        break;
    case 7:
        pass(body);
        break;
    case 8:
        victim_sends(body);
        break;
    case 9:
        victim_acts(body);
        break;
    case 10:
        s.puppet.answers = (fuzz_take_u8(body) & 1) != 0;
        break;
    case 11:
        send_piece(l, body);
        break;
    case 12:
        send_ack(l, body);
        break;
    case 13:
        another_run(body);
        break;
    case 14:
        l->link->send.since = s.world.now - SRM_EPOCH_LIFE;
        break;
    case 15:
        send_damaged(l, body);
        break;
    default:
        send_frames(l, srm_span_of(body->at, fuzz_left(body)));
        break;
    }
    check_memory();
}

/* ---- The end ---- */

/* Every reason has somebody who gave it. */
static void check_reason(const peer_conn *conn) {
    srmudp_error reason = conn->reason;
    bool outage = s.world.now > s.config.outage_limit * SRM_MILLISECOND;
    if (reason == SRMUDP_PROTOCOL_VIOLATION || (reason == SRMUDP_CONNECTION_LOST && outage))
        return;
    if (reason == SRMUDP_OK)
        FUZZ_CHECK(s.acted, "nobody closed it");
    else if (reason == SRMUDP_PEER_RESTARTED)
        FUZZ_CHECK(s.runs > 0 && conn->accepted, "no other process came");
    else
        FUZZ_CHECK(s.close_said && (reason == SRMUDP_PEER_CLOSED || reason == SRMUDP_PEER_BUSY ||
                                    reason == SRMUDP_CONNECTION_LOST),
                   "the peer said no such thing");
}

static puppet_link *current_link(const peer_conn *conn) {
    for (int i = 0; i < s.puppet.link_count; i++)
        if (puppet_current(&s.puppet, &s.puppet.links[i]) == conn->conn)
            return &s.puppet.links[i];
    return NULL;
}

static void say(puppet_link *l, uint8_t type) {
    send_frames(l, srm_span_of(&type, 1));
}

/* The peer is decent from now on: the connection comes back, if it was away, and settles. */
static puppet_link *settle(peer_conn *conn) {
    puppet_link *l = NULL;
    for (int i = 0; i < 30 && conn->closed == 0; i++) {
        l = current_link(conn);
        FUZZ_CHECK(l != NULL, "a connection that lives has a link whose keys the peer knows");
        say(l, SRM_FRAME_PING);
        puppet_pass(&s.puppet, SRM_SECOND);
        if (conn->status == SRMUDP_ESTABLISHED && !conn->conn->closing && i > 2)
            return l;
    }
    FUZZ_CHECK(conn->closed == 1, "it neither comes back nor ends");
    return NULL;
}

static void check_victim_sends(peer_conn *conn, puppet_link *l) {
    uint8_t bytes[16];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    srm_write_u8(&w, SRM_FRAME_MAX_DATA);
    srm_write_varint(&w, SRM_VARINT_MAX);
    s.puppet.probe_bytes = 0;
    memset(s.puppet.probe_came, 0, sizeof s.puppet.probe_came);
    peers_send(conn, PUPPET_PROBE_CHANNEL, PUPPET_PROBE_SIZE, PUPPET_PROBE_BYTE);
    send_frames(l, srm_writer_span(&w));
    for (int i = 0; i < 60 && s.puppet.probe_bytes < PUPPET_PROBE_SIZE; i++)
        puppet_pass(&s.puppet, SRM_SECOND);
    FUZZ_CHECK(conn->closed == 0 && s.puppet.probe_bytes == PUPPET_PROBE_SIZE, "a message reaches the peer");
}

/* A peer that spent its credit on messages it never finished has none left: that is its own affair. */
static bool has_credit(const srm_inbox *inbox, uint32_t size) {
    return inbox->begun + inbox->missing * SRM_MESSAGE_COST + size + SRM_MESSAGE_COST <= inbox->granted;
}

static void check_victim_hears(peer_conn *conn, puppet_link *l) {
    uint8_t bytes[600];
    int channel = 255;
    while (channel > 0 && (s.told[channel] || channel == PUPPET_PROBE_CHANNEL))
        channel--;
    if (s.told[channel] || !has_credit(&conn->conn->inbox, 500))
        return;
    srm_message *message = srm_message_new(500, (uint8_t)channel, 0);
    FUZZ_CHECK(message != NULL, "memory");
    memset(message->data, 0, 500);
    srm_fragment fragment = {.message = message, .length = 500, .whole = true};
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    srm_msg_frame_write(&w, &fragment);
    srm_message_free(message);
    uint64_t before = conn->messages;
    send_frames(l, srm_writer_span(&w));
    puppet_pass(&s.puppet, SRM_MILLISECOND);
    FUZZ_CHECK(conn->messages == before + 1, "a message reaches the application");
    s.told[channel] = true;
}

static void check_conn(peer_conn *conn) {
    conn->hold = false;
    peers_release(conn);
    puppet_pass(&s.puppet, SRM_MILLISECOND); /* its last events come */
    puppet_link *l = conn->closed == 0 ? settle(conn) : NULL;
    if (l != NULL) {
        check_victim_hears(conn, l);
        check_victim_sends(conn, l);
        return;
    }
    check_reason(conn);
}

static void begin(uint8_t options) {
    memset(&s, 0, sizeof s);
    s.before = fuzz_allocated();
    peers_init(&s.world);
    srmudp_config_init(&s.config);
    s.config.max_message_size = MAX_MESSAGE;
    s.config.receive_buffer = RECEIVE_BUFFER;
    s.config.congestion_control = (options & 2) != 0 ? SRMUDP_CONGESTION_CUBIC : SRMUDP_CONGESTION_BBR;
    s.config.pmtu_discovery = (options & 4) == 0;
    s.victim_dials = (options & 1) != 0;
    peer *victim = peers_add(&s.world, &s.config, 1), *self = peers_add(&s.world, &s.config, 2);
    puppet_init(&s.puppet, victim, self);
    if (!s.victim_dials)
        peers_listen(victim, KEY);
    FUZZ_CHECK(puppet_meet(&s.puppet, &s.config, KEY, s.victim_dials, NULL, 3), "a session");
    victims_conn()->hold = (options & 8) != 0;
    s.begun = fuzz_allocated();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    begin(fuzz_take_u8(&in));
    for (uint8_t kind; fuzz_take_record(&in, &kind, &body);)
        step(kind, &body);
    s.puppet.answers = true;
    for (int i = 0; i < s.world.conn_count; i++)
        if (s.world.conns[i].at == s.puppet.victim)
            check_conn(&s.world.conns[i]);
    puppet_fini(&s.puppet);
    peers_fini(&s.world);
    FUZZ_CHECK(fuzz_allocated() == s.before, "all memory comes back");
    return 0;
}
