/* How two sides find each other: listening, crossing, several keys, wrong keys. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

static void listener_is_fast(void) {
    pair p = make_pair(wire_of(50 * SRM_MILLISECOND, 0), true, "key", "key");
    p.b->echo = true;
    app_send(p.ca, 0, 100);
    pass(SRM_SECOND);
    if (p.b->count == 1)
        p.cb = &p.b->conns[0];
    APP_CHECK(p.cb != NULL && since_start(p.cb->first_message) <= 80 * SRM_MILLISECOND,
              "first message later than 1.6 RTT");
    APP_CHECK(since_start(p.ca->first_message) <= 105 * SRM_MILLISECOND, "answer later than 2.1 RTT");
}

/* One side has been waiting for a while when the other comes: as fast as a listener. */
static void punching_is_fast(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(50 * SRM_MILLISECOND, 0));
    net_kill(p.a->host);
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    app_send(p.cb, 0, 100);
    pass(SRM_SECOND + (srm_time)(net_uniform(&world) * 5e9));
    net_restart(p.a->host);
    srm_time start = world.now;
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    app_send(p.ca, 0, 100);
    pass(SRM_SECOND);
    APP_CHECK(p.cb->received[0] == 1 && p.cb->first_message - start <= 80 * SRM_MILLISECOND,
              "first message later than 1.6 RTT");
    APP_CHECK(p.ca->received[0] == 1 && p.ca->first_message - start <= 105 * SRM_MILLISECOND,
              "answer later than 2.1 RTT");
}

/* Both come at the same moment: the larger nonce's side is as fast, the other half a round trip later. */
static void meeting_is_fast(void) {
    pair p = make_pair(wire_of(50 * SRM_MILLISECOND, 0), false, "key", "key");
    app_send(p.ca, 0, 100);
    app_send(p.cb, 0, 100);
    pass(SRM_SECOND);
    srm_time a = since_start(p.ca->first_message), b = since_start(p.cb->first_message);
    APP_CHECK(srm_time_min(a, b) <= 80 * SRM_MILLISECOND, "first message later than 1.6 RTT");
    APP_CHECK(srm_time_max(a, b) <= 105 * SRM_MILLISECOND, "second message later than 2.1 RTT");
}

static void crossing(void) {
    net_wire wire = wire_of(50 * SRM_MILLISECOND, net_uniform(&world) * 0.3);
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire);
    p.ca = app_open(p.a, "a weak key", "", &p.b->host->address);
    pass((srm_time)(net_uniform(&world) * 4e8));
    p.cb = app_open(p.b, "a weak key", "", &p.a->host->address);
    for (int i = 0; i < 10; i++) {
        app_send(p.ca, 0, 50);
        app_send(p.cb, 0, 60);
    }
    establish(&p, 12 * SRM_SECOND);
    pass(10 * SRM_SECOND);
    APP_CHECK(p.ca->received[0] == 10 && p.cb->received[0] == 10, "messages missing");
    APP_CHECK(p.ca->restarts == 0 && p.cb->restarts == 0, "a restart nobody made");
}

static void wrong_key(void) {
    pair p = make_pair(wire_of(10 * SRM_MILLISECOND, 0), false, "one key", "another key");
    pass(3 * SRM_SECOND);
    APP_CHECK(p.ca->wrong_keys > 0 && p.cb->wrong_keys > 0,
              "the wrong key was not told on both sides within 3 s");
    APP_CHECK(p.ca->status == SRMUDP_WAITING && p.cb->status == SRMUDP_WAITING,
              "a wrong key ended the attempt");
    srm_conn_release(p.cb->conn, world.now);
    p.cb->conn = NULL;
    p.cb = app_open(p.b, "one key", "", &p.a->host->address);
    establish(&p, 15 * SRM_SECOND);
}

static void two_keys_one_address(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.02), false, "first key", "first key");
    app_conn *a2 = app_open(p.a, "second key", "", &p.b->host->address),
             *b2 = app_open(p.b, "second key", "", &p.a->host->address);
    app_send(p.ca, 0, 10);
    app_send(a2, 1, 10);
    app_send(b2, 2, 10);
    pass(10 * SRM_SECOND);
    APP_CHECK(both_established(&p) && a2->status == SRMUDP_ESTABLISHED && b2->status == SRMUDP_ESTABLISHED,
              "not both connected");
    APP_CHECK(p.cb->received[0] == 1 && b2->received[1] == 1 && a2->received[2] == 1, "messages went astray");
}

static void labels_keep_apart(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.02), false, "key", "key");
    app_conn *a2 = app_open(p.a, "key", "video", &p.b->host->address),
             *b2 = app_open(p.b, "key", "video", &p.a->host->address);
    app_send(p.ca, 0, 10);
    app_send(a2, 1, 10);
    pass(5 * SRM_SECOND);
    APP_CHECK(both_established(&p) && a2->status == SRMUDP_ESTABLISHED, "not both connected");
    APP_CHECK(p.cb->received[0] == 1 && b2->received[1] == 1, "messages went astray");
}

