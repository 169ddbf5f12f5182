/* The limits of limits.h that a caller or a stranger meets, at their edges: an endpoint alone, strangers'
 * datagrams made by hand. Those that need two ends are the simulator's. */
#include "check.h"

#include "aead.h"
#include "bytes.h"
#include "endpoint.h"
#include "hello.h"
#include "keys.h"
#include "limits.h"
#include "lobby.h"

#include <sodium.h>
#include <stdlib.h>

/* ---- An endpoint without anybody ---- */

static void seeded(void *context, uint8_t *out, size_t size) {
    uint64_t *state = context;
    for (size_t i = 0; i < size; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(*state >> 56);
    }
}

static void *accept_any(void *context, void *listener_user, srm_conn *conn) {
    (void)listener_user;
    (void)conn;
    return context;
}

typedef struct alone {
    srm_endpoint *endpoint;
    srmudp_config config;
    srm_time now;
    uint64_t seed;
    uint8_t buffer[65536];
} alone;

static alone w;

static void start(void) {
    CHECK(sodium_init() >= 0);
    if (w.config.max_connections == 0)
        srmudp_config_init(&w.config);
    w.now = SRM_SECOND;
    w.seed = 99;
    w.endpoint = srm_endpoint_new(&w.config, (srm_entropy){seeded, &w.seed},
                                  (srm_hooks){.context = &w, .accepted = accept_any}, w.now);
    CHECK(w.endpoint != NULL);
}

static void finish(void) {
    srm_endpoint_free(w.endpoint);
    memset(&w.config, 0, sizeof w.config);
}

static srmudp_address address_of(unsigned host, unsigned port) {
    return (srmudp_address){
        .ip = {10, 9, (uint8_t)(host >> 8), (uint8_t)host}, .port = (uint16_t)port, .family = 4};
}

static srmudp_error open_with(size_t key_size, size_t label_size, const srmudp_address *to, size_t count,
                              srm_conn **out) {
    static uint8_t key[SRM_KEY_MAX_SIZE + 1], label[SRM_LABEL_MAX_SIZE + 1];
    memset(key, 'k', sizeof key);
    memset(label, 'l', sizeof label);
    return srm_endpoint_open(w.endpoint, w.now, srm_span_of(key, key_size), srm_span_of(label, label_size),
                             to, count, &w, out);
}

static srmudp_error listen_with(size_t key_size, size_t label_size, srm_listener **out) {
    static uint8_t key[SRM_KEY_MAX_SIZE + 1], label[SRM_LABEL_MAX_SIZE + 1];
    return srm_endpoint_listen(w.endpoint, w.now, srm_span_of(key, key_size), srm_span_of(label, label_size),
                               &w, out);
}

/* ---- What callers meet ---- */

/* How many datagrams wait, and of which type; they are taken. */
static size_t fetch(unsigned type, size_t *largest) {
    size_t count = 0;
    srm_transmit out;
    while (srm_endpoint_transmit(w.endpoint, w.now, w.buffer, sizeof w.buffer, true, &out)) {
        CHECK(out.size <= SRM_TRANSMIT_MAX_BYTES && out.segment > 0);
        if (w.buffer[0] != (0xc0 | type))
            continue;
        count++;
        if (largest != NULL)
            *largest = srm_size_max(*largest, out.size);
    }
    return count;
}

/* Lets everything happen that is due, as a driver does; gives the HELLOs that went out. */
static size_t settle(void) {
    size_t hellos = fetch(SRM_HELLO, NULL);
    while (srm_endpoint_deadline(w.endpoint) <= w.now) {
        srm_endpoint_timeout(w.endpoint, w.now);
        hellos += fetch(SRM_HELLO, NULL);
    }
    return hellos;
}

TEST(keys_have_1_to_4096_bytes_and_labels_at_most_255) {
    srmudp_address to = address_of(1, 1);
    srm_conn *conn;
    srm_listener *listener;
    start();
    CHECK_EQ(open_with(0, 0, &to, 1, &conn), SRMUDP_INVALID_KEY);
    CHECK_EQ(open_with(4097, 0, &to, 1, &conn), SRMUDP_INVALID_KEY);
    CHECK_EQ(open_with(1, 256, &to, 1, &conn), SRMUDP_INVALID_ARGUMENT);
    CHECK_EQ(open_with(1, 255, &to, 1, &conn), SRMUDP_OK);
    CHECK_EQ(open_with(4096, 0, &to, 1, &conn), SRMUDP_OK);
    CHECK_EQ(listen_with(0, 0, &listener), SRMUDP_INVALID_KEY);
    CHECK_EQ(listen_with(4097, 0, &listener), SRMUDP_INVALID_KEY);
    CHECK_EQ(listen_with(1, 256, &listener), SRMUDP_INVALID_ARGUMENT);
    CHECK_EQ(listen_with(4096, 255, &listener), SRMUDP_OK);
    finish();
}

