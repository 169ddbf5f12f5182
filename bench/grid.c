/* grid - congestion control judged in the simulator: flows over one bottleneck, in virtual time.
 *
 *     grid [NAME=VALUE ...]
 *
 *     cc=bbr        the first flow's controller: bbr or cubic
 *     other=none    a second flow on the same bottleneck: none, bbr or cubic; `join` seconds later
 *     flows=        instead of both: up to 8 controllers with commas between, such as bbr,bbr,cubic; each
 * joins `join` seconds after the one before it join=0        seconds, and a part of a round trip that the
 * seed chooses rate=100      Mbit/s of the bottleneck, UDP and IP headers included rtt=50        ms, without
 * queue queue=1       of the bottleneck, in bandwidth-delay products loss=0        per cent, each way,
 * independent burst=0       mean length of loss bursts; 0 and 1: independent reorder=0     per cent of
 * datagrams that arrive 3 ms late jitter=0      ms seconds=20    measured from `warm` on warm=3 seconds after
 * the last flow joined small=0       messages of 200 bytes that the first flow sends each second on a channel
 * before its bulk every=0       seconds: also prints what happened in each such time, from the beginning on
 *     seed=1
 *
 * Prints one line of JSON:
 *
 *     mbps              goodput of each flow, Mbit/s
 *     flows             their controllers
 *     share             the first flow's part of all goodput
 *     jain              Jain's index of the goodputs: 1 is even, 1/n is all for one
 *     offered_per_byte  bytes the first flow offered to the link for each byte delivered
 *     lost_share        share of its packets that were taken for lost, from its beginning on
 *     spurious          how many of those arrived after all
 *     queue_ms_p50, queue_ms_p95
 *                       delay in the bottleneck's queue, looked at every 5 ms
 *     small_ms_p50, small_ms_p99, small_ms_max
 *                       with `small`: one-way time of these messages
 *     every, series_mbps, series_queue_ms
 *                       with `every`: goodput of each flow (a list for each time), mean delay in the queue
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

enum {
    RATE,
    RTT,
    QUEUE,
    LOSS,
    BURST,
    REORDER,
    JITTER,
    SECONDS,
    WARM,
    SEED,
    JOIN,
    CC,
    OTHER,
    FLOWS,
    SMALL,
    EVERY
};

static setting settings[] = {
    [RATE] = {"rate", 100, NULL},   [RTT] = {"rtt", 50, NULL},         [QUEUE] = {"queue", 1, NULL},
    [LOSS] = {"loss", 0, NULL},     [BURST] = {"burst", 0, NULL},      [REORDER] = {"reorder", 0, NULL},
    [JITTER] = {"jitter", 0, NULL}, [SECONDS] = {"seconds", 20, NULL}, [WARM] = {"warm", 3, NULL},
    [SEED] = {"seed", 1, NULL},     [JOIN] = {"join", 0, NULL},        [CC] = {"cc", 0, "bbr"},
    [OTHER] = {"other", 0, "none"}, [FLOWS] = {"flows", 0, ""},        [SMALL] = {"small", 0, NULL},
    [EVERY] = {"every", 0, NULL},
};

#define FLOWS_MAX (NET_HOSTS / 2)
#define MESSAGE_SIZE 65536
#define SMALL_SIZE 200
#define SMALL_CHANNEL 0
#define BACKLOG_MIN ((uint64_t)8 << 20)
#define TICK (5 * SRM_MILLISECOND)

typedef struct flow {
    char cc[8];
    pair p;
    srm_time joins;
    bool started;
    uint64_t start_bytes, start_wire; /* when measuring began */
    uint64_t series_bytes;            /* when the present entry of the series began */
} flow;

/* Grows as needed. */
typedef struct numbers {
    double *at;
    size_t count, capacity;
} numbers;

