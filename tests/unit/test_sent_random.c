/* Sender and receiver of one link against each other over a network that loses and reorders, in virtual time:
 *
 *     srm_sent --- packets: loss, delay, displacement ---> srm_acks
 *        ^                                                     |
 *        `-------------- ACK frames: loss, delay --------------'
 *
 * and each step against a model that keeps every packet for ever and looks at all of them each time.
 */
#include "sent.h"

#include "check.h"

#include <stdlib.h>
#include <time.h>

#define MS SRM_MILLISECOND
#define US SRM_MICROSECOND

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- the network ---- */

typedef struct flying {
    srm_time at; /* when it arrives */
    uint64_t number;
    size_t size;
    uint8_t bytes[400]; /* an ACK frame */
} flying;

#define FLYING_MAX 4096

typedef struct network {
    flying *items;
    size_t count;
} network;

static void network_put(network *n, srm_time at, uint64_t number, const uint8_t *bytes, size_t size) {
    CHECK(n->count < FLYING_MAX);
    flying *item = &n->items[n->count++];
    item->at = at;
    item->number = number;
    item->size = size;
    if (size > 0)
        memcpy(item->bytes, bytes, size);
}

/* The item that arrives next, if it does until `now`. */
static bool network_take(network *n, srm_time now, flying *out) {
    size_t best = n->count;
    for (size_t i = 0; i < n->count; i++) {
        if (n->items[i].at <= now && (best == n->count || n->items[i].at < n->items[best].at))
            best = i;
    }
    if (best == n->count)
        return false;
    *out = n->items[best];
    n->items[best] = n->items[--n->count];
    return true;
}

/* ---- the model ---- */

enum { OUT, GOT, GONE };

typedef struct model_packet {
    srm_time time;
    srm_time lost_at;
    uint64_t bytes;
    uint64_t first_frame, frame_count;
    uint64_t delivered_before;
    uint64_t path;
    uint64_t epoch;
    unsigned flags;
    int state;
    bool by_time, in_epoch;
} model_packet;

typedef struct model_frame {
    srm_sent_frame frame;
    uint32_t acked, lost;
} model_frame;

#define PACKETS 3000
#define FRAMES (PACKETS * 6)

typedef struct model {
    model_packet packets[PACKETS];
    model_frame frames[FRAMES];
    uint64_t packet_count, frame_count;
    uint64_t acked_end, path;
    uint64_t delivered, lost, late, lost_packets;
    uint64_t reorder_round, steps, calm, epoch, epoch_end;
    bool reordering, epoch_late;
} model;

static model m;

/* What one event should say. */
typedef struct expectation {
    uint64_t acked_bytes, lost_bytes, acked, lost, late;
    uint64_t newest; /* packet number plus 1 */
    bool undo;
    srm_time rtt;
} expectation;

static void model_acked(void *context, const srm_sent_frame *frame) {
    (void)context;
    CHECK(frame->number < m.frame_count);
    model_frame *f = &m.frames[frame->number];
    CHECK(f->frame.offset == frame->offset && f->frame.length == frame->length &&
          f->frame.kind == frame->kind);
    f->acked++;
}

static void model_lost(void *context, const srm_sent_frame *frame) {
    (void)context;
    CHECK(frame->number < m.frame_count);
    m.frames[frame->number].lost++;
    CHECK_EQ(m.frames[frame->number].acked, 0);
}

static bool in_flight(const model_packet *p) {
    return (p->flags & SRM_SENT_ELICITING) != 0 && p->state == OUT;
}

static srm_time model_step(const srm_rtt *rtt) {
    return rtt->min / 4 > MS ? rtt->min / 4 : MS;
}

static srm_time model_delay(const srm_rtt *rtt) {
    srm_time base = rtt->latest > rtt->smoothed ? rtt->latest : rtt->smoothed;
    srm_time most = rtt->smoothed > model_step(rtt) ? rtt->smoothed : model_step(rtt);
    srm_time window = (srm_time)m.steps * model_step(rtt);
    window = window > most ? most : window;
    return base + (window > base / 8 ? window : base / 8);
}

