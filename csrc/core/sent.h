/* sent - the sender's half of acknowledgement: a record of every packet of one link that may still be
 * acknowledged, loss detection, the probe timer, and the delivery-rate sampler that feeds congestion control.
 *
 *        base                 first_out                acked_end          next
 *          |  A A L A - A L A  |  O A A - O O A A A     |  O O O - O       |
 *          `-- remembered -----'`-- may be lost by now --'`-- only the PTO --'
 *
 *     O outstanding  A acknowledged  L lost, remembered for SRM_SENT_KEEP_PTOS probe time-outs so that its
 * late ACK shows the loss to have been spurious  - not ack-eliciting: never lost, holds nothing back
 *
 * Two rings, grown by doubling: packets by packet number, and what the packets carried, in the same order.
 *
 *  - Lost (RFC 9002 section 6.1): something later was acknowledged, and either SRM_SENT_PACKET_THRESHOLD
 * later packet numbers were, or the packet was sent longer ago than max(9/8 rtt, rtt + reordering window),
 * rtt being the larger of the smoothed and the latest. The first spurious loss ends the rule by count on this
 *    path. The window (RFC 8985 section 7) is max(min_rtt/4, 1 ms) and grows by as much with each round in
 * which a loss it caused proved spurious, up to the smoothed RTT; it starts again after SRM_SENT_CALM_EPOCHS
 * loss events without a spurious loss.
 *  - Probe timer: srm_rtt_pto after the last ack-eliciting packet, doubled with each expiry but not beyond
 *    SRM_SENT_PTO_MAX; the first one of a flight no later than 2 smoothed + max_ack_delay (RFC 8985 TLP).
 *  - A loss event (epoch) begins with the loss of a packet sent after the last one began. When all its
 * packets turn out to have arrived, the event says `undo`.
 *
 * Packets in flight are those that are ack-eliciting. Bytes are UDP payload bytes. Time never runs backwards.
 */
#ifndef SRM_SENT_H
#define SRM_SENT_H

#include "acks.h"
#include "cc.h"
#include "rtt.h"

#define SRM_SENT_PACKET_THRESHOLD 3           /* RFC 9002 kPacketThreshold */
#define SRM_SENT_PERSISTENT_PTOS 3            /* RFC 9002 kPersistentCongestionThreshold */
#define SRM_SENT_KEEP_PTOS 3                  /* how long a lost packet is remembered */
#define SRM_SENT_CALM_EPOCHS 16               /* RFC 8985 RACK.reo_wnd_persist */
#define SRM_SENT_PTO_MAX (2 * SRM_SECOND)     /* cap of the backed-off probe timer */
#define SRM_SENT_PROBES 2                     /* packets to send when it fires; RFC 9002 section 6.2.4 */
#define SRM_SENT_PACKET_BYTES_MAX UINT16_MAX  /* largest packet the records hold */
#define SRM_SENT_PACKET_FRAMES_MAX UINT16_MAX /* most frames of one packet */
#define SRM_SENT_NONE UINT64_MAX              /* no packet */

/* What kind of packet it was. */
#define SRM_SENT_ELICITING 0x01 /* the peer will acknowledge it; in flight until then */
#define SRM_SENT_MTU_PROBE 0x02 /* its loss is reported but says nothing about congestion */
#define SRM_SENT_PTO_PROBE 0x04 /* sent because the probe timer fired; counted */
#define SRM_SENT_OFF_PATH 0x08  /* sent to another address (path validation): no RTT sample. Not in flight */
#define SRM_SENT_ECT0 0x10      /* marked ECT(0) in the IP header */

/* One thing a packet carried, for the caller to mark acknowledged or lost. Only the caller gives it meaning.
 */
typedef struct srm_sent_frame {
    uint64_t number;
    uint32_t offset;
    uint32_t length;
    uint8_t kind;
    uint8_t channel;
    uint8_t flags;
} srm_sent_frame;

/* Where frames are reported. A frame is reported lost at most once and acknowledged at most once;
 * acknowledged after lost is possible (the loss was spurious), lost after acknowledged is not. `frame` is
 * valid during the call, in which no function of this module may be called for the same link. */
typedef struct srm_sent_sink {
    void (*acked)(void *context, const srm_sent_frame *frame);
    void (*lost)(void *context, const srm_sent_frame *frame);
    void *context;
} srm_sent_sink;

