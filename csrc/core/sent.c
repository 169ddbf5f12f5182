#include "sent.h"

#include <stdlib.h>

#define PACKETS_MIN 4 /* of the rings when they are first needed: an idle link stays small */
#define FRAMES_MIN 8
#define BY_TIME 0x80 /* flag of a lost packet: it was the time window that declared it */

enum packet_state { OUTSTANDING, ACKED, LOST };

_Static_assert(sizeof(srm_sent_packet) == 64, "a record is one cache line");
_Static_assert(sizeof(srm_sent_frame) == 24, "frames are kept small");

/* ---- rings ---- */

static srm_sent_packet *packet_at(const srm_sent *sent, uint64_t number) {
    return &sent->packets[number & (sent->packet_capacity - 1)];
}

static srm_sent_frame *frame_at(const srm_sent *sent, uint32_t position) {
    return &sent->frames[position & (sent->frame_capacity - 1)];
}

static bool grow_packets(srm_sent *sent) {
    if (sent->packet_capacity > UINT32_MAX / 2)
        return false;
    uint32_t capacity = sent->packet_capacity == 0 ? PACKETS_MIN : sent->packet_capacity * 2;
    srm_sent_packet *packets = malloc(capacity * sizeof *packets);
    if (packets == NULL)
        return false;
    for (uint64_t number = sent->base; number < sent->next; number++)
        packets[number & (capacity - 1)] = *packet_at(sent, number);
    free(sent->packets);
    sent->packets = packets;
    sent->packet_capacity = capacity;
    return true;
}

static bool grow_frames(srm_sent *sent) {
    if (sent->frame_capacity > UINT32_MAX / 2)
        return false;
    uint32_t capacity = sent->frame_capacity == 0 ? FRAMES_MIN : sent->frame_capacity * 2;
    srm_sent_frame *frames = malloc(capacity * sizeof *frames);
    if (frames == NULL)
        return false;
    for (uint32_t position = sent->frame_base; position != sent->frame_head; position++)
        frames[position & (capacity - 1)] = *frame_at(sent, position);
    free(sent->frames);
    sent->frames = frames;
    sent->frame_capacity = capacity;
    return true;
}

static void free_rings(srm_sent *sent) {
    free(sent->packets);
    free(sent->frames);
    sent->packets = NULL;
    sent->frames = NULL;
    sent->packet_capacity = 0;
    sent->frame_capacity = 0;
}

/* Forgets the prefix that nothing can happen to any more. */
static void advance_base(srm_sent *sent) {
    uint64_t base = sent->base;
    while (base < sent->first_out) {
        const srm_sent_packet *p = packet_at(sent, base);
        if (p->state == LOST && sent->now - p->lost_at < sent->keep)
            break;
        base++;
    }
    if (base == sent->base)
        return;
    sent->base = base;
    sent->frame_base = base < sent->next ? packet_at(sent, base)->first_frame : sent->frame_next;
    srm_rangeset_remove(&sent->acked, 0, base);
}

/* ---- life ---- */

static void count_flight(srm_sent *sent, uint64_t more, uint64_t less) {
    sent->in_flight += more;
    sent->in_flight -= less;
    if (!sent->aside) {
        sent->flight->in_flight += more;
        sent->flight->in_flight -= less;
    }
}

static void forget_path(srm_sent *sent) {
    sent->path_first = sent->next;
    count_flight(sent, 0, sent->in_flight);
    sent->aside = false;
    sent->pto_count = 0;
    sent->app_limited_until = 0;
    sent->reordering_seen = false;
    sent->reorder_steps = 1;
    sent->reorder_round = sent->next;
    sent->calm_epochs = 0;
    sent->epoch_late = false;
    sent->epoch_end = sent->next;
    sent->epoch_lost = 0;
    sent->epoch_arrived = 0;
    sent->run_start = SRM_TIME_NEVER;
}

void srm_sent_init(srm_sent *sent, srm_flight *flight) {
    *sent =
        (srm_sent){.flight = flight, .loss_time = SRM_TIME_NEVER, .keep = SRM_SENT_KEEP_PTOS * SRM_SECOND};
    srm_rangeset_init(&sent->acked, SRM_RANGESET_NO_MAX, SRM_RANGESET_REFUSE);
    forget_path(sent);
}

void srm_sent_fini(srm_sent *sent) {
    count_flight(sent, 0, sent->in_flight);
    free_rings(sent);
    srm_rangeset_fini(&sent->acked);
}

