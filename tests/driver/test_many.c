/* Many connections over one port on each side. */
#include "host.h"

#include <pthread.h>
#include <stdio.h>

#include "check.h"

TEST(two_hundred_connections_share_a_port) {
    host *a = host_new(NULL), *b = host_new(NULL);
    enum { COUNT = 200 };
    host_listen(b, "key");
    for (int i = 0; i < COUNT; i++) {
        peer *x = host_open_port(a, "127.0.0.1", b->port, "key", "");
        if (i % 4 == 3) /* 8 wait at most */
            UNTIL(x->status == SRMUDP_ESTABLISHED);
        for (uint64_t k = 0; k < 10; k++)
            host_send(x, 1000, 0, k);
    }
    UNTIL(b->accepted == COUNT);
    for (int i = 0; i < COUNT; i++) {
        UNTIL(a->peers[i].consumed[0] == 10);
        host_send(&b->peers[i], 1000, 0, (uint64_t)i);
    }
    for (int i = 0; i < COUNT; i++)
        UNTIL(b->peers[i].consumed[0] == 1 && b->peers[i].messages == 10);
    srmudp_endpoint_stats stats;
    srmudp_endpoint_get_stats(a->endpoint, &stats);
    CHECK_EQ(stats.connections, COUNT);
    host_free(a);
    for (int i = 0; i < COUNT; i++)
        UNTIL(b->peers[i].closed == 1);
    host_free(b);
}

TEST(several_keys_between_one_pair_of_ports) {
    host *a = host_new(NULL), *b = host_new(NULL);
    enum { KEYS = 4 };
    peer *x[KEYS], *y[KEYS];
    char key[32];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "key %d", i);
        x[i] = host_open(a, "127.0.0.1", b, key);
    }
    for (int i = KEYS - 1; i >= 0; i--) {
        snprintf(key, sizeof key, "key %d", i);
        y[i] = host_open(b, "127.0.0.1", a, key);
        host_send(y[i], 100, 0, (uint64_t)i);
        host_send(x[i], 100, 0, (uint64_t)i);
    }
    for (int i = 0; i < KEYS; i++) {
        UNTIL(x[i]->messages == 1 && y[i]->messages == 1);
        CHECK_EQ(x[i]->hash, host_hash_message(0, 100, 0, (uint64_t)i));
        CHECK_EQ(y[i]->hash, x[i]->hash);
    }
    host_free(a);
    host_free(b);
}

TEST(several_labels_between_one_pair_of_ports) {
    host *a = host_new(NULL), *b = host_new(NULL);
    enum { LABELS = 20 };
    peer *x[LABELS], *y[LABELS];
    char label[32];
    for (int i = 0; i < LABELS; i++) {
        snprintf(label, sizeof label, "label %d", i);
        x[i] = host_open_port(a, "::1", b->port, "key", label);
        y[i] = host_open_port(b, "::1", a->port, "key", label);
        host_send(x[i], 100, 0, (uint64_t)i);
    }
    for (int i = 0; i < LABELS; i++) {
        UNTIL(y[i]->messages == 1);
        CHECK_EQ(y[i]->hash, host_hash_message(0, 100, 0, (uint64_t)i));
    }
    host_free(a);
    host_free(b);
}

/* ---- Two applications' threads, each with its own endpoint, at full speed in both directions ---- */

typedef struct side {
    uint16_t port, peer_port;
    pthread_barrier_t *barrier;
    uint64_t received, hash_errors;
    bool failed;
} side;

#define MESSAGES 20000

/* Everything an application does, without the helpers, which know one thread only. */
static bool handle_events(srmudp_endpoint *endpoint, side *s, uint64_t *consumed) {
    srmudp_event event;
    while (srmudp_endpoint_next_event(endpoint, &event)) {
        if (event.kind == SRMUDP_EVENT_MESSAGE) {
            uint64_t number;
            memcpy(&number, srmudp_message_data(event.message), sizeof number);
            s->hash_errors += number != s->received++;
            srmudp_message_consume(event.message);
        }
        if (event.kind == SRMUDP_EVENT_CONSUMED)
            *consumed = event.count;
        if (event.kind == SRMUDP_EVENT_CLOSED)
            return false;
    }
    return true;
}

static void *run_side(void *context) {
    side *s = context;
    srmudp_endpoint *endpoint;
    srmudp_connection *connection;
    srmudp_address addresses[2];
    srmudp_config config;
    srmudp_config_init(&config);
    config.send_buffer = 1 << 20;
    s->failed = srmudp_endpoint_bind("127.0.0.1", 0, &config, &endpoint) != SRMUDP_OK;
    srmudp_endpoint_addresses(endpoint, addresses);
    s->port = addresses[0].port;
    pthread_barrier_wait(s->barrier);
    pthread_barrier_wait(s->barrier); /* now each knows the other's port */
    srmudp_target target = {.host = "127.0.0.1", .port = s->peer_port, .key = "k", .key_size = 1};
    s->failed |= srmudp_endpoint_open(endpoint, &target, &connection) != SRMUDP_OK;
    uint64_t sent = 0, consumed = 0;
    for (int64_t end = host_now() + 60000; !s->failed && (consumed < MESSAGES || s->received < MESSAGES);) {
        while (sent < MESSAGES &&
               srmudp_connection_send_bytes(connection, &sent, sizeof sent, 0, 0, NULL) == SRMUDP_OK)
            sent++;
        s->failed |= !handle_events(endpoint, s, &consumed) || host_now() > end;
    }
    pthread_barrier_wait(s->barrier);
    srmudp_endpoint_close(endpoint);
    return NULL;
}

TEST(two_threads_at_full_speed_both_ways) {
    pthread_barrier_t barrier;
    pthread_t threads[2];
    side sides[2] = {{.barrier = &barrier}, {.barrier = &barrier}};
    CHECK_EQ(pthread_barrier_init(&barrier, NULL, 3), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_side, &sides[i]), 0);
    pthread_barrier_wait(&barrier);
    sides[0].peer_port = sides[1].port;
    sides[1].peer_port = sides[0].port;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        CHECK(!sides[i].failed);
        CHECK_EQ(sides[i].received, MESSAGES);
        CHECK_EQ(sides[i].hash_errors, 0);
    }
    pthread_barrier_destroy(&barrier);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
