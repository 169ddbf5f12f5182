/* ECN: a router that marks in place of dropping, and paths that spoil marks.
 *
 *      A ── rate, queue; marks, clears, drops or turns marks to CE ──▶ B      acknowledgements come back
 * unharmed
 */
#include "scenario.h"

#define LARGE (1 << 20)

static net_wire bottleneck(void) {
    net_wire wire = wire_of(40 * SRM_MILLISECOND, 0);
    wire.rate = 2.5e6; /* 20 Mbit/s */
    wire.queue = 200 * SRM_MILLISECOND;
    return wire;
}

/* A sends so many MiB to B. How long it took. */
static srm_time send(pair *p, int count, srm_time within) {
    srm_time start = world.now;
    for (int i = 0; i < count; i++)
        app_send(p->ca, 1, LARGE);
    APP_CHECK(net_run(&world, after(within), transfer_done, p), "the transfer did not end in time");
    return world.now - start;
}

static uint64_t lost_by(const pair *p) {
    srmudp_stats stats;
    srm_conn_stats(p->ca->conn, world.now, &stats);
    return stats.packets_lost;
}

static void marked(void) {
    net_wire wire = bottleneck();
    wire.mark = 10 * SRM_MILLISECOND;
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 2 * SRM_SECOND);
    srm_time took = send(&p, 20, 30 * SRM_SECOND);
    APP_CHECK(world.wires[0][1].ect > 10000 && world.wires[0][1].ce > 0, "packets were not marked");
    APP_CHECK(lost_by(&p) == 0 && world.wires[0][1].dropped == 0, "marks did not take the place of losses");
    APP_CHECK(world.wires[0][1].backlog < 120 * SRM_MILLISECOND,
              "marks were not answered by a smaller window");
    APP_CHECK(took < 14 * SRM_SECOND, "marks cost more than a third of the rate"); /* 8.4 s at best */
}

/* Whatever a path does to marks, they end, and cost little. */
static void spoiled(net_marks marks, srm_time within, uint64_t most_losses) {
    net_wire wire = bottleneck();
    wire.marks = marks;
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 2 * SRM_SECOND);
    APP_CHECK(world.wires[0][1].lost == 0, "the handshake was marked");
    send(&p, 1, within);
    uint64_t early = world.wires[0][1].ect;
    APP_CHECK(early > 0 && early < 200, "a path that spoils marks got more of them");
    APP_CHECK(world.wires[0][1].lost <= most_losses, "marks cost packets again and again");
    send(&p, 4, 5 * SRM_SECOND);
    APP_CHECK(world.wires[0][1].ect == early, "marks did not end");
}

static void cleared(void) {
    spoiled(NET_MARKS_CLEARED, 3 * SRM_SECOND, 0);
}
static void turned_to_ce(void) {
    spoiled(NET_MARKS_ALL_CE, 5 * SRM_SECOND, 0);
}
static void dropped(void) {
    spoiled(NET_MARKS_DROPPED, 5 * SRM_SECOND, 100);
}

/* The path was good and is replaced by one that takes marks away. */
static void cleared_later(void) {
    pair p = make_pair(bottleneck(), true, "key", "key");
    establish(&p, 2 * SRM_SECOND);
    send(&p, 2, 5 * SRM_SECOND);
    uint64_t before = world.wires[0][1].ect;
    APP_CHECK(before > 1000, "a good path was not used for marks");
    world.wires[0][1].marks = NET_MARKS_CLEARED;
    send(&p, 1, 5 * SRM_SECOND);
    uint64_t after_it = world.wires[0][1].ect;
    APP_CHECK(after_it < before + 700, "missing marks were not noticed within a round trip or two");
    send(&p, 1, 5 * SRM_SECOND);
    APP_CHECK(world.wires[0][1].ect == after_it, "marks did not end");
}

/* A new address may be a new path: it is tested, whatever the old one was. */
static void tested_anew(void) {
    net_wire wire = bottleneck();
    wire.marks = NET_MARKS_CLEARED;
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 2 * SRM_SECOND);
    send(&p, 1, 5 * SRM_SECOND);
    uint64_t before = world.wires[1][0].ect;
    world.wires[0][1].marks = world.wires[1][0].marks = NET_MARKS_KEPT;
    net_rebind(p.a->host, 5000, 77);
    app_send(p.ca, 0, 100);
    pass(2 * SRM_SECOND);
    app_send(p.cb, 1, LARGE);
    pass(2 * SRM_SECOND);
    APP_CHECK(p.ca->received[1] == 1, "nothing came over the new path");
    APP_CHECK(world.wires[1][0].ect > before + 500, "the new path was not tested");
}

/* Loss, reordering and duplicates are no reason to distrust a path. */
static void lossy(void) {
    net_wire wire = wire_of(30 * SRM_MILLISECOND, 0.02);
    pair p = make_pair(wire, true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 300, 8, 500000);
    APP_CHECK(net_run(&world, after(60 * SRM_SECOND), transfer_done, &p), "the transfer did not end");
    uint64_t before = world.wires[0][1].ect;
    app_send(p.ca, 1, LARGE);
    pass(2 * SRM_SECOND);
    APP_CHECK(world.wires[0][1].ect > before + 500, "a lossy path lost its marks");
}

static const sim_scenario scenarios[] = {
    {"marked", marked},
    {"cleared", cleared},
    {"turned_to_ce", turned_to_ce},
    {"dropped", dropped},
    {"cleared_later", cleared_later},
    {"tested_anew", tested_anew},
    {"lossy", lossy},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
