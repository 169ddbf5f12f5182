/* Strangers at the door: an endpoint listens, dials somebody who is not there and has a session; a stranger
 * who sees everything sends datagrams to it, or to the session's peer, from addresses of his choice: garbage,
 * handshake messages made to measure, what he saw before, altered or not. Another peer, who holds the
 * listener's key or a wrong one, calls meanwhile, and the stranger decides what gets through. Whatever comes:
 * the session lives and every message crosses it once and in order; the waiting connection goes on waiting;
 * no address is sent more than came from it before it is proved; every datagram is counted.
 *
 * first byte  1: the endpoint dials the session's peer, else that calls its listener   2: the caller's key is
 * wrong kind % 8   0  these bytes                       1  a handshake message, then altered 2  one that was
 * seen, altered        3  a session packet with a CID of the target 4  time passes                       5
 * messages are sent over the session 6  what the stranger lets through; the caller starts anew 7  several
 * that were seen, glued together as UDP_GRO does kind / 32  odd: to the session's peer, else to the endpoint
 */
#include "peers.h"

#include "conn.h"
#include "hello.h"

#include <sodium.h>

const bool fuzz_records = true;

#define SEEN_MAX 64
#define SOURCES 8
#define TARGETS 2
#define DATAGRAM_MAX 1600

enum { UNDER_TEST, SESSION_PEER, CALLER };

typedef struct datagram {
    size_t size;
    bool came[TARGETS]; /* it arrived there as it is */
    uint8_t bytes[DATAGRAM_MAX];
} datagram;

typedef struct traffic {
    srmudp_address address;
    bool known[TARGETS]; /* it is dialled there, or has been a link's remote address */
    uint64_t in[TARGETS], out[TARGETS];
} traffic;

typedef struct scene {
    peers world;
    srmudp_config config;
    peer_conn *session[TARGETS], *waiting;
    traffic sources[SOURCES];
    datagram seen[SEEN_MAX];
    size_t seen_count;
    bool cut[3]; /* what this peer sends doesn't arrive by itself */
    bool wrong_key;
    uint64_t sent[TARGETS], received[TARGETS]; /* messages of the session */
    uint64_t delivered[TARGETS];               /* datagrams */
    unsigned calls;
    uint64_t random;
} scene;

static scene s;

/* ---- What is seen, and counted ---- */

static traffic *source_of(const srmudp_address *address) {
    for (int i = 0; i < SOURCES; i++)
        if (srm_address_equal(&s.sources[i].address, address))
            return &s.sources[i];
    return NULL;
}

static int target_of(const peer *at) {
    return (int)(at - s.world.at);
}

/* An address counts as proved once a link goes there: its packets were sealed under the key. */
static void note_links(int target) {
    const srm_endpoint *endpoint = s.world.at[target].endpoint;
    for (const srm_conn *conn = endpoint->conns; conn != NULL; conn = conn->next) {
        traffic *current = conn->current != NULL ? source_of(&conn->current->remote) : NULL;
        if (current != NULL)
            current->known[target] = true;
        for (const srm_link *link = conn->candidates; link != NULL; link = link->next)
            if (source_of(&link->remote) != NULL)
                source_of(&link->remote)->known[target] = true;
    }
}

static void note_out(const peer *from, const srmudp_address *to, size_t size) {
    int target = target_of(from);
    traffic *t = target < TARGETS ? source_of(to) : NULL;
    if (t == NULL)
        return;
    note_links(target);
    t->out[target] += size;
    FUZZ_CHECK(t->known[target] || t->out[target] <= t->in[target], "more goes there than came from there");
}

