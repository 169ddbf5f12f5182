/* The endpoint's doors with datagrams made by hand: what a stranger, a wire or another holder of the key may
 * send. */
#include "endpoint.h"

#include "check.h"
#include "conn.h"
#include "state.h"

#include <sodium.h>
#include <stdlib.h>

#define QUEUE 64

/* An endpoint at 10.0.0.<place>:4000, what it wants to send, and what it told of its connections. */
typedef struct node {
    srm_endpoint *endpoint;
    srmudp_address address;
    uint64_t random;
    srmudp_config config;
    struct datagram {
        srmudp_address to;
        size_t size;
        uint8_t data[1500];
    } out[QUEUE];
    size_t out_count;
    srm_conn *accepted;
    unsigned accepted_count, established, closed, wrong_keys, restarts, messages;
    srmudp_error reason;
} node;

static srm_time now;
static node a, b, c;

static void fill(void *context, uint8_t *out, size_t size) {
    uint64_t *state = context;
    for (size_t i = 0; i < size; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(*state >> 56);
    }
}

static void *on_accepted(void *context, void *user, srm_conn *conn) {
    node *n = context;
    (void)user;
    n->accepted = conn;
    n->accepted_count++;
    return n;
}

static void start(node *n, uint8_t place) {
    memset(n, 0, sizeof *n);
    n->random = place;
    n->address = (srmudp_address){.ip = {10, 0, 0, place}, .port = 4000, .family = 4};
    srmudp_config_init(&n->config);
    n->endpoint =
        srm_endpoint_new(&n->config, (srm_entropy){fill, &n->random}, (srm_hooks){n, on_accepted, NULL}, now);
}

static void begin(void) {
    now = 100 * SRM_SECOND;
    start(&a, 1);
    start(&b, 2);
    start(&c, 3);
}

static void end(void) {
    srm_endpoint_free(a.endpoint);
    srm_endpoint_free(b.endpoint);
    srm_endpoint_free(c.endpoint);
}

static void take_events(node *n) {
    for (srm_message *next, *event = srm_endpoint_events(n->endpoint); event != NULL; event = next) {
        next = event->next;
        srmudp_event e = {0};
        if (event->kind != SRMUDP_EVENT_MESSAGE)
            memcpy(&e, event->data, sizeof e);
        n->messages += event->kind == SRMUDP_EVENT_MESSAGE;
        n->established += event->kind == SRMUDP_EVENT_STATUS && e.status == SRMUDP_ESTABLISHED;
        n->wrong_keys += event->kind == SRMUDP_EVENT_WRONG_KEY;
        n->restarts += event->kind == SRMUDP_EVENT_PEER_RESTARTED;
        if (event->kind == SRMUDP_EVENT_CLOSED) {
            n->closed++;
            n->reason = e.reason;
        }
        srm_event_node_free(event);
    }
}

static void transmit(node *n) {
    uint8_t buffer[SRM_TRANSMIT_MIN_BUFFER];
    srm_transmit what;
    while (n->out_count < QUEUE &&
           srm_endpoint_transmit(n->endpoint, now, buffer, sizeof buffer, false, &what)) {
        struct datagram *d = &n->out[n->out_count++];
        d->to = what.to;
        d->size = what.size;
        memcpy(d->data, buffer, what.size);
    }
}

/* What the node wants to send now, into its queue. */
static void fetch(node *n) {
    transmit(n);
    for (int rounds = 0; srm_endpoint_deadline(n->endpoint) <= now && n->out_count < QUEUE; rounds++) {
        CHECK(rounds < 100); /* a timer that doesn't move */
        srm_endpoint_timeout(n->endpoint, now);
        transmit(n);
    }
    take_events(n);
}

static void give(node *n, const srmudp_address *from, const uint8_t *data, size_t size) {
    uint8_t copy[1500];
    memcpy(copy, data, size);
    srm_datagram datagram = {.data = copy, .size = size, .segment = size, .from = *from};
    srm_endpoint_receive(n->endpoint, now, &datagram);
}

