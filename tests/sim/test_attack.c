/* An attacker who sees, replays, reflects and alters everything. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

/* Replays, reflects and alters what it sees. */
static bool meddle(network *net, int from, int to, uint8_t *data, size_t *size) {
    if (net_uniform(net) < 0.1)
        net_inject(net, &net->hosts[from].address, to, data, *size, (srm_time)(net_uniform(net) * 2e9));
    if (net_uniform(net) < 0.1)
        net_inject(net, &net->hosts[to].address, from, data, *size, (srm_time)(net_uniform(net) * 1e8));
    if (net_uniform(net) < 0.05)
        data[net_random(net) % *size] ^= (uint8_t)(1 << (net_random(net) & 7));
    if (net_uniform(net) < 0.02)
        *size = 1 + net_random(net) % *size;
    return true;
}

static void attacked(void) {
    world.attacker = meddle;
    pair p = make_pair(wire_of(30 * SRM_MILLISECOND, 0.02), net_random(&world) & 1, "key", "key");
    establish(&p, 40 * SRM_SECOND);
    load(&p, 500, 4, 300000);
    APP_CHECK(net_run(&world, after(60 * SRM_SECOND), transfer_done, &p), "an attacker stopped the transfer");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "an attacker made it restart");
}

/* Everything comes back to its sender, and nothing else ever arrives. */
static bool mirror(network *net, int from, int to, uint8_t *data, size_t *size) {
    net_inject(net, &net->hosts[to].address, from, data, *size, SRM_MILLISECOND);
    return false;
}

static void reflected(void) {
    world.attacker = mirror;
    pair p = make_pair(wire_of(10 * SRM_MILLISECOND, 0), false, "key", "key");
    pass(30 * SRM_SECOND);
    APP_CHECK(p.ca->status == SRMUDP_WAITING && p.cb->status == SRMUDP_WAITING,
              "a mirror was taken for a peer");
    srmudp_endpoint_stats stats;
    srm_endpoint_stats(p.a->host->endpoint, &stats);
    APP_CHECK(stats.dropped_own > 0 && stats.handshakes_completed == 0,
              "own messages were not dropped as such");
    world.attacker = NULL;
    establish(&p, 3 * SRM_SECOND);
}

static int alter_at; /* number of the datagram to alter */
static int alter_seen;

static bool alter_one(network *net, int from, int to, uint8_t *data, size_t *size) {
    (void)from, (void)to;
    if (alter_seen++ == alter_at)
        data[net_random(net) % srm_size_min(*size, 200)] ^= (uint8_t)(1 << (net_random(net) & 7));
    return true;
}

/* One altered datagram of the handshake costs a repetition, not a time-out. */
static void one_altered(void) {
    for (alter_at = 0; alter_at < 6; alter_at++) {
        alter_seen = 0;
        world.attacker = alter_one;
        sim_app *a = add_app(), *b = add_app();
        int first = a->host->index;
        net_connect(&world, first, first + 1, wire_of(40 * SRM_MILLISECOND, 0));
        pair p = {.a = a, .b = b};
        if (net_random(&world) & 1)
            app_listen(b, "key", "");
        else
            p.cb = app_open(b, "key", "", &a->host->address);
        p.ca = app_open(a, "key", "", &b->host->address);
        establish(&p, 1500 * SRM_MILLISECOND);
    }
}

static void random_bytes(uint8_t *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)net_random(&world);
}

/* HELLOs and everything else from forged addresses, thousands a second, for a minute. */
static void flooded(void) {
    pair p = {.a = add_app(), .b = add_app()};
    sim_app *victim = add_app(); /* whose address is forged */
    net_connect(&world, 0, 1, wire_of(30 * SRM_MILLISECOND, 0));
    net_connect(&world, 1, 2, wire_of(30 * SRM_MILLISECOND, 0));
    app_listen(p.b, "key", "");
    uint64_t injected = 0;
    for (int tenth = 0; tenth < 600; tenth++) {
        for (int i = 0; i < 200; i++) {
            uint8_t hello[400];
            size_t size = i % 4 == 0 ? net_random(&world) % 400 : 320;
            random_bytes(hello, sizeof hello);
            hello[0] = (uint8_t)(i % 8 == 3 ? hello[0] : 0xc0 | (1 + i % 7));
            hello[1] = 1;
            if (i % 8 != 3) { /* what a HELLO needs to be taken as one */
                hello[0] = 0xc1;
                hello[36] = hello[37] = 0;
                memset(hello + 102, 0, sizeof hello - 102);
                memcpy(hello + 102, app_label_hash(""), 8);
                hello[111] = 4 + 4 + 7;
                static const uint8_t lists[] = {1, 0, 1, 1, 2, 0, 1, 3, 3, 0, 4, 0, 0, 0, 0};
                memcpy(hello + 112, lists, sizeof lists);
            }
            net_inject(&world, &victim->host->address, 1, hello, size, (srm_time)(net_uniform(&world) * 1e8));
            injected += size;
        }
        pass(100 * SRM_MILLISECOND);
        if (tenth == 300)
            p.ca = app_open(p.a, "key", "", &p.b->host->address);
    }
    srmudp_endpoint_stats stats;
    srm_endpoint_stats(p.b->host->endpoint, &stats);
    APP_CHECK(stats.dropped_cookie > 1000, "no cookie was demanded in a flood");
    APP_CHECK(world.wires[1][2].bytes <= injected / 10, "a flood was amplified or answered too much");
    APP_CHECK(p.b->count == 1 && p.ca->status == SRMUDP_ESTABLISHED, "a flood locked the right peer out");
}

/* A stranger who tries one passphrase after another gets as many as the budget allows. */
static void guessing(void) {
    pair p = {.a = add_app(), .b = add_app()};
    sim_app *mallory = add_app();
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0));
    net_connect(&world, 1, 2, wire_of(20 * SRM_MILLISECOND, 0));
    app_listen(p.b, "the right key", "");
    unsigned guesses = 0;
    for (int minute = 0; minute < 10; minute++) {
        for (int i = 0; i < 60; i++) {
            char guess[32];
            snprintf(guess, sizeof guess, "guess %d", minute * 60 + i);
            mallory->count = 0; /* the connection's place is free again */
            app_conn *conn = app_open(mallory, guess, "", &p.b->host->address);
            pass(SRM_SECOND);
            guesses += conn->wrong_keys;
            srm_conn_release(conn->conn, world.now);
            conn->conn = NULL;
        }
    }
    APP_CHECK(guesses >= 4 && guesses <= 4 + 10 + 1, "a source got more guesses than 4, and one a minute");
    p.ca = app_open(p.a, "the right key", "", &p.b->host->address);
    establish(&p, 2 * SRM_SECOND);
}

static const sim_scenario scenarios[] = {
    {"attacked", attacked}, {"reflected", reflected}, {"one_altered", one_altered},
    {"flooded", flooded},   {"guessing", guessing},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
