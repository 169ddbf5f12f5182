/* What an adversarial reading of the protocol core asked: closed connections that are kept, siblings,
 * strangers, duels of two processes, keys that many share, slow paths, and everything at once. */
#include "scenario.h"

#include "../../csrc/core/conn.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Connections that are over ---- */

static void (*app_event)(net_host *host, srm_message *node);

/* An application that keeps its handle after CLOSED, as a Python program does that still holds the object. */
static void keep_handle(net_host *host, srm_message *node) {
    if (node->kind == SRMUDP_EVENT_CLOSED)
        srm_message_free(node);
    else
        app_event(host, node);
}

static void kept_after_close(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0), false, "key", "key");
    for (int i = 0; i < 2; i++) {
        app_event = world.hosts[i].on_event;
        world.hosts[i].on_event = keep_handle;
    }
    establish(&p, 5 * SRM_SECOND);
    srm_conn_close(p.ca->conn, world.now, SRM_SECOND);
    pass(60 * SRM_SECOND);
    for (int i = 0; i < 2; i++)
        APP_CHECK(srm_endpoint_deadline(world.hosts[i].endpoint) == SRM_TIME_NEVER,
                  "a closed connection still has timers");
}

static app_conn *closer, *told;

static bool other_is_closed(void *context) {
    (void)context;
    return told->closed == 1;
}

/* close() while a new link takes over: the goodbye must be readable whichever link the peer uses by then. */
static void close_while_relinking(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.02), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    pass(SRM_SECOND);
    srm_conn_reconnect(p.ca->conn, world.now);
    pass((srm_time)(net_uniform(&world) * 2e8));
    bool first = net_random(&world) & 1;
    closer = first ? p.ca : p.cb;
    told = first ? p.cb : p.ca;
    srm_conn_close(closer->conn, world.now, 0);
    APP_CHECK(net_run(&world, after(5 * SRM_SECOND), other_is_closed, NULL),
              "the peer was not told of the end");
    APP_CHECK(told->peer_closed == 1, "the end was not a goodbye");
}

/* A goodbye finds a peer whose NAT gave it another port just then. */
static void close_after_rebinding(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    load(&p, 100, 4, 300000);
    pass(300 * SRM_MILLISECOND);
    net_rebind(p.a->host, 5555, 1);
    srm_conn_close(p.cb->conn, world.now, 0);
    told = p.ca;
    APP_CHECK(net_run(&world, after(3 * SRM_SECOND), other_is_closed, NULL),
              "the peer was not told of the end at its new port");
}

/* ---- Many on one key ---- */

/* Several opens of one application to one listener: a newcomer must not end its siblings, however bad the
 * path. */
static void siblings_survive(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(30 * SRM_MILLISECOND, 0.1));
    app_listen(p.b, "key", "");
    for (int i = 0; i < 8; i++) {
        app_open(p.a, "key", "", &p.b->host->address);
        pass(2 * SRM_SECOND);
    }
    pass(10 * SRM_SECOND);
    APP_CHECK(p.b->count == 8, "not all were accepted");
    for (int i = 0; i < 8; i++)
        APP_CHECK(p.a->conns[i].status == SRMUDP_ESTABLISHED && p.a->conns[i].restarts == 0 &&
                      p.b->conns[i].closed == 0,
                  "a newcomer ended the connection of a sibling");
}

static bool all_of_a_established(void *of_pair) {
    const pair *p = of_pair;
    for (int i = 0; i < p->a->count; i++)
        if (p->a->conns[i].status != SRMUDP_ESTABLISHED)
            return false;
    return true;
}

/* Forty connections of one machine to one listener at once, under the right key. */
static void many_from_one_address(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(30 * SRM_MILLISECOND, 0));
    static const char *labels[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++)
        app_listen(p.b, "key", labels[i]);
    for (int i = 0; i < 40; i++)
        app_open(p.a, "key", labels[i / 8], &p.b->host->address);
    APP_CHECK(net_run(&world, after(10 * SRM_SECOND), all_of_a_established, &p),
              "forty connections took more than 10 s");
}