void srm_sent_move(srm_sent *sent, srm_flight *flight, bool same) {
    SRM_ASSERT(!sent->building);
    if (same)
        sent->flight->in_flight -= sent->aside ? 0 : sent->in_flight;
    else
        forget_path(sent);
    sent->flight = flight;
}

void srm_sent_stand_aside(srm_sent *sent, bool aside) {
    if (sent->aside == aside)
        return;
    sent->aside = aside;
    sent->flight->in_flight += aside ? 0 : sent->in_flight;
    sent->flight->in_flight -= aside ? sent->in_flight : 0;
}

void srm_sent_trim(srm_sent *sent, srm_time now) {
    SRM_ASSERT(!sent->building);
    sent->now = now;
    advance_base(sent);
    srm_rangeset_trim(&sent->acked);
    if (sent->base == sent->next)
        free_rings(sent);
}

static void report(const srm_sent *sent, const srm_sent_packet *p,
                   void (*tell)(void *context, const srm_sent_frame *frame), void *context) {
    for (uint32_t i = 0; i < p->frame_count; i++)
        tell(context, frame_at(sent, p->first_frame + i));
}

void srm_sent_discard(srm_sent *sent, const srm_sent_sink *sink) {
    SRM_ASSERT(!sent->building);
    for (uint64_t number = sent->base; number < sent->next; number++) {
        const srm_sent_packet *p = packet_at(sent, number);
        if (p->state == OUTSTANDING)
            report(sent, p, sink->lost, sink->context);
    }
    sent->base = sent->first_out = sent->next;
    sent->frame_base = sent->frame_next;
    sent->eliciting = 0;
    sent->loss_time = SRM_TIME_NEVER;
    srm_rangeset_clear(&sent->acked);
    free_rings(sent);
    forget_path(sent);
}

/* ---- sending ---- */

bool srm_sent_begin(srm_sent *sent) {
    SRM_ASSERT(!sent->building);
    if (sent->next - sent->base == sent->packet_capacity)
        advance_base(sent);
    if (sent->next - sent->base == sent->packet_capacity && !grow_packets(sent))
        return false;
    sent->building = true;
    return true;
}

bool srm_sent_add_frame(srm_sent *sent, const srm_sent_frame *frame) {
    SRM_ASSERT(sent->building);
    if (sent->frame_head - sent->frame_next == SRM_SENT_PACKET_FRAMES_MAX)
        return false;
    if (sent->frame_head - sent->frame_base == sent->frame_capacity)
        advance_base(sent);
    if (sent->frame_head - sent->frame_base == sent->frame_capacity && !grow_frames(sent))
        return false;
    *frame_at(sent, sent->frame_head++) = *frame;
    return true;
}

void srm_sent_abort(srm_sent *sent) {
    SRM_ASSERT(sent->building);
    sent->frame_head = sent->frame_next;
    sent->building = false;
}

static void commit_eliciting(srm_sent *sent, size_t bytes) {
    srm_flight *flight = sent->flight;
    if (flight->in_flight == 0) {
        flight->first_sent_time = sent->now;
        flight->delivered_time = sent->now;
    }
    count_flight(sent, bytes, 0);
    sent->eliciting++;
    sent->pto_from = sent->now;
}

void srm_sent_commit(srm_sent *sent, srm_time now, size_t bytes, unsigned flags) {
    SRM_ASSERT(sent->building && bytes > 0 && bytes <= SRM_SENT_PACKET_BYTES_MAX);
    sent->now = now;
    if ((flags & SRM_SENT_OFF_PATH) != 0)
        flags &= ~(unsigned)SRM_SENT_ELICITING;
    if ((flags & SRM_SENT_ELICITING) != 0)
        commit_eliciting(sent, bytes);
    sent->probes_sent += (flags & SRM_SENT_PTO_PROBE) != 0;
    sent->ecn_sent += (flags & SRM_SENT_ECT0) != 0;
    *packet_at(sent, sent->next) =
        (srm_sent_packet){.time_sent = now,
                          .delivered = sent->flight->delivered,
                          .lost = sent->flight->lost,
                          .delivered_time = sent->flight->delivered_time,
                          .first_sent_time = sent->flight->first_sent_time,
                          .in_flight = sent->flight->in_flight,
                          .first_frame = sent->frame_next,
                          .frame_count = (uint16_t)(sent->frame_head - sent->frame_next),
                          .bytes = (uint16_t)bytes,
                          .app_limited = sent->flight->app_limited_until != 0,
                          .flags = (uint8_t)flags,
                          .state = OUTSTANDING};
    sent->frame_next = sent->frame_head;
    sent->building = false;
    if (sent->first_out == sent->next && (flags & SRM_SENT_ELICITING) == 0)
        sent->first_out++;
    sent->next++;
}