/* Delivers what `from` has in its queue to `to`, as far as it is for it. */
static void deliver(node *from, node *to) {
    for (size_t i = 0; i < from->out_count; i++)
        if (srm_address_equal(&from->out[i].to, &to->address))
            give(to, &from->address, from->out[i].data, from->out[i].size);
    from->out_count = 0;
}

/* Both talk for so long, 10 ms one way. */
static void talk(node *x, node *y, srm_time span) {
    for (srm_time until = now + span; now < until;) {
        fetch(x);
        fetch(y);
        now += 10 * SRM_MILLISECOND;
        deliver(x, y);
        deliver(y, x);
    }
    fetch(x);
    fetch(y);
}

static srm_conn *open_to(node *n, const node *other, const char *key) {
    srm_conn *conn = NULL;
    CHECK_EQ(srm_endpoint_open(n->endpoint, now, srm_span_of(key, strlen(key)), srm_span_of("", 0),
                               &other->address, 1, n, &conn),
             SRMUDP_OK);
    return conn;
}

static srm_listener *listen_on(node *n, const char *key) {
    srm_listener *listener = NULL;
    CHECK_EQ(srm_endpoint_listen(n->endpoint, now, srm_span_of(key, strlen(key)), srm_span_of("", 0), n,
                                 &listener),
             SRMUDP_OK);
    return listener;
}

/* The first datagram of that type in the queue, taken out of nothing. */
static struct datagram *find(node *n, uint8_t first_byte) {
    for (size_t i = 0; i < n->out_count; i++)
        if (n->out[i].data[0] == first_byte)
            return &n->out[i];
    return NULL;
}

enum { HELLO = 0xc1, REPLY = 0xc2, CONFIRM = 0xc3, RETRY = 0xc4, VERSION = 0xc5, REJECT = 0xc6 };

/* A genuine HELLO of `n` to `other`, as sent. */
static struct datagram hello_of(node *n, const node *other, const char *key) {
    open_to(n, other, key);
    fetch(n);
    struct datagram *found = find(n, HELLO);
    CHECK(found != NULL);
    struct datagram hello = *found;
    n->out_count = 0;
    return hello;
}

/* ---- HELLO ---- */

TEST(an_answer_is_never_larger_than_what_came) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    for (size_t size = 1; size <= hello.size; size++)
        for (uint8_t version = 0; version < 3; version++) {
            hello.data[1] = version;
            give(&b, &c.address, hello.data, size);
            fetch(&b);
            for (size_t i = 0; i < b.out_count; i++)
                CHECK(b.out[i].size <= size);
            b.out_count = 0;
            now += 150 * SRM_MILLISECOND;
        }
    end();
}

TEST(a_hello_below_320_bytes_is_dropped) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    CHECK_EQ(hello.size, 320);
    give(&b, &a.address, hello.data, 319);
    fetch(&b);
    CHECK_EQ(b.out_count, 0);
    give(&b, &a.address, hello.data, 320);
    fetch(&b);
    CHECK_EQ(b.out_count, 1);
    CHECK_EQ(b.out[0].data[0], REPLY);
    end();
}

TEST(own_messages_come_back_to_nothing) {
    begin();
    listen_on(&a, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    give(&a, &b.address, hello.data, hello.size);
    memset(hello.data + 2, 7, 16); /* another nonce, still our connection id */
    give(&a, &b.address, hello.data, hello.size);
    srmudp_endpoint_stats stats;
    srm_endpoint_stats(a.endpoint, &stats);
    CHECK_EQ(stats.dropped_own, 2);
    fetch(&a);
    CHECK(find(&a, REPLY) == NULL);
    end();
}

TEST(a_share_that_cannot_be_leaves_nothing) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    for (int kind = 0; kind < 2; kind++) {
        memset(hello.data + 38, kind == 0 ? 0 : 0xff, 32); /* the neutral element; no element at all */
        give(&b, &a.address, hello.data, hello.size);
    }
    fetch(&b);
    CHECK_EQ(b.out_count, 0);
    CHECK_EQ(b.endpoint->half_open, 0);
    srmudp_endpoint_stats stats;
    srm_endpoint_stats(b.endpoint, &stats);
    CHECK_EQ(stats.dropped_malformed, 2);
    end();
}