/* One side waits for the other for five minutes. */
static void late_peer(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(40 * SRM_MILLISECOND, 0));
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    app_send(p.ca, 0, 1000);
    pass(300 * SRM_SECOND + (srm_time)(net_uniform(&world) * 1e9));
    APP_CHECK(p.ca->status == SRMUDP_WAITING, "waiting for ever is not waiting");
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    establish(&p, 1100 * SRM_MILLISECOND + 80 * SRM_MILLISECOND);
    pass(SRM_SECOND);
    APP_CHECK(p.cb->received[0] == 1, "what was sent while waiting did not arrive");
}

/* What A sends gets through only later, as behind a NAT that the far side has to open first. */
static void one_way_at_first(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(60 * SRM_MILLISECOND, 0));
    int blocked = (int)(net_random(&world) & 1);
    world.wires[blocked][!blocked].cut = true;
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    pass((srm_time)(net_uniform(&world) * 5e9));
    world.wires[blocked][!blocked].cut = false;
    establish(&p, 1200 * SRM_MILLISECOND + 180 * SRM_MILLISECOND);
}

static void second_open_is_told_busy(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    app_conn *second = app_open(p.a, "key", "", &p.b->host->address);
    load(&p, 100, 0, 0);
    pass(5 * SRM_SECOND);
    APP_CHECK(second->closed == 1 && second->reason == SRMUDP_PEER_BUSY,
              "the newcomer was not told peer_busy");
    APP_CHECK(both_established(&p) && p.ca->restarts + p.cb->restarts + p.cb->reconnecting == 0,
              "the newcomer disturbed the living session");
    APP_CHECK(transfer_done(&p), "messages of the living session were lost");
}

static void eight_opens_one_address(void) {
    static const char *keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    sim_app *a = add_app(), *b = add_app();
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0.01));
    app_conn *left[8], *right[8], ninth = {.app = a};
    for (int i = 0; i < 8; i++)
        left[i] = app_open(a, keys[i], "", &b->host->address);
    for (int i = 7; i >= 0; i--)
        right[i] = app_open(b, keys[i], "", &a->host->address);
    APP_CHECK(srm_endpoint_open(a->host->endpoint, world.now, srm_span_of("k8", 2), srm_span_of("", 0),
                                &b->host->address, 1, &ninth, &ninth.conn) == SRMUDP_ADDRESS_BUSY,
              "a ninth connection to one address and label was taken");
    for (int i = 0; i < 8; i++)
        app_send(left[i], 0, 100 + (uint32_t)i);
    pass(30 * SRM_SECOND);
    for (int i = 0; i < 8; i++) {
        APP_CHECK(left[i]->status == SRMUDP_ESTABLISHED && right[i]->status == SRMUDP_ESTABLISHED,
                  "not all keys found each other");
        APP_CHECK(right[i]->received[0] == 1, "messages went astray");
    }
}

/* A VERSION message, which anybody can forge, is told and changes nothing else. */
static void other_version(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0));
    app_listen(p.b, "key", "");
    uint8_t hello[320] = {0xc1, 2};
    memset(hello + 2, 7, 16);
    net_inject(&world, &p.a->host->address, 1, hello, sizeof hello, 0);
    pass(SRM_SECOND);
    srmudp_endpoint_stats stats;
    srm_endpoint_stats(p.b->host->endpoint, &stats);
    APP_CHECK(stats.dropped_version == 1 && world.wires[1][0].sent == 1 &&
                  world.wires[1][0].bytes < sizeof hello,
              "a HELLO of another version was not answered with VERSION");
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    establish(&p, SRM_SECOND);
}

static bool one_established(void *context) {
    const pair *p = context;
    return p->ca->status == SRMUDP_ESTABLISHED || p->cb->status == SRMUDP_ESTABLISHED;
}

/* Who is established first closes at once: the other hears of both. */
static void closed_at_once(void) {
    pair p = make_pair(wire_of((srm_time)(net_uniform(&world) * 1e7), net_uniform(&world) * 0.2), false,
                       "key", "key");
    APP_CHECK(net_run(&world, after(5 * SRM_SECOND), one_established, &p), "not established in time");
    bool first = p.ca->status == SRMUDP_ESTABLISHED;
    app_conn *closer = first ? p.ca : p.cb, *other = first ? p.cb : p.ca;
    srm_conn_close(closer->conn, world.now, 5 * SRM_SECOND);
    pass(2 * SRM_SECOND);
    APP_CHECK(closer->closed == 1, "close() did not end it");
    APP_CHECK(other->established == 1 && other->peer_closed == 1 && other->closed == 1,
              "the other side did not hear of a goodbye right after the handshake");
}

static const sim_scenario scenarios[] = {
    {"listener_is_fast", listener_is_fast},
    {"crossing", crossing},
    {"wrong_key", wrong_key},
    {"two_keys_one_address", two_keys_one_address},
    {"labels_keep_apart", labels_keep_apart},
    {"late_peer", late_peer},
    {"one_way_at_first", one_way_at_first},
    {"punching_is_fast", punching_is_fast},
    {"meeting_is_fast", meeting_is_fast},
    {"second_open_is_told_busy", second_open_is_told_busy},
    {"eight_opens_one_address", eight_opens_one_address},
    {"other_version", other_version},
    {"closed_at_once", closed_at_once},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