/* Two applications with sixty-four bridges between their two ports: eight labels, eight keys each. */
static void many_between_two_ports(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(10 * SRM_MILLISECOND, 0));
    static const char *labels[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (int i = 0; i < 64; i++) {
        char key[24];
        snprintf(key, sizeof key, "key %d", i);
        app_open(p.a, key, labels[i / 8], &p.b->host->address);
    }
    pass((srm_time)(net_uniform(&world) * 3e9));
    for (int i = 63; i >= 0; i--) {
        char key[24];
        snprintf(key, sizeof key, "key %d", i);
        app_open(p.b, key, labels[i / 8], &p.a->host->address);
    }
    APP_CHECK(net_run(&world, after(60 * SRM_SECOND), all_of_a_established, &p),
              "sixty-four bridges took more than 60 s");
}

/* A listener on an endpoint that also waits for others, under the same label. */
static void listener_among_waiting(void) {
    static const char *keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"};
    pair p = {.a = add_app(), .b = add_app()};
    sim_app *nobody = add_app();
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0));
    net_kill(nobody->host);
    for (int i = 0; i < 9; i++) {
        srmudp_address to = nobody->host->address;
        to.port = (uint16_t)(5000 + i);
        app_open(p.b, keys[i], "", &to);
    }
    p.b->count = 9;
    app_listen(p.b, "key", "");
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    pass(20 * SRM_SECOND);
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED, "the listener could not be reached past those who wait");
}

/* One side has opened eight, the other only one of them so far. */
static void one_of_eight(void) {
    static const char *keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0));
    app_conn *all[8];
    for (int i = 0; i < 8; i++)
        all[i] = app_open(p.b, keys[i], "", &p.a->host->address);
    pass((srm_time)(net_uniform(&world) * 2e10));
    uint64_t which = net_random(&world) % 8;
    p.ca = app_open(p.a, keys[which], "", &p.b->host->address);
    p.cb = all[which];
    establish(&p, 20 * SRM_SECOND);
}

/* A key that none of eight waiting entries has: told in the end, though each of them answers in turn. */
static void wrong_key_among_eight(void) {
    static const char *keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(20 * SRM_MILLISECOND, 0));
    for (int i = 0; i < 8; i++)
        app_open(p.b, keys[i], "", &p.a->host->address);
    pass((srm_time)(net_uniform(&world) * 5e9));
    p.ca = app_open(p.a, "wrong", "", &p.b->host->address);
    srm_time began = world.now;
    pass(20 * SRM_SECOND);
    APP_CHECK(p.ca->wrong_keys > 0 && p.ca->first_wrong_key - began < 15 * SRM_SECOND,
              "the wrong key was not told");
}

/* A mistake that lasts, and is then corrected on one side. */
static void wrong_key_for_long(void) {
    pair p = make_pair(wire_of(20 * SRM_MILLISECOND, 0), net_random(&world) & 1, "a key", "the key");
    pass(600 * SRM_SECOND + (srm_time)(net_uniform(&world) * 6e10));
    APP_CHECK(p.ca->status == SRMUDP_WAITING, "a wrong key ended the attempt");
    srm_conn_release(p.ca->conn, world.now);
    p.ca->conn = NULL;
    p.ca = app_open(p.a, "the key", "", &p.b->host->address);
    establish(&p, p.b->listener != NULL ? 70 * SRM_SECOND : 15 * SRM_SECOND);
}

/* ---- Restarts and duels ---- */