TEST(a_hello_known_gets_the_same_reply_and_no_work) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    give(&b, &a.address, hello.data, hello.size);
    fetch(&b);
    struct datagram first = b.out[0];
    b.out_count = 0;
    give(&b, &a.address, hello.data, hello.size);
    fetch(&b);
    CHECK_EQ(b.out_count, 0); /* not within 50 ms */
    now += 60 * SRM_MILLISECOND;
    give(&b, &a.address, hello.data, hello.size);
    fetch(&b);
    CHECK_EQ(b.out_count, 1);
    CHECK_EQ(b.out[0].size, first.size);
    CHECK_MEM(b.out[0].data, first.data, 34);
    CHECK_MEM(b.out[0].data + 36, first.data + 36, first.size - 36);
    CHECK_EQ(b.endpoint->half_open, 1);
    end();
}

TEST(an_altered_hello_does_not_take_the_place_of_the_genuine_one) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key"), altered = hello;
    altered.data[112 + 3] ^= 1; /* the list of versions */
    give(&b, &a.address, altered.data, altered.size);
    give(&b, &a.address, hello.data, hello.size);
    CHECK_EQ(b.endpoint->half_open, 2);
    talk(&b, &a, SRM_SECOND);
    CHECK_EQ(a.established, 1);
    CHECK_EQ(b.accepted_count, 1);
    talk(&b, &a, 11 * SRM_SECOND); /* the life of the other attempt */
    CHECK_EQ(b.endpoint->half_open, 0);
    end();
}

/* ---- CONFIRM and REJECT ---- */

TEST(a_bad_confirm_changes_nothing) {
    begin();
    listen_on(&b, "key");
    open_to(&a, &b, "key");
    fetch(&a);
    deliver(&a, &b);
    fetch(&b);
    deliver(&b, &a);
    fetch(&a);
    struct datagram confirm = *find(&a, CONFIRM);
    size_t size =
        70 + confirm.data[69]; /* session packets may follow; the sequence numbers are not authenticated */
    for (size_t at = 2; at < size; at++) {
        confirm.data[at] ^= 0x10;
        if (at != 34 && at != 35)
            give(&b, &a.address, confirm.data, confirm.size);
        CHECK_EQ(b.accepted_count, 0);
        confirm.data[at] ^= 0x10;
    }
    CHECK_EQ(b.endpoint->half_open, 1);
    for (int times = 0; times < 5; times++)
        give(&b, &a.address, confirm.data, confirm.size);
    CHECK_EQ(b.accepted_count, 1);
    CHECK_EQ(b.endpoint->half_open, 0);
    talk(&a, &b, SRM_SECOND);
    CHECK_EQ(b.established, 1);
    end();
}

TEST(a_reject_counts_for_its_run_only) {
    begin();
    srm_conn *waiting = open_to(&b, &a, "key");
    (void)waiting;
    struct datagram hello = hello_of(&a, &b, "another key");
    memset(hello.data + 2, 0xff, 16); /* larger than any other: it is answered */
    give(&b, &a.address, hello.data, hello.size);
    fetch(&b);
    struct datagram reply = *find(&b, REPLY);
    uint8_t reject[37] = {REJECT, 1};
    memcpy(reject + 2, hello.data + 2, 16);
    memcpy(reject + 18, reply.data + 2, 16);
    reject[36] = 1;
    reject[2] ^= 1;
    give(&b, &a.address, reject, sizeof reject);
    fetch(&b);
    CHECK_EQ(b.wrong_keys, 0);
    reject[2] ^= 1;
    for (int times = 0; times < 3; times++)
        give(&b, &a.address, reject, sizeof reject);
    fetch(&b);
    CHECK_EQ(b.wrong_keys, 1);
    CHECK_EQ(b.closed, 0);
    end();
}

