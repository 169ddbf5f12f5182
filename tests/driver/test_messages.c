/* Messages between two endpoints over loopback:
 *
 *     host a (x) ── 127.0.0.1 or ::1 ── host b (y)       one process, an engine's thread each
 */
#include "host.h"

#include <stdlib.h>

#include "aead.h"
#include "check.h"

static host *a, *b;
static peer *x, *y;

static void connect_pair(const srmudp_config *config, const char *address) {
    a = host_new(config);
    b = host_new(config);
    host_listen(b, "key");
    x = host_open(a, address, b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && b->accepted == 1);
    y = host_last(b);
}

static void free_pair(void) {
    host_free(a);
    host_free(b);
}

TEST(a_message_crosses_and_is_consumed) {
    connect_pair(NULL, "127.0.0.1");
    uint64_t sequence = 0;
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, "hello", 5, 3, SRMUDP_TEXT, &sequence), SRMUDP_OK);
    CHECK_EQ(sequence, 1);
    y->hold = true;
    UNTIL(y->held_count == 1);
    CHECK_EQ(srmudp_message_size(y->held[0]), 5);
    CHECK_MEM(srmudp_message_data(y->held[0]), "hello", 5);
    CHECK_EQ(srmudp_message_channel(y->held[0]), 3);
    CHECK_EQ(srmudp_message_flags(y->held[0]), SRMUDP_TEXT);
    CHECK_EQ(srmudp_message_number(y->held[0]), 0);
    CHECK(srmudp_message_next(y->held[0]) == NULL);
    host_settle(50);
    CHECK_EQ(x->consumed[3], 0);
    host_consume_held(y);
    UNTIL(x->consumed[3] == 1);
    free_pair();
}

static void sizes_both_ways(const srmudp_config *config, const char *address) {
    static const size_t sizes[] = {0, 1, 7, 1000, 1199, 1200, 1201, 65535, 65536, 1 << 20, 16 << 20, 0, 5};
    size_t count = sizeof sizes / sizeof sizes[0];
    uint64_t to_y = 0, to_x = 0;
    connect_pair(config, address);
    for (size_t i = 0; i < count; i++) {
        host_send(x, sizes[i], 0, i);
        host_send(y, sizes[count - 1 - i], 0, 100 + i);
        to_y = host_hash_message(to_y, sizes[i], 0, i);
        to_x = host_hash_message(to_x, sizes[count - 1 - i], 0, 100 + i);
    }
    UNTIL(y->messages == count && x->messages == count);
    CHECK_EQ(y->hash, to_y);
    CHECK_EQ(x->hash, to_x);
    UNTIL(x->consumed[0] == count && y->consumed[0] == count);
    free_pair();
}

TEST(messages_of_all_sizes_cross_both_ways) {
    sizes_both_ways(NULL, "127.0.0.1");
    sizes_both_ways(NULL, "::1");
}

TEST(and_without_batches) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.gso = false;
    sizes_both_ways(&config, "127.0.0.1");
}

TEST(and_with_the_other_congestion_control_and_no_path_mtu) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.congestion_control = SRMUDP_CONGESTION_CUBIC;
    config.pmtu_discovery = false;
    sizes_both_ways(&config, "127.0.0.1");
}

/* Loopback carries more than Ethernet does, and who sends much finds out. */
TEST(packets_become_as_large_as_the_path_carries) {
    for (int gso = 0; gso < 2; gso++) {
        srmudp_config config;
        srmudp_config_init(&config);
        config.gso = gso != 0;
        connect_pair(&config, "127.0.0.1");
        srmudp_stats stats;
        uint64_t sent = 0;
        do {
            for (int i = 0; i < 32; i++)
                host_send(x, 1 << 20, 0, sent++);
            UNTIL(x->consumed[0] == sent);
            CHECK(srmudp_connection_stats(x->connection, &stats));
        } while (stats.mtu <= 1472 && sent < 3200);
        CHECK(stats.mtu > 1472);
        free_pair();
    }
}

