/* acks - the receiver's half of acknowledgement: which packets of one link arrived, when an ACK is due, and
 * the ACK frame itself, written and read.
 *
 * The frame is that of RFC 9000 section 19.3, all fields varints:
 *
 *     type           0x02, or 0x03 with the three counts at the end
 *     largest        the largest packet number acknowledged
 *     delay          how long ago that packet arrived, in units of 8 microseconds
 *     range count    pairs that follow the first range
 *     first range    packets before `largest` that are acknowledged without a gap
 *     ( gap, length ) * range count     gap + 1 packets are missing, then length + 1 are acknowledged
 *     ECT(0), ECT(1), CE                packets that arrived with each mark (type 0x03 only)
 *
 * An ACK is due at once when an ack-eliciting packet arrives out of order, makes a gap, carries CE or asks
 * for it; else with every Nth ack-eliciting packet, where N is 2 below SRM_ACKS_BUSY packets per RTT and an
 * eighth of the packets per RTT, at most SRM_ACKS_EVERY_MAX, above; else when the ack delay has passed.
 */
#ifndef SRM_ACKS_H
#define SRM_ACKS_H

#include "bytes.h"
#include "rangeset.h"

#define SRM_ACK_TYPE 0x02
#define SRM_ACK_ECN_TYPE 0x03
#define SRM_ACK_DELAY_EXPONENT 3 /* fixed: the delay is in units of 2^3 microseconds */

#define SRM_ACKS_RANGES_MAX 64             /* ranges remembered, and written into one frame */
#define SRM_ACKS_DELAY_MIN SRM_MILLISECOND /* so an answer that is soon given carries the ACK */
#define SRM_ACKS_BUSY 50                   /* ack-eliciting packets per RTT; below: every 2nd */
#define SRM_ACKS_EVERY_MIN 2
#define SRM_ACKS_EVERY_MAX 32
#define SRM_ACKS_UNCONFIRMED_MAX 32 /* ACKs written without one being known to have arrived */

/* The two ECN bits of the IP header (RFC 3168 section 5). */
typedef enum srm_ecn { SRM_ECN_NONE = 0, SRM_ECN_ECT1 = 1, SRM_ECN_ECT0 = 2, SRM_ECN_CE = 3 } srm_ecn;

/* Fields are for acks.c. */
typedef struct srm_acks {
    srm_rangeset ranges;
    uint64_t end;        /* largest packet number ever received, plus 1 */
    srm_time largest_at; /* when that packet arrived */
    srm_time deadline;   /* SRM_TIME_NEVER: nothing waits for an ACK */
    srm_time delay_limit;
    srm_time srtt;
    srm_time window_start; /* packets per RTT are counted from here */
    uint32_t window_count;
    uint32_t every;       /* an ACK with every Nth ack-eliciting packet */
    uint32_t waiting;     /* ack-eliciting packets since the last ACK written */
    uint32_t unconfirmed; /* ACKs written since one was confirmed */
    uint64_t ect0, ect1, ce;
} srm_acks;

/* Nothing received. `max_ack_delay` is what we promised the peer (SRM_MAX_ACK_DELAY). */
void srm_acks_init(srm_acks *acks, srm_time max_ack_delay);
void srm_acks_fini(srm_acks *acks);
/* Tells the smoothed RTT of the path: an ACK waits at most a quarter of it. Call when it changed. */
void srm_acks_set_rtt(srm_acks *acks, srm_time smoothed);
/* Gives memory back; for a link that has become idle. */
void srm_acks_trim(srm_acks *acks);

/* A packet that was decrypted and is no replay arrived at `now`. `immediate`: the peer asks for an ACK at
 * once. */
void srm_acks_on_packet(srm_acks *acks, uint64_t number, srm_time now, bool ack_eliciting, srm_ecn ecn,
                        bool immediate);
/* The peer has an ACK frame of ours whose largest was `largest`: numbers up to it need not be told again
 * (RFC 9000 section 13.2.4). */
void srm_acks_on_ack_acked(srm_acks *acks, uint64_t largest);

/* When an ACK must go out; in the past or now when it is due, SRM_TIME_NEVER when nothing waits. */
static inline srm_time srm_acks_deadline(const srm_acks *acks) {
    return acks->deadline;
}
/* Whether an ACK must go out now, in a packet of its own if need be. */
static inline bool srm_acks_due(const srm_acks *acks, srm_time now) {
    return acks->deadline <= now;
}
/* Whether an ACK would tell the peer something it waits for: worth taking along in a packet that goes anyway.
 */
static inline bool srm_acks_pending(const srm_acks *acks) {
    return acks->waiting > 0;
}
/* Writes an ACK frame, due or not, of at most `room` bytes, with as many ranges as fit, highest first, and
 * `*largest` for the record of the packet. False, nothing written and nothing changed: no packet to
 * acknowledge, or not even one range fits. Afterwards nothing is due: the caller does send the packet. */
bool srm_acks_write(srm_acks *acks, srm_time now, srm_writer *w, size_t room, uint64_t *largest);
/* True once after SRM_ACKS_UNCONFIRMED_MAX ACKs were written none of which is known to have arrived, while
 * there is more than one range: the caller then makes the packet ack-eliciting (a PING), or the ranges of a
 * receiver that sends nothing else are never cut short. */
bool srm_acks_take_elicit(srm_acks *acks);

/* An ACK frame as read, checked as a whole; borrows the packet's bytes for the ranges. */
typedef struct srm_ack_frame {
    uint64_t largest;
    uint64_t first;       /* the first range is [largest - first, largest] */
    uint64_t range_count; /* further ranges in `ranges` */
    srm_span ranges;      /* their (gap, length) pairs, encoded */
    srm_time delay;       /* saturates at SRM_ACK_DELAY_LIMIT */
    bool has_ecn;
    uint64_t ect0, ect1, ce;
} srm_ack_frame;

#define SRM_ACK_DELAY_LIMIT (3600 * SRM_SECOND)

/* Reads the body of an ACK frame whose `type` byte was read already. False: it is cut off, or a range goes
 * below zero; the link is then closed (the packet was authentic). */
bool srm_ack_read(srm_reader *r, uint8_t type, srm_ack_frame *frame);

/* Walks the ranges of a frame from the highest to the lowest. */
typedef struct srm_ack_iter {
    srm_reader reader;
    uint64_t left;  /* ranges to come */
    srm_range next; /* valid while left > 0 */
} srm_ack_iter;

/* Stands before the highest range of a frame that srm_ack_read accepted. */
srm_ack_iter srm_ack_iter_of(const srm_ack_frame *frame);
/* The next range; false at the end. */
bool srm_ack_iter_next(srm_ack_iter *iter, srm_range *range);

#endif
