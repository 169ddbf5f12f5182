/* net - a network in virtual time for the core: hosts with addresses, wires with delay, loss, duplication,
 * reordering and a rate with a queue, outages, address changes, and an attacker who sees everything. One seed
 * replays everything.
 *
 *      host A (endpoint) ──wire A→B──▶ host B (endpoint)
 *                        ◀──wire B→A──
 *
 * The program drives: net_run(net, until) delivers datagrams and fires deadlines in the order of time. Events
 * of the endpoints go to the host's on_event.
 */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "../../csrc/core/endpoint.h"

#define NET_HOSTS 16

/* What becomes of the ECN bits of datagrams sent with ECT(0). */
typedef enum net_marks { NET_MARKS_KEPT, NET_MARKS_CLEARED, NET_MARKS_ALL_CE, NET_MARKS_DROPPED } net_marks;

typedef struct net_wire {
    srm_time delay, jitter;
    double loss, duplicate, reorder; /* probabilities */
    double burst;                    /* mean length of a run of losses, in packets; 1 and less: independent */
    srm_time burst_step;     /* a run lasts in time, this long for each of its packets; 0: by packets sent */
    srm_time burst_at;       /* state of the run is as of then */
    bool losing;             /* in such a run */
    struct net_wire *shared; /* whose serialiser and queue are used; NULL: its own */
    srm_time reorder_by;
    double rate;    /* bytes a second; 0: unlimited */
    srm_time queue; /* of the rate, as time */
    srm_time mark;  /* a longer queue marks ECT(0) as CE; 0: never */
    net_marks marks;
    srm_time free_at; /* when the serialiser is free */
    srm_time last;    /* arrivals keep their order unless reordered */
    size_t mtu;       /* larger datagrams vanish; 0: none does */
    size_t interface; /* the sender's own: larger datagrams are refused; 0: SRM_DATAGRAM_USUAL_MTU */
    bool cut;         /* an outage: everything is lost */
    uint64_t sent, lost, dropped, bytes;
    uint64_t ect, ce; /* sent with ECT(0); of them, delivered with CE */
    srm_time backlog; /* the longest queue that a datagram found */
} net_wire;

typedef struct network network;

typedef struct net_host {
    network *net;
    int index;
    srm_endpoint *endpoint; /* NULL: dead */
    srmudp_address address; /* as others see it now: a NAT may change it */
    void (*on_event)(struct net_host *host, srm_message *node);            /* owns the node */
    void *(*accepted)(void *context, void *listener_user, srm_conn *conn); /* see srm_hooks */
    void *user;
    srmudp_config config;
    uint64_t entropy[2];
} net_host;

/* Sees every datagram before the wire: returns false to swallow it; may change it or inject others. */
typedef bool (*net_attacker)(network *net, int from, int to, uint8_t *data, size_t *size);

typedef struct net_packet net_packet;
struct network {
    srm_time now;
    uint64_t random[2];
    net_host hosts[NET_HOSTS];
    int host_count;
    net_wire wires[NET_HOSTS][NET_HOSTS]; /* [from][to] */
    net_attacker attacker;
    net_packet **heap;
    size_t count, capacity;
    uint64_t order;
    uint64_t datagrams;
};

void net_init(network *net, uint64_t seed);
void net_fini(network *net);
uint64_t net_random(network *net);
double net_uniform(network *net); /* 0 <= x < 1 */

/* A host with address 10.0.0.<index+1>:4000. Its endpoint starts at once. */
net_host *net_add_host(network *net, const srmudp_config *config, void (*on_event)(net_host *, srm_message *),
                       void *user);
/* The process dies without a word; start it again with net_restart (new endpoint, nothing remembered). */
void net_kill(net_host *host);
void net_restart(net_host *host);
/* A NAT gave it another port (or address): answers to the old one get lost. */
void net_rebind(net_host *host, uint16_t port, uint8_t last_ip_byte);
/* The same wire in both directions between two hosts. */
void net_connect(network *net, int a, int b, net_wire wire);
/* Puts a datagram on the way to `to`, as if `from` had sent it. */
void net_inject(network *net, const srmudp_address *from, int to, const uint8_t *data, size_t size,
                srm_time delay);

/* Runs until the time, or until `done` (may be NULL) says so. True: done. */
bool net_run(network *net, srm_time until, bool (*done)(void *context), void *context);
/* Fetches what a host has to send and its events; net_run does it too. Call after giving commands. */
void net_flush(net_host *host);

#endif
