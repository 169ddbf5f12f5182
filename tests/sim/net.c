#include "net.h"

#include "../../csrc/core/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct net_packet {
    srm_time due;
    uint64_t order;
    int to;
    srmudp_address from, target;
    size_t size;
    uint8_t ecn;
    uint8_t data[];
};

/* xorshift128+, seeded by splitmix64. */
static uint64_t next_random(uint64_t state[2]) {
    uint64_t a = state[0], b = state[1];
    state[0] = b;
    a ^= a << 23;
    state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return state[1] + b;
}
static void seed_random(uint64_t state[2], uint64_t seed) {
    for (int i = 0; i < 2; i++) {
        uint64_t z = (seed += UINT64_C(0x9E3779B97F4A7C15));
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        state[i] = z ^ (z >> 31);
    }
}
uint64_t net_random(network *net) {
    return next_random(net->random);
}
double net_uniform(network *net) {
    return (double)(net_random(net) >> 11) * (1.0 / 9007199254740992.0);
}

static void fill(void *context, uint8_t *out, size_t size) {
    net_host *host = context;
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(next_random(host->entropy) >> 32);
}

/* ---- The heap of datagrams under way ---- */

static bool before(const net_packet *a, const net_packet *b) {
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}
static void push(network *net, net_packet *packet) {
    if (net->count == net->capacity) {
        net->capacity = net->capacity ? net->capacity * 2 : 1024;
        net->heap = realloc(net->heap, net->capacity * sizeof *net->heap);
    }
    size_t i = net->count++;
    for (; i > 0 && before(packet, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = packet;
}
static net_packet *pop(network *net) {
    net_packet *first = net->heap[0], *last = net->heap[--net->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < net->count; i = child) {
        if (child + 1 < net->count && before(net->heap[child + 1], net->heap[child]))
            child++;
        if (!before(net->heap[child], last))
            break;
        net->heap[i] = net->heap[child];
    }
    net->heap[i] = last;
    return first;
}

static void enqueue(network *net, const srmudp_address *from, const srmudp_address *target, int to,
                    const uint8_t *data, size_t size, uint8_t ecn, srm_time due) {
    net_packet *packet = malloc(sizeof *packet + size);
    *packet = (net_packet){.due = due,
                           .order = net->order++,
                           .to = to,
                           .from = *from,
                           .target = *target,
                           .size = size,
                           .ecn = ecn};
    memcpy(packet->data, data, size);
    push(net, packet);
}

void net_inject(network *net, const srmudp_address *from, int to, const uint8_t *data, size_t size,
                srm_time delay) {
    enqueue(net, from, &net->hosts[to].address, to, data, size, 0, net->now + delay);
}

/* ---- Wires ---- */

/* Passes the serialiser; false: its queue is full. */
static bool serialise(net_wire *wire, srm_time now, size_t size, srm_time *out) {
    net_wire *line = wire->shared != NULL ? wire->shared : wire;
    *out = now;
    if (line->rate <= 0)
        return true;
    srm_time backlog = line->free_at > now ? line->free_at - now : 0;
    if (backlog > line->queue) {
        wire->dropped++;
        return false;
    }
    wire->backlog = srm_time_max(wire->backlog, backlog);
    line->free_at = *out = now + backlog + (srm_time)((double)(size + 28) / line->rate * 1e9);
    return true;
}

/* The next state of a Gilbert model: from a run one comes back with probability 1 / burst. With burst_step as
 * many steps as fit the time since the last packet, for a quiet sender must not keep a run alive. */
static bool is_in_run(network *net, net_wire *wire) {
    double leave = 1 / wire->burst, enter = leave * wire->loss / (1 - wire->loss), steps = 1;
    if (wire->burst_step > 0)
        steps = (double)(net->now - wire->burst_at) / (double)wire->burst_step;
    wire->burst_at = net->now;
    double kept = pow(1 - leave - enter, steps);
    return net_uniform(net) < wire->loss + (wire->losing - wire->loss) * kept;
}

static bool is_lost(network *net, net_wire *wire, size_t size) {
    if (wire->cut || (wire->mtu > 0 && size > wire->mtu))
        return true;
    if (wire->burst <= 1)
        return net_uniform(net) < wire->loss;
    wire->losing = is_in_run(net, wire);
    return wire->losing;
}

enum { ECT0 = 2, CE = 3 }; /* RFC 3168 section 5 */

/* The bits as they arrive; `waited`: in the queue. */
static uint8_t mark(net_wire *wire, uint8_t ecn, srm_time waited) {
    if (ecn != ECT0)
        return ecn;
    if (wire->marks == NET_MARKS_CLEARED)
        return 0;
    bool ce = wire->marks == NET_MARKS_ALL_CE || (wire->mark > 0 && waited > wire->mark);
    wire->ce += ce;
    return ce ? CE : ECT0;
}

static void over_wire(network *net, net_host *host, int to, const srmudp_address *target, const uint8_t *data,
                      size_t size, uint8_t ecn) {
    net_wire *wire = &net->wires[host->index][to];
    srm_time at;
    wire->ect += ecn == ECT0;
    wire->sent++;
    wire->bytes += size;
    if (!serialise(wire, net->now, size, &at))
        return;
    if (is_lost(net, wire, size) || (wire->marks == NET_MARKS_DROPPED && ecn == ECT0)) {
        wire->lost++;
        return;
    }
    ecn = mark(wire, ecn, at - net->now);
    srm_time due = at + wire->delay + (srm_time)(net_uniform(net) * (double)wire->jitter);
    if (net_uniform(net) < wire->reorder)
        due += wire->reorder_by;
    else
        wire->last = due = srm_time_max(due, wire->last);
    enqueue(net, &host->address, target, to, data, size, ecn, due);
    if (net_uniform(net) < wire->duplicate)
        enqueue(net, &host->address, target, to, data, size, ecn, due + (srm_time)(net_uniform(net) * 1e6));
}

/* Which host has the address; -1: nobody. */
static int host_at(const network *net, const srmudp_address *target) {
    for (int to = 0; to < net->host_count; to++)
        if (memcmp(net->hosts[to].address.ip, target->ip, 4) == 0)
            return to;
    return -1;
}

static void send_one(net_host *host, int to, const srmudp_address *target, uint8_t *data, size_t size,
                     uint8_t ecn) {
    network *net = host->net;
    if (net->attacker != NULL && !net->attacker(net, host->index, to, data, &size))
        return;
    over_wire(net, host, to, target, data, size, ecn);
}

/* As the kernel does it: EMSGSIZE. */
static bool refuses(const net_host *host, int to, const srm_transmit *out) {
    size_t most = host->net->wires[host->index][to].interface;
    if (srm_size_min(out->segment, out->size) <= (most > 0 ? most : SRM_DATAGRAM_USUAL_MTU))
        return false;
    srm_endpoint_send_failed(host->endpoint, host->net->now, &out->to, srm_size_min(out->segment, out->size),
                             SRM_SEND_TOO_LARGE);
    return true;
}

static void send_all(net_host *host) {
    static uint8_t buffer[65536];
    srm_transmit out;
    while (srm_endpoint_transmit(host->endpoint, host->net->now, buffer, sizeof buffer, true, &out)) {
        int to = host_at(host->net, &out.to);
        if (to < 0 || refuses(host, to, &out))
            continue;
        for (size_t at = 0; at < out.size; at += out.segment)
            send_one(host, to, &out.to, buffer + at, srm_size_min(out.segment, out.size - at), out.ecn);
    }
}

/* What the application does upon its events may want to be sent, too. */
void net_flush(net_host *host) {
    srm_message *node = NULL;
    do {
        if (host->endpoint == NULL)
            return;
        send_all(host);
        node = srm_endpoint_events(host->endpoint);
        for (srm_message *at = node, *next; at != NULL; at = next) {
            next = at->next;
            host->on_event(host, at);
        }
    } while (node != NULL);
}

/* ---- Hosts ---- */

static void *accepted(void *context, void *listener_user, srm_conn *conn) {
    net_host *host = context;
    return host->accepted != NULL ? host->accepted(host, listener_user, conn) : NULL;
}

void net_restart(net_host *host) {
    srm_entropy entropy = {fill, host};
    srm_hooks hooks = {.context = host, .accepted = accepted};
    host->endpoint = srm_endpoint_new(&host->config, entropy, hooks, host->net->now);
}

void net_kill(net_host *host) {
    srm_endpoint_free(host->endpoint);
    host->endpoint = NULL;
}

net_host *net_add_host(network *net, const srmudp_config *config, void (*on_event)(net_host *, srm_message *),
                       void *user) {
    net_host *host = &net->hosts[net->host_count];
    *host = (net_host){
        .net = net, .index = net->host_count++, .on_event = on_event, .user = user, .config = *config};
    host->address = (srmudp_address){.ip = {10, 0, 0, (uint8_t)(host->index + 1)}, .port = 4000, .family = 4};
    seed_random(host->entropy, net_random(net));
    net_restart(host);
    return host;
}

void net_rebind(net_host *host, uint16_t port, uint8_t last_ip_byte) {
    host->address.port = port;
    host->address.ip[3] = last_ip_byte;
}

void net_connect(network *net, int a, int b, net_wire wire) {
    net->wires[a][b] = net->wires[b][a] = wire;
}

void net_init(network *net, uint64_t seed) {
    memset(net, 0, sizeof *net);
    seed_random(net->random, seed);
    net->now = SRM_SECOND;
}

void net_fini(network *net) {
    for (int i = 0; i < net->host_count; i++)
        if (net->hosts[i].endpoint != NULL)
            net_kill(&net->hosts[i]);
    while (net->count > 0)
        free(pop(net));
    free(net->heap);
}

/* ---- Time ---- */

static void deliver(network *net, net_packet *packet) {
    net_host *host = &net->hosts[packet->to];
    net->datagrams++;
    if (host->endpoint != NULL && packet->target.port == host->address.port &&
        memcmp(packet->target.ip, host->address.ip, 4) == 0) {
        srm_datagram datagram = {.data = packet->data,
                                 .size = packet->size,
                                 .segment = packet->size,
                                 .from = packet->from,
                                 .ecn = packet->ecn};
        if (packet->size > 0)
            srm_endpoint_receive(host->endpoint, net->now, &datagram);
        net_flush(host);
    }
    free(packet);
}

static net_host *next_deadline(network *net, srm_time *at) {
    net_host *first = NULL;
    for (int i = 0; i < net->host_count; i++) {
        net_host *host = &net->hosts[i];
        srm_time deadline = host->endpoint != NULL ? srm_endpoint_deadline(host->endpoint) : SRM_TIME_NEVER;
        if (deadline < *at) {
            *at = deadline;
            first = host;
        }
    }
    return first;
}

bool net_run(network *net, srm_time until, bool (*done)(void *), void *context) {
    for (int i = 0; i < net->host_count; i++)
        net_flush(&net->hosts[i]);
    for (uint64_t idle = 0;;) {
        if (done != NULL && done(context))
            return true;
        srm_time at = until;
        net_host *host = next_deadline(net, &at);
        if (net->count > 0 && net->heap[0]->due <= at) {
            net->now = srm_time_max(net->now, net->heap[0]->due);
            deliver(net, pop(net));
            idle = 0;
        } else if (host != NULL) {
            idle = at <= net->now ? idle + 1 : 0;
            if (idle > 100000) {
                fprintf(stderr, "sim: host %d asks for a deadline that does not move\n", host->index);
                abort();
            }
            net->now = srm_time_max(net->now, at);
            srm_endpoint_timeout(host->endpoint, net->now);
            net_flush(host);
        } else {
            net->now = until;
            return done != NULL && done(context);
        }
    }
}