void srm_sent_app_limited(srm_sent *sent, bool all) {
    srm_flight *flight = sent->flight;
    sent->app_limited_until = srm_u64_max(sent->delivered + sent->in_flight, 1);
    if (all)
        flight->app_limited_until = srm_u64_max(flight->delivered + flight->in_flight, 1);
}

/* ---- what an ACK or the timer brings about ---- */

/* Carried through the handling of one ACK or one firing of the timer. */
typedef struct work {
    srm_sent *sent;
    srm_rtt *rtt;
    const srm_sent_sink *sink;
    srm_sent_event *event;
    uint64_t newest;    /* of the present path, newly acknowledged and not late; SRM_SENT_NONE */
    uint64_t eliciting; /* newly acknowledged packets that asked for an ACK */
    uint64_t ect0;      /* newly acknowledged packets that were marked */
} work;

static work begin_work(srm_sent *sent, srm_time now, srm_rtt *rtt, const srm_sent_sink *sink,
                       srm_sent_event *event) {
    SRM_ASSERT(!sent->building);
    sent->now = now;
    *event = (srm_sent_event){.sample = {.now = now, .in_flight_prior = sent->flight->in_flight}};
    return (work){.sent = sent, .rtt = rtt, .sink = sink, .event = event, .newest = SRM_SENT_NONE};
}

static srm_cc_send_state send_state(const srm_sent_packet *p) {
    return (srm_cc_send_state){.delivered = p->delivered,
                               .lost = p->lost,
                               .delivered_time = p->delivered_time,
                               .first_sent_time = p->first_sent_time,
                               .in_flight = p->in_flight,
                               .app_limited = p->app_limited};
}

/* ---- loss ---- */

static srm_time window_step(const srm_rtt *rtt) {
    return srm_time_max(rtt->min / 4, SRM_RTT_GRANULARITY);
}

static srm_time loss_delay(const srm_sent *sent, const srm_rtt *rtt) {
    srm_time round_trip = srm_time_max(rtt->latest, rtt->smoothed);
    srm_time step = window_step(rtt);
    srm_time window = srm_time_min(step * sent->reorder_steps, srm_time_max(rtt->smoothed, step));
    return round_trip + srm_time_max(round_trip / 8, window);
}

static void begin_epoch(srm_sent *sent) {
    sent->calm_epochs = sent->epoch_late ? 0 : sent->calm_epochs + 1;
    if (sent->calm_epochs > SRM_SENT_CALM_EPOCHS) {
        sent->reorder_steps = 1;
        sent->calm_epochs = 0;
    }
    sent->epoch++;
    sent->epoch_end = sent->next;
    sent->epoch_late = false;
    sent->epoch_lost = 0;
    sent->epoch_arrived = 0;
    sent->epoch_bytes = 0;
}

/* RFC 9002 section 7.6.2: two losses with no ACK between them, this far apart, both sent after the first RTT
 * sample. Packets come here in the order they were sent. */
static void note_run(work *w, const srm_sent_packet *p) {
    if (!srm_rtt_has_sample(w->rtt) || p->time_sent < w->rtt->first_sample_at)
        return;
    srm_time *start = &w->sent->run_start;
    if (*start == SRM_TIME_NEVER) {
        *start = p->time_sent;
    } else if (p->time_sent - *start > SRM_SENT_PERSISTENT_PTOS * srm_rtt_pto(w->rtt)) {
        w->event->sample.persistent_congestion = true;
        *start = SRM_TIME_NEVER;
    }
}

static void count_congestion_loss(work *w, uint64_t number, srm_sent_packet *p) {
    srm_sent *sent = w->sent;
    srm_cc_sample *sample = &w->event->sample;
    if (number >= sent->epoch_end)
        begin_epoch(sent);
    p->epoch = sent->epoch;
    sent->epoch_lost++;
    sent->epoch_bytes += p->bytes;
    sent->flight->lost += p->bytes;
    sample->lost_bytes += p->bytes;
    sample->largest_lost_sent = p->time_sent;
    sample->lost_state = send_state(p);
    uint16_t smallest = w->event->lost_size_min;
    if (smallest == 0 || p->bytes < smallest)
        w->event->lost_size_min = p->bytes;
    note_run(w, p);
}