typedef struct run {
    flow flows[FLOWS_MAX];
    size_t count;
    net_wire *bottleneck;
    srm_time warm, end;
    bool measuring;
    uint64_t backlog;    /* bytes kept waiting at each sender */
    uint64_t small_sent; /* messages, since small_from */
    srm_time small_from;
    numbers delays; /* ms */
    numbers series_mbps, series_queue;
    double series_delay; /* ms, sum of the present entry's */
    size_t series_ticks;
} run;

/* ---- settings ---- */

static void fail(const char *what, const char *which) {
    fprintf(stderr, "grid: %s %s\n", what, which);
    exit(2);
}

static setting *find_setting(const char *name, size_t size) {
    for (size_t s = 0; s < SRM_COUNT_OF(settings); s++)
        if (strlen(settings[s].name) == size && strncmp(name, settings[s].name, size) == 0)
            return &settings[s];
    return NULL;
}

static void read_settings(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        setting *found = equals != NULL ? find_setting(argv[i], (size_t)(equals - argv[i])) : NULL;
        if (found == NULL)
            fail("unknown setting", argv[i]);
        found->text = equals + 1;
        found->value = strtod(equals + 1, NULL);
    }
}

static srm_time seconds_of(int which) {
    return (srm_time)(settings[which].value * 1e9);
}

static void add_flow(run *r, const char *cc, size_t size) {
    flow *f = &r->flows[r->count];
    if (r->count == FLOWS_MAX)
        fail("too many", "flows");
    snprintf(f->cc, sizeof f->cc, "%.*s", (int)size, cc);
    if (strcmp(f->cc, "bbr") != 0 && strcmp(f->cc, "cubic") != 0)
        fail("no such controller:", f->cc);
    r->count++;
}

static void read_flows(run *r) {
    const char *list = settings[FLOWS].text;
    if (list[0] == '\0') {
        add_flow(r, settings[CC].text, strlen(settings[CC].text));
        if (strcmp(settings[OTHER].text, "none") != 0)
            add_flow(r, settings[OTHER].text, strlen(settings[OTHER].text));
        return;
    }
    for (size_t size; list != NULL; list = list[size] == ',' ? list + size + 1 : NULL) {
        size = strcspn(list, ",");
        add_flow(r, list, size);
    }
}

/* Without loss and jitter the moments of joining are all that a seed can make differ. */
static void plan(run *r) {
    double rtt = settings[RTT].value * 1e6, bytes = settings[RATE].value * 1e6 / 8 * rtt / 1e9;
    srm_time joins = world.now;
    for (size_t i = 0; i < r->count; i++) {
        joins += (srm_time)(net_uniform(&world) * rtt) + (i > 0 ? seconds_of(JOIN) : 0);
        r->flows[i].joins = joins;
    }
    pass(r->flows[0].joins - world.now);
    r->warm = r->flows[r->count - 1].joins + seconds_of(WARM);
    r->end = r->warm + seconds_of(SECONDS);
    r->backlog = srm_u64_max((uint64_t)(2 * (1 + settings[QUEUE].value) * bytes), BACKLOG_MIN);
}

/* ---- flows ---- */

static void connect_hosts(run *r, const pair *p) {
    int a = p->a->host->index, b = p->b->host->index;
    net_wire wire = {.delay = (srm_time)(settings[RTT].value * 5e5),
                     .loss = settings[LOSS].value / 100,
                     .burst = settings[BURST].value,
                     .burst_step = (srm_time)(12e12 / (settings[RATE].value * 1e6)),
                     .reorder = settings[REORDER].value / 100,
                     .reorder_by = 3 * SRM_MILLISECOND,
                     .jitter = (srm_time)(settings[JITTER].value * 1e6)};
    net_connect(&world, a, b, wire);
    net_wire *forward = &world.wires[a][b];
    forward->rate = settings[RATE].value * 1e6 / 8;
    forward->queue = (srm_time)(settings[RTT].value * 1e6 * settings[QUEUE].value);
    forward->shared = r->bottleneck;
    if (r->bottleneck == NULL)
        r->bottleneck = forward;
}