TEST(a_listener_that_closes_takes_its_attempts_along) {
    begin();
    srm_listener *listener = listen_on(&b, "key");
    open_to(&a, &b, "key");
    fetch(&a);
    deliver(&a, &b);
    fetch(&b);
    deliver(&b, &a);
    srm_listener_close(listener);
    CHECK_EQ(b.endpoint->half_open, 0);
    CHECK_EQ(b.endpoint->attempts.count + b.endpoint->pairs.count + b.endpoint->own_ids.count, 0);
    fetch(&a);
    deliver(&a, &b); /* the CONFIRM */
    CHECK_EQ(b.accepted_count, 0);
    end();
}

/* ---- Strangers ---- */

TEST(from_the_ninth_stranger_on_a_cookie_is_demanded) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    unsigned replies = 0, retries = 0;
    for (uint8_t i = 0; i < 40; i++) {
        srmudp_address from = {.ip = {10, 1, i, 1}, .port = 1000, .family = 4};
        hello.data[2] = i;
        give(&b, &from, hello.data, hello.size);
        fetch(&b);
        replies += find(&b, REPLY) != NULL;
        retries += find(&b, RETRY) != NULL;
        b.out_count = 0;
    }
    CHECK(replies <= 9 && replies >= 8);
    CHECK_EQ(replies + retries, 40);
    end();
}

TEST(a_cookie_is_good_for_its_address_and_nonce) {
    begin();
    listen_on(&b, "key");
    struct datagram hello = hello_of(&a, &b, "key");
    for (uint8_t i = 0; i < 20; i++) {
        srmudp_address from = {.ip = {10, 1, i, 1}, .port = 1000, .family = 4};
        hello.data[2] = i;
        give(&b, &from, hello.data, hello.size);
    }
    fetch(&b);
    b.out_count = 0;
    hello.data[2] = 99;
    give(&b, &c.address, hello.data, hello.size);
    fetch(&b);
    memcpy(hello.data + 86, find(&b, RETRY)->data + 36, 16);
    b.out_count = 0;
    give(&b, &a.address, hello.data, hello.size);
    hello.data[2] = 98;
    give(&b, &c.address, hello.data, hello.size);
    fetch(&b);
    CHECK(find(&b, REPLY) == NULL);
    hello.data[2] = 99;
    give(&b, &c.address, hello.data, hello.size);
    fetch(&b);
    CHECK(find(&b, REPLY) != NULL);
    end();
}

/* Whoever knows our nonce can answer in the peer's name: it goes only where we call. */
TEST(a_stranger_does_not_learn_our_nonce) {
    begin();
    open_to(&a, &b, "key");
    fetch(&a);
    struct datagram own = *find(&a, HELLO);
    a.out_count = 0;
    struct datagram hello = hello_of(&c, &a, "another key");
    memset(hello.data + 2, 0, 16); /* the smallest: ours stands */
    for (int i = 0; i < 20; i++) {
        give(&a, &c.address, hello.data, hello.size);
        fetch(&a);
        for (size_t k = 0; k < a.out_count; k++)
            CHECK(srm_address_equal(&a.out[k].to, &b.address) ||
                  memcmp(a.out[k].data + 2, own.data + 2, 16) != 0);
        a.out_count = 0;
        now += 10 * SRM_MILLISECOND;
    }
    end();
}

/* ---- Other holders of the key ---- */

/* Lets `link` send these frames in a packet of their own, to `to`. */
static void send_frames(node *n, srm_link *link, node *to, const uint8_t *frames, size_t size) {
    uint8_t buffer[1500];
    srm_packet_out out;
    CHECK(srm_sent_begin(&link->sent));
    srm_link_packet_begin(link, buffer, 1200, &out);
    srm_write_bytes(&out.w, srm_span_of(frames, size));
    size_t total = srm_link_packet_finish(link, &out);
    srm_sent_commit(&link->sent, now, total, 0);
    give(to, &n->address, buffer, total);
}

