/* Flows that share one bottleneck: none starves, whoever came first, and none makes others wait for nothing.
 *
 *     sender 0 --.                                .-- receiver 0
 *     sender 1 --+--[ queue | 20 Mbit/s ]-- 40 ms --+-- receiver 1
 *     sender 2 --'                                '-- receiver 2
 */
#include "scenario.h"

#include <stdio.h>

#define LINE 2.5e6 /* bytes a second */
#define ROUND_TRIP (40 * SRM_MILLISECOND)
#define JOIN (2 * SRM_SECOND)
#define WARM (8 * SRM_SECOND)
#define MEASURED (32 * SRM_SECOND)
#define MESSAGE ((uint32_t)32768)
#define WAITING ((uint64_t)1 << 20) /* bytes, kept at each sender */
#define STEP (20 * SRM_MILLISECOND)
#define FLOWS 4

typedef struct line {
    pair flows[FLOWS];
    int count;
    double queue; /* bandwidth-delay products */
    double loss;
} line;

static pair add_flow(const line *l, bool cubic) {
    config.congestion_control = cubic ? SRMUDP_CONGESTION_CUBIC : SRMUDP_CONGESTION_BBR;
    pair p = {.a = add_app(), .b = add_app()};
    int a = p.a->host->index, b = p.b->host->index;
    net_connect(&world, a, b, (net_wire){.delay = ROUND_TRIP / 2, .loss = l->loss});
    world.wires[a][b].rate = LINE;
    world.wires[a][b].queue = (srm_time)(l->queue * (double)ROUND_TRIP);
    world.wires[a][b].shared = l->count > 0 ? &world.wires[0][1] : NULL;
    app_listen(p.b, "key", "");
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    return p;
}

/* All have as much to send as goes. */
static void busy(const line *l, srm_time span) {
    for (srm_time end = after(span); world.now < end;) {
        for (int i = 0; i < l->count; i++) {
            srmudp_stats stats;
            srm_conn_stats(l->flows[i].ca->conn, world.now, &stats);
            for (uint64_t waiting = stats.bytes_unconsumed; waiting < WAITING; waiting += MESSAGE)
                app_send(l->flows[i].ca, 1, MESSAGE);
        }
        pass(srm_time_min(STEP, end - world.now));
    }
}

static uint64_t received(const pair *p) {
    return p->b->count > 0 ? p->b->conns[0].bytes : 0;
}

/* `kinds` has a letter a flow, in the order in which they join: b for BBR, c for CUBIC. Fills in the share of
 * each in what all get, and returns how much of the line that is. */
static double run_flows(line *l, const char *kinds, double share[FLOWS]) {
    for (const char *kind = kinds; *kind != '\0'; kind++) {
        pass((srm_time)(net_uniform(&world) * (double)ROUND_TRIP));
        l->flows[l->count] = add_flow(l, *kind == 'c');
        l->count++;
        busy(l, JOIN);
    }
    busy(l, WARM);
    double sum = 0;
    for (int i = 0; i < l->count; i++)
        share[i] = -(double)received(&l->flows[i]);
    busy(l, MEASURED);
    for (int i = 0; i < l->count; i++)
        sum += share[i] += (double)received(&l->flows[i]);
    for (int i = 0; i < l->count; i++)
        share[i] /= sum;
    return sum / ((double)MEASURED / 1e9) / LINE;
}

static double jain(const double share[FLOWS], int count) {
    double squares = 0;
    for (int i = 0; i < count; i++)
        squares += share[i] * share[i];
    return 1 / ((double)count * squares);
}

static void beside_cubic(const char *kinds, double queue) {
    line l = {.queue = queue};
    double share[FLOWS], used = run_flows(&l, kinds, share);
    double ours = kinds[0] == 'b' ? share[0] : share[1];
    printf("    %s, queue %.1f: BBR has %.2f of %.2f\n", kinds, queue, ours, used);
    APP_CHECK(used > 0.85, "they leave the line idle");
    APP_CHECK(ours > 0.25, "BBR starves beside CUBIC");
    APP_CHECK(ours < 0.75, "CUBIC starves beside BBR");
}

static void cubic_joins_bbr(void) {
    beside_cubic("bc", 1);
}
static void bbr_joins_cubic(void) {
    beside_cubic("cb", 1);
}
static void beside_cubic_in_a_long_queue(void) {
    beside_cubic("bc", 4);
}

static void among_themselves(const char *kinds, double queue, double loss, double least) {
    line l = {.queue = queue, .loss = loss};
    double share[FLOWS], used = run_flows(&l, kinds, share), index = jain(share, l.count);
    printf("    %d flows, queue %.1f: Jain %.3f of %.2f\n", l.count, queue, index, used);
    APP_CHECK(used > 0.85, "they leave the line idle");
    APP_CHECK(index > least, "they don't share");
}

static void two_share(void) {
    among_themselves("bb", 1, 0, 0.95);
}
static void two_share_a_long_queue(void) {
    among_themselves("bb", 4, 0, 0.95);
}
static void two_share_under_loss(void) {
    among_themselves("bb", 1, 0.02, 0.9);
}
static void four_share(void) {
    among_themselves("bbbb", 1, 0, 0.9);
}

/* 100 small messages a second on the channel before a transfer at full rate. */
static void a_transfer_makes_small_messages_wait_little(void) {
    line l = {.queue = 2};
    l.flows[l.count] = add_flow(&l, false);
    l.count++;
    pair *p = &l.flows[0];
    busy(&l, 3 * SRM_SECOND);
    app_measure(p->ca, &p->b->conns[0], 0);
    for (int i = 0; i < 2000; i++) {
        app_send(p->ca, 0, 200);
        busy(&l, 10 * SRM_MILLISECOND);
    }
    pass(SRM_SECOND);
    srm_time median = app_latency(&p->b->conns[0], 0.5), late = app_latency(&p->b->conns[0], 0.99);
    printf("    p50 %.1f ms, p99 %.1f ms\n", (double)median / 1e6, (double)late / 1e6);
    APP_CHECK(median < ROUND_TRIP / 2 + 8 * SRM_MILLISECOND, "a queue stands");
    APP_CHECK(late < median + 25 * SRM_MILLISECOND, "probes for bandwidth fill the queue");
}

static const sim_scenario scenarios[] = {
    {"cubic_joins_bbr", cubic_joins_bbr},
    {"bbr_joins_cubic", bbr_joins_cubic},
    {"beside_cubic_in_a_long_queue", beside_cubic_in_a_long_queue},
    {"two_share", two_share},
    {"two_share_a_long_queue", two_share_a_long_queue},
    {"two_share_under_loss", two_share_under_loss},
    {"four_share", four_share},
    {"a_transfer_makes_small_messages_wait_little", a_transfer_makes_small_messages_wait_little},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