static void start_flow(run *r, flow *f) {
    srmudp_config_init(&config);
    config.congestion_control = strcmp(f->cc, "cubic") == 0 ? SRMUDP_CONGESTION_CUBIC : SRMUDP_CONGESTION_BBR;
    config.receive_buffer = srm_u64_max(config.receive_buffer, 2 * r->backlog); /* never what limits */
    f->p.a = add_app();
    f->p.b = add_app();
    connect_hosts(r, &f->p);
    app_listen(f->p.b, "key", "");
    f->p.ca = app_open(f->p.a, "key", "", &f->p.b->host->address);
    f->started = true;
}

static void refill(const run *r, const flow *f) {
    srmudp_stats stats;
    srm_conn_stats(f->p.ca->conn, world.now, &stats);
    for (uint64_t waiting = stats.bytes_unconsumed; waiting < r->backlog; waiting += MESSAGE_SIZE)
        app_send(f->p.ca, settings[SMALL].value > 0 ? SMALL_CHANNEL + 1 : SMALL_CHANNEL, MESSAGE_SIZE);
}

static void send_small(run *r) {
    pair *p = &r->flows[0].p;
    if (p->b->count == 0 || settings[SMALL].value <= 0)
        return;
    if (p->cb == NULL) {
        p->cb = &p->b->conns[0];
        app_measure(p->ca, p->cb, SMALL_CHANNEL);
        r->small_from = world.now;
    }
    double passed = (double)(world.now - r->small_from) / 1e9;
    for (; settings[SMALL].value * passed > (double)r->small_sent; r->small_sent++)
        app_send(p->ca, SMALL_CHANNEL, SMALL_SIZE);
}

static const net_wire *wire_of_flow(const flow *f) {
    return &world.wires[f->p.a->host->index][f->p.b->host->index];
}

static uint64_t received(const flow *f) {
    return f->started && f->p.b->count > 0 ? f->p.b->conns[0].bytes : 0;
}

/* ---- measuring ---- */

static void add_number(numbers *n, double value) {
    if (n->count == n->capacity) {
        n->capacity = n->capacity > 0 ? 2 * n->capacity : 1024;
        n->at = realloc(n->at, n->capacity * sizeof *n->at);
        if (n->at == NULL)
            fail("out of", "memory");
    }
    n->at[n->count++] = value;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const numbers *sorted, double share) {
    return sorted->count > 0 ? sorted->at[(size_t)(share * (double)(sorted->count - 1))] : 0;
}

static void begin_measuring(run *r) {
    r->measuring = true;
    for (size_t i = 0; i < r->count; i++) {
        r->flows[i].start_bytes = received(&r->flows[i]);
        r->flows[i].start_wire = wire_of_flow(&r->flows[i])->bytes;
    }
    if (r->flows[0].p.cb != NULL)
        r->flows[0].p.cb->latency_count = 0;
}

static double mbps(uint64_t bytes, double seconds) {
    return (double)bytes * 8 / seconds / 1e6;
}

static void end_series_entry(run *r) {
    double seconds = (double)r->series_ticks * (double)TICK / 1e9;
    for (size_t i = 0; i < r->count; i++) {
        uint64_t now = received(&r->flows[i]);
        add_number(&r->series_mbps, mbps(now - r->flows[i].series_bytes, seconds));
        r->flows[i].series_bytes = now;
    }
    add_number(&r->series_queue, r->series_delay / (double)r->series_ticks);
    r->series_delay = 0;
    r->series_ticks = 0;
}

static void look(run *r) {
    double delay = (double)srm_time_max(r->bottleneck->free_at - world.now, 0) / 1e6;
    if (r->measuring)
        add_number(&r->delays, delay);
    r->series_delay += delay;
    r->series_ticks++;
    if (settings[EVERY].value > 0 && (srm_time)r->series_ticks * TICK >= seconds_of(EVERY))
        end_series_entry(r);
}

static void simulate(run *r) {
    while (world.now < r->end && app_failure == NULL) {
        for (size_t i = 0; i < r->count; i++) {
            if (!r->flows[i].started && world.now >= r->flows[i].joins)
                start_flow(r, &r->flows[i]);
            if (r->flows[i].started)
                refill(r, &r->flows[i]);
        }
        send_small(r);
        if (!r->measuring && world.now >= r->warm)
            begin_measuring(r);
        pass(TICK);
        look(r);
    }
}