TEST(eight_opens_share_an_address_and_a_label) {
    srmudp_address to = address_of(1, 1), other = address_of(1, 2);
    srm_conn *conns[SRM_OPENS_PER_ADDRESS_MAX + 2], *more;
    start();
    for (size_t i = 0; i < SRM_OPENS_PER_ADDRESS_MAX; i++)
        CHECK_EQ(open_with(1 + i, 0, &to, 1, &conns[i]), SRMUDP_OK);
    CHECK_EQ(open_with(1, 0, &to, 1, &more), SRMUDP_ADDRESS_BUSY);
    srmudp_address both[] = {other, to};
    CHECK_EQ(open_with(1, 0, both, 2, &more), SRMUDP_ADDRESS_BUSY);
    CHECK_EQ(open_with(1, 1, &to, 1, &more), SRMUDP_OK);
    CHECK_EQ(open_with(1, 0, &other, 1, &more), SRMUDP_OK);
    CHECK_EQ(srm_conn_set_addresses(more, w.now, &to, 1), SRMUDP_ADDRESS_BUSY);
    CHECK_EQ(srm_conn_set_addresses(conns[0], w.now, &to, 1), SRMUDP_OK); /* has its place */
    srm_conn_close(conns[1], w.now, 0);
    CHECK_EQ(open_with(1, 0, &to, 1, &more), SRMUDP_OK); /* a closing one doesn't count */
    srm_conn_release(conns[2], w.now);
    CHECK_EQ(open_with(1, 0, &to, 1, &more), SRMUDP_OK);
    CHECK_EQ(open_with(1, 0, &to, 1, &more), SRMUDP_ADDRESS_BUSY);
    finish();
}

TEST(there_are_64_listeners_at_most) {
    srm_listener *listeners[SRM_LISTENERS_MAX], *more;
    start();
    for (size_t i = 0; i < SRM_LISTENERS_MAX; i++)
        CHECK_EQ(listen_with(1 + i, i, &listeners[i]), SRMUDP_OK);
    CHECK_EQ(listen_with(1, 0, &more), SRMUDP_TOO_MANY);
    srm_listener_close(listeners[30]);
    CHECK_EQ(listen_with(1, 0, &more), SRMUDP_OK);
    CHECK_EQ(listen_with(1, 0, &more), SRMUDP_TOO_MANY);
    finish();
}

TEST(connections_end_at_their_number) {
    srm_conn *conns[5], *more;
    srmudp_config_init(&w.config);
    w.config.max_connections = 5;
    start();
    for (unsigned i = 0; i < 5; i++) {
        srmudp_address to = address_of(i, 1);
        CHECK_EQ(open_with(1, 0, &to, 1, &conns[i]), SRMUDP_OK);
    }
    srmudp_address to = address_of(9, 1);
    CHECK_EQ(open_with(1, 0, &to, 1, &more), SRMUDP_TOO_MANY);
    srm_conn_release(conns[0], w.now);
    settle();
    CHECK_EQ(open_with(1, 0, &to, 1, &more), SRMUDP_OK);
    finish();
}

TEST(sixteen_addresses_of_a_name_are_tried) {
    srmudp_address many[SRM_ADDRESSES_MAX + 4];
    srm_conn *conn;
    for (unsigned i = 0; i < SRM_COUNT_OF(many); i++)
        many[i] = address_of(i, 7);
    start();
    CHECK_EQ(open_with(1, 0, many, SRM_COUNT_OF(many), &conn), SRMUDP_OK);
    CHECK_EQ(settle(), SRM_ADDRESSES_MAX);
    finish();
}

/* ---- What strangers meet ---- */

/* A HELLO that could be meant for a listener, of `size` bytes; each `who` has a nonce of its own. */
static size_t write_hello(uint8_t *out, size_t size, unsigned who, const uint8_t *cookie) {
    static const uint8_t versions[] = {1}, aeads[] = {SRM_AEAD_CHACHA20};
    uint8_t hash[64] = {(uint8_t)who, (uint8_t)(who >> 8), 1};
    srm_hello_message m = {.type = SRM_HELLO,
                           .version = 1,
                           .tx_seq = 1,
                           .offer = {srm_span_of(versions, 1), srm_span_of(aeads, 1), {0}}};
    memcpy(m.src_nonce, hash, sizeof m.src_nonce);
    memcpy(m.connection_id, hash, sizeof m.connection_id);
    m.connection_id[5] = 1;
    CHECK(crypto_core_ristretto255_from_hash(m.share, hash) == 0);
    srm_label_hash(srm_span_of(NULL, 0), m.label_hash);
    if (cookie != NULL)
        memcpy(m.cookie, cookie, sizeof m.cookie);
    memset(out, 0, size);
    CHECK(srm_hello_write(&m, out, srm_size_max(size, SRM_HELLO_MIN_SIZE)) == SRM_HELLO_MIN_SIZE);
    return size;
}

