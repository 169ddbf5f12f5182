/* cc_bbr_model - what BBR knows about the path: rounds, bandwidth, round-trip time, how bunched ACKs are, and
 * how much of the loss is the path's own. draft-ietf-ccwg-bbr section 5.5, and the last for our own sake:
 *
 * Random loss (radio, a broken cable) is there at any speed; loss that comes of a full queue comes with a
 * raised RTT and goes away at lower speed. So the loss rate is learned in rounds in which BBR sends no faster
 * than the path delivers and no queue stands. It serves twice: loss is a sign of congestion only beyond it
 * (srm_bbr_model_congested), and what is sent is more than what is to arrive (srm_bbr_model_repair).
 *
 * A queue stands when even the lowest RTT of at least a round and SRM_BBR_FLOOR_SAMPLES ACKs is above min_rtt
 * by a margin. The average would tell of busy machines and radio, which delay single packets, as well.
 *
 * A queue that stands and loses more than the path itself does is full, and the RTT says how long it is then.
 * From that follows how much of it is ours to take (srm_bbr_model_queue_gain):
 *
 *     min_rtt      low                                       full_rtt
 *        |----------|------------------------------------------|
 *        path       what others never     what others fill and
 *                   empty of late         empty by turns
 *
 * Rates are bytes a second, volumes bytes.
 */
#ifndef SRM_CC_BBR_MODEL_H
#define SRM_CC_BBR_MODEL_H

#include "base.h"

struct srm_cc_sample;

#define SRM_BBR_MIN_RTT_LIFE (10 * SRM_SECOND)  /* MinRTTFilterLen */
#define SRM_BBR_PROBE_RTT_EACH (5 * SRM_SECOND) /* ProbeRTTInterval */
#define SRM_BBR_SIMILAR_RTT 32        /* a sample above min_rtt by less than this part of it confirms it */
#define SRM_BBR_EXTRA_ROUNDS 5        /* two slots of it make ExtraAckedFilterLen = 10 */
#define SRM_BBR_LOSS_THRESH 0.02      /* LossThresh */
#define SRM_BBR_LOSS_FAR 0.15         /* beyond it loss is congestion even if the RTT is low */
#define SRM_BBR_LOSS_FAR_STARTUP 0.20 /* the same in Startup, whose loss rates are of few packets */
#define SRM_BBR_LOSS_PACKETS 8        /* fewer packets lost tell nothing; StartupFullLossCnt */
#define SRM_BBR_RANDOM_LOSS_MAX 0.20  /* no more loss than this is believed to be random */
#define SRM_BBR_FLOOR_SAMPLES 8
#define SRM_BBR_CROWDED 8                       /* a queue of more than this part of min_rtt isn't our own */
#define SRM_BBR_FULL_SHARE 0.65                 /* of what a full queue's RTT holds at our rate */
#define SRM_BBR_UNKNOWN_GAIN 1.5                /* while a queue stands whose length is not known */
#define SRM_BBR_FULL_LIFE (10 * SRM_SECOND)     /* then a shorter full queue is believed */
#define SRM_BBR_RTT_NOISE (2 * SRM_MILLISECOND) /* the margin: this, or 1/16 of min_rtt if that is more */
/* A shorter min_rtt counts as this much where it says how much is to be in flight: within one machine, what
 * delays an ACK is scheduling, which a round trip of 50 us measured in a quiet moment says nothing about. */
#define SRM_BBR_RTT_FLOOR SRM_MILLISECOND

typedef struct srm_bbr_model {
    uint64_t round_end; /* `delivered` at the start of this round: it ends with the ACK of a later packet */
    uint32_t rounds;
    bool round_start; /* the present sample starts a round */

    uint64_t bw_now; /* largest rate of this ProbeBW cycle, and of the one before */
    uint64_t bw_before;

    srm_time min_rtt; /* SRM_TIME_NEVER: no sample yet */
    srm_time min_rtt_at;
    srm_time probe_rtt_min; /* the lowest in SRM_BBR_PROBE_RTT_EACH */
    srm_time probe_rtt_min_at;
    bool probe_rtt_expired;
    srm_time floor; /* lowest RTT of the last SRM_BBR_FLOOR_SAMPLES or more; 0: not known yet */
    srm_time floor_now;
    uint32_t floor_samples;
    srm_time low_now; /* lowest floor of this ProbeBW cycle, and of the one before */
    srm_time low_before;
    srm_time full_rtt; /* when the queue was full; 0: it never was */
    srm_time full_rtt_at;

    uint64_t extra_now; /* largest excess of ACKs in this slot of rounds, and in the one before */
    uint64_t extra_before;
    uint32_t extra_slot_round;
    srm_time extra_start;
    uint64_t extra_delivered;

    double loss_lost; /* of the last rounds, each counting 7/8 of the next */
    double loss_sent;
} srm_bbr_model;