/* A process that dies and comes back while the network loses a lot. */
static void restart_under_loss(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.2), false, "key", "key");
    establish(&p, 10 * SRM_SECOND);
    app_crash(p.b);
    p.ca->duplicates_ok = true;
    pass((srm_time)(net_uniform(&world) * 2e9));
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    app_send(p.cb, 0, 100);
    srm_time began = world.now;
    while (p.ca->restarts == 0 && world.now < began + 15 * SRM_SECOND)
        pass(50 * SRM_MILLISECOND);
    APP_CHECK(p.ca->restarts == 1, "a restarted peer was not taken within 15 s");
    pass(10 * SRM_SECOND);
    APP_CHECK(both_established(&p) && p.ca->restarts == 1 && p.cb->restarts == 0,
              "the restart was told twice");
    APP_CHECK(p.ca->received[0] == 1, "the new process was not heard");
}

/* A process that comes back at another address, to a peer that misses it and calls the old one. */
static void restart_elsewhere(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.02), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    app_crash(p.a);
    app_send(p.cb, 0, 100);
    net_rebind(p.a->host, 4000, 99);
    pass((srm_time)(net_uniform(&world) * 2e10));
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    p.ca->duplicates_ok = true;
    establish(&p, 10 * SRM_SECOND);
    pass(10 * SRM_SECOND);
    APP_CHECK(both_established(&p) && p.cb->restarts == 1 && p.ca->received[0] == 1,
              "a process that started anew elsewhere was not taken");
}

static void both_crash(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.05), false, "key", "key");
    establish(&p, 10 * SRM_SECOND);
    load(&p, 10, 1, 100000);
    pass(20 * SRM_MILLISECOND);
    app_crash(p.a);
    app_crash(p.b);
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    pass((srm_time)(net_uniform(&world) * 1e9));
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    establish(&p, 5 * SRM_SECOND);
    load(&p, 10, 1, 100000);
    APP_CHECK(net_run(&world, after(10 * SRM_SECOND), transfer_done, &p), "nothing goes through");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "late packets of dead processes counted");
}

static void both_reconnect(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.05), net_random(&world) & 1, "key", "key");
    establish(&p, 10 * SRM_SECOND);
    for (int i = 0; i < 10; i++) {
        load(&p, 20, 1, 50000);
        srm_conn_reconnect(p.ca->conn, world.now);
        pass((srm_time)(net_uniform(&world) * 1e8));
        srm_conn_reconnect(p.cb->conn, world.now);
        pass((srm_time)(net_uniform(&world) * 5e8));
    }
    APP_CHECK(net_run(&world, after(20 * SRM_SECOND), transfer_done, &p), "reconnecting lost something");
    pass(5 * SRM_SECOND);
    APP_CHECK(both_established(&p) && p.ca->restarts + p.cb->restarts == 0, "reconnecting broke the session");
}

/* CONFIRMs get lost for a while: the same listener must not look like another process. */
static bool lose_from_a(network *net, int from, int to, uint8_t *data, size_t *size) {
    (void)net, (void)to, (void)size;
    return from != 0 || (data[0] & 0xc0) == 0xc0 ? from != 0 || data[0] != 0xc3 : false;
}

static void confirm_delayed(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0), true, "key", "key");
    world.attacker = lose_from_a;
    for (int i = 0; i < 5; i++)
        app_send(p.ca, 0, 100);
    pass(2 * SRM_SECOND + (srm_time)(net_uniform(&world) * 6e9));
    world.attacker = NULL;
    pass(15 * SRM_SECOND);
    p.cb = &p.b->conns[0];
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED, "not established");
    APP_CHECK(p.b->count == 1 && p.cb->received[0] == 5, "the messages did not arrive on one connection");
    APP_CHECK(p.ca->restarts == 0 && p.cb->maybe_duplicates == 0, "a restart that nobody made");
}

/* ---- Paths ---- */

/* Seconds of round trip, as on a congested mobile network: a new process, and a new link, get through there
 * too. */
static void slow_path(void) {
    pair p = make_pair(wire_of(3500 * SRM_MILLISECOND, 0), false, "key", "key");
    establish(&p, 30 * SRM_SECOND);
    load(&p, 10, 0, 0);
    APP_CHECK(net_run(&world, after(40 * SRM_SECOND), transfer_done, &p), "not delivered");
    app_crash(p.b);
    p.ca->duplicates_ok = true;
    p.cb = app_open(p.b, "key", "", &p.a->host->address);
    pass(90 * SRM_SECOND);
    APP_CHECK(p.ca->restarts == 1 && both_established(&p), "a new process was not taken on a slow path");
}