static void model_late(model_packet *p, uint64_t number, const srm_rtt *rtt, expectation *e) {
    m.late++;
    e->late++;
    if (p->path != m.path)
        return;
    m.delivered += p->bytes;
    m.reordering = true;
    m.epoch_late = true;
    if (p->by_time && number >= m.reorder_round) {
        m.steps += model_step(rtt) * (srm_time)m.steps < rtt->smoothed;
        m.reorder_round = m.packet_count;
    }
    if (!p->in_epoch || p->epoch != m.epoch)
        return;
    p->state = GOT;
    for (uint64_t i = 0; i < m.packet_count; i++) {
        if (m.packets[i].in_epoch && m.packets[i].epoch == m.epoch && m.packets[i].state != GOT)
            return;
    }
    e->undo = true;
    m.epoch_end = 0;
}

static void model_ack(uint64_t number, const srm_rtt *rtt, expectation *e) {
    model_packet *p = &m.packets[number];
    if (p->state == GOT)
        return;
    e->acked++;
    if (p->state == GONE) {
        model_late(p, number, rtt, e);
    } else if (in_flight(p) && p->path == m.path) {
        m.delivered += p->bytes;
        e->acked_bytes += p->bytes;
        e->newest = number + 1 > e->newest ? number + 1 : e->newest;
    }
    p->state = GOT;
}

static void model_lose(model_packet *p, uint64_t number, srm_time now, bool by_time, expectation *e) {
    p->state = GONE;
    p->lost_at = now;
    p->by_time = by_time;
    m.lost_packets++;
    e->lost++;
    if (p->path != m.path || (p->flags & SRM_SENT_MTU_PROBE) != 0)
        return;
    if (number >= m.epoch_end) {
        m.calm = m.epoch_late ? 0 : m.calm + 1;
        if (m.calm > SRM_SENT_CALM_EPOCHS) {
            m.calm = 0;
            m.steps = 1;
        }
        m.epoch++;
        m.epoch_end = m.packet_count;
        m.epoch_late = false;
    }
    p->in_epoch = true;
    p->epoch = m.epoch;
    m.lost += p->bytes;
    e->lost_bytes += p->bytes;
}

/* Every packet is judged by itself, the oldest first. */
static void model_detect(const srm_rtt *rtt, srm_time now, expectation *e) {
    srm_time delay = model_delay(rtt); /* a loss that begins an event may change it, for the next time */
    for (uint64_t i = 0; i + 1 < m.acked_end; i++) {
        model_packet *p = &m.packets[i];
        if (!in_flight(p))
            continue;
        bool by_time = now - p->time >= delay;
        if (by_time || (!m.reordering && m.acked_end - 1 - i >= SRM_SENT_PACKET_THRESHOLD))
            model_lose(p, i, now, by_time, e);
    }
}

static void model_new_path(void) {
    m.path++;
    m.reordering = false;
    m.steps = 1;
    m.reorder_round = m.packet_count;
    m.calm = 0;
    m.epoch_late = false;
    m.epoch_end = m.packet_count;
}

/* ---- one link ---- */

typedef struct link {
    srm_sent sent;
    srm_flight flight;
    srm_rtt rtt;
    srm_acks acks;
    network there, back;
    uint64_t seed;
    srm_time now;
    uint64_t loss, reorder; /* of 100 */
    srm_time one_way;
} link_state;

static const srm_sent_sink sink = {model_acked, model_lost, NULL};

static void link_init(link_state *l, uint64_t seed) {
    m = (model){.steps = 1};
    *l = (link_state){.seed = seed, .now = SRM_SECOND, .loss = seed % 4 * 7, .reorder = seed / 4 % 4 * 10};
    l->one_way = (srm_time)(1 + seed % 5 * 15) * MS;
    srm_sent_init(&l->sent, &l->flight);
    srm_rtt_init(&l->rtt, SRM_RTT_INITIAL, 5 * MS);
    srm_acks_init(&l->acks, 5 * MS);
    l->there.items = malloc(FLYING_MAX * sizeof(flying));
    l->back.items = malloc(FLYING_MAX * sizeof(flying));
    CHECK(l->there.items != NULL && l->back.items != NULL);
}