static bool on_datagram(peers *world, peer *from, const srmudp_address *to, uint8_t *data, size_t size) {
    datagram *d = &s.seen[s.seen_count++ % SEEN_MAX];
    (void)world;
    FUZZ_CHECK(size <= sizeof d->bytes, "no datagram is that large");
    d->size = size;
    memset(d->came, 0, sizeof d->came);
    memcpy(d->bytes, data, size);
    note_out(from, to, size);
    if (s.cut[target_of(from)])
        return false;
    for (int target = 0; target < TARGETS; target++)
        if (srm_address_equal(&s.world.at[target].address, to)) {
            source_of(&from->address)->in[target] += size;
            d->came[target] = true;
        }
    return true;
}

static uint64_t drops(const srmudp_endpoint_stats *stats) {
    return stats->dropped_malformed + stats->dropped_version + stats->dropped_unknown + stats->dropped_own +
           stats->dropped_budget + stats->dropped_cookie + stats->dropped_replayed + stats->dropped_forged;
}

/* `size` bytes in datagrams of `segment`. */
static void deliver(int target, traffic *from, uint8_t *data, size_t size, size_t segment) {
    peer *to = &s.world.at[target];
    srmudp_endpoint_stats before, after;
    bool no_protocol = size > 0 && data[0] < 0x80 && segment == size;
    srm_endpoint_stats(to->endpoint, &before);
    from->in[target] += size;
    srm_datagram d = {.data = data, .size = size, .segment = segment, .from = from->address};
    srm_endpoint_receive(to->endpoint, s.world.now, &d);
    srm_endpoint_stats(to->endpoint, &after);
    size_t count = (size + segment - 1) / segment;
    FUZZ_CHECK(after.datagrams_received == before.datagrams_received + count, "each datagram is counted");
    FUZZ_CHECK(drops(&after) <= drops(&before) + 2 * count, "dropped once; a CONFIRM carries another packet");
    FUZZ_CHECK(!no_protocol || after.dropped_malformed == before.dropped_malformed + 1,
               "no protocol of ours");
}

/* ---- Making datagrams ---- */

/* Pairs: where, and what to add there without carry. */
static void alter(fuzz_input *in, uint8_t *data, size_t size) {
    while (fuzz_left(in) >= 3 && size > 0) {
        size_t at = (size_t)fuzz_take(in, 2) % size;
        data[at] ^= fuzz_take_u8(in);
    }
}

static void send_bytes(int target, fuzz_input *in) {
    uint8_t data[DATAGRAM_MAX];
    traffic *from = &s.sources[fuzz_take_below(in, SOURCES)];
    size_t size = srm_size_min(fuzz_left(in), sizeof data);
    if (size == 0)
        return;
    memcpy(data, in->at, size);
    deliver(target, from, data, size, size);
}

static const uint8_t *some_nonce(const srm_endpoint *endpoint, uint8_t which, uint8_t *random) {
    uint64_t state = which;
    for (size_t i = 0; i < SRM_NONCE_SIZE; i++)
        random[i] = (uint8_t)fuzz_random(&state);
    for (const srm_conn *conn = endpoint->conns; conn != NULL && which < 64; conn = conn->next) {
        if ((which & 1) != 0 && conn->entry.init != NULL)
            return conn->entry.init->nonce;
        if ((which & 2) != 0 && conn->entry.attempts != NULL)
            return (which & 4) != 0 ? conn->entry.attempts->nonce_i : conn->entry.attempts->nonce_r;
    }
    const srm_attempt *attempt = endpoint->listeners != NULL ? endpoint->listeners->entry.attempts : NULL;
    if (attempt != NULL && (which & 8) != 0)
        return (which & 4) != 0 ? attempt->nonce_i : attempt->nonce_r;
    return random;
}

/* A share that is a point of the group: the key exchange goes through to its end. */
static void some_share(uint8_t which, uint8_t share[SRM_SHARE_SIZE]) {
    static uint8_t shares[8][SRM_SHARE_SIZE];
    static bool made;
    for (uint8_t i = 0; i < 8 && !made; i++) {
        uint8_t hash[64] = {i};
        crypto_core_ristretto255_from_hash(shares[i], hash);
    }
    made = true;
    memcpy(share, shares[which % 8], SRM_SHARE_SIZE);
}