static void declare_lost(work *w, uint64_t number, srm_sent_packet *p, bool by_time) {
    srm_sent *sent = w->sent;
    sent->eliciting--;
    sent->packets_lost++;
    w->event->lost_packets++;
    if (number >= sent->path_first) {
        count_flight(sent, 0, p->bytes);
        if ((p->flags & SRM_SENT_MTU_PROBE) == 0)
            count_congestion_loss(w, number, p);
    }
    p->state = LOST;
    p->lost_at = sent->now;
    if (by_time)
        p->flags |= BY_TIME;
    report(sent, p, w->sink->lost, w->sink->context);
}

/* Keeps the promise that first_out is outstanding and ack-eliciting, or `next`. */
static void skip_resolved(srm_sent *sent) {
    while (sent->first_out < sent->next) {
        const srm_sent_packet *p = packet_at(sent, sent->first_out);
        if (p->state == OUTSTANDING && (p->flags & SRM_SENT_ELICITING) != 0)
            return;
        if (p->state == ACKED)
            sent->run_start = SRM_TIME_NEVER;
        sent->first_out++;
    }
}

void srm_sent_probe_refused(srm_sent *sent, srm_time now, size_t bytes) {
    SRM_ASSERT(!sent->building);
    uint64_t number = sent->next;
    while (number > sent->first_out && (packet_at(sent, number - 1)->flags & SRM_SENT_MTU_PROBE) == 0)
        number--;
    if (number == sent->first_out)
        return;
    srm_sent_packet *p = packet_at(sent, --number);
    if (p->state != OUTSTANDING || p->bytes != bytes)
        return;
    sent->now = now;
    sent->eliciting--;
    if (number >= sent->path_first)
        count_flight(sent, 0, p->bytes);
    p->state = LOST;
    p->lost_at = now;
    skip_resolved(sent);
}

static void detect_losses(work *w) {
    srm_sent *sent = w->sent;
    srm_time delay = loss_delay(sent, w->rtt);
    bool by_count = !sent->reordering_seen;
    sent->loss_time = SRM_TIME_NEVER;
    for (skip_resolved(sent); sent->first_out < sent->acked_end; skip_resolved(sent)) {
        srm_sent_packet *p = packet_at(sent, sent->first_out);
        bool by_time = p->time_sent + delay <= sent->now;
        if (!by_time && !(by_count && sent->acked_end - 1 - sent->first_out >= SRM_SENT_PACKET_THRESHOLD)) {
            sent->loss_time = p->time_sent + delay;
            break;
        }
        declare_lost(w, sent->first_out, p, by_time);
    }
}

/* ---- acknowledgement ---- */

/* The loss of `p` was spurious: more patience with reordering, and perhaps the whole loss event never was. */
static void learn_from_late(work *w, uint64_t number, const srm_sent_packet *p) {
    srm_sent *sent = w->sent;
    sent->reordering_seen = true;
    sent->run_start = SRM_TIME_NEVER;
    sent->epoch_late = true;
    if ((p->flags & BY_TIME) != 0 && number >= sent->reorder_round) {
        if (window_step(w->rtt) * sent->reorder_steps < w->rtt->smoothed)
            sent->reorder_steps++;
        sent->reorder_round = sent->next;
    }
    if (p->epoch != sent->epoch || (p->flags & SRM_SENT_MTU_PROBE) != 0)
        return;
    if (++sent->epoch_arrived == sent->epoch_lost) {
        w->event->undo = true;
        w->event->undo_bytes = sent->epoch_bytes;
        sent->epoch_end = 0; /* whatever is lost next is a loss event of its own */
    }
}

static void count_delivered(srm_sent *sent, uint64_t bytes) {
    sent->delivered += bytes;
    sent->flight->delivered += bytes;
}

static void ack_late(work *w, uint64_t number, const srm_sent_packet *p) {
    w->sent->packets_late++;
    w->event->late_packets++;
    if (number < w->sent->path_first)
        return;
    count_delivered(w->sent, p->bytes);
    w->sent->flight->delivered_time = w->sent->now;
    learn_from_late(w, number, p);
}