static void link_fini(link_state *l) {
    free(l->there.items);
    free(l->back.items);
    srm_acks_fini(&l->acks);
    srm_sent_fini(&l->sent);
}

static bool chance(link_state *l, uint64_t of_100) {
    return random_next(&l->seed) % 100 < of_100;
}

static srm_time transit(link_state *l) {
    srm_time delay = l->one_way + (srm_time)(random_next(&l->seed) % (uint64_t)MS);
    return l->now + delay + (chance(l, l->reorder) ? (srm_time)(random_next(&l->seed) % 60) * MS : 0);
}

static void send_packet(link_state *l) {
    static const unsigned kinds[] = {SRM_SENT_ELICITING,
                                     SRM_SENT_ELICITING,
                                     SRM_SENT_ELICITING,
                                     SRM_SENT_ELICITING,
                                     SRM_SENT_ELICITING | SRM_SENT_PTO_PROBE,
                                     SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE,
                                     0};
    model_packet *p = &m.packets[m.packet_count];
    *p = (model_packet){.time = l->now,
                        .bytes = 40 + random_next(&l->seed) % 1400,
                        .first_frame = m.frame_count,
                        .frame_count = random_next(&l->seed) % 6,
                        .delivered_before = m.delivered,
                        .path = m.path,
                        .flags = kinds[random_next(&l->seed) % SRM_COUNT_OF(kinds)]};
    CHECK(srm_sent_begin(&l->sent));
    for (uint64_t i = 0; i < p->frame_count; i++) {
        srm_sent_frame frame = {.number = m.frame_count,
                                .offset = (uint32_t)random_next(&l->seed),
                                .length = (uint32_t)random_next(&l->seed),
                                .kind = (uint8_t)i};
        m.frames[m.frame_count++] = (model_frame){.frame = frame};
        CHECK(srm_sent_add_frame(&l->sent, &frame));
    }
    srm_sent_commit(&l->sent, l->now, p->bytes, p->flags);
    if (!chance(l, l->loss))
        network_put(&l->there, transit(l), m.packet_count, NULL, 0);
    m.packet_count++;
    CHECK_EQ(l->sent.next, m.packet_count);
}

static void check_state(const link_state *l) {
    uint64_t flying_bytes = 0, eliciting = 0, oldest = SRM_SENT_NONE;
    srm_time lost_next = SRM_TIME_NEVER;
    for (uint64_t i = m.packet_count; i-- > 0;) {
        const model_packet *p = &m.packets[i];
        if (i < l->sent.base)
            CHECK(!in_flight(p));
        if (!in_flight(p))
            continue;
        oldest = i;
        eliciting++;
        flying_bytes += p->path == m.path ? p->bytes : 0;
        if (i + 1 < m.acked_end)
            lost_next = p->time + model_delay(&l->rtt);
    }
    CHECK_EQ(l->sent.in_flight, flying_bytes);
    CHECK_EQ(l->sent.eliciting, eliciting);
    CHECK_EQ(srm_sent_oldest(&l->sent), oldest);
    CHECK_EQ(l->sent.acked_end, m.acked_end);
    CHECK_EQ(l->sent.packets_lost, m.lost_packets);
    CHECK_EQ(l->sent.packets_late, m.late);
    srm_time due = srm_sent_deadline(&l->sent, &l->rtt);
    if (eliciting == 0)
        CHECK_EQ(due, SRM_TIME_NEVER);
    else if (lost_next == SRM_TIME_NEVER)
        CHECK(due > l->now - SRM_SECOND && due <= l->now + SRM_SENT_PTO_MAX);
}