/* a and b are connected, both opened; c, another process with the key at a's address, has completed a run
 * with b. */
static srm_conn *newcomer;

static srm_conn *with_newcomer(void) {
    begin();
    open_to(&a, &b, "key");
    srm_conn *living = open_to(&b, &a, "key");
    talk(&a, &b, SRM_SECOND);
    CHECK(srm_conn_alive(living));
    c.address = a.address;
    newcomer = open_to(&c, &b, "key");
    fetch(&c);
    deliver(&c, &b);
    fetch(&b);
    deliver(&b, &c);
    fetch(&c);
    deliver(&c, &b);
    CHECK(living->candidates != NULL && newcomer->current != NULL);
    return living;
}

TEST(a_newcomer_cannot_end_a_living_session) {
    static const uint8_t frames[][8] = {{0x08, 1, 2},       /* a CHALLENGE cut off */
                                        {0x3f, 1, 2},       /* a message cut off */
                                        {0xff, 1},          /* no frame */
                                        {0x07, 0, 0},       /* CLOSE: goodbye */
                                        {0x07, 1, 0},       /* CLOSE: protocol */
                                        {0x04, 0x44, 0x44}, /* MAX_DATA */
                                        {0x02, 0x50, 0, 0, 0} /* acknowledges what was never sent */};
    for (size_t i = 0; i < SRM_COUNT_OF(frames); i++) {
        srm_conn *living = with_newcomer();
        send_frames(&c, newcomer->current, &b, frames[i], sizeof frames[i]);
        CHECK(srm_conn_alive(living) && !living->ended);
        c.out_count = 0;
        talk(&a, &b, 5 * SRM_SECOND);
        CHECK(srm_conn_alive(living) && living->candidates == NULL);
        CHECK_EQ(b.closed + b.restarts + a.closed, 0);
        end();
    }
}

TEST(a_peer_that_breaks_the_protocol_is_told_and_ended) {
    begin();
    listen_on(&b, "key");
    srm_conn *conn = open_to(&a, &b, "key");
    talk(&a, &b, SRM_SECOND);
    static const uint8_t nonsense[] = {0x30 | 0x0e, 1, 2, 3};
    send_frames(&a, conn->current, &b, nonsense, sizeof nonsense);
    fetch(&b);
    CHECK_EQ(b.closed, 1);
    CHECK_EQ(b.reason, SRMUDP_PROTOCOL_VIOLATION);
    talk(&a, &b, SRM_SECOND);
    CHECK_EQ(a.closed, 1);
    CHECK_EQ(a.reason, SRMUDP_PROTOCOL_VIOLATION);
    end();
}

/* A peer may not make us hold places for messages that its credit can't pay. */
TEST(numbers_far_ahead_cost_credit) {
    begin();
    listen_on(&b, "key");
    srm_conn *conn = open_to(&a, &b, "key");
    talk(&a, &b, SRM_SECOND);
    static const uint8_t blocked[] = {0x05, 0x84, 0, 0, 0}; /* asks for the largest window */
    send_frames(&a, conn->current, &b, blocked, sizeof blocked);
    talk(&a, &b, SRM_SECOND);
    for (unsigned channel = 1; channel < 256 && b.closed == 0; channel++) {
        uint8_t ahead[] = {0x21, (uint8_t)channel, 0x80, 0x0f, 0xff, 0, 0}; /* the empty message 1,048,320 */
        send_frames(&a, conn->current, &b, ahead, sizeof ahead);
        fetch(&b);
    }
    CHECK_EQ(b.closed, 1);
    end();
}

