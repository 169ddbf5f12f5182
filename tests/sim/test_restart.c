/* Processes that die and come back. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

static void peer_restart(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.01), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    p.cb->hold = true;
    load(&p, 20, 2, 200000);
    pass((srm_time)(net_uniform(&world) * 3e8));
    app_crash(p.b);
    p.ca->duplicates_ok = true;
    pass((srm_time)(net_uniform(&world) * 2e10));
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    p.cb->duplicates_ok = true;
    APP_CHECK(net_run(&world, after(25 * SRM_SECOND), both_established, &p), "not connected again");
    pass(10 * SRM_SECOND);
    APP_CHECK(p.ca->restarts == 1, "the peer's restart was not told once");
    APP_CHECK(p.ca->resent <= 22 && p.ca->unknown <= p.ca->resent, "more sent again than ever was sent");
    APP_CHECK(p.cb->received[0] == 20 && p.cb->received[1] == 2,
              "what the dead process had not consumed did not come again");
    APP_CHECK(p.cb->maybe_duplicates == p.ca->unknown, "the mark does not fit what was told");
}

static void listener_restart(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.02), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 5; i++)
        app_send(p.ca, 0, 1000);
    pass(SRM_SECOND);
    app_crash(p.b);
    p.b->duplicates_ok = true; /* the new process gets the messages that the dead one had not consumed */
    app_listen(p.b, "key", "");
    for (int i = 0; i < 5; i++)
        app_send(p.ca, 0, 1000);
    p.cb = NULL;
    pass(20 * SRM_SECOND);
    APP_CHECK(p.ca->restarts == 1 && p.ca->status == SRMUDP_ESTABLISHED,
              "the listener's restart was not noticed");
    APP_CHECK(p.b->count == 1 && p.b->conns[0].received[0] == 10,
              "messages after the restart did not arrive");
}

static void dialler_restart(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0.02), true, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 3; i++)
        app_send(p.cb, 0, 1000);
    p.ca->hold = true;
    pass(SRM_SECOND);
    app_crash(p.a);
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    pass(20 * SRM_SECOND);
    APP_CHECK(p.b->count == 2 && p.b->conns[1].status == SRMUDP_ESTABLISHED,
              "the newcomer is not a connection of its own");
    APP_CHECK(p.b->conns[0].closed == 1 && p.b->conns[0].undelivered == 3,
              "the old connection did not end with what was left");
}

static const sim_scenario scenarios[] = {
    {"peer_restart", peer_restart},
    {"listener_restart", listener_restart},
    {"dialler_restart", dialler_restart},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