static void check_event(const link_state *l, const srm_sent_event *event, const expectation *e,
                        uint64_t before) {
    const srm_cc_sample *sample = &event->sample;
    CHECK_EQ(event->acked_packets, e->acked);
    CHECK_EQ(event->lost_packets, e->lost);
    CHECK_EQ(event->late_packets, e->late);
    CHECK_EQ(event->undo, e->undo);
    CHECK_EQ(sample->acked_bytes, e->acked_bytes);
    CHECK_EQ(sample->lost_bytes, e->lost_bytes);
    CHECK_EQ(sample->rtt, e->rtt);
    CHECK_EQ(sample->delivered, m.delivered);
    CHECK_EQ(sample->lost, m.lost);
    CHECK_EQ(sample->in_flight_prior, before);
    CHECK_EQ(sample->in_flight, l->sent.in_flight);
    CHECK_EQ(event->has_sample, e->acked_bytes + e->lost_bytes > 0);
    if (e->newest > 0) {
        const model_packet *p = &m.packets[e->newest - 1];
        CHECK_EQ(sample->largest_acked_sent, p->time);
        CHECK_EQ(sample->rate_prior_delivered, p->delivered_before);
        CHECK_EQ(sample->rate_delivered, m.delivered - p->delivered_before);
        CHECK(sample->rate_interval >= l->now - p->time);
    }
}

static void take_ack(link_state *l, const flying *item) {
    srm_reader r = srm_reader_of(srm_span_of(item->bytes + 1, item->size - 1));
    srm_ack_frame frame;
    CHECK(srm_ack_read(&r, item->bytes[0], &frame) && srm_reader_left(&r) == 0);
    expectation e = {0};
    bool news = frame.largest >= l->sent.base && m.packets[frame.largest].state != GOT;
    uint64_t asked = 0, before = l->sent.in_flight;
    srm_ack_iter iter = srm_ack_iter_of(&frame);
    for (srm_range range; srm_ack_iter_next(&iter, &range);) {
        for (uint64_t i = range.start; i < range.end; i++) {
            asked += i >= l->sent.base && in_flight(&m.packets[i]);
            if (i >= l->sent.base)
                model_ack(i, &l->rtt, &e);
        }
    }
    m.acked_end = srm_u64_max(m.acked_end, frame.largest + 1);
    srm_sent_event event;
    CHECK_EQ(srm_sent_on_ack(&l->sent, &frame, l->now, &l->rtt, &sink, &event), SRM_SENT_OK);
    if (news && asked > 0 && m.packets[frame.largest].path == m.path)
        e.rtt = l->now - m.packets[frame.largest].time;
    if (e.acked > 0)
        model_detect(&l->rtt, l->now, &e);
    check_event(l, &event, &e, before);
    if (chance(l, 20)) /* as if the ACK frame's own packet was acknowledged */
        srm_acks_on_ack_acked(&l->acks, frame.largest);
}

static void take_timer(link_state *l) {
    expectation e = {0};
    srm_sent_event event;
    uint64_t before = l->sent.in_flight;
    bool due = srm_sent_deadline(&l->sent, &l->rtt) <= l->now;
    srm_sent_on_timer(&l->sent, l->now, &l->rtt, &sink, &event);
    if (due)
        model_detect(&l->rtt, l->now, &e);
    CHECK_EQ(event.probes, due && e.lost == 0 && event.lost_packets == 0 && l->sent.pto_from == l->now
                               ? SRM_SENT_PROBES
                               : 0);
    check_event(l, &event, &e, before);
}

static void write_ack(link_state *l) {
    uint8_t bytes[400];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    uint64_t largest;
    if (!srm_acks_write(&l->acks, l->now, &w, sizeof bytes, &largest))
        return;
    if (!chance(l, l->loss))
        network_put(&l->back, transit(l), largest, bytes, srm_writer_used(&w));
}

static void one_step(link_state *l) {
    flying item;
    l->now += (srm_time)(random_next(&l->seed) % (uint64_t)(chance(l, 5) ? 20 * MS : MS));
    while (network_take(&l->there, l->now, &item)) {
        bool asks = (m.packets[item.number].flags & SRM_SENT_ELICITING) != 0;
        srm_acks_on_packet(&l->acks, item.number, l->now, asks, SRM_ECN_NONE, false);
    }
    if (srm_acks_due(&l->acks, l->now) || chance(l, 3))
        write_ack(l);
    while (network_take(&l->back, l->now, &item)) {
        take_ack(l, &item);
        check_state(l);
    }
    take_timer(l);
    if (m.packet_count < PACKETS && chance(l, 90))
        send_packet(l);
    if (chance(l, 1) && chance(l, 10)) {
        srm_sent_move(&l->sent, &l->flight, false);
        srm_rtt_reset(&l->rtt);
        model_new_path();
    }
    check_state(l);
}