static void send_handshake(int target, fuzz_input *in) {
    static const uint8_t versions[] = {1}, aeads[] = {2, 3}, others[] = {2, 3, 4, 1};
    uint8_t data[DATAGRAM_MAX] = {0}, nonces[2][SRM_NONCE_SIZE];
    srm_endpoint *endpoint = s.world.at[target].endpoint;
    traffic *from = &s.sources[fuzz_take_below(in, SOURCES)];
    srm_hello_message m = {.type = (srm_hello_type)(1 + fuzz_take_below(in, 6)), .version = 1};
    memcpy(m.src_nonce, some_nonce(endpoint, fuzz_take_u8(in), nonces[0]), SRM_NONCE_SIZE);
    memcpy(m.dst_nonce, some_nonce(endpoint, fuzz_take_u8(in), nonces[1]), SRM_NONCE_SIZE);
    uint8_t share = fuzz_take_u8(in), id = fuzz_take_u8(in);
    m.tx_seq = (uint8_t)(id & 7);
    m.echo_seq = (uint8_t)(id >> 3 & 7);
    some_share(share, m.share);
    memset(m.connection_id, id, sizeof m.connection_id);
    if ((share & 0x80) != 0 && s.session[target]->conn != NULL)
        memcpy(m.connection_id, s.session[target]->conn->peer_id, sizeof m.connection_id);
    srm_label_hash(srm_span_of(NULL, 0), m.label_hash);
    m.offer = (srm_offer){.versions = srm_span_of(versions, 1), .aeads = srm_span_of(aeads, 2)};
    m.sealed = srm_span_of(m.connection_id, 16);
    m.versions = srm_span_of(others, 1 + (id & 3u));
    m.code = (uint8_t)(id & 3);
    if ((share & 0x40) != 0)
        srm_cookie_make(&endpoint->cookie, s.world.now, &from->address, m.src_nonce, m.share, m.cookie);
    size_t size = srm_hello_write(&m, data, sizeof data);
    alter(in, data, size);
    deliver(target, from, data, size, size);
}

static datagram *some_seen(uint8_t which) {
    size_t count = srm_size_min(s.seen_count, SEEN_MAX);
    return &s.seen[(s.seen_count - 1 - which % count) % SEEN_MAX];
}

static uint64_t packets_taken(int target) {
    uint64_t packets = 0;
    for (const srm_conn *conn = s.world.at[target].endpoint->conns; conn != NULL; conn = conn->next)
        packets += conn->totals.packets_received;
    return packets;
}

static void send_seen(int target, fuzz_input *in) {
    uint8_t data[DATAGRAM_MAX];
    traffic *from = &s.sources[fuzz_take_below(in, SOURCES)];
    datagram *d = some_seen(fuzz_take_u8(in));
    size_t size = d->size, cut = fuzz_take_u8(in);
    if (cut > 0)
        size = 1 + (size * cut >> 8);
    bool as_it_is = size == d->size && fuzz_left(in) < 3;
    memcpy(data, d->bytes, size);
    alter(in, data, size);
    uint64_t before = packets_taken(target);
    deliver(target, from, data, size, size);
    FUZZ_CHECK(!as_it_is || !d->came[target] || packets_taken(target) == before, "no packet is taken twice");
    d->came[target] |= as_it_is;
}

static void send_glued(int target, fuzz_input *in) {
    static uint8_t data[8 * DATAGRAM_MAX];
    traffic *from = &s.sources[fuzz_take_below(in, SOURCES)];
    size_t segment = 1 + (size_t)fuzz_take(in, 2) % 1500, size = 0;
    for (size_t i = 0; i < 8 && fuzz_left(in) > 0; i++) {
        const datagram *d = some_seen(fuzz_take_u8(in));
        memcpy(data + size, d->bytes, d->size);
        size += d->size;
    }
    if (size > 0)
        deliver(target, from, data, size, srm_size_min(segment, size));
}