/* Values at the edges of what the rules of frames compare with. */
static uint64_t edge(uint64_t dice) {
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     7,
                                     63,
                                     64,
                                     511,
                                     512,
                                     16383,
                                     16384,
                                     1u << 20,
                                     (1u << 20) - 64,
                                     16u << 20,
                                     64u << 20,
                                     1u << 30,
                                     UINT32_MAX,
                                     (uint64_t)UINT32_MAX + 1,
                                     SRM_VARINT_MAX - 1,
                                     SRM_VARINT_MAX};
    return edges[dice % SRM_COUNT_OF(edges)];
}

/* One frame of a type that exists, with fields at the edges. */
static void write_mad_frame(srm_writer *w, uint64_t *random) {
    static const uint8_t types[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x20,
                                    0x21, 0x22, 0x23, 0x24, 0x2b, 0x2f, 0x21, 0x22, 0x22, 0x06, 0x23, 0x23};
    uint8_t dice[8];
    fill(random, dice, sizeof dice);
    uint8_t type = types[dice[0] % sizeof types];
    srm_write_u8(w, type);
    if (type == 0x06 || ((type & 0xf0) == 0x20 && (type & 1) != 0))
        srm_write_u8(w, dice[1] & 3);
    if (type == 0x08 || type == 0x09) {
        srm_write_bytes(w, srm_span_of(dice, 8));
        return;
    }
    for (unsigned fields = type < 0x04       ? 5
                           : type < 0x08     ? 1
                           : (type & 2) != 0 ? 3
                                             : 1;
         type > 1 && fields > 0; fields--)
        srm_write_varint(w, edge(dice[1 + fields]));
    if ((type & 0xf0) == 0x20) {
        srm_write_varint(w, dice[7] % 8);
        srm_write_zeros(w, dice[7] % 8);
    }
}

TEST(a_peer_gone_mad_does_no_harm) {
    uint64_t random = 4711;
    for (int round = 0; round < 400; round++) {
        begin();
        listen_on(&b, "key");
        srm_conn *conn = open_to(&a, &b, "key");
        talk(&a, &b, 200 * SRM_MILLISECOND);
        if (round % 3 == 0)
            srm_conn_reconnect(conn, now); /* its packets reach a candidate, too */
        for (int packet = 0; packet < 40 && !b.closed && conn->current != NULL; packet++) {
            uint8_t frames[1000];
            srm_writer w = srm_writer_of(frames, sizeof frames);
            uint8_t dice[2];
            fill(&random, dice, sizeof dice);
            for (int count = 1 + dice[0] % 3; count > 0; count--)
                write_mad_frame(&w, &random);
            send_frames(&a, conn->current, &b, frames, srm_writer_used(&w));
            talk(&a, &b, (dice[1] % 4) * 10 * SRM_MILLISECOND);
        }
        srm_listener_close(b.endpoint->listeners);
        talk(&a, &b, 5 * SRM_SECOND);
        CHECK(b.endpoint->half_open == 0);
        end();
    }
}

/* ---- Ends ---- */

TEST(a_close_is_not_answered_without_end) {
    begin();
    listen_on(&b, "key");
    srm_conn *conn = open_to(&a, &b, "key");
    talk(&a, &b, SRM_SECOND);
    srm_conn_close(b.accepted, now, 0);
    unsigned closes = 0;
    for (int i = 0; i < 2000; i++) { /* a sender that doesn't hear it */
        static const uint8_t ping[] = {0x01};
        send_frames(&a, conn->current, &b, ping, sizeof ping);
        fetch(&b);
        closes += (unsigned)b.out_count;
        b.out_count = 0;
        now += SRM_MILLISECOND;
    }
    CHECK(closes >= 3 && closes <= 50);
    end();
}