/* The peer's NAT gives it twenty ports, one after the other; then it is back at the address that was dialled.
 */
static void back_where_it_was(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 20; i++) {
        net_rebind(p.b->host, (uint16_t)(6000 + i), 2);
        load(&p, 5, 0, 0);
        APP_CHECK(net_run(&world, after(10 * SRM_SECOND), transfer_done, &p), "a new port stopped it");
    }
    app_crash(p.b);
    net_rebind(p.b->host, 4000, 2);
    app_listen(p.b, "key", "");
    p.b->duplicates_ok = true;
    app_send(p.ca, 0, 100);
    pass(30 * SRM_SECOND);
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED && p.b->count == 1,
              "the address that was dialled is forgotten");
}

static uint32_t dialled_left(const app_conn *conn) {
    return srm_bucket_level(&conn->conn->entry.addresses[0].bucket->bucket, SRM_GUESS_DIALLED, world.now);
}

/* The right key costs nothing in the end, however often a link is renewed. */
static void right_key_is_free(void) {
    pair p = make_pair(wire_of(40 * SRM_MILLISECOND, 0.02), net_random(&world) & 1, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    for (int i = 0; i < 300; i++) {
        srm_conn_reconnect(net_random(&world) & 1 ? p.ca->conn : p.cb->conn, world.now);
        pass((srm_time)(net_uniform(&world) * 8e8));
    }
    APP_CHECK(dialled_left(p.ca) > 48 && dialled_left(p.cb) > 48,
              "the right key used up the budget for guesses");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0, "a link renewed was taken for another process");
}

/* ---- Strangers ---- */

static void random_bytes(uint8_t *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)net_random(&world);
}

/* What a stranger can write without the key: lists as in a genuine HELLO or REPLY. */
static const uint8_t lists[] = {0, 15, 1, 0, 1, 1, 2, 0, 1, 3, 3, 0, 4, 0, 0, 0, 0};

/* A HELLO for the label "" with a random or the smallest nonce; its share decodes with probability 1/16 or
 * so. */
static void write_hello(uint8_t out[320], bool smallest) {
    memset(out, 0, 320);
    random_bytes(out + 2, 16);
    if (smallest)
        memset(out + 2, 0, 12);
    random_bytes(out + 38, 48);
    out[0] = 0xc1;
    out[1] = 1;
    memcpy(out + 102, app_label_hash(""), 8);
    memcpy(out + 110, lists, sizeof lists);
}

/* Thousands of HELLOs a second from everywhere: each costs a cookie, and the right peer gets one, too. */
static void cookies_for_all(void) {
    pair p = {.a = add_app(), .b = add_app()};
    sim_app *victim = add_app();
    net_connect(&world, 0, 1, wire_of(30 * SRM_MILLISECOND, 0));
    app_listen(p.b, "key", "");
    for (int ms = 0; ms < 6000; ms++) {
        for (int i = 0; i < 5; i++) {
            uint8_t hello[320];
            srmudp_address from = victim->host->address;
            random_bytes(from.ip, 4);
            from.ip[0] = 11;
            write_hello(hello, false);
            net_inject(&world, &from, 1, hello, sizeof hello, 0);
        }
        pass(SRM_MILLISECOND);
        if (ms == 1000)
            p.ca = app_open(p.a, "key", "", &p.b->host->address);
    }
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED && since_start(p.ca->first_established) <= 4 * SRM_SECOND,
              "a flood kept the right peer waiting for more than 3 s");
}

static uint8_t seen_nonce[16], seen_cookie[16];
static bool seen;

