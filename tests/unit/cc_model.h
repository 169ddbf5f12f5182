/* cc_model - a congestion controller on a network of one bottleneck, in virtual time. Everything around the
 * controller is the real thing: srm_sent, srm_rtt and srm_pacer at the sender, srm_acks at the receiver, ACK
 * frames as bytes. Only the network is a model:
 *
 *     flow 0 --.                                            .-- loss_after --> receiver 0
 *     flow 1 --+-- loss_before --[ queue | rate ]-- delay --+-- loss_after --> receiver 1
 *         ^                                                                        |
 *         '------------------------- delay, loss_back (ACKs) ----------------------'
 *
 * `rate`, `delay` and the losses may be changed while it runs. `sched` makes both ends of a flow as slow to
 * notice things as a busy machine: each waking is late by up to that long, and all that has arrived is then
 * handled at once. One seed replays everything.
 */
#ifndef CC_MODEL_H
#define CC_MODEL_H

#include "acks.h"
#include "cc.h"
#include "check.h"
#include "pacer.h"
#include "sent.h"

#include <stdlib.h>

#define MS SRM_MILLISECOND
#define MODEL_FLOWS 4
#define MODEL_PACKETS (1 << 17) /* under way in one flow */
#define MODEL_ACKS (1 << 13)
#define MODEL_PACKET 1472
#define MODEL_ACK_MAX 400
#define MODEL_BINS 4000 /* of queue delay, 0.1 ms each */
#define MBIT 125000.0   /* a second, in bytes */

typedef struct model_packet {
    srm_time arrival;
    uint64_t number;
    uint32_t size;
    bool marked;
} model_packet;

typedef struct model_ack {
    srm_time arrival;
    size_t size;
    uint8_t bytes[MODEL_ACK_MAX];
} model_ack;

typedef struct model model;

typedef struct model_flow {
    model *net;
    srm_cc cc;
    srm_pacer pacer;
    srm_sent sent;
    srm_flight flight;
    srm_rtt rtt;
    srm_acks acks;
    uint32_t probes;
    srm_time sender_noise, receiver_noise;

    srm_time start, stop; /* the application has data between these */
    double app_rate;      /* bytes a second; 0: as much as goes */
    double app_given;     /* bytes sent, less what is lost */
    bool ecn;

    model_packet *packets; /* rings */
    uint64_t packet_head, packet_tail;
    model_ack *ack_ring;
    uint64_t ack_head, ack_tail;
    model_packet held; /* one packet that was overtaken; arrival SRM_TIME_NEVER: none */
    srm_time hold;     /* the next packet is delayed by this */

    uint64_t sent_bytes, received, dropped, undone;
} model_flow;

struct model {
    double rate;
    srm_time delay;
    uint64_t queue; /* bytes */
    uint64_t mark_above;
    double loss_before, loss_after, loss_back;
    srm_time sched;
    uint64_t random;

    srm_time now;
    srm_time free_at; /* when the bottleneck has sent all it holds */
    model_flow flow[MODEL_FLOWS];
    int flows;

    srm_time since; /* of the figures */
    uint64_t delays[MODEL_BINS];
    uint64_t delay_count;
    uint64_t received_before[MODEL_FLOWS];
    uint64_t sent_before[MODEL_FLOWS];
};

static inline double model_uniform(model *m) {
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (double)(m->random >> 11) / (double)(UINT64_C(1) << 53);
}

static inline srm_time model_noise(model *m) {
    return m->sched > 0 ? (srm_time)(model_uniform(m) * (double)m->sched) : 0;
}

static inline double model_bdp(const model *m) {
    return m->rate * (double)(2 * m->delay) / (double)SRM_SECOND;
}

/* A network with `rtt` and a queue of `bdps` of its bandwidth-delay product, and no flow yet. */
static inline model *model_new(double rate, srm_time rtt, double bdps, uint64_t seed) {
    model *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    m->rate = rate;
    m->delay = rtt / 2;
    m->queue = (uint64_t)(bdps * model_bdp(m));
    m->random = seed * 0x9e3779b97f4a7c15u + 1;
    return m;
}

