/* Everything an application may do, at random and in any order, for lifetimes and lost wakes: run it under
 * the sanitizers. The seed is printed; "test_random SEED" runs that one alone.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define HOSTS 3
#define STEPS 4000
#define OPEN_AT_MOST 40

static uint64_t state;

static unsigned roll(unsigned below) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(state >> 33) % below;
}

static host *hosts[HOSTS];
static srmudp_listener *listeners[HOSTS];
static const char *const keys[] = {"key", "another key", "a third key"};
static const char *const addresses[] = {"127.0.0.1", "::1", "localhost", "127.0.0.2"};

static srmudp_config config_of(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.liveness = 1000;
    config.liveness_in_flight = 500;
    config.keepalive_interval = 500;
    config.outage_limit = 1000;
    config.reconnect_delay = 100;
    config.max_message_size = 100000;
    config.send_buffer = 50000 + roll(1000000);
    config.receive_buffer = 100064 + roll(1000000);
    config.gso = roll(2) == 0;
    return config;
}

static host *fresh_host(void) {
    srmudp_config config = config_of();
    host *h = host_new(&config);
    h->hold = roll(2) == 0;
    return h;
}

/* One that isn't released, or NULL. */
static peer *any_peer(host *h) {
    for (int tries = 0; tries < 10 && h->count > 0; tries++) {
        peer *p = &h->peers[roll((unsigned)h->count)];
        if (p->connection != NULL)
            return p;
    }
    return NULL;
}

static void open_one(host *h) {
    const host *to = hosts[roll(HOSTS)];
    int open = 0;
    for (int i = 0; i < h->count; i++)
        open += h->peers[i].connection != NULL;
    if (h->count > HOST_PEERS - 100 || open >= OPEN_AT_MOST || to == h)
        return;
    peer *p = &h->peers[h->count];
    *p = (peer){.host = h, .hold = h->hold};
    const char *key = keys[roll(3)];
    char label[16];
    (void)snprintf(label, sizeof label, "%u", roll(100));
    srmudp_target target = {.host = addresses[roll(4)],
                            .port = to->port,
                            .key = key,
                            .key_size = strlen(key),
                            .label = roll(2) == 0 ? "" : label,
                            .user = p};
    if (srmudp_endpoint_open(h->endpoint, &target, &p->connection) == SRMUDP_OK)
        h->count++;
}

static void listen_or_not(int i) {
    if (listeners[i] != NULL) {
        srmudp_listener_close(listeners[i]);
        listeners[i] = NULL;
    } else {
        const char *key = keys[roll(3)];
        CHECK_EQ(srmudp_endpoint_listen(hosts[i]->endpoint, key, strlen(key), NULL, NULL, &listeners[i]),
                 SRMUDP_OK);
    }
}

static void send_some(peer *p) {
    static uint8_t data[100000];
    for (unsigned i = roll(30); i > 0; i--) {
        size_t size = roll(10) == 0 ? roll(100001) : roll(300);
        srmudp_error error =
            srmudp_connection_send_bytes(p->connection, data, size, (uint8_t)roll(4), (uint8_t)roll(2), NULL);
        CHECK(error == SRMUDP_OK || error == SRMUDP_AGAIN || error == SRMUDP_CLOSED);
    }
}

/* Consumes, frees, or sends on what is held, in order. */
static void use_held(peer *p) {
    for (int i = 0; i < p->held_count; i++) {
        unsigned what = roll(10);
        if (what == 0)
            srmudp_message_free(p->held[i]);
        else if (what == 1 && p->connection != NULL &&
                 srmudp_connection_send(p->connection, p->held[i], NULL) == SRMUDP_OK)
            continue;
        else
            srmudp_message_consume(p->held[i]);
    }
    p->held_count = 0;
}

static void new_endpoint(int i) {
    listeners[i] = NULL;
    host_free(hosts[i]);
    hosts[i] = fresh_host();
}

static void act_on(peer *p) {
    srmudp_stats stats;
    switch (roll(12)) {
    case 0:
        srmudp_connection_close(p->connection, roll(2) == 0 ? 0 : roll(300));
        break;
    case 1:
        host_release(p);
        break;
    case 2:
        srmudp_connection_reconnect(p->connection);
        break;
    case 3:
        CHECK(srmudp_connection_stats(p->connection, &stats));
        break;
    case 4:
        p->hold = !p->hold;
        break;
    case 5:
    case 6:
        use_held(p);
        break;
    default:
        send_some(p);
    }
}

static void step(void) {
    int i = (int)roll(HOSTS);
    srmudp_endpoint_stats stats;
    peer *p;
    switch (roll(16)) {
    case 0:
    case 1:
        open_one(hosts[i]);
        break;
    case 2:
        listen_or_not(i);
        break;
    case 3:
        srmudp_endpoint_get_stats(hosts[i]->endpoint, &stats);
        break;
    case 4:
        if (roll(20) == 0 || hosts[i]->count > HOST_PEERS - 150)
            new_endpoint(i);
        break;
    case 5:
    case 6:
    case 7:
        host_pump(host_now() + roll(3));
        break;
    default:
        if ((p = any_peer(hosts[i])) != NULL)
            act_on(p);
    }
}

static void run(uint64_t seed) {
    printf("random: seed %llu\n", (unsigned long long)seed);
    state = seed;
    for (int i = 0; i < HOSTS; i++)
        hosts[i] = fresh_host();
    for (int i = 0; i < STEPS; i++)
        step();
    for (int i = 0; i < HOSTS; i++)
        for (int k = 0; k < hosts[i]->count; k++)
            CHECK_EQ(hosts[i]->peers[k].after_closed, 0);
    /* All that is open can be closed, and says so. */
    for (int i = 0; i < HOSTS; i++)
        for (int k = 0; k < hosts[i]->count; k++) {
            peer *p = &hosts[i]->peers[k];
            p->hold = false;
            use_held(p);
            if (p->connection != NULL)
                srmudp_connection_close(p->connection, 100);
        }
    for (int i = 0; i < HOSTS; i++)
        for (int k = 0; k < hosts[i]->count; k++) {
            peer *p = &hosts[i]->peers[k];
            if (p->connection != NULL)
                UNTIL(p->closed == 1);
        }
    for (int i = 0; i < HOSTS; i++) {
        listeners[i] = NULL;
        host_free(hosts[i]);
    }
}

static uint64_t first = 1, count = 4;

TEST(anything_in_any_order) {
    for (uint64_t seed = first; seed < first + count; seed++)
        run(seed);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        first = strtoull(argv[1], NULL, 10);
        count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    return check_main(1, argv);
}
