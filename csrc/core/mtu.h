/* mtu - how large a datagram the path carries: RFC 8899 (DPLPMTUD), with packets of our own as probes. Sizes
 * are UDP payload, in bytes.
 *
 *                   acked                        nothing left to try
 *     SEARCHING ------------> SEARCHING ... ------------------------> DONE
 *         ^   `- lost SRM_MTU_TRIES times: not that size, a smaller one    |
 *         |                                                               |
 *         +------- SRM_MTU_RAISE_EACH later, if there is room above ------+
 *         +------- SRM_MTU_HOLE_WAIT after a black hole --- back to SRM_DATAGRAM_MIN_MTU
 *
 * SRM_DATAGRAM_USUAL_MTU is tried first, since most paths carry it; then the largest size, which loopback and
 * jumbo frames carry, once so much is sent that it is worth a probe; then the table of candidates is halved.
 * A size counts as too large after SRM_MTU_TRIES lost probes; the loss of a probe is no sign of congestion. A
 * network whose packets are smaller (a tunnel, IPv6) simply loses probes; our own interface refuses what is
 * too large for it at once, and nothing is lost: srm_mtu_on_too_large.
 *
 * A black hole is a path that stopped carrying what it carried before. The sign: SRM_MTU_HOLE_BURSTS bursts
 * of losses in a row, in each of which every packet was larger than anything acknowledged since. A burst is
 * what was lost between two acknowledgements; a packet of equal size that arrives proves that size.
 */
#ifndef SRM_MTU_H
#define SRM_MTU_H

#include "limits.h"

#define SRM_MTU_TRIES 3                       /* RFC 8899 MAX_PROBES */
#define SRM_MTU_RAISE_EACH (600 * SRM_SECOND) /* RFC 8899 PMTU_RAISE_TIMER */
#define SRM_MTU_HOLE_WAIT (60 * SRM_SECOND)   /* before the search after a black hole */
#define SRM_MTU_HOLE_BURSTS 5

typedef struct srm_mtu {
    size_t current;     /* what is sent */
    size_t max;         /* what may ever be sent */
    size_t failed;      /* smallest size that this search found too large; max + 1: none */
    size_t probing;     /* size of the probe that is out; 0: none */
    uint32_t tries;     /* probes of the next candidate that were lost */
    srm_time search_at; /* when the next search starts; SRM_TIME_NEVER: not foreseen */
    bool searching;

    size_t bursts[SRM_MTU_HOLE_BURSTS]; /* smallest packet of each suspicious burst; the last may be open */
    uint32_t burst_count;
    bool burst_open;      /* nothing was acknowledged since the last loss */
    size_t acked_largest; /* since the last loss */
} srm_mtu;

/* A new path: SRM_DATAGRAM_MIN_MTU, and a search up to `max` (less than SRM_DATAGRAM_MIN_MTU counts as that)
 * if `discover`. */
void srm_mtu_init(srm_mtu *mtu, srm_time now, size_t max, bool discover);
/* Largest datagram to send, from SRM_DATAGRAM_MIN_MTU to `max`. Can become smaller at any call below. */
size_t srm_mtu_current(const srm_mtu *mtu);
/* When srm_mtu_on_timer must be called; SRM_TIME_NEVER: never. */
srm_time srm_mtu_deadline(const srm_mtu *mtu);
/* The deadline has come; too early does no harm. */
void srm_mtu_on_timer(srm_mtu *mtu, srm_time now);

/* The size of the probe to send now; 0: none. Beyond SRM_DATAGRAM_USUAL_MTU it is at most `worth`, the
 * largest packet that would be filled. Asking changes nothing. */
size_t srm_mtu_probe_wanted(const srm_mtu *mtu, srm_time now, size_t worth);
/* A probe of the size that was wanted is out. */
void srm_mtu_on_probe_sent(srm_mtu *mtu, srm_time now, size_t size);
/* A probe arrived, also after it had been declared lost. */
void srm_mtu_on_probe_acked(srm_mtu *mtu, srm_time now, size_t size);
/* A probe was declared lost. One that is no longer waited for changes nothing. */
void srm_mtu_on_probe_lost(srm_mtu *mtu, srm_time now, size_t size);

/* The probe that is out will never be heard of again: whoever sent it is gone. */
void srm_mtu_on_probe_gone(srm_mtu *mtu);

/* Of one ACK: the largest ack-eliciting packet newly acknowledged. Before srm_mtu_on_packets_lost. */
void srm_mtu_on_packets_acked(srm_mtu *mtu, srm_time now, size_t largest);
/* Of one ACK or loss time-out: the smallest packet newly lost, probes excluded. */
void srm_mtu_on_packets_lost(srm_mtu *mtu, srm_time now, size_t smallest);
/* The system refused to send a datagram of `size` bytes (EMSGSIZE). */
void srm_mtu_on_too_large(srm_mtu *mtu, srm_time now, size_t size);

#endif
