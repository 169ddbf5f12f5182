#include "path.h"

#include "check.h"
#include "limits.h"

#define MS SRM_MILLISECOND
#define NOW (7 * SRM_SECOND)

static const srmudp_address there = {.ip = {10, 0, 0, 2}, .port = 4000, .family = 4};
static const srmudp_address elsewhere = {.ip = {10, 0, 0, 2}, .port = 5555, .family = 4};

static srm_path new_path(srmudp_congestion kind, bool discovery, size_t max_datagram) {
    srm_path path;
    srmudp_config config;
    srmudp_config_init(&config);
    config.congestion_control = kind;
    config.pmtu_discovery = discovery;
    memset(&path, 0xa5, sizeof path);
    srm_path_init(&path, NOW, &there, &config, max_datagram);
    return path;
}

static srm_path usual_path(void) {
    return new_path(SRMUDP_CONGESTION_BBR, true, SRM_DATAGRAM_MAX_MTU);
}

/* One whose controller says just this. */
static srm_path path_with(uint64_t window, uint64_t quantum) {
    srm_path path = usual_path();
    path.cc.window = window;
    path.cc.send_quantum = quantum;
    return path;
}

static void carries(srm_path *path, size_t size) {
    srm_mtu_on_probe_sent(&path->mtu, NOW, size);
    srm_mtu_on_probe_acked(&path->mtu, NOW, size);
    CHECK_EQ(srm_mtu_current(&path->mtu), size);
}

/* ---- init ---- */

TEST(a_new_path_knows_nothing) {
    srm_path path = usual_path();
    CHECK_MEM(&path.remote, &there, sizeof there);
    CHECK(!path.open && path.links == 0 && path.endpoint == NULL);
    CHECK(path.flight.in_flight == 0 && path.flight.delivered == 0 && path.flight.lost == 0);
    CHECK(path.flight.delivered_time == 0 && path.flight.app_limited_until == 0);
    CHECK(path.round_trip == 0 && path.loss_told == 0);
    CHECK(path.prober == NULL && path.loser == NULL);
    CHECK(path.waiting_first == NULL && path.waiting_last == NULL && path.waiting == 0);
    CHECK(path.turn == NULL && path.turns == 0 && !path.busy);
    CHECK_EQ(srm_path_room(&path), SRM_CC_INITIAL_WINDOW);
    CHECK_EQ(srm_mtu_current(&path.mtu), SRM_DATAGRAM_MIN_MTU);
    /* The pacer is full. */
    uint64_t rate = srm_cc_pacing_rate(&path.cc), quantum = srm_path_quantum(&path, 0);
    CHECK_EQ(srm_pacer_deadline(&path.pacer, NOW, rate, quantum), NOW);
    CHECK(srm_pacer_allowance(&path.pacer, NOW, rate, quantum) >
          quantum + srm_cc_bytes_of(rate, SRM_PACER_SAVED));
}

TEST(the_configured_controller_runs) {
    srm_path bbr = new_path(SRMUDP_CONGESTION_BBR, true, 1472);
    srm_path cubic = new_path(SRMUDP_CONGESTION_CUBIC, true, 1472);
    CHECK(bbr.cc.kind == SRM_CC_BBR && bbr.cc.table == &srm_cc_bbr_table);
    CHECK(cubic.cc.kind == SRM_CC_CUBIC && cubic.cc.table == &srm_cc_cubic_table);
}

TEST(the_search_goes_up_to_what_the_peer_takes) {
    const size_t maxima[][2] = {{1472, 1472}, {1300, 1300}, {65000, 1472}, {70000, 1472}};
    for (size_t i = 0; i < SRM_COUNT_OF(maxima); i++) {
        srm_path path = new_path(SRMUDP_CONGESTION_BBR, true, maxima[i][0]);
        CHECK_EQ(srm_mtu_probe_wanted(&path.mtu, NOW, SIZE_MAX), maxima[i][1]);
        CHECK_EQ(path.mtu.max, srm_size_min(maxima[i][0], SRM_DATAGRAM_MAX_MTU));
    }
}

TEST(a_peer_that_takes_little_ends_the_search) {
    const size_t maxima[] = {0, 600, 1200};
    for (size_t i = 0; i < SRM_COUNT_OF(maxima); i++) {
        srm_path path = new_path(SRMUDP_CONGESTION_BBR, true, maxima[i]);
        CHECK_EQ(srm_mtu_probe_wanted(&path.mtu, NOW, SIZE_MAX), 0);
        CHECK_EQ(srm_mtu_deadline(&path.mtu), SRM_TIME_NEVER);
        CHECK_EQ(srm_path_packet_size(&path, maxima[i]), SRM_DATAGRAM_MIN_MTU);
    }
}

