/* Messages over bad networks: loss, outages, new addresses, slow readers; once, in order, nothing lost. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

static void lossy_transfer(void) {
    pair p = make_pair(wire_of(10 * SRM_MILLISECOND, 0.05), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 10000, 64, 1 << 20);
    srm_time start = world.now;
    APP_CHECK(net_run(&world, after(120 * SRM_SECOND), transfer_done, &p),
              "not all delivered and consumed within 120 s");
    printf("    %.1f s, ", (double)(world.now - start) / 1e9);
    srmudp_stats stats;
    srm_conn_stats(p.ca->conn, world.now, &stats);
    printf("%llu packets, %llu lost, %llu of them spuriously\n", (unsigned long long)stats.packets_sent,
           (unsigned long long)stats.packets_lost, (unsigned long long)stats.packets_spurious);
}

static void big_messages(void) {
    pair p =
        make_pair((net_wire){.delay = 20 * SRM_MILLISECOND, .rate = 12.5e6, .queue = 40 * SRM_MILLISECOND},
                  true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 0, 3, 16 << 20);
    for (int i = 0; i < 5; i++)
        app_send(p.ca, 0, 0);
    APP_CHECK(net_run(&world, after(60 * SRM_SECOND), transfer_done, &p),
              "16 MiB and empty messages did not arrive");
}

static void outage(void) {
    pair p = make_pair(wire_of(30 * SRM_MILLISECOND, 0.01), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    world.wires[0][1].cut = world.wires[1][0].cut = true;
    for (int second = 0; second < 60; second++) {
        load(&p, 2, second % 20 == 0, 100000);
        pass(SRM_SECOND);
    }
    APP_CHECK(p.ca->status == SRMUDP_RECONNECTING && p.cb->status == SRMUDP_RECONNECTING,
              "an outage was not told");
    world.wires[0][1].cut = world.wires[1][0].cut = false;
    APP_CHECK(net_run(&world, after(10 * SRM_SECOND), transfer_done, &p),
              "what was sent in the outage did not arrive");
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED && p.cb->status == SRMUDP_ESTABLISHED, "not back");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "the session was lost");
}

static void rebinding(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.01), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 1000, 8, 1 << 20);
    pass(200 * SRM_MILLISECOND);
    net_rebind(p.a->host, 5555, 1);
    pass(500 * SRM_MILLISECOND);
    net_rebind(p.a->host, 6666, 1);
    APP_CHECK(net_run(&world, after(30 * SRM_SECOND), transfer_done, &p), "a new port stopped it");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "the session was lost");
}

static void flow_control(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    p.cb->hold = true;
    for (int i = 0; i < 200; i++)
        app_send(p.ca, 1, 1 << 20);
    pass(20 * SRM_SECOND);
    APP_CHECK(p.cb->bytes <= config.receive_buffer, "more came than the receive buffer holds");
    APP_CHECK(p.cb->bytes > 0 && p.ca->status == SRMUDP_ESTABLISHED, "a slow reader broke the connection");
    p.cb->hold = false;
    app_release_held(p.cb);
    APP_CHECK(net_run(&world, after(60 * SRM_SECOND), transfer_done, &p),
              "a reader that went on did not get the rest");
}

static void idle_hour(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    pass(10 * SRM_SECOND);
    uint64_t before = world.datagrams;
    pass(3600 * SRM_SECOND);
    APP_CHECK(world.datagrams - before <= 60 * 9, "more than 9 packets a minute on an idle connection");
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED && p.ca->reconnecting == 0, "an idle connection was lost");
}

static void reconnect_asked(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.01), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 100, 2, 100000);
    srm_conn_reconnect(p.ca->conn, world.now);
    APP_CHECK(net_run(&world, after(10 * SRM_SECOND), transfer_done, &p), "reconnect() lost something");
    establish(&p, 5 * SRM_SECOND); /* what was sent may have arrived before the new link is there */
    APP_CHECK(p.ca->restarts == 0, "reconnect() took the peer for another one");
}

static void closing(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.05), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 50, 2, 300000);
    srm_conn_close(p.ca->conn, world.now, 5 * SRM_SECOND);
    pass(10 * SRM_SECOND);
    APP_CHECK(p.cb->received[0] == 50 && p.cb->received[1] == 2, "close() did not deliver what was sent");
    APP_CHECK(p.ca->closed == 1 && p.cb->closed == 1 && p.cb->peer_closed == 1, "the end was not told");
    APP_CHECK(p.ca->undelivered == 0, "delivered messages were reported as not delivered");
    APP_CHECK(srm_endpoint_deadline(p.a->host->endpoint) == SRM_TIME_NEVER,
              "something is left of a closed connection");
}