/* Only what is sent to the stranger's own address. */
static bool note_nonce(network *net, int from, int to, uint8_t *data, size_t *size) {
    (void)net, (void)from;
    if (to == 2 && *size >= 36 && data[0] == 0xc1) {
        memcpy(seen_nonce, data + 2, 16);
        seen = true;
    }
    if (to == 2 && *size >= 52 && data[0] == 0xc4)
        memcpy(seen_cookie, data + 36, 16);
    return true;
}

static void write_reply(uint8_t out[240]) {
    /* the generator of ristretto255: a share that decodes */
    static const uint8_t share[] = {0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9,
                                    0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3, 0x0b, 0x6a, 0xa5, 0x82,
                                    0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76};
    memset(out, 0, 240);
    out[0] = 0xc2;
    out[1] = 1;
    random_bytes(out + 2, 16);
    memcpy(out + 18, seen_nonce, 16);
    memcpy(out + 38, share, sizeof share);
    random_bytes(out + 70, 48);
    memcpy(out + 118, lists, sizeof lists);
    out[118 + sizeof lists + 1] = 64;
}

/* A stranger who sees nothing of their traffic, but knows both addresses, asks for our HELLO and answers it
 * in the peer's name, to use up the tries of each of our shares and the peer's budget. */
static void off_path_answers(void) {
    pair p = {.a = add_app(), .b = add_app()};
    sim_app *stranger = add_app();
    net_connect(&world, 0, 1, wire_of(30 * SRM_MILLISECOND, 0));
    net_connect(&world, 0, 2, wire_of(10 * SRM_MILLISECOND, 0));
    world.attacker = note_nonce;
    seen = false;
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    uint8_t hello[320];
    write_hello(hello, true);
    for (int tick = 0; tick < 900; tick++) {
        uint8_t bytes[320];
        memcpy(hello + 86, seen_cookie, 16);
        net_inject(&world, &stranger->host->address, 0, hello, sizeof hello, 0);
        for (int i = 0; seen && i < 5; i++) {
            write_reply(bytes);
            net_inject(&world, &p.b->host->address, 0, bytes, 240, 0);
        }
        pass(50 * SRM_MILLISECOND);
        if (tick == 600)
            app_listen(p.b, "key", "");
    }
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED, "a stranger locked the right peer out");
}

/* The smallest nonce makes a waiting side withdraw its HELLO; that must not cost more than a moment. */
static void off_path_yields(void) {
    pair p = {.a = add_app(), .b = add_app()};
    net_connect(&world, 0, 1, wire_of(60 * SRM_MILLISECOND, 0));
    p.ca = app_open(p.a, "key", "", &p.b->host->address);
    for (int tick = 0; tick < 400; tick++) {
        uint8_t hello[320];
        write_hello(hello, true);
        net_inject(&world, &p.b->host->address, 0, hello, sizeof hello, 0);
        pass(50 * SRM_MILLISECOND);
        if (tick == 300)
            app_listen(p.b, "key", "");
    }
    APP_CHECK(p.ca->status == SRMUDP_ESTABLISHED,
              "forged HELLOs of the smallest nonce kept us from connecting");
}

/* ---- A duel of two processes ---- */

static uint8_t frozen_id[16];
static uint64_t frozen_cids[2];
static bool frozen;

static uint64_t cid_of(const uint8_t *data) {
    uint64_t cid = 0;
    for (int i = 1; i <= 8; i++)
        cid = cid << 8 | data[i];
    return cid;
}

/* One connection of host 0 is as good as stopped: nothing from or to it passes. */
static bool freeze(network *net, int from, int to, uint8_t *data, size_t *size) {
    (void)net, (void)from, (void)to;
    if (!frozen)
        return true;
    if ((data[0] & 0xc0) == 0x80 && *size > 9 &&
        (cid_of(data) == frozen_cids[0] || cid_of(data) == frozen_cids[1]))
        return false;
    return *size < 86 || memcmp(data + 70, frozen_id, 16) != 0;
}

