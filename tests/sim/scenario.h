/* scenario - what the programs of simulated scenarios share: a world, hosts in it, and the main function.
 *
 *     PROGRAM                       every scenario once, with seed 1
 *     PROGRAM NAME --seed N         replays one; a failure prints this line
 *     PROGRAM --seeds COUNT [NAME]  many seeds, from --seed on
 *     PROGRAM --cubic ...           with CUBIC, not the default congestion control
 *     PROGRAM --list                the names
 */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "app.h"

extern network world;
extern srmudp_config config; /* of the hosts added next; defaults at the beginning of each sim_scenario */

typedef struct sim_scenario {
    const char *name;
    void (*run)(void);
} sim_scenario;

/* Two hosts, 0 and 1, and a connection between them; `cb` is NULL until the listener accepted. */
typedef struct pair {
    sim_app *a, *b;
    app_conn *ca, *cb;
} pair;

sim_app *add_app(void);
/* A wire of that round-trip time that loses, and with loss also duplicates and reorders. */
net_wire wire_of(srm_time rtt, double loss);
/* Two hosts that both open towards each other; or B listens. */
pair make_pair(net_wire wire, bool listener, const char *key_a, const char *key_b);

/* Time since the scenario began; SRM_TIME_NEVER for what didn't happen (0). */
srm_time since_start(srm_time at);
/* The point in time so far from now. */
srm_time after(srm_time span);
/* Lets that much time pass. */
void pass(srm_time span);

/* For net_run: both sides of a pair are ESTABLISHED; all that was sent on channels 0 and 1 is consumed. */
bool both_established(void *of_pair);
bool transfer_done(void *of_pair);
void establish(pair *p, srm_time within);
/* Sends `small` messages of 100 bytes on channel 0 and `large` of `large_size` on channel 1, in both
 * directions. */
void load(pair *p, int small, int large, uint32_t large_size);

int run_scenarios(int argc, char **argv, const sim_scenario *scenarios, size_t count);

#endif