/* The peer's path moves to another IP address under load. */
static void new_address(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.01), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 500, 4, 1 << 20);
    pass(150 * SRM_MILLISECOND);
    net_rebind(p.a->host, 7777, 77);
    APP_CHECK(net_run(&world, after(30 * SRM_SECOND), transfer_done, &p), "a new address stopped it");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "the session was lost");
    APP_CHECK(p.cb->path_changed >= 1, "the new path was not told");
}

/* An outage in which the address changes, too. */
static void outage_and_new_address(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    world.wires[0][1].cut = world.wires[1][0].cut = true;
    load(&p, 50, 1, 100000);
    pass(30 * SRM_SECOND);
    net_rebind(p.a->host, 8888, 88);
    world.wires[0][1].cut = world.wires[1][0].cut = false;
    APP_CHECK(net_run(&world, after(5 * SRM_SECOND), transfer_done, &p), "it did not come back");
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED && p.cb->status == SRMUDP_ESTABLISHED, "not back");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "the session was lost");
}

static void outage_limit(void) {
    config.outage_limit = 20000;
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    world.wires[0][1].cut = world.wires[1][0].cut = true;
    load(&p, 10, 0, 0);
    pass(30 * SRM_SECOND);
    APP_CHECK(p.ca->closed == 1 && p.ca->reason == SRMUDP_CONNECTION_LOST && p.ca->undelivered == 10,
              "an outage beyond the limit did not end with what was left");
}

static void close_reports_what_is_left(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    p.cb->hold = true;
    load(&p, 30, 0, 0);
    srm_conn_close(p.ca->conn, world.now, SRM_SECOND);
    pass(900 * SRM_MILLISECOND);
    APP_CHECK(p.ca->closed == 0, "close() did not wait");
    pass(SRM_SECOND);
    APP_CHECK(p.ca->closed == 1 && p.ca->undelivered == 30, "close() did not report what was not consumed");
    app_conn *nobody = app_open(p.a, "other key", "x", &p.b->host->address);
    for (int i = 0; i < 5; i++)
        app_send(nobody, 0, 100);
    srm_conn_close(nobody->conn, world.now, SRM_SECOND);
    pass(2 * SRM_SECOND);
    APP_CHECK(nobody->closed == 1 && nobody->undelivered == 5,
              "close() without a peer lost messages silently");
}

/* A path that stops carrying large packets; and a new one that never did. */
static void black_hole(void) {
    pair p =
        make_pair((net_wire){.delay = 10 * SRM_MILLISECOND, .rate = 12.5e6, .queue = 40 * SRM_MILLISECOND},
                  true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 10, 1, 1 << 20);
    APP_CHECK(net_run(&world, after(10 * SRM_SECOND), transfer_done, &p), "not delivered");
    srmudp_stats stats;
    srm_conn_stats(p.ca->conn, world.now, &stats);
    APP_CHECK(stats.mtu > 1400, "the path MTU was not found");
    world.wires[0][1].mtu = world.wires[1][0].mtu = 1300;
    load(&p, 10, 4, 1 << 20);
    APP_CHECK(net_run(&world, after(30 * SRM_SECOND), transfer_done, &p), "a black hole stopped it");
    APP_CHECK(p.ca->reconnecting + p.cb->reconnecting == 0, "a black hole was taken for an outage");
    srm_conn_stats(p.ca->conn, world.now, &stats);
    APP_CHECK(stats.mtu <= 1300, "the black hole was not noticed");
}

static bool small_one_came(void *context) {
    const pair *p = context;
    return p->cb->received[0] > 0;
}

/* A small message on a lower channel does not wait for the big ones. */
static void channels_do_not_wait(void) {
    pair p =
        make_pair((net_wire){.delay = 10 * SRM_MILLISECOND, .rate = 1.25e6, .queue = 20 * SRM_MILLISECOND},
                  true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 4; i++)
        app_send(p.ca, 1, 4 << 20);
    pass(3 * SRM_SECOND);
    app_send(p.ca, 0, 100);
    APP_CHECK(net_run(&world, after(150 * SRM_MILLISECOND), small_one_came, &p),
              "a small message waited for a big one");
}

static void small_receive_buffer(void) {
    config.max_message_size = 100000;
    config.receive_buffer = 100064;
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.02), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 200, 20, 100000);
    APP_CHECK(net_run(&world, after(60 * SRM_SECOND), transfer_done, &p), "the smallest buffer got stuck");
}