/* A process sleeps, another one takes its place, the first wakes up: it is told so, and does not fight. */
static void taken_place(void) {
    pair p = make_pair(wire_of(30 * SRM_MILLISECOND, 0.02), false, "key", "key");
    establish(&p, 5 * SRM_SECOND);
    pass(SRM_SECOND);
    world.attacker = freeze;
    frozen = true;
    frozen_cids[0] = p.ca->conn->current->cid_local;
    frozen_cids[1] = p.cb->conn->current->cid_local;
    memcpy(frozen_id, p.ca->conn->entry.connection_id, 16);
    app_conn *second = app_open(p.a, "key", "", &p.b->host->address);
    app_send(p.ca, 0, 100);
    pass(10 * SRM_SECOND);
    APP_CHECK(second->status == SRMUDP_ESTABLISHED && p.cb->restarts == 1,
              "the second process was not taken");
    APP_CHECK(p.ca->status == SRMUDP_RECONNECTING, "the first did not notice");
    world.attacker = NULL;
    pass(10 * SRM_SECOND);
    APP_CHECK(p.ca->closed == 1 && p.ca->reason == SRMUDP_PEER_BUSY,
              "the first was not told that its place is taken");
    APP_CHECK(second->status == SRMUDP_ESTABLISHED && p.cb->restarts == 1 && second->restarts == 0,
              "the two fought");
}

/* ---- Everything at once ---- */

#define OPENS_MAX 24 /* of each host: those that are accepted need places, too */

static int opens[2];

/* Another process begins with its own numbers. */
static void chaos_event(net_host *host, srm_message *node) {
    app_conn *conn = node->owner;
    if (node->kind == SRMUDP_EVENT_PEER_RESTARTED)
        memset(conn->received, 0, sizeof conn->received);
    bool over = node->kind == SRMUDP_EVENT_CLOSED;
    app_event(host, node);
    uint64_t sent = 0, consumed = 0;
    for (int i = 0; over && i < APP_CHANNELS; i++) {
        sent += conn->sent[i];
        consumed += conn->consumed[i];
    }
    APP_CHECK(!over || sent == consumed + conn->undelivered, "messages vanished without a word");
}

static uint64_t below(uint64_t limit) {
    return net_random(&world) % limit;
}

static app_conn *any_conn(sim_app *app) {
    app_conn *conn = app->count > 0 ? &app->conns[below((uint64_t)app->count)] : NULL;
    return conn != NULL && conn->conn != NULL ? conn : NULL;
}

static void chaos_open(sim_app *app, sim_app *other) {
    static const char *keys[] = {"one key", "another key"}, *labels[] = {"", "label"};
    int host = app->host->index;
    if (opens[host]++ >= OPENS_MAX)
        return;
    srm_conn *refused = NULL;
    const char *key = keys[below(2)], *label = labels[below(2)];
    app_conn *conn = &app->conns[app->count];
    *conn = (app_conn){.app = app, .duplicates_ok = true};
    conn->held_last = &conn->held;
    if (srm_endpoint_open(app->host->endpoint, world.now, srm_span_of(key, strlen(key)),
                          srm_span_of(label, strlen(label)), &other->host->address, 1, conn,
                          &refused) == SRMUDP_OK) {
        conn->conn = refused;
        app->count++;
    }
}

static void chaos_listen(sim_app *app) {
    if (app->listener != NULL)
        srm_listener_close(app->listener);
    app->listener = NULL;
    if (below(4) > 0)
        app_listen(app, below(2) ? "one key" : "another key", below(2) ? "" : "label");
}

static void chaos_crash(sim_app *app) {
    if (below(4) > 0)
        return;
    app->listener = NULL;
    app_crash(app);
    opens[app->host->index] = 0;
}

static void chaos_network(sim_app *app) {
    net_wire *wire = &world.wires[app->host->index][1 - app->host->index];
    wire->cut = below(4) == 0;
    wire->loss = below(4) == 0 ? 0.3 : 0.02;
    if (below(4) == 0)
        net_rebind(app->host, (uint16_t)(4000 + below(50)), (uint8_t)(app->host->index + 1));
}