TEST(without_discovery_nothing_is_searched) {
    srm_path path = new_path(SRMUDP_CONGESTION_BBR, false, SRM_DATAGRAM_MAX_MTU);
    CHECK_EQ(srm_mtu_probe_wanted(&path.mtu, NOW, SIZE_MAX), 0);
    CHECK_EQ(srm_mtu_deadline(&path.mtu), SRM_TIME_NEVER);
    CHECK_EQ(srm_path_packet_size(&path, SRM_DATAGRAM_MAX_MTU), SRM_DATAGRAM_MIN_MTU);
}

/* ---- copy ---- */

TEST(a_copy_keeps_what_was_learned) {
    srm_path from = new_path(SRMUDP_CONGESTION_CUBIC, true, SRM_DATAGRAM_MAX_MTU), to;
    carries(&from, 1472);
    from.cc.window = 123456;
    from.round_trip = 44 * MS;
    from.flight = (srm_flight){.in_flight = 9000,
                               .delivered = 70000,
                               .lost = 3000,
                               .delivered_time = 5 * MS,
                               .first_sent_time = 4 * MS,
                               .app_limited_until = 71000};
    srm_pacer_on_sent(&from.pacer, NOW, 100000);
    memset(&to, 0xa5, sizeof to);
    srm_path_copy(&to, &from, &elsewhere, 2500);
    CHECK_MEM(&to.remote, &elsewhere, sizeof elsewhere);
    CHECK_EQ(to.cc.kind, SRM_CC_CUBIC);
    CHECK_EQ(srm_cc_window(&to.cc), 123456);
    CHECK_EQ(to.round_trip, 44 * MS);
    CHECK_EQ(srm_mtu_current(&to.mtu), 1472);
    CHECK_EQ(to.pacer.level, from.pacer.level);
    CHECK_EQ(to.flight.in_flight, 2500);
    CHECK(to.flight.delivered == 70000 && to.flight.lost == 3000 && to.flight.app_limited_until == 71000);
    CHECK(to.flight.delivered_time == 5 * MS && to.flight.first_sent_time == 4 * MS);
    CHECK_EQ(srm_path_room(&to), 123456 - 2500);
    CHECK_EQ(from.flight.in_flight, 9000); /* the link that moves takes its own out */
}

TEST(a_copy_is_nobodys_yet) {
    srm_path from = usual_path(), to;
    int link, conn; /* only their addresses count */
    from.open = from.busy = true;
    from.links = 3;
    from.prober = (void *)&link;
    from.loser = (void *)&link;
    from.waiting_first = from.waiting_last = from.turn = (void *)&conn;
    from.waiting = 1;
    from.turns = 8;
    from.loss_told = NOW;
    from.endpoint = (void *)&conn;
    srm_path_copy(&to, &from, &elsewhere, 0);
    CHECK(!to.open && !to.busy && to.links == 0 && to.endpoint == NULL);
    CHECK(to.prober == NULL && to.loser == NULL);
    CHECK(to.waiting_first == NULL && to.waiting_last == NULL && to.waiting == 0 && to.turn == NULL);
    CHECK_EQ(to.turns, 0);
}

/* Who sent it answers to the old path. */
TEST(a_copy_waits_for_no_probe) {
    srm_path from = usual_path(), to;
    srm_mtu_on_probe_sent(&from.mtu, NOW, 1472);
    CHECK_EQ(srm_mtu_probe_wanted(&from.mtu, NOW, 1472), 0);
    srm_path_copy(&to, &from, &elsewhere, 0);
    CHECK_EQ(srm_mtu_probe_wanted(&to.mtu, NOW, 1472), 1472);
    CHECK_EQ(srm_mtu_probe_wanted(&from.mtu, NOW, 1472), 0);
    srm_mtu_on_probe_lost(&to.mtu, NOW, 1472);
    CHECK_EQ(to.mtu.tries, 0);
}

/* ---- room and bursts ---- */

TEST(room_is_what_the_window_leaves) {
    srm_path path = path_with(20000, 2000);
    CHECK_EQ(srm_path_room(&path), 20000);
    path.flight.in_flight = 19999;
    CHECK_EQ(srm_path_room(&path), 1);
    path.flight.in_flight = 20000;
    CHECK_EQ(srm_path_room(&path), 0);
    path.flight.in_flight = 50000; /* the window shrank */
    CHECK_EQ(srm_path_room(&path), 0);
}

TEST(bursts_grow_with_the_busy_paths) {
    srm_path path = path_with(1000000, 2000);
    CHECK_EQ(srm_path_quantum(&path, 0), 2000);
    CHECK_EQ(srm_path_quantum(&path, 1), 2000);
    CHECK_EQ(srm_path_quantum(&path, 2), 4000);
    CHECK_EQ(srm_path_quantum(&path, SRM_QUANTA_MAX), 2000 * SRM_QUANTA_MAX);
    CHECK_EQ(srm_path_quantum(&path, 100), 2000 * SRM_QUANTA_MAX);
}

