/* Connections between the same two sockets: one bottleneck, one window, and each gets its part.
 *
 *     connection 0 --.                              .-- connection 0
 *     connection 1 --+--[ queue | 100 Mbit/s ]-- 50 ms --+-- connection 1
 *     ...          --'                              '-- ...
 */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE 12.5e6 /* bytes a second */
#define ROUND_TRIP (50 * SRM_MILLISECOND)
#define QUEUE (50 * SRM_MILLISECOND)
#define WARM (3 * SRM_SECOND)
#define MEASURED (8 * SRM_SECOND)
#define STEP (5 * SRM_MILLISECOND)
#define MESSAGE ((uint32_t)16384)
#define WAITING ((uint64_t)1 << 20) /* bytes, kept at each sender; at most */
#define MOST 51

typedef struct crowd {
    pair hosts;
    app_conn *a[MOST], *b[MOST];
    int count;
    srm_time queue_sum, queue_most; /* of busy() */
    int queue_samples;
} crowd;

static net_wire line_wire(void) {
    return (net_wire){.delay = ROUND_TRIP / 2, .rate = LINE, .queue = QUEUE};
}

static bool is_established(void *of_crowd) {
    crowd *c = of_crowd;
    return c->hosts.b->count == c->count && c->a[c->count - 1]->status == SRMUDP_ESTABLISHED &&
           c->b[c->count - 1]->status == SRMUDP_ESTABLISHED;
}

/* One after the other, so that it is known which belong together. */
static void join(crowd *c, int count, const char *key) {
    for (int i = 0; i < count; i++) {
        c->b[c->count] = &c->hosts.b->conns[c->count];
        c->a[c->count++] = app_open(c->hosts.a, key, "", &c->hosts.b->host->address);
        APP_CHECK(net_run(&world, after(5 * SRM_SECOND), is_established, c), "not established in time");
    }
}

static crowd crowd_of(int count, net_wire wire) {
    crowd c = {.hosts = {.a = add_app(), .b = add_app()}};
    net_connect(&world, 0, 1, wire);
    app_listen(c.hosts.b, "key", "");
    join(&c, count, "key");
    return c;
}

static void keep_waiting(app_conn *conn, uint64_t bytes) {
    srmudp_stats stats;
    if (conn->conn == NULL)
        return;
    srm_conn_stats(conn->conn, world.now, &stats);
    for (uint64_t waiting = stats.bytes_unconsumed; waiting < bytes; waiting += MESSAGE)
        app_send(conn, 1, MESSAGE);
}

static void look_at_queue(crowd *c) {
    srm_time queue = srm_time_max(world.wires[0][1].free_at - world.now, 0);
    c->queue_sum += queue;
    c->queue_most = srm_time_max(c->queue_most, queue);
    c->queue_samples++;
}

/* The connections from `first` to `end` have as much to send as goes, towards B or back as well. */
static void busy(crowd *c, int first, int end, bool back, srm_time span) {
    uint64_t bytes = srm_u64_max(WAITING * 4 / (uint64_t)(end - first), WAITING / 4);
    c->queue_sum = c->queue_most = c->queue_samples = 0;
    for (srm_time until = after(span); world.now < until;) {
        for (int i = first; i < end; i++) {
            keep_waiting(c->a[i], bytes);
            if (back)
                keep_waiting(c->b[i], bytes);
        }
        pass(srm_time_min(STEP, until - world.now));
        look_at_queue(c);
    }
}

static bool has_consumed_all(const app_conn *conn) {
    for (int channel = 0; channel < APP_CHANNELS; channel++)
        if (conn->consumed[channel] != conn->sent[channel])
            return false;
    return true;
}

static bool all_done(void *of_crowd) {
    const crowd *c = of_crowd;
    for (int i = 0; i < c->count; i++)
        if (!has_consumed_all(c->a[i]) || !has_consumed_all(c->b[i]))
            return false;
    return true;
}

static void finish(crowd *c, srm_time within) {
    APP_CHECK(net_run(&world, after(within), all_done, c), "not all arrived");
}

static uint64_t bytes_of(app_conn *const *conns, int first, int end) {
    uint64_t sum = 0;
    for (int i = first; i < end; i++)
        sum += conns[i]->bytes;
    return sum;
}

static double share_of_line(uint64_t bytes, srm_time span) {
    return (double)bytes / ((double)span / 1e9) / LINE;
}

static void check_undisturbed(const crowd *c, int first, int end) {
    for (int i = first; i < end; i++)
        APP_CHECK(c->a[i]->reconnecting + c->b[i]->reconnecting + c->a[i]->restarts + c->b[i]->restarts == 0,
                  "a connection was interrupted");
}