static void chaos_use(app_conn *conn) {
    switch (below(40)) {
    case 0:
        srm_conn_close(conn->conn, world.now, (srm_time)below(4) * SRM_SECOND);
        return;
    case 1:
        srm_conn_reconnect(conn->conn, world.now);
        return;
    case 2:
        srm_conn_release(conn->conn, world.now);
        conn->conn = NULL;
        app_release_held(conn);
        return;
    case 3:
        conn->hold = !conn->hold;
        if (!conn->hold)
            app_release_held(conn);
        return;
    default:
        for (uint64_t i = below(10); i > 0; i--)
            app_send(conn, (uint8_t)below(APP_CHANNELS),
                     8 + (uint32_t)(below(8) == 0 ? below(30000) : below(300)));
    }
}

static void chaos_step(sim_app *app, sim_app *other) {
    uint64_t what = below(60);
    app_conn *conn = any_conn(app);
    if (what == 0)
        chaos_network(app);
    else if (what == 1)
        chaos_crash(app);
    else if (what == 2)
        chaos_listen(app);
    else if (what < 6)
        chaos_open(app, other);
    else if (conn != NULL)
        chaos_use(conn);
}

static bool chaos_attacker(network *net, int from, int to, uint8_t *data, size_t *size) {
    if (net_uniform(net) < 0.03)
        net_inject(net, &net->hosts[from].address, to, data, *size, (srm_time)(net_uniform(net) * 8e9));
    if (net_uniform(net) < 0.02)
        net_inject(net, &net->hosts[to].address, from, data, *size, (srm_time)(net_uniform(net) * 1e8));
    if (net_uniform(net) < 0.02)
        data[net_random(net) % *size] ^= (uint8_t)(1 << (net_random(net) & 7));
    return true;
}

static void end_all(sim_app *app) {
    if (app->listener != NULL)
        srm_listener_close(app->listener);
    app->listener = NULL;
    for (int i = 0; i < app->count; i++)
        if (app->conns[i].conn != NULL)
            srm_conn_close(app->conns[i].conn, world.now, SRM_SECOND);
}

static void check_nothing_left(const sim_app *app) {
    const srm_endpoint *endpoint = app->host->endpoint;
    APP_CHECK(endpoint->conn_count == 0 && endpoint->half_open == 0 && endpoint->half_open_strangers == 0,
              "counters of what is gone");
    APP_CHECK(endpoint->links.count == 0 && endpoint->inits.count == 0 && endpoint->attempts.count == 0 &&
                  endpoint->pairs.count == 0 && endpoint->own_ids.count == 0 &&
                  endpoint->sessions.count == 0 && endpoint->addresses.count == 0 &&
                  endpoint->ips.count == 0 && endpoint->labels.count == 0,
              "something is left in a table");
    APP_CHECK(srm_endpoint_deadline(endpoint) == SRM_TIME_NEVER, "a timer is left");
}

/* Two hosts do whatever an application may do, at random, over a network that does whatever a network may do.
 */
static void chaos(void) {
    config.outage_limit = 30000;
    sim_app *apps[2] = {add_app(), add_app()};
    memset(opens, 0, sizeof opens);
    net_connect(&world, 0, 1, wire_of((srm_time)below(200) * SRM_MILLISECOND + SRM_MILLISECOND, 0.02));
    world.attacker = below(2) ? chaos_attacker : NULL;
    for (int i = 0; i < 2; i++) {
        app_event = apps[i]->host->on_event;
        apps[i]->host->on_event = chaos_event;
        apps[i]->duplicates_ok = true;
    }
    for (int step = 0; step < 2000; step++) {
        uint64_t who = below(2);
        chaos_step(apps[who], apps[1 - who]);
        pass((srm_time)(net_uniform(&world) * 2e8));
    }
    end_all(apps[0]);
    end_all(apps[1]);
    pass(60 * SRM_SECOND);
    check_nothing_left(apps[0]);
    check_nothing_left(apps[1]);
}

