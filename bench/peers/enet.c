/* ENet, a reliable UDP of games, as a peer of the benchmark; bench/README.md has the scenarios and what is
 * printed.
 *
 *     enet-peer server|client HOST:PORT SCENARIO N
 *
 * ENet has messages of its own, in the clear. It takes them without limit: what may wait is bounded here.
 */
#include <arpa/inet.h>
#include <enet/enet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../measure.h"

#define BULK_SIZE 65536
#define WARM_UP 500
#define MANY_SECONDS 5
#define MAX_PEERS 1100
#define BULK_BACKLOG 200                  /* commands that may wait: 64 KiB are 48 of them */
#define RATE_BACKLOG 2000                 /* with messages of 100 bytes */
#define DRAIN_LIMIT UINT64_C(60000000000) /* ns */
#define BATCH 64                          /* small messages given at once */

static ENetHost *host;
static ENetAddress remote;
static const char *scenario;
static double amount;
static uint8_t zeros[BULK_SIZE];
static times spans; /* of what the scenario times */

/* ---- ENet ---- */

static void put(ENetPeer *peer, const void *data, size_t size) {
    ENetPacket *packet = enet_packet_create(data, size, ENET_PACKET_FLAG_RELIABLE);
    if (packet == NULL || enet_peer_send(peer, 0, packet) != 0)
        abort();
}

/* The next message within `ms`, NULL if none came; the caller destroys it. */
static ENetPacket *take(enet_uint32 ms) {
    ENetEvent event;
    while (enet_host_service(host, &event, ms) > 0) {
        if (event.type == ENET_EVENT_TYPE_RECEIVE)
            return event.packet;
        if (event.type == ENET_EVENT_TYPE_DISCONNECT)
            return NULL;
    }
    return NULL;
}

static ENetPacket *take_one(void) {
    ENetPacket *packet;
    do
        packet = take(1000);
    while (packet == NULL);
    return packet;
}

static ENetPeer *dial(void) {
    ENetPeer *peer = enet_host_connect(host, &remote, 1, 0);
    ENetEvent event;
    enet_host_flush(host);
    for (;;)
        if (enet_host_service(host, &event, 1000) > 0 && event.type == ENET_EVENT_TYPE_CONNECT)
            return peer;
}

static size_t waiting(ENetPeer *peer) {
    size_t count = enet_list_size(&peer->outgoingCommands) + enet_list_size(&peer->sentReliableCommands);
#if ENET_VERSION >= ENET_VERSION_CREATE(1, 3, 18) /* which keeps reliable ones apart */
    count += enet_list_size(&peer->outgoingSendReliableCommands);
#endif
    return count;
}

/* ---- Server ---- */

typedef struct counted {
    uint64_t bytes, messages, first, last;
    double cpu;
    int ended;
    uint64_t of_peer[MAX_PEERS];
} counted;

static counted c;

static void count_message(const ENetEvent *event) {
    size_t size = event->packet->dataLength;
    if (size == 3)
        c.ended++;
    if (size <= 3)
        return;
    c.last = wall_ns();
    if (c.messages++ == 0) {
        c.first = c.last;
        c.cpu = cpu_seconds();
    }
    c.bytes += size;
    c.of_peer[event->peer->incomingPeerID] += size;
}

static bool is(const char *name) {
    return strcmp(scenario, name) == 0;
}

static bool counts(void) {
    return is("bulk") || is("rate") || is("many");
}

static void answer(ENetEvent *event) {
    if (is("connect")) {
        uint8_t age[8];
        put64(age, wall_ns() - get64(event->packet->data));
        put(event->peer, age, sizeof age);
    } else {
        put(event->peer, event->packet->data, event->packet->dataLength);
    }
    enet_host_flush(host);
}

static void serve_message(ENetEvent *event) {
    if (counts())
        count_message(event);
    else if (!is("lat"))
        answer(event);
    else if (event->packet->dataLength == 3)
        c.ended++;
    else
        times_add(&spans, wall_ns() - get64(event->packet->data));
    enet_packet_destroy(event->packet);
}