/* ---- Shares ---- */

typedef struct outcome {
    double jain, used;
    srm_time queue, queue_most;
} outcome;

static outcome run_bulk(int count) {
    crowd c = crowd_of(count, line_wire());
    uint64_t before[MOST];
    busy(&c, 0, count, false, WARM);
    for (int i = 0; i < count; i++)
        before[i] = c.b[i]->bytes;
    busy(&c, 0, count, false, MEASURED);
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++) {
        double bytes = (double)(c.b[i]->bytes - before[i]);
        sum += bytes;
        squares += bytes * bytes;
    }
    outcome o = {.jain = sum * sum / ((double)count * squares),
                 .used = share_of_line((uint64_t)sum, MEASURED),
                 .queue = c.queue_sum / c.queue_samples,
                 .queue_most = c.queue_most};
    printf("    %d: Jain %.4f, %.2f of the line, queue %.1f ms, at most %.1f ms\n", count, o.jain, o.used,
           (double)o.queue / 1e6, (double)o.queue_most / 1e6);
    check_undisturbed(&c, 0, count);
    return o;
}

static void share(int count) {
    outcome o = run_bulk(count);
    APP_CHECK(o.jain >= 0.98, "they don't share");
    APP_CHECK(o.used >= 0.9, "they leave the line idle");
    APP_CHECK(o.queue <= 10 * SRM_MILLISECOND, "a queue stands");
}

static void one(void) {
    share(1);
}
static void two_share(void) {
    share(2);
}
static void ten_share(void) {
    share(10);
}
static void fifty_share(void) {
    share(50);
}

/* ---- A small one among large ones ---- */

#define SMALL 400

static int compare_times(const void *x, const void *y) {
    srm_time a = *(const srm_time *)x, b = *(const srm_time *)y;
    return a < b ? -1 : a > b;
}

static void small_messages_beside_bulk(void) {
    static srm_time added[SMALL]; /* besides the way itself and the queue as it was when the message left */
    crowd c = crowd_of(21, line_wire());
    busy(&c, 1, 21, false, WARM);
    app_measure(c.a[0], c.b[0], 0);
    for (int i = 0; i < SMALL; i++) {
        added[i] = -ROUND_TRIP / 2 - srm_time_max(world.wires[0][1].free_at - world.now, 0);
        app_send(c.a[0], 0, 200);
        busy(&c, 1, 21, false, 20 * SRM_MILLISECOND);
    }
    pass(SRM_SECOND);
    APP_CHECK(c.b[0]->latency_count == SMALL, "messages are missing");
    for (size_t i = 0; i < c.b[0]->latency_count; i++)
        added[i] += c.b[0]->latencies[i];
    qsort(added, SMALL, sizeof added[0], compare_times);
    srm_time median = app_latency(c.b[0], 0.5), late = app_latency(c.b[0], 0.99);
    printf("    p50 %.1f ms, p99 %.1f ms; not the queue's %.1f and %.1f ms\n", (double)median / 1e6,
           (double)late / 1e6, (double)added[SMALL / 2] / 1e6, (double)added[SMALL - 1 - SMALL / 100] / 1e6);
    APP_CHECK(median <= ROUND_TRIP / 2 + 10 * SRM_MILLISECOND, "a queue stands");
    APP_CHECK(late <= median + 25 * SRM_MILLISECOND, "probes for bandwidth fill the queue");
    APP_CHECK(added[SMALL - 1 - SMALL / 100] <= 2 * SRM_MILLISECOND, "small messages wait for large ones");
}

/* Others have all of the path, and stand in line for it: what a newcomer says first doesn't. It goes along
 * with the handshake, a round trip and a half after open(). */
static void first_words_of_newcomers(void) {
    crowd c = crowd_of(40, line_wire());
    busy(&c, 0, 40, false, WARM);
    for (int i = 40; i < 45; i++) {
        srm_time started = world.now;
        c.b[i] = &c.hosts.b->conns[i];
        c.a[i] = app_open(c.hosts.a, "key", "", &c.hosts.b->host->address);
        app_send(c.a[i], 0, 200);
        c.count++;
        while (c.b[i]->bytes == 0 && world.now < started + SRM_SECOND)
            busy(&c, 0, 40, false, SRM_MILLISECOND);
        APP_CHECK(world.now - started <= 3 * ROUND_TRIP / 2 + 2 * 30 * SRM_MILLISECOND,
                  "a newcomer's message waited for the others");
    }
    check_undisturbed(&c, 0, 40);
}

/* ---- The peer's process dies ---- */

