/* cc - congestion control behind one table: what goes in, what comes out. Everything is per link (one run's
 * keys, one packet number space, one path). Bytes are UDP payload bytes of packets in flight.
 *
 * In:  packets sent; for each ACK (or loss time-out) one srm_cc_sample with what it newly acknowledged and
 * lost, the RTT and a delivery-rate sample (draft-ietf-ccwg-bbr section 4.1.2); spurious losses; path resets.
 * Out: window (bytes), pacing rate (bytes a second), send quantum (bytes in one burst).
 */
#ifndef SRM_CC_H
#define SRM_CC_H

#include "base.h"

typedef enum srm_cc_kind { SRM_CC_BBR, SRM_CC_CUBIC } srm_cc_kind;

/* The state of delivery when a packet was sent; kept in the packet's record and handed back when it is
 * acknowledged or lost. */
typedef struct srm_cc_send_state {
    uint64_t delivered;       /* bytes delivered so far on this link */
    uint64_t lost;            /* bytes declared lost so far */
    srm_time delivered_time;  /* when `delivered` last grew */
    srm_time first_sent_time; /* send time of the packet that started this sampling window */
    uint64_t in_flight;       /* bytes in flight including this packet */
    bool app_limited;
} srm_cc_send_state;

/* What one ACK, or one firing of the loss timer, told. Zeros where nothing of the kind happened. */
typedef struct srm_cc_sample {
    srm_time now;
    uint64_t acked_bytes;         /* newly acknowledged */
    uint64_t lost_bytes;          /* newly declared lost (MTU probes excluded) */
    uint64_t in_flight_prior;     /* before this event */
    uint64_t in_flight;           /* after it */
    uint64_t delivered;           /* total delivered on the link, this event included */
    uint64_t lost;                /* total lost on the link, this event included */
    srm_time largest_lost_sent;   /* send time of the latest packet newly lost; valid when lost_bytes > 0 */
    srm_cc_send_state lost_state; /* send state of that packet; valid when lost_bytes > 0 */
    srm_time largest_acked_sent;  /* send time of the latest packet newly acknowledged; valid when acked_bytes
                                     > 0 */
    bool persistent_congestion;   /* RFC 9002 section 7.6 */
    uint64_t ecn_ce;              /* packets newly reported with CE */

    /* RTT: 0 when this event brought no sample. */
    srm_time rtt;
    srm_time rtt_min;
    srm_time rtt_smoothed;

    /* Delivery-rate sample of the newest packet newly acknowledged; valid when rate_valid. */
    bool rate_valid;
    uint64_t rate; /* bytes a second */
    srm_time rate_interval;
    uint64_t rate_delivered;       /* bytes delivered over the interval */
    uint64_t rate_prior_delivered; /* `delivered` when that packet was sent: tells rounds */
    srm_cc_send_state acked_state; /* send state of that packet */
    bool rate_app_limited;
} srm_cc_sample;

typedef struct srm_cc srm_cc; /* cc.c holds the union of all controllers' states, so no allocation */

typedef struct srm_cc_table {
    const char *name; /* as in Config.congestion_control: "bbr", "cubic" */
    void (*init)(srm_cc *cc, srm_time now);
    void (*on_sent)(srm_cc *cc, srm_time now, uint64_t bytes, uint64_t in_flight);
    void (*on_sample)(srm_cc *cc, const srm_cc_sample *sample);
    void (*on_spurious_loss)(srm_cc *cc, srm_time now,
                             uint64_t bytes); /* every packet of the newest loss event arrived after all */
    void (*on_idle_restart)(srm_cc *cc, srm_time now); /* sending again after nothing was in flight */
} srm_cc_table;

#endif
