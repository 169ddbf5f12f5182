/* path - what is known of the way to one address, for all the links that go there: congestion control,
 * pacing, what is in flight, the MTU. Connections between the same two sockets share one bottleneck, so they
 * share one window, as RFC 9040 ("ensemble sharing") and RFC 3124 have it: a thousand of them weigh on the
 * network as one does, and each gets the same part (conn_path.c takes turns).
 *
 * Not here, since each link has packet numbers and acknowledgements of its own: RTT and time-outs, loss
 * detection, ECN's test, repairs.
 */
#ifndef SRM_PATH_H
#define SRM_PATH_H

#include "../include/srmudp.h"
#include "cc.h"
#include "deadline.h"
#include "mtu.h"
#include "pacer.h"
#include "sent.h"

/* A path whose packets have not been answered for so long is not handed to newcomers: three round trips, and
 * at least this. */
#define SRM_PATH_STUCK_MIN (250 * SRM_MILLISECOND)
/* Bytes of one turn that a connection may take without having waited for it, before all who wait had theirs:
 * what is small never stands behind what is large. */
#define SRM_PATH_FREE_BYTES ((uint64_t)16384)

typedef struct srm_path {
    srm_timed timed; /* first: pacing of those that wait, and the search for the MTU */
    struct srm_endpoint *endpoint;
    srmudp_address remote;
    bool open;    /* newcomers join it */
    size_t links; /* that go here */
    srm_flight flight;
    srm_cc cc;
    srm_pacer pacer;
    srm_mtu mtu;
    srm_time loss_told;           /* when the newest loss was, that the MTU's search was told of */
    srm_time round_trip;          /* smoothed, as the newest sample had it; 0 before */
    struct srm_link *prober;      /* whose probe for the MTU is out; or NULL */
    const struct srm_link *loser; /* who told the newest loss: only its late packets can take that back */

    /* Connections with data that must wait for room, in the order of their turns. */
    struct srm_conn *waiting_first, *waiting_last;
    size_t waiting;
    struct srm_conn *turn; /* may send now; NULL: nobody has to be waited for */
    uint64_t turns;        /* given so far */
    bool busy;             /* counted in the endpoint's busy_count */
} srm_path;

/* Nothing is known; no timer and no endpoint yet. `max_datagram` is the peer's. */
void srm_path_init(srm_path *path, srm_time now, const srmudp_address *remote, const srmudp_config *config,
                   size_t max_datagram);
/* The same way under another address: what was learned stays, but only `in_flight` bytes of it are here. */
void srm_path_copy(srm_path *path, const srm_path *from, const srmudp_address *remote, uint64_t in_flight);

/* Bytes that the congestion window leaves. */
uint64_t srm_path_room(const srm_path *path);
/* The largest burst. */
uint64_t srm_path_quantum(const srm_path *path, size_t busy);
/* How large a packet is worth it, whatever the path carries. */
size_t srm_path_worthwhile_size(const srm_path *path);
/* The size of a full packet to somebody who takes at most `max`. */
size_t srm_path_packet_size(const srm_path *path, size_t max);
/* Unanswered for too long. */
bool srm_path_is_stuck(const srm_path *path, srm_time now);

#endif