/* A frame is reported as its packet fared: acknowledged at most once, lost at most once, one of both at
 * least, except in packets that hold nothing back and were forgotten. */
static void check_frames(void) {
    for (uint64_t i = 0; i < m.packet_count; i++) {
        const model_packet *p = &m.packets[i];
        for (uint64_t k = 0; k < p->frame_count; k++) {
            const model_frame *f = &m.frames[p->first_frame + k];
            CHECK(f->acked <= 1 && f->lost <= 1);
            if (p->state == GOT)
                CHECK_EQ(f->acked, 1);
            if (p->state == GONE || in_flight(p))
                CHECK(f->acked == 0 && f->lost == 1);
        }
    }
}

TEST(random_traces_agree_with_a_model_that_remembers_everything) {
    uint64_t late = 0, lost = 0;
    for (uint64_t seed = 1001; seed < 1041; seed++) {
        link_state l;
        link_init(&l, seed);
        printf("sent trace: seed %llu, loss %llu %%, reordering %llu %%, one way %lld ms\n",
               (unsigned long long)seed, (unsigned long long)l.loss, (unsigned long long)l.reorder,
               (long long)(l.one_way / MS));
        for (int step = 0; step < 3600; step++)
            one_step(&l);
        late += m.late;
        lost += m.lost_packets;
        srm_sent_discard(&l.sent, &sink);
        check_frames();
        CHECK_EQ(l.sent.eliciting, 0);
        link_fini(&l);
    }
    CHECK(late > 1000 && lost > 5 * late / 4); /* the traces do exercise both */
}

/* ---- reordering without loss ---- */

/* Packets at an even pace, one in five held up by 30 places, nothing lost; how many losses were declared in
 * the first and in the second half. */
static void reordered(srm_time pace, srm_time one_way, uint64_t *first, uint64_t *second) {
    link_state l;
    link_init(&l, 4242);
    l.loss = 0;
    l.reorder = 0;
    l.one_way = one_way;
    for (int i = 0; i < PACKETS - 1; i++) {
        for (srm_time until = l.now + pace; l.now < until; l.now += pace / 4) {
            flying item;
            srm_sent_event event;
            while (network_take(&l.there, l.now, &item))
                srm_acks_on_packet(&l.acks, item.number, l.now, true, SRM_ECN_NONE, false);
            if (srm_acks_due(&l.acks, l.now)) {
                uint8_t bytes[400];
                srm_writer w = srm_writer_of(bytes, sizeof bytes);
                uint64_t largest;
                CHECK(srm_acks_write(&l.acks, l.now, &w, sizeof bytes, &largest));
                network_put(&l.back, l.now + one_way, largest, bytes, srm_writer_used(&w));
            }
            while (network_take(&l.back, l.now, &item)) {
                srm_reader r = srm_reader_of(srm_span_of(item.bytes + 1, item.size - 1));
                srm_ack_frame frame;
                CHECK(srm_ack_read(&r, item.bytes[0], &frame));
                srm_sent_on_ack(&l.sent, &frame, l.now, &l.rtt, &sink, &event);
                srm_acks_set_rtt(&l.acks, l.rtt.smoothed);
            }
            srm_sent_on_timer(&l.sent, l.now, &l.rtt, &sink, &event);
        }
        m.packets[m.packet_count].frame_count = 0;
        CHECK(srm_sent_begin(&l.sent));
        srm_sent_commit(&l.sent, l.now, 1200, SRM_SENT_ELICITING);
        srm_time held_up = chance(&l, 20) ? 30 * pace : 0;
        network_put(&l.there, l.now + one_way + held_up, m.packet_count++, NULL, 0);
        if (i == PACKETS / 2)
            *first = l.sent.packets_lost;
    }
    *second = l.sent.packets_lost - *first;
    CHECK(l.sent.packets_lost >= l.sent.packets_late);
    link_fini(&l);
}