static void newcomers(int dead, srm_time pause) {
    crowd c = crowd_of(dead, line_wire());
    busy(&c, 0, dead, false, WARM);
    app_crash(c.hosts.b);
    app_listen(c.hosts.b, "new key", ""); /* the old ones find nobody */
    crowd fresh = {.hosts = c.hosts};
    pass(pause);
    srm_time start = world.now;
    join(&fresh, 2, "new key");
    printf("    established after %.0f ms; ", (double)(world.now - start) / 1e6);
    APP_CHECK(world.now - start < 2 * 3 * ROUND_TRIP, "newcomers waited to be established");
    busy(&fresh, 0, 2, false, 1200 * SRM_MILLISECOND);
    uint64_t before = bytes_of(fresh.b, 0, 2);
    int declared = 0;
    for (int i = 0; i < dead; i++)
        declared += c.a[i]->reconnecting > 0;
    busy(&fresh, 0, 2, false, SRM_SECOND);
    double used = share_of_line(bytes_of(fresh.b, 0, 2) - before, SRM_SECOND);
    printf("%.2f of the line, then %.2f, %d of %d declared dead\n",
           share_of_line(before, 1200 * SRM_MILLISECOND), used, declared, dead);
    APP_CHECK(declared == 0, "that was too late to tell");
    APP_CHECK(share_of_line(before, 1200 * SRM_MILLISECOND) >= 0.2, "newcomers waited for the dead");
    APP_CHECK(used >= 0.85, "newcomers are slow beside the dead");
    finish(&fresh, 10 * SRM_SECOND);
    check_undisturbed(&fresh, 0, 2);
}

/* They join the path, and what the dead have in flight stops counting. */
static void newcomers_right_after_a_death(void) {
    newcomers(8, 0);
}
/* They get a path of their own. */
static void newcomers_long_after_a_death(void) {
    newcomers(1, 900 * SRM_MILLISECOND);
}

/* ---- One of them reconnects ---- */

static void one_reconnects(void) {
    crowd c = crowd_of(6, line_wire());
    busy(&c, 0, 6, true, WARM);
    unsigned established = c.a[2]->established;
    srm_conn_reconnect(c.a[2]->conn, world.now);
    uint64_t before = bytes_of(c.b, 0, 6);
    busy(&c, 0, 6, true, 2 * SRM_SECOND);
    double used = share_of_line(bytes_of(c.b, 0, 6) - before, 2 * SRM_SECOND);
    printf("    %.2f of the line meanwhile\n", used);
    APP_CHECK(used >= 0.8, "the others didn't go on");
    APP_CHECK(c.a[2]->established == established + 1, "it did not reconnect");
    finish(&c, 20 * SRM_SECOND);
    check_undisturbed(&c, 0, 2);
    check_undisturbed(&c, 3, 6);
    APP_CHECK(c.a[2]->restarts + c.b[2]->restarts == 0, "its session was lost");
}

/* ---- The client's address changes ---- */

static void check_one_window(const crowd *c) {
    srmudp_stats first, stats;
    srm_conn_stats(c->b[0]->conn, world.now, &first);
    for (int i = 1; i < c->count; i++) {
        srm_conn_stats(c->b[i]->conn, world.now, &stats);
        APP_CHECK(stats.congestion_window == first.congestion_window &&
                      stats.pacing_rate == first.pacing_rate,
                  "they don't share the new path");
    }
}

static void moved(uint16_t port, uint8_t last_ip_byte) {
    crowd c = crowd_of(10, line_wire());
    busy(&c, 0, 10, true, WARM);
    net_rebind(c.hosts.a->host, port, last_ip_byte);
    /* What was under way to the old address is lost, and that counts until the next probe for bandwidth. */
    busy(&c, 0, 10, true, 6 * SRM_SECOND);
    uint64_t up = bytes_of(c.b, 0, 10), down = bytes_of(c.a, 0, 10);
    busy(&c, 0, 10, true, 4 * SRM_SECOND);
    double used_up = share_of_line(bytes_of(c.b, 0, 10) - up, 4 * SRM_SECOND);
    double used_down = share_of_line(bytes_of(c.a, 0, 10) - down, 4 * SRM_SECOND);
    printf("    then %.2f of the line up, %.2f down\n", used_up, used_down);
    APP_CHECK(used_up >= 0.7 && used_down >= 0.7, "the rate did not come back");
    for (int i = 0; i < 10; i++)
        APP_CHECK(c.b[i]->path_changed == 1, "a connection didn't follow");
    check_one_window(&c);
    finish(&c, 20 * SRM_SECOND);
    check_undisturbed(&c, 0, 10);
}

static void another_port(void) {
    moved(5555, 1);
}
static void another_address(void) {
    moved(5555, 77);
}

/* ---- What the path carries ---- */

