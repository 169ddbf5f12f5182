/* grid - congestion control judged in the simulator: flows over one bottleneck, in virtual time.
 *
 *     grid [NAME=VALUE ...]
 *
 *     cc=bbr        the first flow's controller: bbr or cubic
 *     other=none    a second flow on the same bottleneck: none, bbr or cubic; `join` seconds later
 *     join=0        seconds
 *     rate=100      Mbit/s of the bottleneck, UDP and IP headers included
 *     rtt=50        ms, without queue
 *     queue=1       of the bottleneck, in bandwidth-delay products
 *     loss=0        per cent, each way, independent
 *     burst=0       mean length of loss bursts; 0 and 1: independent
 *     reorder=0     per cent of datagrams that arrive 3 ms late
 *     jitter=0      ms
 *     seconds=20    measured from `warm` on
 *     warm=3        seconds
 *     seed=1
 *
 * Prints one line of JSON: goodput in Mbit/s of each flow, bytes offered to the link for each byte delivered,
 * share of packets sent again, and the queue's delay in ms.
 */
#include "../tests/sim/scenario.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct setting {
    const char *name;
    double value;
    const char *text;
} setting;

enum { RATE, RTT, QUEUE, LOSS, BURST, REORDER, JITTER, SECONDS, WARM, SEED, JOIN, CC, OTHER };

static setting settings[] = {
    [RATE] = {"rate", 100, NULL},   [RTT] = {"rtt", 50, NULL},         [QUEUE] = {"queue", 1, NULL},
    [LOSS] = {"loss", 0, NULL},     [BURST] = {"burst", 0, NULL},      [REORDER] = {"reorder", 0, NULL},
    [JITTER] = {"jitter", 0, NULL}, [SECONDS] = {"seconds", 20, NULL}, [WARM] = {"warm", 3, NULL},
    [SEED] = {"seed", 1, NULL},     [JOIN] = {"join", 0, NULL},        [CC] = {"cc", 0, "bbr"},
    [OTHER] = {"other", 0, "none"},
};

#define MESSAGE_SIZE 65536
#define BACKLOG ((uint64_t)8 << 20) /* bytes kept waiting at the sender */
#define TICK (5 * SRM_MILLISECOND)

typedef struct flow {
    pair p;
    uint64_t start_bytes, start_wire;
    srm_time begins;
} flow;

static void read_settings(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        bool known = false;
        for (size_t s = 0; equals != NULL && s < SRM_COUNT_OF(settings); s++) {
            if (strncmp(argv[i], settings[s].name, (size_t)(equals - argv[i])) != 0 ||
                strlen(settings[s].name) != (size_t)(equals - argv[i]))
                continue;
            known = true;
            settings[s].text = equals + 1;
            settings[s].value = strtod(equals + 1, NULL);
        }
        if (!known) {
            fprintf(stderr, "grid: unknown setting %s\n", argv[i]);
            exit(2);
        }
    }
}

static flow start_flow(const char *cc, net_wire *bottleneck) {
    flow f = {.begins = world.now};
    srmudp_config_init(&config);
    config.congestion_control = strcmp(cc, "cubic") == 0 ? SRMUDP_CONGESTION_CUBIC : SRMUDP_CONGESTION_BBR;
    net_wire wire = {.delay = (srm_time)(settings[RTT].value * 5e5),
                     .loss = settings[LOSS].value / 100,
                     .burst = settings[BURST].value,
                     .reorder = settings[REORDER].value / 100,
                     .reorder_by = 3 * SRM_MILLISECOND,
                     .jitter = (srm_time)(settings[JITTER].value * 1e6)};
    f.p.a = add_app();
    f.p.b = add_app();
    int a = f.p.a->host->index, b = f.p.b->host->index;
    net_connect(&world, a, b, wire);
    net_wire *forward = &world.wires[a][b];
    forward->rate = settings[RATE].value * 1e6 / 8;
    forward->queue = (srm_time)(settings[RTT].value * 1e6 * settings[QUEUE].value);
    forward->shared = bottleneck;
    app_listen(f.p.b, "key", "");
    f.p.ca = app_open(f.p.a, "key", "", &f.p.b->host->address);
    return f;
}