static void ack_in_flight(work *w, uint64_t number, const srm_sent_packet *p) {
    srm_sent *sent = w->sent;
    sent->eliciting--;
    w->eliciting++;
    if (number < sent->path_first)
        return;
    count_flight(sent, 0, p->bytes);
    count_delivered(sent, p->bytes);
    w->event->sample.acked_bytes += p->bytes;
    if (w->newest == SRM_SENT_NONE || number > w->newest)
        w->newest = number;
}

static void ack_packet(work *w, uint64_t number, srm_sent_packet *p) {
    if (p->state == LOST)
        ack_late(w, number, p);
    else if ((p->flags & SRM_SENT_ELICITING) != 0)
        ack_in_flight(w, number, p);
    w->ect0 += (p->flags & SRM_SENT_ECT0) != 0;
    w->event->acked_packets++;
    if (p->bytes > w->event->acked_size_max && number >= w->sent->path_first &&
        (p->flags & SRM_SENT_OFF_PATH) == 0)
        w->event->acked_size_max = p->bytes;
    p->state = ACKED;
    report(w->sent, p, w->sink->acked, w->sink->context);
}

/* Cumulative ACKs tell mostly what is known: `acked` leads straight to the packets that are news. */
static void ack_range(work *w, srm_range range) {
    srm_sent *sent = w->sent;
    uint64_t from = srm_u64_max(range.start, sent->base);
    for (;;) {
        srm_range news = srm_rangeset_next_gap(&sent->acked, from, range.end);
        if (news.start == news.end)
            return;
        for (uint64_t number = news.start; number < news.end; number++) {
            srm_sent_packet *p = packet_at(sent, number);
            if (p->state != ACKED) /* known, if there was no memory to note it below */
                ack_packet(w, number, p);
        }
        srm_rangeset_add(&sent->acked, news.start, news.end);
        from = news.end;
    }
}

static void take_rtt_sample(work *w, uint64_t largest, srm_time ack_delay) {
    const srm_sent_packet *p = packet_at(w->sent, largest);
    if (w->eliciting == 0 || largest < w->sent->path_first || (p->flags & SRM_SENT_OFF_PATH) != 0)
        return;
    srm_rtt_update(w->rtt, w->sent->now, w->sent->now - p->time_sent, ack_delay);
    w->event->sample.rtt = w->rtt->latest;
}

/* The counts only mean something in an ACK that tells of a new largest packet (RFC 9000 section 13.4.2.1). */
static void check_ecn(work *w, const srm_ack_frame *frame) {
    srm_sent *sent = w->sent;
    if (!frame->has_ecn) {
        w->event->ecn_failed = w->ect0 > 0;
        return;
    }
    bool fits = frame->ect1 == 0 && frame->ect0 >= sent->ecn_ect0 && frame->ce >= sent->ecn_ce &&
                frame->ect0 <= sent->ecn_sent && frame->ce <= sent->ecn_sent - frame->ect0 &&
                (frame->ect0 - sent->ecn_ect0) + (frame->ce - sent->ecn_ce) >= w->ect0;
    w->event->ecn_failed = !fits;
    if (!fits)
        return;
    w->event->sample.ecn_ce = frame->ce - sent->ecn_ce;
    sent->ecn_ect0 = frame->ect0;
    sent->ecn_ce = frame->ce;
}

/* draft-ietf-ccwg-bbr section 4.1.2.3: GenerateRateSample, for the newest packet. */
static void take_rate_sample(work *w) {
    srm_sent *sent = w->sent;
    srm_flight *flight = sent->flight;
    srm_cc_sample *sample = &w->event->sample;
    if (sent->app_limited_until != 0 && sent->delivered > sent->app_limited_until)
        sent->app_limited_until = 0;
    if (flight->app_limited_until != 0 && flight->delivered > flight->app_limited_until)
        flight->app_limited_until = 0;
    if (w->newest == SRM_SENT_NONE)
        return;
    const srm_sent_packet *p = packet_at(sent, w->newest);
    flight->delivered_time = sent->now;
    flight->first_sent_time = srm_time_max(flight->first_sent_time, p->time_sent);
    srm_time send_elapsed = p->time_sent - p->first_sent_time;
    srm_time ack_elapsed = sent->now - p->delivered_time;
    sample->largest_acked_sent = p->time_sent;
    sample->acked_state = send_state(p);
    sample->rate_app_limited = p->app_limited;
    sample->rate_prior_delivered = p->delivered;
    sample->rate_delivered = flight->delivered - p->delivered;
    sample->rate_interval = srm_time_max(send_elapsed, ack_elapsed);
    if (sample->rate_interval <= 0 || sample->rate_interval < w->rtt->min)
        return;
    sample->rate_valid = true;
    sample->rate =
        (uint64_t)((double)sample->rate_delivered * (double)SRM_SECOND / (double)sample->rate_interval);
}