/* Nothing known. */
void srm_bbr_model_init(srm_bbr_model *model, srm_time now);

/* The round that now begins ends when something sent from here on is acknowledged. */
void srm_bbr_model_start_round(srm_bbr_model *model, uint64_t delivered);
/* Sets round_start. */
void srm_bbr_model_on_round(srm_bbr_model *model, const struct srm_cc_sample *sample);

/* Takes a rate sample; one of an application that was idle counts only if it is the largest. */
void srm_bbr_model_on_rate(srm_bbr_model *model, uint64_t rate, bool app_limited);
/* The largest rate of this cycle and the one before; 0: no sample yet. */
uint64_t srm_bbr_model_max_bw(const srm_bbr_model *model);
/* A new cycle: the one before the last is forgotten. */
void srm_bbr_model_next_cycle(srm_bbr_model *model);

/* Takes an RTT sample, or notices that the last ones are old. After srm_bbr_model_on_round. If a much lower
 * RTT than ever shows that what passed for an empty path had a queue, the loss rate learned then is
 * forgotten. */
void srm_bbr_model_on_rtt(srm_bbr_model *model, const struct srm_cc_sample *sample);
/* Whether a queue stands; not before the first SRM_BBR_FLOOR_SAMPLES. */
bool srm_bbr_model_has_queue(const srm_bbr_model *model);
/* Whether the queue is longer than one flow alone makes it between its probes: others are there. */
bool srm_bbr_model_is_crowded(const srm_bbr_model *model);
/* Whether losing `lost` of `sent` shows that the queue was full: one stands, and it is beyond one and a half
 * times the path's own loss. Less than srm_bbr_model_congested asks for: it says when to stop, not that the
 * path has become narrower. */
bool srm_bbr_model_overflowed(const srm_bbr_model *model, uint64_t lost, uint64_t sent);
/* It was, at this smoothed RTT. */
void srm_bbr_model_on_overflow(srm_bbr_model *model, srm_time now, srm_time rtt);
/* How many BDPs to have in flight at most, `most` where no queue stands or the path is within a machine.
 * While one does stand: what leaves others, who fill it until it overflows and then go back to 0.7 of what
 * they had, as much as us; and never less than what was under way when it was shortest. */
double srm_bbr_model_queue_gain(const srm_bbr_model *model, double most);
/* What `bw` has under way in the shortest round trip; `unknown` before the first RTT sample. */
uint64_t srm_bbr_model_bdp(const srm_bbr_model *model, uint64_t bw, uint64_t unknown);

/* How much more is acknowledged at once than `bw` explains; at most `window`. `steady`: remembered for ten
 * rounds rather than for one. */
void srm_bbr_model_on_extra(srm_bbr_model *model, const struct srm_cc_sample *sample, uint64_t bw,
                            uint64_t window, bool steady);
uint64_t srm_bbr_model_extra(const srm_bbr_model *model);

/* A round without acceleration and without a queue lost `lost` and delivered `acked`. */
void srm_bbr_model_learn_loss(srm_bbr_model *model, uint64_t lost, uint64_t acked);
/* The path's own loss rate, 0 to SRM_BBR_RANDOM_LOSS_MAX. */
double srm_bbr_model_random_loss(const srm_bbr_model *model);
/* How much more to send than is to arrive, as a factor. A little less than would make good for all random
 * loss: if it is our own speed that makes for loss that looks random (a policer), each round then has less.
 */
double srm_bbr_model_repair(const srm_bbr_model *model);
/* Whether losing `lost` of `sent` shows congestion: beyond one and a half times the path's own loss, more
 * than LossThresh while a queue stands, or more than `far` and at least SRM_BBR_LOSS_PACKETS. */
bool srm_bbr_model_congested(const srm_bbr_model *model, uint64_t lost, uint64_t sent, double far);

#endif