/* The record of a packet; for sent.c. */
typedef struct srm_sent_packet {
    srm_time time_sent;
    uint64_t delivered; /* this to in_flight: srm_cc_send_state */
    uint64_t lost;
    union {
        srm_time delivered_time;
        srm_time lost_at; /* once it is lost */
    };
    srm_time first_sent_time;
    uint64_t in_flight;
    uint32_t first_frame; /* position in the ring of frames, modulo 2^32 */
    uint16_t frame_count;
    uint16_t bytes;
    uint16_t epoch; /* loss event it was lost in */
    uint8_t flags;
    uint8_t state;
    bool app_limited;
} srm_sent_packet;

/* What one ACK or one firing of the timer brought about. */
typedef struct srm_sent_event {
    srm_cc_sample sample;   /* for the congestion controller, if has_sample */
    bool has_sample;        /* bytes were acknowledged or lost, or CE was reported */
    uint32_t probes;        /* packets to send now, whatever the window says, with the oldest data first */
    uint32_t acked_packets; /* newly acknowledged, of any kind, late ones included */
    uint32_t lost_packets;  /* newly lost, MTU probes included */
    uint32_t late_packets;  /* acknowledged after they had been declared lost */
    bool undo;           /* every packet of the newest loss event has arrived after all: on_spurious_loss */
    uint64_t undo_bytes; /* bytes of that loss event */
    bool ecn_failed;     /* the peer's ECN counts don't fit what was sent: stop marking on this path
                            (RFC 9000 section 13.4.2.1) */
    uint16_t acked_size_max; /* largest packet newly acknowledged; 0: none. For black-hole detection */
    uint16_t lost_size_min;  /* smallest packet newly lost, MTU probes excluded; 0: none */
} srm_sent_event;

typedef enum srm_sent_status {
    SRM_SENT_OK,
    SRM_SENT_NEVER_SENT /* the peer acknowledged a packet that was not sent: close the link. Nothing changed
                         */
} srm_sent_status;

/* What is under way on one path and arrived by it, for all links that share it; draft-ietf-ccwg-bbr section
 * 4.1.2 calls these C.delivered and so on. Zeroed: nothing yet. Written by sent.c. */
typedef struct srm_flight {
    uint64_t in_flight; /* bytes; without those of links that stand aside */
    uint64_t delivered;
    uint64_t lost;
    srm_time delivered_time; /* when `delivered` grew last, or sending began after nothing was in flight */
    srm_time first_sent_time;
    uint64_t app_limited_until; /* value of `delivered`; 0: not application-limited */
} srm_flight;

/* The first part may be read by everyone; the rest is for sent.c. */
typedef struct srm_sent {
    uint64_t next;         /* number of the next packet; the first is 0 */
    uint64_t acked_end;    /* largest acknowledged packet number plus 1; 0: none */
    uint64_t in_flight;    /* bytes in flight on the present path */
    uint64_t eliciting;    /* ack-eliciting packets neither acknowledged nor lost, old paths included */
    uint32_t pto_count;    /* expiries of the probe timer since the last ACK of something new */
    uint64_t packets_lost; /* totals of the link: declared lost, late ones included */
    uint64_t packets_late; /* of which spurious */
    uint64_t probes_sent;  /* packets sent with SRM_SENT_PTO_PROBE */

    uint64_t base;
    uint64_t first_out;  /* lowest outstanding packet that is ack-eliciting; `next` when there is none */
    uint64_t path_first; /* packets before it were sent on an earlier path */
    srm_sent_packet *packets;
    srm_sent_frame *frames;
    uint32_t packet_capacity; /* 0 or powers of two */
    uint32_t frame_capacity;
    uint32_t frame_base; /* positions modulo 2^32 */
    uint32_t frame_next;
    uint32_t frame_head; /* frame_next plus the frames of the packet being built */
    bool building;
    srm_rangeset acked; /* of the packets from base: skips what was acknowledged before */

    srm_time now;       /* latest time seen */
    srm_time keep;      /* how long lost packets are remembered */
    srm_time loss_time; /* when first_out will be lost; SRM_TIME_NEVER: nothing can be yet */
    srm_time pto_from;  /* the probe timer counts from here */

    uint64_t reorder_round; /* the window grows again for a packet from here on */
    uint32_t reorder_steps;
    uint32_t calm_epochs;
    bool reordering_seen;
    bool epoch_late; /* the present loss event had a spurious loss */
    uint16_t epoch;
    uint64_t epoch_end; /* the loss of a packet from here on begins a new loss event */
    uint64_t epoch_lost;
    uint64_t epoch_arrived;
    uint64_t epoch_bytes;
    srm_time run_start; /* send time of the first of a run of lost packets; SRM_TIME_NEVER: none */

    srm_flight *flight;         /* of the present path */
    bool aside;                 /* `in_flight` doesn't count there */
    uint64_t delivered;         /* bytes of this link */
    uint64_t app_limited_until; /* value of `delivered`; 0: the application gave more than might be sent */

    uint64_t ecn_sent; /* packets sent with ECT(0); what the peer reported */
    uint64_t ecn_ect0;
    uint64_t ecn_ce;
} srm_sent;

