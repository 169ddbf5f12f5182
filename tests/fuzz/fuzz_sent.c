/* Acknowledgement, the sender's half: packets go out, and ACK frames, timers and new paths come as the input
 * says. A model keeps what became of each packet, by the frame it carries: acknowledged when an ACK names it
 * and not otherwise, lost at most once and never after it was acknowledged, in flight until then.
 *
 * kind % 8   0, 1  packets are sent: how many, flags, size
 *            2, 3  an ACK frame, made of ranges counted downwards from the newest packet
 *            4     an ACK frame: the body's bytes
 *            5     time passes; the timer fires if it is due
 *            6     a new path
 *            7     memory is given back; the application has nothing more to send
 */
#include "fuzz.h"

#include "sent.h"

const bool fuzz_records = true;

#define NUMBERS 1024 /* packets of one run */
#define MAX_ACK_DELAY (5 * SRM_MILLISECOND)

typedef enum fate { OUT, ACKED, LOST, LATE } fate;

typedef struct model {
    srm_sent sent;
    srm_flight flight;
    srm_rtt rtt;
    srm_time now;
    fate fates[NUMBERS];
    uint32_t bytes[NUMBERS];
    bool eliciting[NUMBERS];
    bool named[NUMBERS]; /* by the ACK being worked on */
    uint64_t path_first;
    uint64_t acked_end;
    bool by_timer; /* what is reported comes from the timer, not from an ACK */
    uint32_t newly_acked, newly_lost, newly_late;
} model;

static model m;

static void on_acked(void *context, const srm_sent_frame *frame) {
    (void)context;
    FUZZ_CHECK(frame->number < m.sent.next, "a packet that was sent");
    fate *f = &m.fates[frame->number];
    FUZZ_CHECK(!m.by_timer && m.named[frame->number], "only what an ACK names is acknowledged");
    FUZZ_CHECK(*f == OUT || *f == LOST, "and only once");
    m.newly_acked++;
    m.newly_late += *f == LOST;
    *f = *f == LOST ? LATE : ACKED;
}

static void on_lost(void *context, const srm_sent_frame *frame) {
    (void)context;
    FUZZ_CHECK(frame->number < m.sent.next, "a packet that was sent");
    fate *f = &m.fates[frame->number];
    FUZZ_CHECK(*f == OUT && m.eliciting[frame->number], "lost once, and not after it was acknowledged");
    FUZZ_CHECK(frame->number < m.sent.acked_end, "something later was acknowledged");
    m.newly_lost++;
    *f = LOST;
}

static const srm_sent_sink sink = {on_acked, on_lost, NULL};

static void send_packets(fuzz_input *in) {
    static const unsigned kinds[] = {SRM_SENT_ELICITING,
                                     SRM_SENT_ELICITING | SRM_SENT_ECT0,
                                     SRM_SENT_ELICITING | SRM_SENT_PTO_PROBE,
                                     SRM_SENT_ELICITING | SRM_SENT_MTU_PROBE,
                                     SRM_SENT_ELICITING | SRM_SENT_OFF_PATH,
                                     0};
    size_t count = fuzz_take_u8(in);
    unsigned flags = kinds[fuzz_take_below(in, SRM_COUNT_OF(kinds))];
    uint32_t bytes = (uint32_t)fuzz_take(in, 2) % SRM_SENT_PACKET_BYTES_MAX + 1;
    for (size_t i = 0; i < count && m.sent.next < NUMBERS; i++) {
        uint64_t number = m.sent.next;
        srm_sent_frame frame = {.number = number, .length = bytes};
        FUZZ_CHECK(srm_sent_begin(&m.sent), "memory");
        FUZZ_CHECK(srm_sent_add_frame(&m.sent, &frame), "memory");
        m.bytes[number] = bytes;
        m.eliciting[number] = (flags & SRM_SENT_ELICITING) != 0 && (flags & SRM_SENT_OFF_PATH) == 0;
        srm_sent_commit(&m.sent, m.now, bytes, flags);
        FUZZ_CHECK(m.sent.next == number + 1, "numbers follow each other");
    }
}

/* ---- ACK frames ---- */

/* Which of our packets the frame names. */
static void note_named(const srm_ack_frame *frame) {
    memset(m.named, 0, sizeof m.named);
    srm_ack_iter iter = srm_ack_iter_of(frame);
    for (srm_range range; srm_ack_iter_next(&iter, &range);)
        for (uint64_t n = range.start; n < range.end && n < NUMBERS; n++)
            m.named[n] = true;
}

/* A packet that is named, was out (or lost not long ago) and is still remembered is acknowledged now. */
static void check_all_acked(void) {
    for (uint64_t n = 0; n < m.sent.next; n++)
        FUZZ_CHECK(!m.named[n] || m.fates[n] != OUT || !m.eliciting[n], "a named packet stays outstanding");
}

static void apply(const srm_ack_frame *frame) {
    srm_sent_event event;
    uint64_t in_flight = m.sent.in_flight, eliciting = m.sent.eliciting, end = m.sent.acked_end;
    note_named(frame);
    m.by_timer = false;
    m.newly_acked = m.newly_lost = m.newly_late = 0;
    srm_sent_status status = srm_sent_on_ack(&m.sent, frame, m.now, &m.rtt, &sink, &event);
    FUZZ_CHECK((status == SRM_SENT_NEVER_SENT) == (frame->largest >= m.sent.next), "what was never sent");
    if (status == SRM_SENT_NEVER_SENT) {
        FUZZ_CHECK(m.newly_acked + m.newly_lost == 0 && in_flight == m.sent.in_flight &&
                       eliciting == m.sent.eliciting && end == m.sent.acked_end,
                   "nothing changed");
        return;
    }
    check_all_acked();
    FUZZ_CHECK(event.acked_packets == m.newly_acked && event.lost_packets == m.newly_lost &&
                   event.late_packets == m.newly_late,
               "the event counts what was reported");
    FUZZ_CHECK(event.sample.rtt >= 0 && m.rtt.smoothed > 0 && m.rtt.variance >= 0, "a time");
    FUZZ_CHECK(!event.undo || m.newly_late > 0, "no loss event was spurious without a late packet");
}

