/* repair_out - the sender's half of repair: what the packets that follow a small message say about it, so
 * that its loss is made good by the next packet and not a round trip later. docs/protocol.md [R43], [R45].
 *
 *     packet 7:  [message 40]
 *     packet 8:  [40 again]          [message 41]      one message under way: a plain copy
 *     packet 9:  [repair of 40, 41]  [message 42]      several: a combination of them all
 *     packet 10: [repair of 40 - 42] [message 43]
 *
 * Each small message pays for one repair, which rides on the next packet, or goes in one of its own when none
 * followed in time. A repair covers the newest messages of its channel that nobody acknowledged: any one of
 * those that are lost, whichever it is. Where nothing follows a message, it pays once more; where the path
 * loses much, each pays twice. Where nothing was lost for SRM_REPAIR_MEMORY, nothing is sent or kept, except
 * at first: a path is taken for a lossy one until SRM_REPAIR_TRIAL packets have told. Repairs have a budget
 * of bytes, so that a flood of small messages isn't multiplied. Belongs to a link; the messages stay in the
 * outbox.
 */
#ifndef SRM_REPAIR_OUT_H
#define SRM_REPAIR_OUT_H

#include "repair.h"

#define SRM_REPAIR_WINDOW 16 /* the newest small messages, of all channels; a power of two */
#define SRM_REPAIR_SIZE_FREE                                                                                 \
    64 /* bytes; a message so small is covered by any other, else by one of half its size */
#define SRM_REPAIR_RATE_MIN ((uint64_t)200000) /* bytes a second that repairs may always take */
#define SRM_REPAIR_RATE_SHARE 16               /* else this part of the pacing rate, if that is more */
#define SRM_REPAIR_BURST ((uint64_t)32768)     /* bytes */
#define SRM_REPAIR_MEMORY (30 * SRM_SECOND)    /* a loss is remembered so long */
#define SRM_REPAIR_TRIAL 128                   /* packets until a new path's silence about losses counts */
#define SRM_REPAIR_WAIT_MIN SRM_MILLISECOND    /* for a packet to ride on; else an eighth of the RTT … */
#define SRM_REPAIR_WAIT_MAX (10 * SRM_MILLISECOND) /* … up to this */

/* A message that repairs cover. */
typedef struct srm_repair_entry {
    uint64_t number;
    uint64_t packet; /* the newest packet that it, or a repair it paid, was in */
    srm_time due;    /* a packet of its own is worth it from then on */
    uint8_t channel;
    uint8_t owed;  /* repairs it pays, whatever follows */
    uint8_t extra; /* repairs it pays when they are due, if nothing of its channel followed */
    bool gone;     /* acknowledged: not covered any more */
} srm_repair_entry;

/* Fields are for repair_out.c. */
typedef struct srm_repair_out {
    srm_repair_entry *entries; /* a ring of SRM_REPAIR_WINDOW, or NULL */
    uint32_t first, count;
    uint8_t index;    /* of the next REPAIR frame */
    double loss;      /* share of packets, over the last some hundred */
    srm_time lost_at; /* SRM_TIME_NEVER: nothing ever was */
    uint64_t heard;   /* packets that arrived or were lost */
    uint64_t tokens;  /* bytes */
    srm_time filled;
} srm_repair_out;

void srm_repair_out_init(srm_repair_out *out, srm_time now);
void srm_repair_out_fini(srm_repair_out *out);
/* A new path: what the old one lost is forgotten. */
void srm_repair_out_reset(srm_repair_out *out, srm_time now);
/* Everything is acknowledged: gives memory back. */
void srm_repair_out_trim(srm_repair_out *out);
/* What an ACK or the loss timer told: packets that arrived, and that were lost. */
void srm_repair_out_on_event(srm_repair_out *out, srm_time now, uint64_t acked, uint64_t lost);

/* Whether small messages are covered now. */
bool srm_repair_out_active(const srm_repair_out *out, srm_time now);
/* Whether that is only because the path has told nothing yet. Then none is worth it that others wait behind:
 * what is lost of a stream shows at once among what follows. */
bool srm_repair_out_on_trial(const srm_repair_out *out, srm_time now);
/* While active, a whole message of `size` bytes is in `packet`, for the first time or (`again`) once more
 * after a loss. `rtt`: smoothed. */
void srm_repair_out_note(srm_repair_out *out, srm_time now, uint8_t channel, uint64_t number, size_t size,
                         bool again, uint64_t packet, srm_time rtt);

/* A message that pays for a repair in `packet`, or NULL. */
const srm_repair_entry *srm_repair_out_payer(const srm_repair_out *out, srm_time now, uint64_t packet);
/* The entries that this one's repair may cover, itself among them, oldest first: gives the first at or behind
 * `*at`, and its place; begin with 0. NULL: no more. */
srm_repair_entry *srm_repair_out_covered(const srm_repair_out *out, const srm_repair_entry *payer,
                                         size_t *at);
/* Takes `bytes` from the budget, which refills as time passes; false: it is used up. */
bool srm_repair_out_afford(srm_repair_out *out, srm_time now, uint64_t rate, size_t bytes);
/* The payer's repair is in `packet`. */
void srm_repair_out_sent(srm_repair_out *out, const srm_repair_entry *payer, srm_time now, uint64_t packet,
                         srm_time rtt);
/* There will be none: the payer was acknowledged, or it can't be afforded. */
void srm_repair_out_waive(srm_repair_out *out, const srm_repair_entry *payer);

/* When a packet only for repairs is worth it; SRM_TIME_NEVER: none waits. */
srm_time srm_repair_out_deadline(const srm_repair_out *out);

#endif