/* ---- the line of JSON ---- */

static void print_list(const char *name, const double *at, size_t count, int digits) {
    printf("\"%s\":[", name);
    for (size_t i = 0; i < count; i++)
        printf("%s%.*f", i > 0 ? "," : "", digits, at[i]);
    printf("]");
}

static void print_goodput(const run *r) {
    double rates[FLOWS_MAX] = {0}, sum = 0, squares = 0;
    for (size_t i = 0; i < r->count; i++) {
        rates[i] = mbps(received(&r->flows[i]) - r->flows[i].start_bytes, settings[SECONDS].value);
        sum += rates[i];
        squares += rates[i] * rates[i];
    }
    print_list("mbps", rates, r->count, 2);
    printf(",\"flows\":[");
    for (size_t i = 0; i < r->count; i++)
        printf("%s\"%s\"", i > 0 ? "," : "", r->flows[i].cc);
    printf("],\"share\":%.3f,\"jain\":%.3f", sum > 0 ? rates[0] / sum : 0,
           squares > 0 ? sum * sum / ((double)r->count * squares) : 0);
}

static void print_cost(const run *r) {
    const flow *first = &r->flows[0];
    srmudp_stats stats;
    srm_conn_stats(first->p.ca->conn, world.now, &stats);
    double delivered = (double)(received(first) - first->start_bytes);
    printf(",\"offered_per_byte\":%.3f,\"lost_share\":%.4f,\"spurious\":%llu",
           delivered > 0 ? (double)(wire_of_flow(first)->bytes - first->start_wire) / delivered : 0,
           (double)stats.packets_lost / (double)stats.packets_sent,
           (unsigned long long)stats.packets_spurious);
}

static void print_small(const run *r) {
    app_conn *to = r->flows[0].p.cb;
    if (to == NULL)
        return;
    printf(",\"small_ms_p50\":%.2f,\"small_ms_p99\":%.2f,\"small_ms_max\":%.2f",
           (double)app_latency(to, 0.5) / 1e6, (double)app_latency(to, 0.99) / 1e6,
           (double)app_latency(to, 1) / 1e6);
}

static void print_series(const run *r) {
    printf(",\"every\":%g,\"series_mbps\":[", settings[EVERY].value);
    for (size_t i = 0; i < r->count; i++) {
        printf("%s[", i > 0 ? "," : "");
        for (size_t entry = 0; entry < r->series_queue.count; entry++)
            printf("%s%.2f", entry > 0 ? "," : "", r->series_mbps.at[entry * r->count + i]);
        printf("]");
    }
    printf("],");
    print_list("series_queue_ms", r->series_queue.at, r->series_queue.count, 2);
}

static void report(run *r) {
    qsort(r->delays.at, r->delays.count, sizeof *r->delays.at, compare);
    printf("{");
    print_goodput(r);
    print_cost(r);
    printf(",\"queue_ms_p50\":%.2f,\"queue_ms_p95\":%.2f", quantile(&r->delays, 0.5),
           quantile(&r->delays, 0.95));
    if (settings[SMALL].value > 0)
        print_small(r);
    if (settings[EVERY].value > 0)
        print_series(r);
    printf("}\n");
}

int main(int argc, char **argv) {
    static run r;
    read_settings(argc, argv);
    if (sodium_init() < 0)
        return 2;
    net_init(&world, (uint64_t)settings[SEED].value);
    read_flows(&r);
    plan(&r);
    simulate(&r);
    if (app_failure != NULL || r.delays.count == 0) {
        fprintf(stderr, "grid: %s\n", app_failure != NULL ? app_failure : "nothing was measured");
        return 1;
    }
    report(&r);
    free(r.delays.at);
    free(r.series_mbps.at);
    free(r.series_queue.at);
    return 0;
}
