/* core_cost - what the core itself costs: two endpoints back to back, no sockets, no clock, nothing lost.
 *
 *     core_cost SIZE COUNT [MTU]    sends COUNT messages of SIZE bytes from one to the other, in datagrams of
 * at most MTU bytes (1472: Ethernet; 65000 is what loopback carries)
 *
 * Prints nanoseconds of CPU for each message, both sides together. Under `valgrind --tool=callgrind` the same
 * work is counted in instructions, which don't depend on the machine's mood.
 */
#include "core/endpoint.h"
#include "core/limits.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WINDOW 512 /* messages given and not yet consumed */
#define ONE_WAY (50 * SRM_MICROSECOND)

typedef struct side {
    srm_endpoint *endpoint;
    srmudp_address address;
    srm_conn *conn;
    uint64_t received, consumed;
    bool established;
} side;

static side sides[2];
static srm_time now = SRM_SECOND;
static uint64_t seed = 1;
static size_t mtu = SRM_DATAGRAM_USUAL_MTU;

static void fill(void *context, uint8_t *out, size_t size) {
    (void)context;
    for (size_t i = 0; i < size; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(seed >> 56);
    }
}

static void *accepted(void *context, void *listener_user, srm_conn *conn) {
    (void)context;
    side *s = listener_user;
    s->conn = conn;
    return s;
}

static void take_events(side *s) {
    for (srm_message *next, *node = srm_endpoint_events(s->endpoint); node != NULL; node = next) {
        next = node->next;
        if (node->kind == SRMUDP_EVENT_MESSAGE) {
            s->received++;
            srm_conn_consume(s->conn, now, node);
            continue;
        }
        srmudp_event event;
        memcpy(&event, node->data, sizeof event);
        s->established |= event.kind == SRMUDP_EVENT_STATUS && event.status == SRMUDP_ESTABLISHED;
        if (event.kind == SRMUDP_EVENT_CONSUMED)
            s->consumed = event.count;
        srm_message_free(node);
    }
}

/* Whatever one side has to say reaches the other at once. */
static bool exchange(int from) {
    static uint8_t buffer[65536];
    srm_transmit out;
    bool any = false;
    while (srm_endpoint_transmit(sides[from].endpoint, now, buffer, sizeof buffer, true, &out)) {
        any = true;
        if (out.segment > mtu) { /* as an interface does it */
            srm_endpoint_send_failed(sides[from].endpoint, now, &out.to, out.segment, SRM_SEND_TOO_LARGE);
            continue;
        }
        srm_datagram datagram = {
            .data = buffer, .size = out.size, .segment = out.segment, .from = sides[from].address};
        srm_endpoint_receive(sides[!from].endpoint, now, &datagram);
    }
    take_events(&sides[from]);
    take_events(&sides[!from]);
    return any;
}

/* One trip there and back takes some time, or no RTT could be measured. */
static void turn(void) {
    for (int from = 0; from < 2; from++) {
        while (exchange(from))
            ;
        now += ONE_WAY;
        for (int i = 0; i < 2; i++)
            if (srm_endpoint_deadline(sides[i].endpoint) <= now)
                srm_endpoint_timeout(sides[i].endpoint, now);
    }
}

static void start(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    for (int i = 0; i < 2; i++) {
        sides[i].address = (srmudp_address){.ip = {10, 0, 0, (uint8_t)(i + 1)}, .port = 4000, .family = 4};
        sides[i].endpoint =
            srm_endpoint_new(&config, (srm_entropy){fill, NULL}, (srm_hooks){.accepted = accepted}, now);
    }
    srm_listener *listener;
    srm_span key = srm_span_of("key", 3), label = srm_span_of("", 0);
    if (srm_endpoint_listen(sides[1].endpoint, now, key, label, &sides[1], &listener) != SRMUDP_OK ||
        srm_endpoint_open(sides[0].endpoint, now, key, label, &sides[1].address, 1, &sides[0],
                          &sides[0].conn) != SRMUDP_OK)
        abort();
    for (int i = 0; i < 1000 && !sides[1].established; i++)
        turn();
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4 || sodium_init() < 0) {
        fprintf(stderr, "usage: %s SIZE COUNT [MTU]\n", argv[0]);
        return 2;
    }
    if (argc == 4)
        mtu = strtoul(argv[3], NULL, 10);
    uint32_t size = (uint32_t)strtoul(argv[1], NULL, 10);
    uint64_t count = strtoull(argv[2], NULL, 10), sent = 0;
    start();
    clock_t begin = clock();
    while (sides[1].received < count) {
        for (; sent < count && sent - sides[0].consumed < WINDOW; sent++) {
            srm_message *message = srm_message_new(size, 0, 0);
            if (message == NULL)
                abort();
            memset(message->data, 0, size);
            message->sequence = sent + 1;
            srm_conn_send(sides[0].conn, now, message);
        }
        turn();
    }
    double ns = (double)(clock() - begin) / CLOCKS_PER_SEC * 1e9;
    printf("{\"size\":%u,\"messages\":%llu,\"ns_per_message\":%.1f,\"MBps\":%.1f}\n", size,
           (unsigned long long)count, ns / (double)count, (double)size * (double)count / ns * 1e3);
    srm_endpoint_free(sides[0].endpoint);
    srm_endpoint_free(sides[1].endpoint);
    return 0;
}