static void check_mtus(const crowd *c, size_t least, size_t most) {
    for (int i = 0; i < c->count; i++) {
        srmudp_stats stats;
        srm_conn_stats(c->a[i]->conn, world.now, &stats);
        APP_CHECK(stats.mtu >= least && stats.mtu <= most, "not the MTU of the path");
    }
}

static void a_path_of_1300_bytes(void) {
    net_wire wire = line_wire();
    wire.mtu = 1300;
    crowd c = crowd_of(10, wire);
    busy(&c, 0, 10, true, 3 * SRM_SECOND);
    finish(&c, 10 * SRM_SECOND);
    check_mtus(&c, 1280, 1300);
    check_undisturbed(&c, 0, 10);
}

static void a_path_that_becomes_narrow(void) {
    crowd c = crowd_of(10, line_wire());
    busy(&c, 0, 10, true, 2 * SRM_SECOND);
    check_mtus(&c, 1472, 1472);
    world.wires[0][1].mtu = world.wires[1][0].mtu = 1300;
    busy(&c, 0, 10, true, 3 * SRM_SECOND);
    finish(&c, 30 * SRM_SECOND);
    check_mtus(&c, 1200, 1300);
    check_undisturbed(&c, 0, 10);
}

/* Small packets that arrive tell little about the large ones that were lost among them. */
static void loss_is_no_black_hole(void) {
    net_wire wire = line_wire();
    wire.loss = 0.05;
    crowd c = crowd_of(10, wire);
    busy(&c, 0, 10, false, SRM_SECOND);
    for (int i = 0; i < 800; i++) {
        check_mtus(&c, 1472, 1472);
        for (int k = 0; k < 10; k++) {
            app_send(c.a[k], 0, 200);
            if ((i + k) % 40 == 0)
                app_send(c.a[k], 1, 1400);
        }
        pass(STEP);
    }
    for (int i = 0; i < 40; i++) {
        check_mtus(&c, 1472, 1472);
        busy(&c, 0, 10, false, 50 * SRM_MILLISECOND);
    }
    finish(&c, 20 * SRM_SECOND);
    check_undisturbed(&c, 0, 10);
}

/* An outage takes a large packet from each of them, and each finds out by itself, by a small probe. */
static void an_outage_is_no_black_hole(void) {
    net_wire wire = line_wire();
    wire.jitter = 40 * SRM_MILLISECOND;
    crowd c = crowd_of(40, wire);
    busy(&c, 0, 40, false, SRM_SECOND);
    finish(&c, 20 * SRM_SECOND);
    for (int i = 0; i < 5; i++) {
        world.wires[0][1].cut = world.wires[1][0].cut = true;
        for (int k = 0; k < 40; k++)
            app_send(c.a[k], 0, 1400);
        pass(100 * SRM_MILLISECOND);
        world.wires[0][1].cut = world.wires[1][0].cut = false;
        finish(&c, 3 * SRM_SECOND);
        check_mtus(&c, 1472, 1472);
    }
    check_undisturbed(&c, 0, 40);
}

/* ---- Silence ---- */

static void silence_without_a_search_is_no_outage(void) {
    config.pmtu_discovery = false;
    crowd c = crowd_of(10, line_wire());
    pass(10 * SRM_SECOND);
    check_undisturbed(&c, 0, 10);
    for (int i = 0; i < c.count; i++) {
        APP_CHECK(c.a[i]->established == 1 && c.b[i]->established == 1, "not once ESTABLISHED");
        APP_CHECK(c.a[i]->status == SRMUDP_ESTABLISHED && c.b[i]->status == SRMUDP_ESTABLISHED, "lost");
        app_send(c.a[i], 0, 100);
    }
    finish(&c, SRM_SECOND);
}

static const sim_scenario scenarios[] = {
    {"one", one},
    {"two_share", two_share},
    {"ten_share", ten_share},
    {"fifty_share", fifty_share},
    {"small_messages_beside_bulk", small_messages_beside_bulk},
    {"first_words_of_newcomers", first_words_of_newcomers},
    {"newcomers_right_after_a_death", newcomers_right_after_a_death},
    {"newcomers_long_after_a_death", newcomers_long_after_a_death},
    {"one_reconnects", one_reconnects},
    {"another_port", another_port},
    {"another_address", another_address},
    {"a_path_of_1300_bytes", a_path_of_1300_bytes},
    {"a_path_that_becomes_narrow", a_path_that_becomes_narrow},
    {"loss_is_no_black_hole", loss_is_no_black_hole},
    {"an_outage_is_no_black_hole", an_outage_is_no_black_hole},
    {"silence_without_a_search_is_no_outage", silence_without_a_search_is_no_outage},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