static void refill(flow *f) {
    srmudp_stats stats;
    srm_conn_stats(f->p.ca->conn, world.now, &stats);
    for (uint64_t waiting = stats.bytes_unconsumed; waiting < BACKLOG; waiting += MESSAGE_SIZE)
        app_send(f->p.ca, 0, MESSAGE_SIZE);
}

static const net_wire *wire_of_flow(const flow *f) {
    return &world.wires[f->p.a->host->index][f->p.b->host->index];
}
static uint64_t received(const flow *f) {
    return f->p.b->count > 0 ? f->p.b->conns[0].bytes : 0;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(flow *flows, size_t count, double *delays, size_t samples) {
    double rates[2] = {0}, sum = 0, squares = 0;
    qsort(delays, samples, sizeof *delays, compare);
    for (size_t i = 0; i < count; i++) {
        rates[i] = (double)(received(&flows[i]) - flows[i].start_bytes) * 8 / settings[SECONDS].value / 1e6;
        sum += rates[i];
        squares += rates[i] * rates[i];
    }
    srmudp_stats stats;
    srm_conn_stats(flows[0].p.ca->conn, world.now, &stats);
    double delivered = (double)(received(&flows[0]) - flows[0].start_bytes);
    printf("{\"mbps\":[%.2f%s", rates[0], count > 1 ? "," : "");
    if (count > 1)
        printf("%.2f", rates[1]);
    printf(
        "],\"jain\":%.3f,\"offered_per_byte\":%.3f,\"lost_share\":%.4f,\"spurious\":%llu,\"queue_ms_p50\":%."
        "2f,"
        "\"queue_ms_p95\":%.2f}\n",
        squares > 0 ? sum * sum / ((double)count * squares) : 0,
        delivered > 0 ? (double)(wire_of_flow(&flows[0])->bytes - flows[0].start_wire) / delivered : 0,
        (double)stats.packets_lost / (double)stats.packets_sent, (unsigned long long)stats.packets_spurious,
        delays[samples / 2], delays[samples * 95 / 100]);
}

int main(int argc, char **argv) {
    read_settings(argc, argv);
    if (sodium_init() < 0)
        return 2;
    net_init(&world, (uint64_t)settings[SEED].value);
    flow flows[2];
    size_t count = 1, samples = 0;
    flows[0] = start_flow(settings[CC].text, NULL);
    net_wire *bottleneck = &world.wires[0][1];
    bool second = strcmp(settings[OTHER].text, "none") != 0;
    srm_time warm = after((srm_time)((settings[WARM].value + settings[JOIN].value) * 1e9));
    srm_time end = warm + (srm_time)(settings[SECONDS].value * 1e9),
             join = after((srm_time)(settings[JOIN].value * 1e9));
    double *delays = calloc((size_t)((end - warm) / TICK) + 2, sizeof *delays);
    bool measuring = false;
    while (world.now < end && app_failure == NULL && delays != NULL) {
        if (second && count == 1 && world.now >= join)
            flows[count++] = start_flow(settings[OTHER].text, bottleneck);
        for (size_t i = 0; i < count; i++)
            refill(&flows[i]);
        if (!measuring && world.now >= warm) {
            measuring = true;
            for (size_t i = 0; i < count; i++) {
                flows[i].start_bytes = received(&flows[i]);
                flows[i].start_wire = wire_of_flow(&flows[i])->bytes;
            }
        }
        pass(TICK);
        if (measuring)
            delays[samples++] =
                bottleneck->free_at > world.now ? (double)(bottleneck->free_at - world.now) / 1e6 : 0;
    }
    if (app_failure != NULL || delays == NULL || samples == 0) {
        fprintf(stderr, "grid: %s\n", app_failure != NULL ? app_failure : "nothing was measured");
        return 1;
    }
    report(flows, count, delays, samples);
    return 0;
}
