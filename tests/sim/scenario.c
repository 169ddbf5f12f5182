#include "scenario.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

network world;
srmudp_config config;

static sim_app *hosts[NET_HOSTS];

sim_app *add_app(void) {
    sim_app *app = app_new(&world, &config);
    hosts[app->host->index] = app;
    return app;
}

net_wire wire_of(srm_time rtt, double loss) {
    return (net_wire){.delay = rtt / 2,
                      .loss = loss,
                      .duplicate = loss * 0.4,
                      .reorder = loss > 0 ? 0.02 : 0,
                      .reorder_by = 3 * SRM_MILLISECOND};
}

/* Two hosts that both open towards each other; or B listens. */
pair make_pair(net_wire wire, bool listener, const char *key_a, const char *key_b) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire);
    if (listener)
        app_listen(p.b, key_b, "");
    else
        p.cb = app_open(p.b, key_b, "", &p.a->host->address);
    p.ca = app_open(p.a, key_a, "", &p.b->host->address);
    return p;
}

srm_time since_start(srm_time at) {
    return at == 0 ? SRM_TIME_NEVER : at - SRM_SECOND;
}
srm_time after(srm_time span) {
    return world.now + span;
}

bool both_established(void *context) {
    pair *p = context;
    if (p->cb == NULL && p->b->count > 0)
        p->cb = &p->b->conns[0];
    return p->cb != NULL && p->ca->status == SRMUDP_ESTABLISHED && p->cb->status == SRMUDP_ESTABLISHED;
}

void establish(pair *p, srm_time within) {
    APP_CHECK(net_run(&world, after(within), both_established, p), "not established in time");
}

void pass(srm_time span) {
    net_run(&world, after(span), NULL, NULL);
}

bool transfer_done(void *context) {
    pair *p = context;
    return p->ca->consumed[0] == p->ca->sent[0] && p->cb->consumed[0] == p->cb->sent[0] &&
           p->ca->consumed[1] == p->ca->sent[1] && p->cb->consumed[1] == p->cb->sent[1];
}

void load(pair *p, int small, int large, uint32_t large_size) {
    for (int i = 0; i < small; i++) {
        app_send(p->ca, 0, 100);
        app_send(p->cb, 0, 100);
    }
    for (int i = 0; i < large; i++) {
        app_send(p->ca, 1, large_size);
        app_send(p->cb, 1, large_size);
    }
}

typedef struct options {
    uint64_t seed, seeds;
    bool list, cubic;
    char **names; /* none: all */
    int name_count;
} options;

static bool run_one(const sim_scenario *scenario, uint64_t seed, const options *o, const char *program) {
    app_failure = NULL;
    memset(hosts, 0, sizeof hosts);
    net_init(&world, seed);
    srmudp_config_init(&config);
    if (o->cubic)
        config.congestion_control = SRMUDP_CONGESTION_CUBIC;
    scenario->run();
    for (int i = 0; i < world.host_count; i++)
        if (world.hosts[i].endpoint != NULL)
            net_kill(&world.hosts[i]);
    for (int i = 0; i < NET_HOSTS; i++)
        if (hosts[i] != NULL)
            app_free(hosts[i]);
    net_fini(&world);
    if (app_failure != NULL)
        printf("FAILED %s: %s\n  replay: %s %s --seed %llu%s\n", scenario->name, app_failure, program,
               scenario->name, (unsigned long long)seed, o->cubic ? " --cubic" : "");
    return app_failure == NULL;
}

static options read_options(int argc, char **argv) {
    options o = {.seed = 1, .seeds = 1, .names = argv + 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            o.seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            o.seeds = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--list") == 0)
            o.list = true;
        else if (strcmp(argv[i], "--cubic") == 0)
            o.cubic = true;
        else
            o.names[o.name_count++] = argv[i];
    }
    return o;
}

static bool is_wanted(const options *o, const char *name) {
    for (int i = 0; i < o->name_count; i++)
        if (strcmp(o->names[i], name) == 0)
            return true;
    return o->name_count == 0;
}

int run_scenarios(int argc, char **argv, const sim_scenario *scenarios, size_t count) {
    options o = read_options(argc, argv);
    int passed = 0, failed = 0;
    if (sodium_init() < 0)
        return 2;
    for (size_t s = 0; s < count; s++) {
        if (o.list)
            printf("%s\n", scenarios[s].name);
        for (uint64_t n = 0; !o.list && is_wanted(&o, scenarios[s].name) && n < o.seeds; n++) {
            bool good = run_one(&scenarios[s], o.seed + n, &o, argv[0]);
            passed += good;
            failed += !good;
        }
    }
    if (!o.list)
        printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || (!o.list && passed == 0);
}