static void ack_bytes(fuzz_input *in) {
    uint8_t type = (fuzz_take_u8(in) & 1) != 0 ? SRM_ACK_ECN_TYPE : SRM_ACK_TYPE;
    srm_reader r = srm_reader_of(srm_span_of(in->at, fuzz_left(in)));
    srm_ack_frame frame;
    if (srm_ack_read(&r, type, &frame))
        apply(&frame);
}

/* Pairs of bytes: how many packets to skip, then how many to acknowledge. */
static void write_ranges(srm_writer *w, fuzz_input *in, uint64_t largest, uint64_t first) {
    uint64_t low = largest - first;
    uint8_t *count = srm_write_reserve(w, 1);
    *count = 0;
    srm_write_varint(w, first);
    while (fuzz_left(in) > 0 && *count < 63) {
        uint64_t gap = fuzz_take_u8(in), length = fuzz_take_u8(in);
        if (low < gap + length + 2)
            return;
        srm_write_varint(w, gap);
        srm_write_varint(w, length);
        low -= gap + length + 2;
        ++*count;
    }
}

static void ack_ranges(fuzz_input *in) {
    uint8_t bytes[512];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    uint64_t back = fuzz_take_u8(in), delay = fuzz_take_u8(in), first = fuzz_take_u8(in);
    if (back >= m.sent.next)
        return;
    uint64_t largest = m.sent.next - 1 - back;
    srm_write_varint(&w, largest);
    srm_write_varint(&w, delay);
    write_ranges(&w, in, largest, srm_u64_min(first, largest));
    srm_reader r = srm_reader_of(srm_writer_span(&w));
    srm_ack_frame frame;
    FUZZ_CHECK(srm_ack_read(&r, SRM_ACK_TYPE, &frame), "our own frame can be read");
    apply(&frame);
}

/* ---- Time ---- */

static void fire(void) {
    srm_time deadline = srm_sent_deadline(&m.sent, &m.rtt);
    srm_sent_event event;
    m.newly_lost = 0;
    srm_sent_on_timer(&m.sent, m.now, &m.rtt, &sink, &event);
    FUZZ_CHECK(event.lost_packets == m.newly_lost && event.acked_packets == 0, "the event counts losses");
    FUZZ_CHECK(deadline <= m.now || (m.newly_lost == 0 && event.probes == 0), "nothing before its time");
}

static void pass(fuzz_input *in) {
    static const srm_time units[] = {SRM_MICROSECOND, SRM_MILLISECOND, 100 * SRM_MILLISECOND, SRM_SECOND};
    srm_time unit = units[fuzz_take_below(in, SRM_COUNT_OF(units))];
    m.now += unit * (srm_time)fuzz_take_u8(in);
    srm_time deadline = srm_sent_deadline(&m.sent, &m.rtt);
    FUZZ_CHECK((deadline == SRM_TIME_NEVER) == (m.sent.eliciting == 0), "what is outstanding has a timer");
    m.by_timer = true;
    fire();
    if (srm_sent_deadline(&m.sent, &m.rtt) <= m.now)
        fire(); /* of two timers the other one */
    FUZZ_CHECK(srm_sent_deadline(&m.sent, &m.rtt) > m.now, "a timer that fired waits again");
}

static void new_path(void) {
    srm_sent_move(&m.sent, &m.flight, false);
    srm_rtt_reset(&m.rtt);
    m.path_first = m.sent.next;
}

/* ---- What always holds ---- */

static void check_counts(void) {
    uint64_t bytes = 0, eliciting = 0, lost = 0, late = 0;
    for (uint64_t n = 0; n < m.sent.next; n++) {
        bool out = m.fates[n] == OUT && m.eliciting[n];
        eliciting += out;
        bytes += out && n >= m.path_first ? m.bytes[n] : 0;
        lost += m.fates[n] == LOST || m.fates[n] == LATE;
        late += m.fates[n] == LATE;
    }
    FUZZ_CHECK(m.sent.eliciting == eliciting, "packets outstanding");
    FUZZ_CHECK(m.sent.in_flight == bytes, "bytes in flight on this path");
    FUZZ_CHECK(m.sent.packets_lost == lost && m.sent.packets_late == late, "packets lost");
    uint64_t oldest = srm_sent_oldest(&m.sent);
    FUZZ_CHECK(oldest == SRM_SENT_NONE ? eliciting == 0 : m.fates[oldest] == OUT && m.eliciting[oldest],
               "the oldest packet outstanding");
}

static void step(uint8_t kind, fuzz_input *body) {
    switch (kind % 8) {
    case 0:
    case 1:
        send_packets(body);
        break;
    case 2:
    case 3:
        ack_ranges(body);
        break;
    case 4:
        ack_bytes(body);
        break;
    case 5:
        pass(body);
        break;
    case 6:
        new_path();
        break;
    default:
        srm_sent_trim(&m.sent, m.now);
        srm_sent_app_limited(&m.sent, true);
        break;
    }
    check_counts();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    m = (model){.now = SRM_SECOND};
    srm_sent_init(&m.sent, &m.flight);
    srm_rtt_init(&m.rtt, SRM_RTT_INITIAL, MAX_ACK_DELAY);
    for (uint8_t kind; fuzz_take_record(&in, &kind, &body);)
        step(kind, &body);
    srm_sent_fini(&m.sent);
    return 0;
}