static void receive(uint8_t *bytes, size_t size, srmudp_address from) {
    srm_datagram datagram = {.data = bytes, .size = size, .segment = size, .from = from};
    srm_endpoint_receive(w.endpoint, w.now, &datagram);
}

static srmudp_endpoint_stats stats(void) {
    srmudp_endpoint_stats out;
    srm_endpoint_stats(w.endpoint, &out);
    return out;
}

/* [R3], also with everything in it that a REPLY can have. */
TEST(a_reply_is_never_larger_than_its_hello) {
    static const uint8_t seed[32] = {1, 2, 3};
    uint8_t hello[1400];
    srm_listener *listener;
    srmudp_config_init(&w.config);
    w.config.identity_seed = seed;
    start();
    CHECK_EQ(listen_with(1, 0, &listener), SRMUDP_OK);
    size_t largest = 0;
    receive(hello, write_hello(hello, SRM_HELLO_MIN_SIZE - 1, 1, NULL), address_of(1, 1));
    CHECK_EQ(fetch(SRM_REPLY, NULL), 0);
    CHECK_EQ(stats().dropped_malformed, 1);
    receive(hello, write_hello(hello, SRM_HELLO_MIN_SIZE, 1, NULL), address_of(1, 1));
    CHECK_EQ(fetch(SRM_REPLY, &largest), 1);
    CHECK(largest > 200 && largest <= SRM_HELLO_MIN_SIZE);
    receive(hello, write_hello(hello, sizeof hello, 2, NULL), address_of(2, 1));
    CHECK_EQ(fetch(SRM_REPLY, &largest), 1);
    CHECK(largest <= SRM_HELLO_MIN_SIZE);
    finish();
}

/* [R11] */
TEST(a_repeated_hello_is_answered_each_50_ms_at_most) {
    uint8_t hello[SRM_HELLO_MIN_SIZE];
    srm_listener *listener;
    start();
    CHECK_EQ(listen_with(1, 0, &listener), SRMUDP_OK);
    size_t replies = 0;
    srm_time begin = w.now;
    for (; w.now < begin + SRM_SECOND; w.now += SRM_MILLISECOND) {
        receive(hello, write_hello(hello, sizeof hello, 1, NULL), address_of(1, 1));
        replies += fetch(SRM_REPLY, NULL);
    }
    CHECK_EQ(replies, SRM_SECOND / SRM_REPLY_EACH);
    finish();
}

/* [R26], [R27]: each stranger comes from an address of its own and none confirms. */
TEST(strangers_are_asked_for_cookies_and_then_for_patience) {
    uint8_t hello[SRM_HELLO_MIN_SIZE], cookies[40][SRM_COOKIE_SIZE];
    srm_listener *listener;
    srm_transmit out;
    start();
    CHECK_EQ(listen_with(1, 0, &listener), SRMUDP_OK);
    unsigned who = 0, first_retry = 0, replied = 0;
    for (; who < 40; who++) {
        receive(hello, write_hello(hello, sizeof hello, who, NULL), address_of(who, 1));
        CHECK(srm_endpoint_transmit(w.endpoint, w.now, w.buffer, sizeof w.buffer, false, &out));
        CHECK_EQ(out.to.ip[3], who);
        if (w.buffer[0] == (0xc0 | SRM_REPLY)) {
            CHECK_EQ(replied++, who);
            continue;
        }
        CHECK_EQ(w.buffer[0], 0xc0 | SRM_RETRY);
        CHECK_EQ(out.size, SRM_HANDSHAKE_HEADER_SIZE + SRM_COOKIE_SIZE);
        memcpy(cookies[who], w.buffer + SRM_HANDSHAKE_HEADER_SIZE, SRM_COOKIE_SIZE);
        first_retry = first_retry == 0 ? who : first_retry;
    }
    CHECK_EQ(first_retry, 8); /* half of the key's budget of 16 is gone */
    receive(hello, write_hello(hello, sizeof hello, 8, cookies[9]), address_of(8, 1)); /* another's cookie */
    CHECK_EQ(fetch(SRM_REPLY, NULL), 0);
    for (who = 8; who < 40; who++) {
        receive(hello, write_hello(hello, sizeof hello, who, cookies[who]), address_of(who, 1));
        CHECK_EQ(fetch(SRM_REPLY, NULL), who < 16);
    }
    CHECK_EQ(stats().dropped_budget, 24 - SRM_LOBBY_SOURCES);
    w.now += 15 * SRM_SECOND; /* one more guess */
    srm_endpoint_timeout(w.endpoint, w.now);
    CHECK_EQ(stats().dropped_budget, 24); /* the others waited in vain */
    for (who = 20; who < 24; who++) {
        receive(hello, write_hello(hello, sizeof hello, who, cookies[who]), address_of(who, 1));
        CHECK_EQ(fetch(SRM_REPLY, NULL), who == 20);
    }
    finish();
}