static void storm_step(pair *p, int moving) {
    app_conn *conn = below(2) ? p->ca : p->cb;
    net_wire *wire = &world.wires[below(2)][below(2)];
    switch (below(12)) {
    case 0:
        wire->cut = below(2);
        return;
    case 1:
        wire->loss = below(3) == 0 ? 0.4 : 0.05;
        return;
    case 2:
        net_rebind(world.hosts + moving, (uint16_t)(4000 + below(1000)), (uint8_t)(moving + 1));
        return;
    case 3:
        srm_conn_reconnect(conn->conn, world.now);
        return;
    case 4:
        conn->hold = !conn->hold;
        if (!conn->hold)
            app_release_held(conn);
        return;
    case 5:
        pass((srm_time)below(20) * SRM_SECOND);
        return;
    default:
        for (uint64_t i = below(30); i > 0; i--)
            app_send(conn, (uint8_t)below(2), (uint32_t)(below(8) == 0 ? below(200000) : below(300)));
    }
}

/* One connection through outages, one way and both, new ports, heavy loss, links renewed by both sides,
 * readers that stop, and an attacker who replays, reflects and alters: each message once, in order, and
 * nobody thinks that the other died. */
static void storm(void) {
    pair p = make_pair(wire_of((srm_time)below(200) * SRM_MILLISECOND + SRM_MILLISECOND, 0.02), below(2),
                       "key", "key");
    establish(&p, 10 * SRM_SECOND);
    world.attacker = below(2) ? chaos_attacker : NULL;
    int moving = p.b->listener != NULL ? 0 : (int)below(2);
    for (int step = 0; step < 300; step++) {
        storm_step(&p, moving);
        pass((srm_time)(net_uniform(&world) * 5e8));
    }
    for (int i = 0; i < 2; i++) {
        world.wires[i][1 - i].cut = false;
        world.wires[i][1 - i].loss = 0.02;
        (i == 0 ? p.ca : p.cb)->hold = false;
        app_release_held(i == 0 ? p.ca : p.cb);
    }
    APP_CHECK(net_run(&world, after(90 * SRM_SECOND), transfer_done, &p), "it did not come back");
    pass(30 * SRM_SECOND);
    APP_CHECK(both_established(&p), "not established in the end");
    APP_CHECK(p.ca->restarts + p.cb->restarts == 0 && p.ca->closed + p.cb->closed == 0,
              "the session was lost");
    APP_CHECK(p.ca->maybe_duplicates + p.cb->maybe_duplicates == 0, "a doubt where there is none");
}

static const sim_scenario scenarios[] = {
    {"kept_after_close", kept_after_close},
    {"close_while_relinking", close_while_relinking},
    {"close_after_rebinding", close_after_rebinding},
    {"siblings_survive", siblings_survive},
    {"many_from_one_address", many_from_one_address},
    {"many_between_two_ports", many_between_two_ports},
    {"listener_among_waiting", listener_among_waiting},
    {"one_of_eight", one_of_eight},
    {"wrong_key_among_eight", wrong_key_among_eight},
    {"wrong_key_for_long", wrong_key_for_long},
    {"restart_under_loss", restart_under_loss},
    {"restart_elsewhere", restart_elsewhere},
    {"both_crash", both_crash},
    {"both_reconnect", both_reconnect},
    {"confirm_delayed", confirm_delayed},
    {"slow_path", slow_path},
    {"back_where_it_was", back_where_it_was},
    {"right_key_is_free", right_key_is_free},
    {"cookies_for_all", cookies_for_all},
    {"off_path_answers", off_path_answers},
    {"off_path_yields", off_path_yields},
    {"taken_place", taken_place},
    {"chaos", chaos},
    {"storm", storm},
};

int main(int argc, char **argv) {
    return run_scenarios(argc, argv, scenarios, SRM_COUNT_OF(scenarios));
}