/* Nothing sent; packet numbers begin at 0. Allocates nothing yet. `flight` is borrowed until fini or move. */
void srm_sent_init(srm_sent *sent, srm_flight *flight);
/* Frees the records, and nothing is in flight any more; reports nothing (see srm_sent_discard). */
void srm_sent_fini(srm_sent *sent);

/* Begins the record of packet `sent->next`. False: no memory, nothing changed; send later. */
bool srm_sent_begin(srm_sent *sent);
/* Adds something the packet carries; copies it. False: no memory, or SRM_SENT_PACKET_FRAMES_MAX reached;
 * leave it out of the packet. */
bool srm_sent_add_frame(srm_sent *sent, const srm_sent_frame *frame);
/* The packet left at `now` with `bytes` of UDP payload (1 to SRM_SENT_PACKET_BYTES_MAX); `flags` are
 * SRM_SENT_*. SRM_SENT_OFF_PATH takes away SRM_SENT_ELICITING. */
void srm_sent_commit(srm_sent *sent, srm_time now, size_t bytes, unsigned flags);
/* The packet is not sent after all; its number will be used by the next one. */
void srm_sent_abort(srm_sent *sent);
/* The system refused the newest MTU probe, of `bytes`: it never was on the way, and its loss is nobody's. No
 * frame of it is reported. Does nothing if there is no such probe. */
void srm_sent_probe_refused(srm_sent *sent, srm_time now, size_t bytes);
/* The application has nothing more to send although window and pacing would allow it. With `all`, nobody on
 * the path has: rate samples of what is in flight only tell the applications' rate. */
void srm_sent_app_limited(srm_sent *sent, bool all);
/* What is in flight gets no answer, so others need not wait for it; or is counted again. */
void srm_sent_stand_aside(srm_sent *sent, bool aside);
/* A new path (the peer's or our address changed): packets of the old one are still acknowledged and lost, but
 * say nothing any more about RTT, rate or congestion and are not in flight; the caller resets its srm_rtt.
 * `same`: it is the old one under another address, `flight` is a copy of its, with just what this link has in
 * flight, and goes on. */
void srm_sent_move(srm_sent *sent, srm_flight *flight, bool same);

/* An ACK frame arrived: updates `rtt`, reports frames to `sink` and all else in `event`, which is
 * overwritten. On SRM_SENT_NEVER_SENT nothing is changed. */
srm_sent_status srm_sent_on_ack(srm_sent *sent, const srm_ack_frame *frame, srm_time now, srm_rtt *rtt,
                                const srm_sent_sink *sink, srm_sent_event *event);
/* When srm_sent_on_timer must be called; SRM_TIME_NEVER when nothing is outstanding. */
srm_time srm_sent_deadline(const srm_sent *sent, const srm_rtt *rtt);
/* The deadline has come (too early does no harm): either packets are lost by time or the probe timer fired.
 */
void srm_sent_on_timer(srm_sent *sent, srm_time now, srm_rtt *rtt, const srm_sent_sink *sink,
                       srm_sent_event *event);

/* The lowest packet that is ack-eliciting and neither acknowledged nor lost; SRM_SENT_NONE if there is none.
 */
uint64_t srm_sent_oldest(const srm_sent *sent);
/* When that packet was sent; SRM_TIME_NEVER if there is none. */
srm_time srm_sent_oldest_unacked(const srm_sent *sent);
/* The frame at `position`, from 0, of a packet that is outstanding; NULL past the last one or for any other
 * packet. Valid until the next call that changes `sent`. */
const srm_sent_frame *srm_sent_frame_at(const srm_sent *sent, uint64_t number, size_t position);

/* Forgets lost packets whose time has come and gives memory back if nothing is left; for an idle link. */
void srm_sent_trim(srm_sent *sent, srm_time now);
/* The link is thrown away: reports every frame of every packet neither acknowledged nor lost as lost, and
 * forgets all records. */
void srm_sent_discard(srm_sent *sent, const srm_sent_sink *sink);

#endif