static void finish(work *w) {
    srm_sent *sent = w->sent;
    srm_cc_sample *sample = &w->event->sample;
    if (sample->persistent_congestion)
        srm_rtt_restart_min(w->rtt);
    sample->in_flight = sent->flight->in_flight;
    sample->delivered = sent->flight->delivered;
    sample->lost = sent->flight->lost;
    sample->rtt_min = w->rtt->min;
    sample->rtt_smoothed = w->rtt->smoothed;
    w->event->has_sample = sample->acked_bytes > 0 || sample->lost_bytes > 0 || sample->ecn_ce > 0;
    sent->keep = SRM_SENT_KEEP_PTOS * srm_rtt_pto(w->rtt);
    advance_base(sent);
}

srm_sent_status srm_sent_on_ack(srm_sent *sent, const srm_ack_frame *frame, srm_time now, srm_rtt *rtt,
                                const srm_sent_sink *sink, srm_sent_event *event) {
    work w = begin_work(sent, now, rtt, sink, event);
    if (frame->largest >= sent->next)
        return SRM_SENT_NEVER_SENT;
    bool largest_is_news = frame->largest >= sent->base && packet_at(sent, frame->largest)->state != ACKED;
    bool advances = frame->largest >= sent->acked_end;
    srm_ack_iter iter = srm_ack_iter_of(frame);
    for (srm_range range; srm_ack_iter_next(&iter, &range) && range.end > sent->base;)
        ack_range(&w, range);
    if (largest_is_news)
        take_rtt_sample(&w, frame->largest, frame->delay);
    if (advances) {
        sent->acked_end = frame->largest + 1;
        check_ecn(&w, frame);
    }
    if (event->acked_packets > 0) {
        if (w.eliciting > 0)
            sent->pto_count = 0;
        take_rate_sample(&w);
        detect_losses(&w);
    }
    finish(&w);
    return SRM_SENT_OK;
}

/* ---- timers ---- */

static srm_time pto_period(const srm_sent *sent, const srm_rtt *rtt) {
    srm_time pto = srm_rtt_pto(rtt);
    if (sent->pto_count == 0)
        return srm_time_min(pto, 2 * rtt->smoothed + rtt->max_ack_delay);
    srm_time limit = srm_time_max(SRM_SENT_PTO_MAX, pto);
    for (uint32_t i = 0; i < sent->pto_count && pto < limit; i++)
        pto *= 2;
    return srm_time_min(pto, limit);
}

srm_time srm_sent_deadline(const srm_sent *sent, const srm_rtt *rtt) {
    if (sent->loss_time != SRM_TIME_NEVER)
        return sent->loss_time;
    return sent->eliciting > 0 ? sent->pto_from + pto_period(sent, rtt) : SRM_TIME_NEVER;
}

void srm_sent_on_timer(srm_sent *sent, srm_time now, srm_rtt *rtt, const srm_sent_sink *sink,
                       srm_sent_event *event) {
    work w = begin_work(sent, now, rtt, sink, event);
    if (srm_sent_deadline(sent, rtt) <= now) {
        if (sent->loss_time != SRM_TIME_NEVER) {
            detect_losses(&w);
        } else {
            sent->pto_count++;
            sent->pto_from = now; /* the timer waits again even if no probe can be sent */
            event->probes = SRM_SENT_PROBES;
        }
    }
    finish(&w);
}

/* ---- questions ---- */

uint64_t srm_sent_oldest(const srm_sent *sent) {
    return sent->first_out < sent->next ? sent->first_out : SRM_SENT_NONE;
}

srm_time srm_sent_oldest_unacked(const srm_sent *sent) {
    return sent->first_out < sent->next ? packet_at(sent, sent->first_out)->time_sent : SRM_TIME_NEVER;
}

const srm_sent_frame *srm_sent_frame_at(const srm_sent *sent, uint64_t number, size_t position) {
    if (number < sent->base || number >= sent->next)
        return NULL;
    const srm_sent_packet *p = packet_at(sent, number);
    if (p->state != OUTSTANDING || position >= p->frame_count)
        return NULL;
    return frame_at(sent, p->first_frame + (uint32_t)position);
}