static inline void model_on_lost(void *context, const srm_sent_frame *frame) {
    ((model_flow *)context)->app_given -= frame->length;
}

static inline void model_on_acked(void *context, const srm_sent_frame *frame) {
    (void)context;
    (void)frame;
}

/* A flow whose application has data from `start` to `stop`. */
static inline model_flow *model_add(model *m, srm_cc_kind kind, srm_time start, srm_time stop) {
    model_flow *f = &m->flow[m->flows++];
    f->net = m;
    f->start = start;
    f->stop = stop;
    srm_cc_init(&f->cc, kind, start);
    srm_pacer_init(&f->pacer, start);
    srm_sent_init(&f->sent, &f->flight);
    srm_rtt_init(&f->rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_acks_init(&f->acks, 5 * MS);
    f->packets = malloc(MODEL_PACKETS * sizeof *f->packets);
    f->ack_ring = malloc(MODEL_ACKS * sizeof *f->ack_ring);
    f->held.arrival = SRM_TIME_NEVER;
    CHECK(f->packets != NULL && f->ack_ring != NULL);
    return f;
}

static inline void model_free(model *m) {
    for (int i = 0; i < m->flows; i++) {
        srm_sent_fini(&m->flow[i].sent);
        srm_acks_fini(&m->flow[i].acks);
        free(m->flow[i].packets);
        free(m->flow[i].ack_ring);
    }
    free(m);
}

/* ---- the network ---- */

static inline void model_count_delay(model *m, srm_time delay) {
    srm_time bin = delay / (100 * SRM_MICROSECOND);
    m->delays[bin < MODEL_BINS ? bin : MODEL_BINS - 1]++;
    m->delay_count++;
}

static inline void model_transmit(model_flow *f, uint64_t number, uint32_t size) {
    model *m = f->net;
    srm_time start = srm_time_max(m->free_at, m->now);
    double backlog = (double)(start - m->now) * m->rate / (double)SRM_SECOND;
    if (model_uniform(m) < m->loss_before)
        return;
    if (backlog + size > (double)m->queue + MODEL_PACKET) {
        f->dropped++;
        return;
    }
    model_count_delay(m, start - m->now);
    m->free_at = start + (srm_time)((double)size * (double)SRM_SECOND / m->rate);
    if (model_uniform(m) < m->loss_after)
        return;
    model_packet packet = {.arrival = m->free_at + m->delay,
                           .number = number,
                           .size = size,
                           .marked = f->ecn && m->mark_above > 0 && backlog > (double)m->mark_above};
    if (f->hold > 0) {
        packet.arrival += f->hold;
        f->hold = 0;
        f->held = packet;
        return;
    }
    CHECK(f->packet_tail - f->packet_head < MODEL_PACKETS);
    f->packets[f->packet_tail++ % MODEL_PACKETS] = packet;
}

/* ---- the receiver ---- */

static inline srm_time model_receiver_time(const model_flow *f) {
    srm_time at = srm_time_min(srm_acks_deadline(&f->acks), f->held.arrival);
    if (f->packet_head < f->packet_tail)
        at = srm_time_min(at, f->packets[f->packet_head % MODEL_PACKETS].arrival);
    return at == SRM_TIME_NEVER ? at : at + f->receiver_noise;
}

static inline void model_write_due(model_flow *f) {
    model *m = f->net;
    while (srm_acks_due(&f->acks, m->now)) {
        CHECK(f->ack_tail - f->ack_head < MODEL_ACKS);
        model_ack *ack = &f->ack_ring[f->ack_tail % MODEL_ACKS];
        srm_writer w = srm_writer_of(ack->bytes, sizeof ack->bytes);
        uint64_t largest;
        CHECK(srm_acks_write(&f->acks, m->now, &w, sizeof ack->bytes, &largest));
        ack->size = srm_writer_used(&w);
        ack->arrival = m->now + m->delay;
        f->ack_tail += model_uniform(m) >= m->loss_back;
    }
}

static inline void model_receive(model_flow *f, const model_packet *packet) {
    srm_ecn ecn = packet->marked ? SRM_ECN_CE : f->ecn ? SRM_ECN_ECT0 : SRM_ECN_NONE;
    f->received += packet->size;
    srm_acks_on_packet(&f->acks, packet->number, f->net->now, true, ecn, false);
    model_write_due(f);
}

static inline void model_wake_receiver(model_flow *f) {
    while (f->packet_head < f->packet_tail &&
           f->packets[f->packet_head % MODEL_PACKETS].arrival <= f->net->now)
        model_receive(f, &f->packets[f->packet_head++ % MODEL_PACKETS]);
    if (f->held.arrival <= f->net->now) {
        model_receive(f, &f->held);
        f->held.arrival = SRM_TIME_NEVER;
    }
    model_write_due(f);
    f->receiver_noise = model_noise(f->net);
}

/* ---- the sender ---- */

static inline void model_apply(model_flow *f, const srm_sent_event *event) {
    if (event->undo) {
        f->undone++;
        srm_cc_on_spurious_loss(&f->cc, f->net->now, event->undo_bytes);
    }
    if (event->has_sample)
        srm_cc_on_sample(&f->cc, &event->sample);
    f->probes = event->probes > 0 ? event->probes : f->probes;
}

static inline void model_take_acks(model_flow *f) {
    srm_sent_sink sink = {model_on_acked, model_on_lost, f};
    srm_sent_event event;
    while (f->ack_head < f->ack_tail && f->ack_ring[f->ack_head % MODEL_ACKS].arrival <= f->net->now) {
        const model_ack *ack = &f->ack_ring[f->ack_head++ % MODEL_ACKS];
        srm_reader r = srm_reader_of(srm_span_of(ack->bytes, ack->size));
        srm_ack_frame frame;
        uint8_t type = srm_read_u8(&r);
        CHECK(srm_ack_read(&r, type, &frame));
        CHECK_EQ(srm_sent_on_ack(&f->sent, &frame, f->net->now, &f->rtt, &sink, &event), SRM_SENT_OK);
        model_apply(f, &event);
    }
    if (srm_sent_deadline(&f->sent, &f->rtt) <= f->net->now) {
        srm_sent_on_timer(&f->sent, f->net->now, &f->rtt, &sink, &event);
        model_apply(f, &event);
    }
}

/* Bytes the application has ready. */
static inline double model_ready(const model_flow *f) {
    srm_time now = f->net->now;
    if (now < f->start)
        return 0;
    if (f->app_rate == 0)
        return now < f->stop ? 1e12 : 0;
    return f->app_rate * (double)(srm_time_min(now, f->stop) - f->start) / (double)SRM_SECOND - f->app_given;
}

static inline void model_send_one(model_flow *f) {
    srm_sent_frame frame = {.length = MODEL_PACKET};
    uint64_t number = f->sent.next;
    if (f->sent.in_flight == 0)
        srm_cc_on_idle_restart(&f->cc, f->net->now);
    CHECK(srm_sent_begin(&f->sent) && srm_sent_add_frame(&f->sent, &frame));
    srm_sent_commit(&f->sent, f->net->now, MODEL_PACKET,
                    SRM_SENT_ELICITING | (f->ecn ? SRM_SENT_ECT0 : 0) |
                        (f->probes > 0 ? SRM_SENT_PTO_PROBE : 0));
    srm_cc_on_sent(&f->cc, f->net->now, MODEL_PACKET, f->sent.in_flight);
    srm_pacer_on_sent(&f->pacer, f->net->now, MODEL_PACKET);
    f->probes -= f->probes > 0;
    f->app_given += MODEL_PACKET;
    f->sent_bytes += MODEL_PACKET;
    model_transmit(f, number, MODEL_PACKET);
}

static inline uint64_t model_budget(model_flow *f) {
    uint64_t window = srm_cc_window(&f->cc);
    if (f->sent.in_flight >= window)
        return 0;
    uint64_t paced =
        srm_pacer_allowance(&f->pacer, f->net->now, srm_cc_pacing_rate(&f->cc), srm_cc_send_quantum(&f->cc));
    return srm_u64_min(window - f->sent.in_flight, paced);
}

static inline void model_send(model_flow *f) {
    uint64_t left = model_budget(f);
    while (f->probes > 0 || (left >= MODEL_PACKET / 2 && model_ready(f) >= MODEL_PACKET)) {
        left -= srm_u64_min(left, MODEL_PACKET);
        model_send_one(f);
    }
    if (left >= MODEL_PACKET / 2 && f->net->now >= f->start)
        srm_sent_app_limited(&f->sent, true);
}

static inline srm_time model_sender_time(const model_flow *f) {
    srm_time now = f->net->now, at = srm_sent_deadline(&f->sent, &f->rtt);
    if (f->ack_head < f->ack_tail)
        at = srm_time_min(at, f->ack_ring[f->ack_head % MODEL_ACKS].arrival);
    if (now < f->start)
        return srm_time_min(at, f->start);
    if (f->sent.in_flight + MODEL_PACKET / 2 <= srm_cc_window(&f->cc) && now < f->stop) {
        srm_time paced =
            srm_pacer_deadline(&f->pacer, now, srm_cc_pacing_rate(&f->cc), srm_cc_send_quantum(&f->cc));
        srm_time wait = 0;
        if (f->app_rate > 0 && model_ready(f) < MODEL_PACKET)
            wait = (srm_time)((MODEL_PACKET - model_ready(f)) / f->app_rate * (double)SRM_SECOND) + 1;
        at = srm_time_min(at, srm_time_max(paced, now + wait));
    }
    return at == SRM_TIME_NEVER ? at : at + f->sender_noise;
}

static inline void model_wake_sender(model_flow *f) {
    model_take_acks(f);
    model_send(f);
    f->sender_noise = model_noise(f->net);
}

/* ---- running ---- */

static inline void model_run(model *m, srm_time until) {
    for (;;) {
        srm_time next = SRM_TIME_NEVER;
        model_flow *who = NULL;
        bool sender = false;
        for (int i = 0; i < m->flows; i++) {
            srm_time at = model_sender_time(&m->flow[i]), to = model_receiver_time(&m->flow[i]);
            if (srm_time_min(at, to) < next) {
                next = srm_time_min(at, to);
                who = &m->flow[i];
                sender = at <= to;
            }
        }
        if (next > until)
            break;
        m->now = srm_time_max(m->now, next);
        if (sender)
            model_wake_sender(who);
        else
            model_wake_receiver(who);
    }
    m->now = until;
}

/* ---- figures ---- */

/* The figures are from here on. */
static inline void model_mark(model *m) {
    m->since = m->now;
    memset(m->delays, 0, sizeof m->delays);
    m->delay_count = 0;
    for (int i = 0; i < m->flows; i++) {
        m->received_before[i] = m->flow[i].received;
        m->sent_before[i] = m->flow[i].sent_bytes;
    }
}

/* Share of the bottleneck that arrived at receiver `i`, from 0 to 1. */
static inline double model_share(const model *m, int i) {
    double seconds = (double)(m->now - m->since) / (double)SRM_SECOND;
    return (double)(m->flow[i].received - m->received_before[i]) / seconds / m->rate;
}

/* Share of what flow `i` sent that did not arrive. */
static inline double model_waste(const model *m, int i) {
    return 1 - (double)(m->flow[i].received - m->received_before[i]) /
                   (double)(m->flow[i].sent_bytes - m->sent_before[i]);
}

/* Delay in the queue that the share `quantile` of the packets stayed below; to 0.1 ms. */
static inline srm_time model_delay(const model *m, double quantile) {
    uint64_t want = (uint64_t)(quantile * (double)m->delay_count), seen = 0;
    for (int i = 0; i < MODEL_BINS; i++)
        if ((seen += m->delays[i]) > want)
            return (i + 1) * (100 * SRM_MICROSECOND);
    return MODEL_BINS * (100 * SRM_MICROSECOND);
}

#endif
