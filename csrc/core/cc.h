/* cc - congestion control behind one table: what goes in, what comes out. Everything is per link (one run's
 * keys, one packet number space, one path). Bytes are UDP payload bytes of packets in flight.
 *
 * In:  packets sent; for each ACK (or loss time-out) one srm_cc_sample with what it newly acknowledged and
 * lost, the RTT and a delivery-rate sample (draft-ietf-ccwg-bbr section 4.1.2); spurious losses; path resets.
 * Out: window (bytes), pacing rate (bytes a second), send quantum (bytes in one burst).
 *
 * Two controllers: cc_bbr.h and cc_cubic.h. Neither allocates; srm_cc holds the state of either.
 */
#ifndef SRM_CC_H
#define SRM_CC_H

#include "cc_bbr.h"
#include "cc_cubic.h"

typedef enum srm_cc_kind { SRM_CC_BBR, SRM_CC_CUBIC } srm_cc_kind;

/* What a window is counted in where an RFC says packets or SMSS, bytes: the largest datagram that is usually
 * sent, so that a path with smaller ones gets a packet more rather than less. */
#define SRM_CC_PACKET ((uint64_t)1472)
#define SRM_CC_INITIAL_WINDOW (10 * SRM_CC_PACKET) /* RFC 9002 section 7.2 */
#define SRM_CC_QUANTUM_MAX ((uint64_t)65536)       /* largest burst: one batch of the driver */
#define SRM_CC_BURST SRM_MILLISECOND               /* what the rate carries in it is a burst */
#define SRM_CC_RATE_MAX ((uint64_t)1 << 40)        /* no pacing rate is above it, bytes a second */

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

typedef struct srm_cc srm_cc;

typedef struct srm_cc_table {
    const char *name; /* as in Config.congestion_control: "bbr", "cubic" */
    void (*init)(srm_cc *cc, srm_time now);
    void (*on_sent)(srm_cc *cc, srm_time now, uint64_t bytes, uint64_t in_flight);
    void (*on_sample)(srm_cc *cc, const srm_cc_sample *sample);
    void (*on_spurious_loss)(srm_cc *cc, srm_time now,
                             uint64_t bytes); /* every packet of the newest loss event arrived after all */
    void (*on_idle_restart)(srm_cc *cc, srm_time now); /* sending again after nothing was in flight */
} srm_cc_table;

extern const srm_cc_table srm_cc_bbr_table;
extern const srm_cc_table srm_cc_cubic_table;

/* A controller of either kind. A copy is a controller of its own. */
struct srm_cc {
    srm_cc_kind kind;
    const srm_cc_table *table;
    /* What comes out; each controller keeps them up to date. */
    uint64_t window;
    uint64_t pacing_rate;
    uint64_t send_quantum;
    union {
        srm_bbr bbr;
        srm_cubic cubic;
    };
};

/* A fresh path at `now`: nothing is known about it. Also starts anew after a change of path. */
void srm_cc_init(srm_cc *cc, srm_cc_kind kind, srm_time now);

/* A packet of `bytes` was sent; `in_flight` includes it. After srm_cc_on_idle_restart, if that is due. */
void srm_cc_on_sent(srm_cc *cc, srm_time now, uint64_t bytes, uint64_t in_flight);
/* One ACK or loss time-out. A spurious loss that the same event shows is reported before. */
void srm_cc_on_sample(srm_cc *cc, const srm_cc_sample *sample);
/* Every packet of the newest loss event, `bytes` together, has arrived after all. */
void srm_cc_on_spurious_loss(srm_cc *cc, srm_time now, uint64_t bytes);
/* The next packet goes out while nothing is in flight. */
void srm_cc_on_idle_restart(srm_cc *cc, srm_time now);

/* Bytes that may be in flight. */
static inline uint64_t srm_cc_window(const srm_cc *cc) {
    return cc->window;
}
/* Bytes a second; 1 to SRM_CC_RATE_MAX. */
static inline uint64_t srm_cc_pacing_rate(const srm_cc *cc) {
    return cc->pacing_rate;
}
/* Bytes that are best sent in one burst; up to SRM_CC_QUANTUM_MAX. */
static inline uint64_t srm_cc_send_quantum(const srm_cc *cc) {
    return cc->send_quantum;
}

/* ---- for the controllers ---- */

/* Bytes a second that `bytes` in `interval` (at least 1 ns counts) make; at most SRM_CC_RATE_MAX. */
uint64_t srm_cc_rate_of(uint64_t bytes, srm_time interval);
/* Bytes that `rate` carries in `interval`. */
uint64_t srm_cc_bytes_of(uint64_t rate, srm_time interval);
/* Sets the pacing rate, within its bounds, and the send quantum that goes with it: what the rate carries in
 * `burst`, at least a packet. */
void srm_cc_set_rate(srm_cc *cc, uint64_t rate, srm_time burst);

#endif
