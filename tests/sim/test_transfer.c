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

/* Interfaces with jumbo frames: nothing but the probes is lost, whatever the path carries. */
static void jumbo_path(size_t carried, uint64_t probes) {
    net_wire wire = {.delay = SRM_MILLISECOND, .interface = 8972, .mtu = carried};
    srmudp_stats stats;
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 10, 20, 1 << 20);
    APP_CHECK(net_run(&world, after(10 * SRM_SECOND), transfer_done, &p), "not delivered");
    srm_conn_stats(p.ca->conn, world.now, &stats);
    APP_CHECK(stats.mtu == carried, "not the largest packet that the path carries");
    APP_CHECK(stats.packets_lost <= probes, "more than the probes got lost");
}

static void jumbo_frames(void) {
    jumbo_path(8972, 0);
}

static void jumbo_frames_at_one_end(void) {
    jumbo_path(1472, 9); /* three sizes, three probes each */
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

/* ---- Small messages, one every 5 ms ---- */

#define PACED 60000 /* messages */

typedef struct paced {
    srm_time p50, p99, p999; /* one way */
    srm_time added_p999;     /* besides the way itself and the queue as it was when the message left */
    uint64_t bytes;          /* on the wire in both directions, a message */
} paced;

static uint64_t wire_bytes(void) {
    uint64_t bytes = 0;
    for (int from = 0; from < 2; from++)
        bytes += world.wires[from][1 - from].bytes + 28 * world.wires[from][1 - from].sent;
    return bytes;
}

static srm_time queue_now(const net_wire *wire) {
    return srm_time_max(wire->free_at - world.now, 0);
}

static int compare_times(const void *a, const void *b) {
    srm_time x = *(const srm_time *)a, y = *(const srm_time *)b;
    return x < y ? -1 : x > y;
}

/* One message every 5 ms, sizes in turn from `sizes`; with `bulk`, beside a transfer at full rate. */
static paced run_paced(net_wire wire, const uint32_t sizes[3], bool bulk) {
    static srm_time added[PACED];
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 400; i++) { /* what the path loses is learnt first */
        app_send(p.ca, 1, 200);
        pass(5 * SRM_MILLISECOND);
    }
    app_measure(p.ca, p.cb, 0);
    uint64_t before = wire_bytes(), in_flight = 0;
    for (int i = 0; i < PACED; i++) {
        for (; bulk && in_flight < p.cb->received[2] + 64; in_flight++)
            app_send(p.ca, 2, 65536);
        added[i] = -wire.delay - queue_now(&world.wires[0][1]);
        app_send(p.ca, 0, sizes[i % 3]);
        pass(5 * SRM_MILLISECOND);
    }
    paced out = {.bytes = (wire_bytes() - before) / PACED};
    pass(SRM_SECOND);
    APP_CHECK(p.cb->latency_count == PACED, "messages are missing");
    for (size_t i = 0; i < p.cb->latency_count; i++)
        added[i] += p.cb->latencies[i];
    qsort(added, PACED, sizeof added[0], compare_times);
    out.added_p999 = added[PACED - PACED / 1000];
    out.p50 = app_latency(p.cb, 0.5);
    out.p99 = app_latency(p.cb, 0.99);
    out.p999 = app_latency(p.cb, 0.999);
    printf(
        "    p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, of it %.1f ms not the queue's; %llu bytes a message\n",
        (double)out.p50 / 1e6, (double)out.p99 / 1e6, (double)out.p999 / 1e6, (double)out.added_p999 / 1e6,
        (unsigned long long)out.bytes);
    return out;
}

static const uint32_t of_200[3] = {200, 200, 200};

/* 100 Mbit/s, 50 ms RTT. */
static net_wire paced_wire(double loss) {
    return (net_wire){
        .delay = 25 * SRM_MILLISECOND, .loss = loss, .rate = 12.5e6, .queue = 50 * SRM_MILLISECOND};
}