TEST(reordering_by_thirty_places_is_learnt_after_the_first_few) {
    static const struct {
        srm_time pace, one_way;
        uint64_t first_max;
    } cases[] = {
        {100 * US, 10 * MS, 60},  /* 3 ms late, RTT 20 ms: within the first window */
        {400 * US, 20 * MS, 250}, /* 12 ms late, RTT 40 ms: the window has to grow */
        {20 * US, 1 * MS, 60},    /* 0.6 ms late, RTT 2 ms */
    };
    for (size_t i = 0; i < SRM_COUNT_OF(cases); i++) {
        uint64_t first, second;
        reordered(cases[i].pace, cases[i].one_way, &first, &second);
        printf("reordering: pace %lld us, one way %lld us: %llu spurious losses, then %llu\n",
               (long long)(cases[i].pace / US), (long long)(cases[i].one_way / US), (unsigned long long)first,
               (unsigned long long)second);
        CHECK(first > 0 && first <= cases[i].first_max);
        CHECK_EQ(second, 0);
    }
}

/* ---- speed ---- */

static void count_frame(void *context, const srm_sent_frame *frame) {
    *(uint64_t *)context += frame->length;
}

/* Sends and acknowledges `packets` of two frames, `window` in flight, an ACK for every 32; one in `lose` is
 * lost (0: none). Prints nanoseconds a packet for both halves together. */
static void measure(uint64_t packets, uint64_t window, uint64_t lose, const char *what) {
    srm_sent sent;
    srm_flight flight;
    srm_rtt rtt;
    srm_acks acks;
    uint64_t reported = 0, seed = 99, arrived = 0;
    const srm_sent_sink counter = {count_frame, count_frame, &reported};
    memset(&flight, 0, sizeof flight);
    srm_sent_init(&sent, &flight);
    srm_acks_init(&acks, 5 * MS);
    srm_rtt_init(&rtt, SRM_RTT_INITIAL, 5 * MS);
    clock_t start = clock();
    for (uint64_t i = 0; i < packets; i++) {
        srm_time now = SRM_SECOND + (srm_time)i * US;
        srm_sent_frame frame = {.number = i, .length = 1};
        CHECK(srm_sent_begin(&sent));
        CHECK(srm_sent_add_frame(&sent, &frame) && srm_sent_add_frame(&sent, &frame));
        srm_sent_commit(&sent, now, 1200, SRM_SENT_ELICITING);
        if (i < window)
            continue;
        if (lose == 0 || random_next(&seed) % lose != 0)
            srm_acks_on_packet(&acks, i - window, now, true, SRM_ECN_NONE, false);
        if (++arrived % 32 != 0)
            continue;
        uint8_t bytes[400];
        uint64_t largest;
        srm_sent_event event;
        srm_ack_frame ack;
        srm_writer w = srm_writer_of(bytes, sizeof bytes);
        CHECK(srm_acks_write(&acks, now, &w, sizeof bytes, &largest));
        srm_reader r = srm_reader_of(srm_writer_span(&w));
        CHECK(srm_ack_read(&r, srm_read_u8(&r), &ack));
        CHECK_EQ(srm_sent_on_ack(&sent, &ack, now, &rtt, &counter, &event), SRM_SENT_OK);
        if (arrived % 1024 == 0)
            srm_acks_on_ack_acked(&acks, largest - 256);
    }
    double ns = (double)(clock() - start) * 1e9 / CLOCKS_PER_SEC / (double)packets;
    printf("bench: %s: %.1f ns a packet, send and ACK on both sides; rings of %u packets\n", what, ns,
           (unsigned)sent.packet_capacity);
    srm_sent_discard(&sent, &counter);
    CHECK(reported >= packets * 2); /* nothing is left out; late ones count twice */
    srm_acks_fini(&acks);
    srm_sent_fini(&sent);
}

TEST(speed) {
    measure(2000000, 256, 0, "256 in flight, no loss");
    measure(2000000, 50000, 0, "50000 in flight, no loss");
    measure(2000000, 50000, 20, "50000 in flight, 5 % loss");
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