TEST(hints_to_one_source_are_ten_a_second) {
    uint8_t hello[SRM_HELLO_MIN_SIZE];
    start();
    for (unsigned i = 0; i < 30; i++) {
        write_hello(hello, sizeof hello, i, NULL);
        hello[1] = 2;
        receive(hello, sizeof hello, address_of(1, i));
    }
    CHECK_EQ(fetch(SRM_VERSION, NULL), SRM_HINTS_PER_SECOND);
    w.now += SRM_SECOND / SRM_HINTS_PER_SECOND;
    for (unsigned i = 0; i < 5; i++)
        receive(hello, sizeof hello, address_of(1, i));
    CHECK_EQ(fetch(SRM_VERSION, NULL), 1);
    receive(hello, SRM_HELLO_MIN_SIZE - 1, address_of(2, 1)); /* never more bytes out than came in */
    CHECK_EQ(fetch(SRM_VERSION, NULL), 0);
    finish();
}

/* Nobody fetches what is to be sent, for a minute: memory stays bounded. */
TEST(waiting_handshake_datagrams_are_bounded) {
    uint8_t hello[SRM_HELLO_MIN_SIZE];
    srm_listener *listener;
    start();
    CHECK_EQ(listen_with(1, 0, &listener), SRMUDP_OK);
    for (unsigned i = 0; i < 1100; i++) {
        write_hello(hello, sizeof hello, i, NULL);
        hello[1] = 2;
        receive(hello, sizeof hello, address_of(i % 7, 1));
        w.now += SRM_SECOND / SRM_HINTS_PER_SECOND;
    }
    size_t waiting = fetch(SRM_VERSION, NULL);
    CHECK(waiting <= 1024);
    CHECK(waiting > 1000);
    finish();
}

/* ---- Limits among themselves ---- */

TEST(limits_fit_together) {
    srm_params params = {.has_identity = true};
    uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE];
    size_t sealed = srm_params_write(&params, bytes, sizeof bytes) + SRM_KEYS_SEALED_OVERHEAD;
    CHECK(sealed <= SRM_SEALED_MAX_SIZE);
    /* A CONFIRM with all its parameters leaves room for a packet with something in it. */
    CHECK(SRM_HANDSHAKE_HEADER_SIZE + SRM_TAG_SIZE + 2 + SRM_SEALED_MAX_SIZE + 600 <= SRM_DATAGRAM_MIN_MTU);
    CHECK(SRM_HANDSHAKE_MAX_SIZE <= SRM_DATAGRAM_MIN_MTU && SRM_DATAGRAM_MIN_MTU <= SRM_DATAGRAM_MAX_MTU);
    CHECK(SRM_DATAGRAM_USUAL_MTU <= SRM_TRANSMIT_MIN_BUFFER &&
          SRM_DATAGRAM_USUAL_MTU <= SRM_DATAGRAM_MAX_MTU);
    CHECK(SRM_DATAGRAM_MAX_MTU <= SRM_TRANSMIT_MAX_BYTES && SRM_TRANSMIT_MAX_BYTES <= 65507);
    CHECK(SRM_PACKET_MIN_SIZE >= 1 + SRM_CID_SIZE + 4 + SRM_HEADER_SAMPLE_SIZE);
    /* Who answered a CHALLENGE keeps the run until the other has given it up. */
    CHECK(SRM_CANDIDATE_HOLD > SRM_CHALLENGE_LIFE && SRM_ATTEMPT_LIFE >= SRM_INIT_LIFE);
    CHECK(SRM_TRIED_MIN <= SRM_TRIED_MAX && SRM_TRIED_MAX >= 2 * SRM_OPENS_PER_ADDRESS_MAX);
    CHECK(SRM_ATTEMPTS_PER_ENTRY_MAX >= 2 * SRM_OPENS_PER_ADDRESS_MAX);
    CHECK(SRM_FORGED_MAX <= (UINT64_C(1) << 36)); /* RFC 9001 section 6.6, ChaCha20-Poly1305 */
    CHECK(SRM_EPOCH_PACKETS <= (UINT64_C(1) << 23));
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