static void too_large_for_the_peer(void) {
    pair p = {.a = add_app()};
    config.max_message_size = 1000;
    p.b = add_app();
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0));
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    app_send(p.ca, 0, 500);
    app_send(p.ca, 2, 5000);
    app_send(p.ca, 1, 600);
    app_listen(p.b, "key", "");
    establish(&p, 5 * SRM_SECOND);
    pass(SRM_SECOND);
    app_send(p.ca, 2, 1001);
    app_send(p.ca, 0, 1000);
    pass(SRM_SECOND);
    APP_CHECK(p.ca->undelivered == 2, "messages the peer does not accept were not reported");
    APP_CHECK(p.cb->received[0] == 2 && p.cb->received[1] == 1 && p.ca->closed == 0,
              "the others did not arrive");
}

/* New keys each hour, while packets are reordered and lost. */
static void new_keys(void) {
    pair p = make_pair(wire_of(30 * SRM_MILLISECOND, 0.05), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int hour = 0; hour < 4; hour++) {
        load(&p, 200, 2, 300000);
        APP_CHECK(net_run(&world, after(20 * SRM_SECOND), transfer_done, &p), "not delivered under new keys");
        pass(3601 * SRM_SECOND);
    }
    srmudp_stats stats;
    srm_conn_stats(p.ca->conn, world.now, &stats);
    APP_CHECK(stats.dropped_forged == 0, "packets did not open under their keys");
    APP_CHECK(p.ca->reconnecting + p.cb->reconnecting == 0, "the change of keys was noticed");
}

/* 200 messages a second at 50 ms RTT and 5 % loss each way; with `bulk`, beside a transfer at full rate. */
static void paced_messages(bool bulk) {
    net_wire wire = {
        .delay = 25 * SRM_MILLISECOND, .loss = 0.05, .rate = 12.5e6, .queue = 50 * SRM_MILLISECOND};
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 400; i++) { /* what the path loses is learnt first */
        app_send(p.ca, 1, 200);
        pass(5 * SRM_MILLISECOND);
    }
    app_measure(p.ca, p.cb, 0);
    uint64_t wire_before = world.wires[0][1].bytes, in_flight = 0;
    for (int i = 0; i < 60000; i++) {
        for (; bulk && in_flight < p.cb->received[2] + 64; in_flight++)
            app_send(p.ca, 2, 65536);
        app_send(p.ca, 0, 200);
        pass(5 * SRM_MILLISECOND);
    }
    uint64_t bytes = (world.wires[0][1].bytes - wire_before + 28 * 60000) / 60000;
    pass(SRM_SECOND);
    srm_time p50 = app_latency(p.cb, 0.5), p99 = app_latency(p.cb, 0.99), p999 = app_latency(p.cb, 0.999);
    printf("    p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, %llu bytes a message\n", (double)p50 / 1e6,
           (double)p99 / 1e6, (double)p999 / 1e6, (unsigned long long)bytes);
    APP_CHECK(p.cb->latency_count == 60000, "messages are missing");
    /* CUBIC takes such loss for congestion: beside bulk, messages wait for its window to come back. */
    if (!bulk || config.congestion_control == SRMUDP_CONGESTION_BBR)
        APP_CHECK(p99 <= p50 + (bulk ? 50 : 10) * SRM_MILLISECOND, "p99 is too far from the median");
    APP_CHECK(bulk || p999 <= p50 + 45 * SRM_MILLISECOND, "p99.9 is too far from the median");
    APP_CHECK(bulk || bytes <= 700, "too many bytes for that");
}

static void small_messages_under_loss(void) {
    paced_messages(false);
}
static void small_messages_beside_bulk(void) {
    paced_messages(true);
}

static const sim_scenario scenarios[] = {
    {"lossy_transfer", lossy_transfer},
    {"big_messages", big_messages},
    {"outage", outage},
    {"rebinding", rebinding},
    {"flow_control", flow_control},
    {"idle_hour", idle_hour},
    {"reconnect_asked", reconnect_asked},
    {"closing", closing},
    {"new_address", new_address},
    {"outage_and_new_address", outage_and_new_address},
    {"outage_limit", outage_limit},
    {"close_reports_what_is_left", close_reports_what_is_left},
    {"black_hole", black_hole},
    {"channels_do_not_wait", channels_do_not_wait},
    {"small_receive_buffer", small_receive_buffer},
    {"too_large_for_the_peer", too_large_for_the_peer},
    {"new_keys", new_keys},
    {"small_messages_under_loss", small_messages_under_loss},
    {"small_messages_beside_bulk", small_messages_beside_bulk},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