TEST(whatever_is_released_is_gone_soon) {
    for (int when = 0; when < 40; when++) {
        begin();
        srm_conn *x = open_to(&a, &b, "key"), *y = open_to(&b, &a, "key");
        talk(&a, &b, when * 10 * SRM_MILLISECOND);
        srm_conn_release(x, now);
        talk(&a, &b, 20 * SRM_MILLISECOND);
        srm_conn_release(y, now);
        talk(&a, &b, 5 * SRM_SECOND);
        for (int i = 0; i < 2; i++) {
            srm_endpoint *endpoint = i == 0 ? a.endpoint : b.endpoint;
            CHECK_EQ(endpoint->conn_count, 0);
            CHECK_EQ(endpoint->half_open, 0);
            CHECK_EQ(srm_endpoint_deadline(endpoint), SRM_TIME_NEVER);
        }
        end();
    }
}

/* ---- Noise ---- */

/* Genuine datagrams of all kinds, altered, cut, joined and mixed, a hundred thousand of them. */
TEST(noise_does_no_harm) {
    begin();
    listen_on(&b, "key");
    open_to(&b, &a, "other");
    open_to(&a, &b, "key");
    open_to(&a, &b, "other");
    static struct datagram kept[256];
    size_t kept_count = 0;
    uint64_t random = 42;
    for (int i = 0; i < 200; i++) {
        fetch(&a);
        fetch(&b);
        for (size_t k = 0; k < a.out_count + b.out_count; k++)
            kept[kept_count++ % 256] = k < a.out_count ? a.out[k] : b.out[k - a.out_count];
        now += 10 * SRM_MILLISECOND;
        deliver(&a, &b);
        deliver(&b, &a);
    }
    for (int i = 0; i < 100000; i++) {
        uint8_t dice[8];
        fill(&random, dice, sizeof dice);
        struct datagram d = kept[dice[0] % srm_size_min(kept_count, 256)];
        for (int flips = dice[1] % 4; flips > 0; flips--)
            d.data[(dice[2] * 7u + dice[3] * (unsigned)flips) % d.size] ^= (uint8_t)(1 << (dice[4] & 7));
        if (dice[5] % 4 == 0)
            d.size = 1 + (dice[5] * 256u + dice[6]) % d.size;
        srmudp_address from = dice[7] % 2 ? a.address : c.address;
        give(dice[7] % 3 ? &b : &a, &from, d.data, d.size);
        if (i % 64 == 0) {
            talk(&a, &b, 10 * SRM_MILLISECOND);
            CHECK(b.endpoint->half_open <= 64 + 8 && a.endpoint->half_open <= 64 + 8);
        }
    }
    CHECK_EQ(a.closed + b.closed + a.restarts + b.restarts, 0);
    end();
}

/* A process may hold many connections from one socket: that one more comes is no reason to ask them all
 * whether their process still lives, only one; but when that one is silent all of them end. */
TEST(one_neighbour_speaks_for_all) {
    enum { MANY = 20 };
    srmudp_endpoint_stats before, after;
    begin();
    listen_on(&b, "key");
    for (int i = 0; i < MANY; i++) {
        open_to(&a, &b, "key");
        talk(&a, &b, 300 * SRM_MILLISECOND);
    }
    CHECK_EQ(b.established, MANY);
    talk(&a, &b, SRM_SECOND);
    srm_endpoint_stats(b.endpoint, &before);
    open_to(&a, &b, "key");
    talk(&a, &b, 300 * SRM_MILLISECOND);
    srm_endpoint_stats(b.endpoint, &after);
    CHECK_EQ(b.established, MANY + 1);
    CHECK(after.datagrams_sent - before.datagrams_sent < 12);
    CHECK_EQ(b.closed, 0);

    srm_endpoint_free(a.endpoint); /* the process dies, another comes at the same address */
    start(&a, 1);
    a.random = 99;
    open_to(&a, &b, "key");
    talk(&a, &b, 8 * SRM_SECOND); /* the liveness time of data, twice */
    CHECK_EQ(a.established, 1);
    CHECK_EQ(b.closed, MANY + 1);
    CHECK_EQ(b.reason, SRMUDP_PEER_RESTARTED);
    end();
}

int main(int argc, char **argv) {
    return sodium_init() < 0 ? 2 : check_main(argc, argv);
}