static void send_session_packet(int target, fuzz_input *in) {
    uint8_t data[DATAGRAM_MAX] = {0};
    traffic *from = &s.sources[fuzz_take_below(in, SOURCES)];
    const srm_conn *conn = s.session[target]->conn;
    size_t size = srm_size_min(fuzz_left(in) + 9, sizeof data);
    if (conn == NULL || conn->current == NULL)
        return;
    srm_writer w = srm_writer_of(data, sizeof data);
    srm_write_u8(&w, 0x80 | (fuzz_take_u8(in) & 0x3f));
    srm_write_u64(&w, conn->current->cid_local);
    srm_write_bytes(&w, srm_span_of(in->at, srm_size_min(fuzz_left(in), size - 9)));
    deliver(target, from, data, size, size);
}

/* ---- Time, and everybody else ---- */

static void pass(fuzz_input *in) {
    static const srm_time units[] = {SRM_MILLISECOND, 50 * SRM_MILLISECOND, SRM_SECOND, 10 * SRM_SECOND};
    srm_time unit = units[fuzz_take_below(in, SRM_COUNT_OF(units))];
    peers_run(&s.world, unit * (1 + fuzz_take_u8(in) % 8));
}

/* Each message says which it is. */
static void send_message(int target, uint32_t size) {
    peer_conn *conn = s.session[target];
    srm_message *message = srm_message_new(size + 8, 0, 0);
    FUZZ_CHECK(message != NULL && conn->conn != NULL, "memory, and a session");
    memset(message->data, 0, message->size);
    memcpy(message->data, &s.sent[target], 8);
    s.sent[target]++;
    srm_conn_send(conn->conn, s.world.now, message);
}

static void on_message(peers *world, peer_conn *conn, const srm_message *message) {
    (void)world;
    for (int target = 0; target < TARGETS; target++) {
        uint64_t *received = &s.received[target], number;
        if (conn != s.session[target])
            continue;
        FUZZ_CHECK(message->size >= 8, "a message of the session");
        memcpy(&number, message->data, 8);
        FUZZ_CHECK(number == (*received)++, "once, and in order");
    }
}

static void call(void) {
    peer *caller = &s.world.at[CALLER];
    peers_kill(caller);
    peers_start(caller, &s.config, 1000 + s.calls++);
    peers_open(caller, s.wrong_key ? "wrong" : "listen", &s.world.at[UNDER_TEST].address);
}

static void let_through(fuzz_input *in) {
    unsigned what = fuzz_take_u8(in);
    s.cut[CALLER] = (what & 1) != 0;
    s.cut[SESSION_PEER] = (what & 2) != 0;
    s.cut[UNDER_TEST] = (what & 4) != 0;
    if ((what & 8) != 0 && s.calls < 4)
        call();
}

static void check_alive(void) {
    for (int target = 0; target < TARGETS; target++) {
        const peer_conn *conn = s.session[target];
        FUZZ_CHECK(conn->closed == 0 && conn->restarts == 0, "nothing a stranger sends ends a session");
        FUZZ_CHECK(conn->status == SRMUDP_ESTABLISHED || conn->status == SRMUDP_RECONNECTING, "or harms it");
    }
    FUZZ_CHECK(s.waiting->status == SRMUDP_WAITING && s.waiting->closed == 0, "who waits goes on waiting");
}

static void step(uint8_t kind, fuzz_input *body) {
    int target = (kind >> 5 & 1) != 0 ? SESSION_PEER : UNDER_TEST;
    switch (kind % 8) {
    case 0:
        send_bytes(target, body);
        break;
    case 1:
        send_handshake(target, body);
        break;
    case 2:
        send_seen(target, body);
        break;
    case 3:
        send_session_packet(target, body);
        break;
    case 4:
        pass(body);
        break;
    case 5:
        send_message(target, (uint32_t)fuzz_take(body, 2) % 5000);
        break;
    case 6:
        let_through(body);
        break;
    default:
        send_glued(target, body);
        break;
    }
    peers_run(&s.world, SRM_MILLISECOND);
    check_alive();
}