static void print_served(void) {
    int connections = is("many") ? (int)amount : 1;
    uint64_t least = UINT64_MAX;
    if (is("lat")) {
        times_print(&spans, "server", 0);
        return;
    }
    for (int i = 0; i < connections; i++)
        least = c.of_peer[i] < least ? c.of_peer[i] : least;
    printf(
        "{\"role\":\"server\",\"bytes\":%llu,\"msgs\":%llu,\"secs\":%.4f,\"cpu\":%.3f,\"least_share\":%.3f}"
        "\n",
        (unsigned long long)c.bytes, (unsigned long long)c.messages, (double)(c.last - c.first) / 1e9,
        cpu_seconds() - c.cpu, c.bytes > 0 ? (double)least * connections / (double)c.bytes : 0);
    fflush(stdout);
}

static void serve(const ENetAddress *address) {
    host = enet_host_create(address, MAX_PEERS, 1, 0, 0);
    if (host == NULL)
        exit(1);
    puts("READY");
    fflush(stdout);
    int ends = is("many") ? (int)amount : 1;
    uint64_t quiet = 0;
    while (quiet == 0 || wall_ns() < quiet) {
        ENetEvent event;
        if (enet_host_service(host, &event, 200) > 0 && event.type == ENET_EVENT_TYPE_RECEIVE)
            serve_message(&event);
        if (quiet == 0 && (counts() || is("lat")) && c.ended == ends) {
            print_served();
            quiet = wall_ns() + 500000000u; /* the acknowledgements go out */
        }
    }
}

/* ---- Client ---- */

/* Gives the peer as much as may wait; how many messages that was. */
static uint64_t fill(ENetPeer *peer, size_t size) {
    size_t limit = size == BULK_SIZE ? BULK_BACKLOG : RATE_BACKLOG;
    uint64_t sent = 0;
    if (waiting(peer) >= limit)
        return 0;
    for (size_t i = 0; i < (size == BULK_SIZE ? 1 : BATCH); i++, sent++)
        put(peer, zeros, size);
    return sent;
}

static void serve_host(enet_uint32 ms) {
    ENetPacket *packet = take(ms);
    if (packet != NULL)
        enet_packet_destroy(packet);
}

/* Until all is acknowledged. */
static void drain(ENetPeer **peers, int count) {
    uint64_t limit = wall_ns() + DRAIN_LIMIT;
    for (int i = 0; i < count; i++)
        while (waiting(peers[i]) > 0 && wall_ns() < limit)
            serve_host(1);
}

static void client_stream(size_t size, int connections, double seconds) {
    ENetPeer *peers[MAX_PEERS];
    for (int i = 0; i < connections; i++)
        peers[i] = dial();
    double used = cpu_seconds();
    uint64_t sent = 0, end = wall_ns() + (uint64_t)(seconds * 1e9);
    while (wall_ns() < end) {
        uint64_t before = sent;
        for (int i = 0; i < connections; i++)
            sent += fill(peers[i], size);
        serve_host(sent > before ? 0 : 1);
    }
    for (int i = 0; i < connections; i++)
        put(peers[i], "END", 3);
    drain(peers, connections);
    printf("{\"role\":\"client\",\"sent\":%llu,\"cpu\":%.3f}\n", (unsigned long long)sent,
           cpu_seconds() - used);
}

static void client_pingpong(void) {
    ENetPeer *peer = dial();
    double used = cpu_seconds();
    for (int i = 0; i < (int)amount + WARM_UP; i++) {
        uint64_t start = wall_ns();
        put(peer, zeros, 1024);
        enet_host_flush(host);
        enet_packet_destroy(take_one());
        if (i >= WARM_UP)
            times_add(&spans, wall_ns() - start);
    }
    times_print(&spans, "client", cpu_seconds() - used);
}