TEST(bursts_among_many_leave_most_of_the_window) {
    srm_path path = path_with(24000, 2000);
    CHECK_EQ(srm_path_quantum(&path, 2), 4000);
    CHECK_EQ(srm_path_quantum(&path, 100), 24000 / 4);
    path = path_with(100000000, 30000);
    CHECK_EQ(srm_path_quantum(&path, 100), SRM_CC_QUANTUM_MAX);
    path = path_with(6000, 3000); /* never less than alone */
    CHECK_EQ(srm_path_quantum(&path, 100), 3000);
}

/* ---- sizes of packets ---- */

TEST(a_window_holds_four_packets_and_a_burst_one) {
    srm_path path = path_with(40000, 9000);
    CHECK_EQ(srm_path_worthwhile_size(&path), 9000);
    path = path_with(40000, 65536);
    CHECK_EQ(srm_path_worthwhile_size(&path), 10000);
    path = path_with(4000, 1472); /* what is usual is always worth it */
    CHECK_EQ(srm_path_worthwhile_size(&path), SRM_DATAGRAM_USUAL_MTU);
    path = path_with(40000, 100);
    CHECK_EQ(srm_path_worthwhile_size(&path), SRM_DATAGRAM_USUAL_MTU);
}

TEST(a_packet_is_as_large_as_path_and_peer_and_window_allow) {
    srm_path path = path_with(400000, 50000);
    CHECK_EQ(srm_path_packet_size(&path, SIZE_MAX), SRM_DATAGRAM_MIN_MTU);
    carries(&path, 1472);
    CHECK_EQ(srm_path_packet_size(&path, SIZE_MAX), 1472);
    CHECK_EQ(srm_path_packet_size(&path, 1350), 1350);
    carries(&path, 16336);
    CHECK_EQ(srm_path_packet_size(&path, SIZE_MAX), 16336);
    CHECK_EQ(srm_path_packet_size(&path, 8972), 8972);
    path.cc.send_quantum = 9000;
    CHECK_EQ(srm_path_packet_size(&path, SIZE_MAX), 9000);
    path.cc.window = 10000;
    CHECK_EQ(srm_path_packet_size(&path, SIZE_MAX), 2500);
}

TEST(a_packet_is_never_smaller_than_what_every_path_carries) {
    srm_path path = path_with(1, 1);
    const size_t maxima[] = {0, 1, 1199, 1200};
    for (size_t i = 0; i < SRM_COUNT_OF(maxima); i++)
        CHECK_EQ(srm_path_packet_size(&path, maxima[i]), SRM_DATAGRAM_MIN_MTU);
    carries(&path, 1472);
    for (size_t i = 0; i < SRM_COUNT_OF(maxima); i++)
        CHECK_EQ(srm_path_packet_size(&path, maxima[i]), SRM_DATAGRAM_MIN_MTU);
    CHECK_EQ(srm_path_packet_size(&path, SIZE_MAX), 1472);
}

/* ---- stuck ---- */

TEST(a_path_with_nothing_in_flight_is_not_stuck) {
    srm_path path = usual_path();
    CHECK(!srm_path_is_stuck(&path, NOW + 3600 * SRM_SECOND));
}

TEST(a_path_without_answers_is_stuck) {
    srm_path path = usual_path();
    path.flight.in_flight = 1;
    path.flight.delivered_time = NOW;
    CHECK(!srm_path_is_stuck(&path, NOW + SRM_PATH_STUCK_MIN));
    CHECK(srm_path_is_stuck(&path, NOW + SRM_PATH_STUCK_MIN + 1));
    path.flight.delivered_time = NOW + 100 * MS; /* something was answered */
    CHECK(!srm_path_is_stuck(&path, NOW + SRM_PATH_STUCK_MIN + 1));
    CHECK(srm_path_is_stuck(&path, NOW + SRM_PATH_STUCK_MIN + 100 * MS + 1));
}

TEST(a_long_path_may_take_longer) {
    srm_path path = usual_path();
    path.flight.in_flight = 1000;
    path.flight.delivered_time = NOW;
    path.round_trip = 600 * MS;
    CHECK(!srm_path_is_stuck(&path, NOW + 1800 * MS));
    CHECK(srm_path_is_stuck(&path, NOW + 1800 * MS + 1));
    path.round_trip = 10 * MS; /* no shorter than the least */
    CHECK(!srm_path_is_stuck(&path, NOW + SRM_PATH_STUCK_MIN));
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