/* ---- Beginning and end ---- */

static void add_sources(void) {
    static const srmudp_address strangers[] = {
        {.ip = {192, 0, 2, 1}, .port = 1, .family = 4},
        {.ip = {192, 0, 2, 1}, .port = 2, .family = 4},
        {.ip = {192, 0, 2, 2}, .port = 4000, .family = 4},
        {.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = 4000, .family = 6},
        {.ip = {10, 0, 0, 9}, .port = 4000, .family = 4}, /* dialled, and nobody is there */
    };
    for (int i = 0; i < SOURCES; i++)
        s.sources[i].address = i < 5 ? strangers[i] : s.world.at[i - 5].address;
    s.sources[4].known[UNDER_TEST] = true;
    s.sources[5 + SESSION_PEER].known[UNDER_TEST] = s.sources[5].known[SESSION_PEER] = true;
}

static void begin(uint8_t options) {
    memset(&s, 0, sizeof s);
    peers_init(&s.world);
    s.world.on_datagram = on_datagram;
    s.world.on_message = on_message;
    s.wrong_key = (options & 2) != 0;
    srmudp_config_init(&s.config);
    s.config.outage_limit = SRMUDP_FOR_EVER;
    for (uint64_t seed = 1; seed <= 3; seed++)
        peers_add(&s.world, &s.config, seed);
    add_sources();
    peer *at = &s.world.at[UNDER_TEST], *other = &s.world.at[SESSION_PEER];
    peers_listen(at, "listen");
    s.waiting = peers_open(at, "dial", &s.sources[4].address);
    bool dials = (options & 1) != 0;
    if (dials)
        peers_listen(other, "session");
    peer_conn *opened =
        dials ? peers_open(at, "session", &other->address) : peers_open(other, "listen", &at->address);
    peers_run(&s.world, 100 * SRM_MILLISECOND);
    s.session[dials ? UNDER_TEST : SESSION_PEER] = opened;
    s.session[dials ? SESSION_PEER : UNDER_TEST] = peers_accepted(&s.world, dials ? other : at);
    FUZZ_CHECK(s.session[0] != NULL && s.session[1] != NULL, "a session");
    call();
}

/* Nobody disturbs any more: the session comes back if it was away, and delivers. */
static void check_session(void) {
    memset(s.cut, 0, sizeof s.cut);
    for (int target = 0; target < TARGETS; target++)
        send_message(target, 3000);
    for (int i = 0; i < 60 && (s.received[0] < s.sent[1] || s.received[1] < s.sent[0]); i++)
        peers_run(&s.world, SRM_SECOND);
    FUZZ_CHECK(s.received[0] == s.sent[1] && s.received[1] == s.sent[0], "every message crossed");
    check_alive();
}

/* Once nothing comes any more, half-open handshakes are forgotten. */
static void check_forgotten(void) {
    for (size_t i = 0; i < SRM_COUNT_OF(s.cut); i++)
        s.cut[i] = true;
    peers_run(&s.world, SRM_ATTEMPT_LIFE + SRM_SECOND);
    for (int target = 0; target < TARGETS; target++) {
        const srm_endpoint *endpoint = s.world.at[target].endpoint;
        FUZZ_CHECK(endpoint->half_open == 0 && endpoint->half_open_strangers == 0, "nothing is half open");
        FUZZ_CHECK(endpoint->attempts.count == 0 && endpoint->pairs.count == 0, "nor remembered");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    size_t before = fuzz_allocated();
    begin(fuzz_take_u8(&in));
    for (uint8_t kind; fuzz_take_record(&in, &kind, &body);)
        step(kind, &body);
    check_session();
    check_forgotten();
    peers_fini(&s.world);
    FUZZ_CHECK(fuzz_allocated() == before, "all memory comes back");
    return 0;
}