static void client_lat(void) {
    ENetPeer *peer = dial();
    uint8_t data[200] = {0};
    uint64_t start = wall_ns(), count = (uint64_t)(amount * 200);
    for (uint64_t k = 0; k < count; k++) {
        for (uint64_t due = start + k * 5000000u; wall_ns() < due;)
            serve_host(due - wall_ns() > 1000000u ? 1 : 0);
        put64(data, wall_ns());
        put(peer, data, sizeof data);
        enet_host_flush(host);
    }
    put(peer, "END", 3);
    drain(&peer, 1);
    printf("{\"role\":\"client\",\"sent\":%llu}\n", (unsigned long long)count);
}

static void client_connect(void) {
    times ages = {0};
    for (int k = 0; k < (int)amount; k++) {
        uint64_t start = wall_ns();
        uint8_t data[8];
        put64(data, start);
        ENetPeer *peer = dial();
        put(peer, data, sizeof data);
        enet_host_flush(host);
        ENetPacket *packet = take_one();
        times_add(&spans, wall_ns() - start);
        times_add(&ages, get64(packet->data));
        enet_packet_destroy(packet);
        enet_peer_disconnect_now(peer, 0);
        usleep(100000);
    }
    times_sort(&ages);
    times_sort(&spans);
    printf("{\"role\":\"client\",\"srv_ms\":%.2f,\"reply_ms\":%.2f,\"reply_max_ms\":%.2f}\n",
           times_at(&ages, 0.5) / 1e6, times_at(&spans, 0.5) / 1e6, times_at(&spans, 1) / 1e6);
}

static void client_idle(void) {
    puts("BASE");
    fflush(stdout);
    usleep(500000);
    for (int k = 0; k < (int)amount; k++) {
        put(dial(), "hi", 2);
        enet_packet_destroy(take_one());
    }
    puts("IDLE");
    fflush(stdout);
    for (uint64_t end = wall_ns() + 15000000000u; wall_ns() < end;)
        serve_host(500);
    printf("{\"role\":\"client\",\"n\":%d}\n", (int)amount);
}

static void act(const ENetAddress *address) {
    host = enet_host_create(address, MAX_PEERS, 1, 0, 0);
    if (host == NULL)
        exit(1);
    if (is("bulk") || is("rate"))
        client_stream(is("bulk") ? BULK_SIZE : 100, 1, amount);
    else if (is("many"))
        client_stream(BULK_SIZE, (int)amount, MANY_SECONDS);
    else if (is("pingpong"))
        client_pingpong();
    else if (is("lat"))
        client_lat();
    else if (is("connect"))
        client_connect();
    else if (is("idle"))
        client_idle();
}

static ENetAddress parse(const char *text, size_t size, const char *port) {
    char name[64] = {0};
    struct in_addr ip;
    if (size < sizeof name)
        memcpy(name, text, size);
    if (inet_pton(AF_INET, name, &ip) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", text);
        exit(2);
    }
    return (ENetAddress){.host = ip.s_addr, .port = (enet_uint16)strtoul(port, NULL, 10)};
}

int main(int argc, char **argv) {
    const char *colon = argc == 5 ? strrchr(argv[2], ':') : NULL;
    if (colon == NULL || enet_initialize() != 0) {
        fprintf(stderr, "usage: %s server|client HOST:PORT SCENARIO N\n", argv[0]);
        return 2;
    }
    const char *from = getenv("CLIENT_HOST");
    ENetAddress own = parse(from != NULL ? from : "127.0.0.1", from != NULL ? strlen(from) : 9, "0");
    remote = parse(argv[2], (size_t)(colon - argv[2]), colon + 1);
    scenario = argv[3];
    amount = strtod(argv[4], NULL);
    if (strcmp(argv[1], "server") == 0)
        serve(&remote);
    else
        act(&own);
    fflush(stdout);
    return 0;
}
