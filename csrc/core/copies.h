/* copies - small messages that travel again in the packets that follow, so that the loss of one is made good
 * by the next packet and not a round trip later. docs/protocol.md [R43].
 *
 *     packet 7:  [message 40]
 *     packet 8:  [message 41] [40 again]
 *     packet 9:  [message 42] [40 again] [41 again]
 *
 * How often depends on what the path loses: not at all while nothing was lost for SRM_COPIES_MEMORY. A copy
 * rides on the next packet, or goes in one of its own when none followed in time. Copies have a budget of
 * bytes, so that a flood of small messages isn't multiplied. Belongs to a link; the messages stay in the
 * outbox.
 */
#ifndef SRM_COPIES_H
#define SRM_COPIES_H

#include "base.h"

#define SRM_COPIES_SIZE_MAX 512                /* bytes; a larger message isn't copied */
#define SRM_COPIES_WAITING_MAX 32              /* messages that wait for their copies; more do without */
#define SRM_COPIES_RATE_MIN ((uint64_t)200000) /* bytes a second that copies may always take */
#define SRM_COPIES_RATE_SHARE 16               /* else this part of the pacing rate, if that is more */
#define SRM_COPIES_BURST ((uint64_t)32768)     /* bytes */
#define SRM_COPIES_MEMORY (30 * SRM_SECOND)    /* a loss is remembered so long */
#define SRM_COPIES_WAIT_MIN SRM_MILLISECOND    /* for a packet to ride on; else an eighth of the RTT … */
#define SRM_COPIES_WAIT_MAX (10 * SRM_MILLISECOND) /* … up to this */

typedef struct srm_copy {
    uint64_t number;
    uint64_t packet; /* the newest packet it was in */
    srm_time due;    /* a packet of its own is worth it from then on */
    uint8_t channel;
    uint8_t left; /* copies still to be sent */
} srm_copy;

/* Fields are for copies.c. */
typedef struct srm_copies {
    srm_copy *waiting; /* oldest first; SRM_COPIES_WAITING_MAX of them, or NULL before the first */
    size_t count;
    double loss;      /* share of packets, over the last some hundred */
    srm_time lost_at; /* SRM_TIME_NEVER: nothing ever was */
    uint64_t tokens;  /* bytes */
    srm_time filled;
} srm_copies;

void srm_copies_init(srm_copies *copies, srm_time now);
void srm_copies_fini(srm_copies *copies);
/* A new path: what the old one lost is forgotten. */
void srm_copies_reset(srm_copies *copies, srm_time now);
/* What an ACK or the loss timer told: packets that arrived, and that were lost. */
void srm_copies_on_event(srm_copies *copies, srm_time now, uint64_t acked, uint64_t lost);

/* How many copies a message gets now, 0 to 3: so many that fewer than about one in two thousand needs a
 * retransmission. */
unsigned srm_copies_wanted(const srm_copies *copies, srm_time now);
/* A whole message of `size` bytes is in `packet`, for the first time or once more after a loss. `rtt`:
 * smoothed. */
void srm_copies_note(srm_copies *copies, srm_time now, uint8_t channel, uint64_t number, size_t size,
                     uint64_t packet, srm_time rtt);

/* The first one at or behind `*at` that may go into `packet`, or NULL; `*at` is its place. Begin with 0. */
const srm_copy *srm_copies_next(const srm_copies *copies, uint64_t packet, size_t *at);
/* Takes `bytes` from the budget, which refills as time passes; false: it is used up. */
bool srm_copies_afford(srm_copies *copies, srm_time now, uint64_t rate, size_t bytes);
/* The one at `at` is in `packet`. `*at` goes on to the one behind it. */
void srm_copies_sent(srm_copies *copies, srm_time now, size_t *at, uint64_t packet, srm_time rtt);
/* The one at `at` needs no more copies: it was acknowledged, or is gone. `at` is then the place of the one
 * behind it. */
void srm_copies_drop(srm_copies *copies, size_t at);

/* When a packet only for copies is worth it; SRM_TIME_NEVER: none waits. */
srm_time srm_copies_deadline(const srm_copies *copies);

#endif
