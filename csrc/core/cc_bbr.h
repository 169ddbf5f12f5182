/* cc_bbr - the state of BBR (draft-ietf-ccwg-bbr, version 3). What it does differently is in cc_bbr.c; what
 * it knows about the path is a module of its own. */
#ifndef SRM_CC_BBR_H
#define SRM_CC_BBR_H

#include "cc_bbr_model.h"

typedef enum srm_bbr_state {
    SRM_BBR_STARTUP,
    SRM_BBR_DRAIN,
    SRM_BBR_DOWN, /* the four of ProbeBW */
    SRM_BBR_CRUISE,
    SRM_BBR_REFILL,
    SRM_BBR_UP,
    SRM_BBR_PROBE_RTT
} srm_bbr_state;

/* What ACKs tell about the last bandwidth probe. */
typedef enum srm_bbr_ack_phase {
    SRM_BBR_ACKS_INIT,      /* nothing */
    SRM_BBR_ACKS_REFILLING, /* they are of packets sent before it */
    SRM_BBR_ACKS_STARTING,  /* it runs, no answer yet */
    SRM_BBR_ACKS_FEEDBACK,  /* they are its answer */
    SRM_BBR_ACKS_STOPPING   /* it is over, its last answers come in */
} srm_bbr_ack_phase;

#define SRM_BBR_NO_BOUND UINT64_MAX

/* What a loss may change, kept so that a spurious one can be taken back. */
typedef struct srm_bbr_undo {
    srm_bbr_state state; /* that loss ended: SRM_BBR_STARTUP or SRM_BBR_UP; else SRM_BBR_CRUISE */
    uint64_t bw_short;
    uint64_t inflight_short;
    uint64_t inflight_long;
} srm_bbr_undo;

/* Names are the draft's, "BBR." left out, where it has one. Rates are bytes a second, volumes bytes. */
typedef struct srm_bbr {
    srm_bbr_model model;
    srm_bbr_state state;
    srm_bbr_ack_phase ack_phase;
    uint64_t delivered; /* of the last sample */
    bool has_rtt;       /* the pacing rate is based on a measured RTT */

    uint64_t bw;
    uint64_t bw_short; /* the short-term model; SRM_BBR_NO_BOUND: not in use */
    uint64_t inflight_short;
    uint64_t inflight_long; /* the long-term model */

    uint64_t full_bw; /* has bandwidth stopped growing? */
    uint32_t full_bw_count;
    bool full_bw_now;
    bool full_bw_reached;
    uint32_t drain_start; /* round in which Drain began */

    bool loss_in_round; /* a loss round ends with the ACK of what was sent after its first loss */
    bool loss_round_start;
    uint64_t loss_round_end;
    uint64_t loss_round_lost;
    uint64_t loss_round_acked;
    uint64_t loss_round_marked; /* CE */
    uint64_t bw_latest;
    uint64_t inflight_latest;
    srm_bbr_undo undo;

    bool window_limited; /* the window was full in this round; in the last one */
    bool window_limited_before;
    srm_time up_rtt; /* smoothed, when UP began on an empty path; 0: a queue stood, or too short to tell */
    uint64_t probe_up_acked;
    uint64_t probe_up_per_packet; /* bytes acknowledged for each packet that inflight_long grows by */
    uint32_t probe_up_rounds;
    uint32_t rounds_since_probe;
    srm_time probe_wait;
    srm_time cycle_start;
    bool probe_sample; /* losses are of packets sent while probing */
    bool probe_too_high;
    bool probe_precaution;

    srm_time probe_rtt_done; /* 0: the window isn't drained yet */
    bool probe_rtt_round_done;
    uint64_t ignore_until; /* rate samples of packets sent before `delivered` was this are of ProbeRTT */
    uint64_t prior_window;
    bool idle_restart;
    uint64_t random;
} srm_bbr;

#endif