static void small_messages_under_loss(void) {
    paced r = run_paced(paced_wire(0.05), of_200, false);
    APP_CHECK(r.p99 <= r.p50 + 6 * SRM_MILLISECOND, "p99 is too far from the median");
    APP_CHECK(r.p999 <= r.p50 + 21 * SRM_MILLISECOND, "p99.9 is too far from the median");
    APP_CHECK(r.bytes <= 580, "too many bytes for that");
}

static void small_messages_on_a_clean_path(void) {
    paced r = run_paced(paced_wire(0), of_200, false);
    APP_CHECK(r.p999 <= r.p50 + SRM_MILLISECOND, "something waited where nothing was lost");
    APP_CHECK(r.bytes <= 350, "something went twice where nothing was lost");
}

static void small_messages_under_little_loss(void) {
    paced r = run_paced(paced_wire(0.01), of_200, false);
    APP_CHECK(r.p999 <= r.p50 + 11 * SRM_MILLISECOND, "p99.9 is too far from the median");
    APP_CHECK(r.bytes <= 580, "too many bytes for that");
}

static void small_messages_under_heavy_loss(void) {
    paced r = run_paced(paced_wire(0.15), of_200, false);
    APP_CHECK(r.p99 <= r.p50 + 16 * SRM_MILLISECOND, "p99 is too far from the median");
    APP_CHECK(r.p999 <= r.p50 + 50 * SRM_MILLISECOND, "p99.9 is too far from the median");
    APP_CHECK(r.bytes <= 830, "too many bytes for that");
}

static void small_messages_under_burst_loss(void) {
    net_wire wire = paced_wire(0.05);
    wire.burst = 2.5;
    paced r = run_paced(wire, of_200, false);
    APP_CHECK(r.p99 <= r.p50 + 70 * SRM_MILLISECOND, "p99 is too far from the median");
    APP_CHECK(r.bytes <= 600, "too many bytes for that");
}

/* Reordered, doubled, and of all sizes. */
static void small_messages_in_disorder(void) {
    net_wire wire = paced_wire(0.05);
    wire.duplicate = 0.1;
    wire.reorder = 0.05;
    wire.reorder_by = 12 * SRM_MILLISECOND;
    wire.jitter = 4 * SRM_MILLISECOND;
    paced r = run_paced(wire, (const uint32_t[]){0, 512, 61}, false);
    APP_CHECK(r.p99 <= r.p50 + 14 * SRM_MILLISECOND, "p99 is too far from the median");
    APP_CHECK(r.p999 <= r.p50 + 30 * SRM_MILLISECOND, "p99.9 is too far from the median");
    APP_CHECK(r.bytes <= 620, "a large message makes the small ones pay for its size");
}

static void small_messages_beside_bulk(void) {
    paced r = run_paced(paced_wire(0.05), of_200, true);
    /* CUBIC takes such loss for congestion: beside bulk, messages wait for its window to come back. */
    if (config.congestion_control != SRMUDP_CONGESTION_BBR)
        return;
    APP_CHECK(r.added_p999 <= 15 * SRM_MILLISECOND, "losses cost small messages time beside bulk");
    APP_CHECK(r.p99 <= r.p50 + 50 * SRM_MILLISECOND, "p99 is too far from the median");
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
    {"jumbo_frames", jumbo_frames},
    {"jumbo_frames_at_one_end", jumbo_frames_at_one_end},
    {"channels_do_not_wait", channels_do_not_wait},
    {"small_receive_buffer", small_receive_buffer},
    {"too_large_for_the_peer", too_large_for_the_peer},
    {"new_keys", new_keys},
    {"small_messages_under_loss", small_messages_under_loss},
    {"small_messages_on_a_clean_path", small_messages_on_a_clean_path},
    {"small_messages_under_little_loss", small_messages_under_little_loss},
    {"small_messages_under_heavy_loss", small_messages_under_heavy_loss},
    {"small_messages_under_burst_loss", small_messages_under_burst_loss},
    {"small_messages_in_disorder", small_messages_in_disorder},
    {"small_messages_beside_bulk", small_messages_beside_bulk},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