/* Order within each of all channels, each message once. */
static uint64_t next_on[256];
static void check_order(peer *p, srmudp_message *message) {
    uint8_t channel = srmudp_message_channel(message);
    uint64_t number;
    (void)p;
    CHECK_EQ(srmudp_message_number(message), next_on[channel]);
    memcpy(&number, srmudp_message_data(message), sizeof number);
    CHECK_EQ(number, next_on[channel]);
    next_on[channel]++;
    srmudp_message_consume(message);
}

TEST(each_of_256_channels_keeps_its_order) {
    connect_pair(NULL, "127.0.0.1");
    memset(next_on, 0, sizeof next_on);
    y->on_message = check_order;
    uint64_t sequence;
    for (uint64_t number = 0; number < 100; number++)
        for (int i = 0; i < 256; i++) {
            uint8_t channel = (uint8_t)(i * 37), data[300] = {0};
            memcpy(data, &number, sizeof number);
            CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 8 + (size_t)i, channel, 0, &sequence),
                     SRMUDP_OK);
            CHECK_EQ(sequence, number + 1);
        }
    for (int i = 0; i < 256; i++)
        UNTIL(x->consumed[i] == 100);
    for (int i = 0; i < 256; i++)
        CHECK_EQ(next_on[i], 100);
    free_pair();
}

TEST(an_echo_may_send_the_received_message_itself) {
    connect_pair(NULL, "127.0.0.1");
    host_send(x, 3000, 7, 1);
    y->hold = true;
    UNTIL(y->held_count == 1);
    srmudp_message *message = y->held[0];
    y->held_count = 0;
    CHECK_EQ(srmudp_connection_send(y->connection, message, NULL), SRMUDP_OK);
    UNTIL(x->messages == 1);
    CHECK_EQ(x->hash, host_hash_message(0, 3000, 7, 1));
    free_pair();
}

/* ---- Pressure ---- */

static srmudp_config small_buffers(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.max_message_size = 100000;
    config.send_buffer = 64000;
    config.receive_buffer = 200000;
    return config;
}

TEST(a_full_buffer_says_again_and_writable_says_when) {
    srmudp_config config = small_buffers();
    connect_pair(&config, "127.0.0.1");
    y->hold = true;
    static uint8_t data[100000];
    /* An empty buffer takes one message of any legal size, and nothing behind it. */
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 100001, 0, 0, NULL), SRMUDP_MESSAGE_TOO_LARGE);
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 100000, 0, 0, NULL), SRMUDP_OK);
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 0, 0, 0, NULL), SRMUDP_AGAIN);
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 1, 1, 0, NULL), SRMUDP_AGAIN);
    UNTIL(y->held_count == 1);
    CHECK_EQ(x->writable, 0); /* received isn't consumed */
    host_consume_held(y);
    UNTIL(x->writable == 1);
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 0, 0, 0, NULL), SRMUDP_OK);
    CHECK_EQ(x->writable, 1);
    free_pair();
}

TEST(no_writable_without_a_refusal) {
    connect_pair(NULL, "127.0.0.1");
    for (uint64_t i = 0; i < 1000; i++)
        host_send(x, 1000, 0, i);
    UNTIL(x->consumed[0] == 1000);
    CHECK_EQ(x->writable, 0);
    free_pair();
}

TEST(writable_means_that_what_was_refused_fits) {
    srmudp_config config = small_buffers();
    connect_pair(&config, "127.0.0.1");
    static uint8_t data[60000];
    uint64_t total = 0;
    srand(7);
    for (int i = 0; i < 3000; i++) {
        size_t size = (size_t)(rand() % (i % 10 == 0 ? 60000 : 500));
        srmudp_error error = srmudp_connection_send_bytes(x->connection, data, size, 0, 0, NULL);
        if (error == SRMUDP_AGAIN) {
            int before = x->writable;
            UNTIL(x->writable == before + 1);
            CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, size, 0, 0, NULL), SRMUDP_OK);
        } else {
            CHECK_EQ(error, SRMUDP_OK);
        }
        total += size;
    }
    UNTIL(x->consumed[0] == 3000);
    CHECK_EQ(y->bytes, total);
    CHECK(x->writable > 0);
    free_pair();
}

/* What must not wait goes on a channel of its own, and finds room when large messages fill the buffer. */
TEST(a_small_message_finds_room_beside_large_ones) {
    srmudp_config config = small_buffers();
    config.send_buffer = 1 << 20;
    config.receive_buffer = 4 << 20;
    connect_pair(&config, "127.0.0.1");
    y->hold = true;
    static uint8_t data[50000];
    uint64_t large = 0, small = 0;
    while (srmudp_connection_send_bytes(x->connection, data, sizeof data, 9, 0, NULL) == SRMUDP_OK)
        large++;
    CHECK(large >= 17);
    while (srmudp_connection_send_bytes(x->connection, data, 4096, 0, 0, NULL) == SRMUDP_OK)
        small++;
    CHECK(small >= 31 && small < 64); /* an eighth of the buffer, and what was left of the rest */
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, data, 4097, 0, 0, NULL), SRMUDP_AGAIN);
    UNTIL(y->held_count == (int)(large + small));
    CHECK_EQ(x->writable, 0);
    host_consume_held(y);
    UNTIL(x->writable == 1 && x->consumed[0] == small && x->consumed[9] == large);
    free_pair();
}

TEST(a_receiver_that_does_not_consume_stops_the_sender) {
    srmudp_config config = small_buffers();
    config.send_buffer = 4000000;
    connect_pair(&config, "127.0.0.1");
    y->hold = true;
    static uint8_t data[50000];
    uint64_t sent = 0;
    srmudp_stats stats;
    while (srmudp_connection_send_bytes(x->connection, data, sizeof data, 0, 0, NULL) == SRMUDP_OK)
        sent++;
    CHECK(sent > 70);
    UNTIL(y->held_count >= 3);
    host_settle(200); /* it waits for credit */
    CHECK(y->bytes <= config.receive_buffer);
    CHECK_EQ(x->writable, 0);
    CHECK(srmudp_connection_stats(x->connection, &stats));
    CHECK_EQ(stats.messages_sent, sent);
    CHECK_EQ(stats.messages_unconsumed, sent);
    y->hold = false;
    host_consume_held(y);
    UNTIL(x->consumed[0] == sent);
    CHECK_EQ(y->messages, sent);
    free_pair();
}

TEST(statistics_tell_what_happened) {
    connect_pair(NULL, "127.0.0.1");
    for (uint64_t i = 0; i < 100; i++)
        host_send(x, 10000, 0, i);
    UNTIL(x->consumed[0] == 100);
    srmudp_stats stats;
    CHECK(srmudp_connection_stats(x->connection, &stats));
    CHECK_EQ(stats.status, SRMUDP_ESTABLISHED);
    CHECK_EQ(stats.messages_sent, 100);
    CHECK_EQ(stats.bytes_sent, 1000000);
    CHECK_EQ(stats.messages_unconsumed, 0);
    CHECK(stats.packets_sent > 15 && stats.udp_bytes_sent > 1000000);
    CHECK(stats.rtt_us > 0 && stats.rtt_us < 1000000);
    CHECK(stats.mtu >= 1200);
    uint8_t kinds[SRM_AEAD_KINDS];
    CHECK(srm_aead_list(kinds) > 0);
    CHECK_EQ(stats.aead, kinds[0]); /* both sides have the same: the fastest of them */
    CHECK_EQ(stats.remote.port, b->port);
    CHECK(srmudp_connection_stats(y->connection, &stats));
    CHECK_EQ(stats.messages_received, 100);
    CHECK_EQ(stats.bytes_received, 1000000);
    srmudp_endpoint_stats all;
    srmudp_endpoint_get_stats(a->endpoint, &all);
    CHECK_EQ(all.connections, 1);
    CHECK(all.datagrams_sent > 15 && all.datagrams_received > 0);
    CHECK_EQ(all.handshakes_completed, 1);
    free_pair();
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
