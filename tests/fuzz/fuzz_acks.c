/* Acknowledgement, the receiver's half: packets arrive as the input says, ACK frames are written into as much
 * room as it says and read back: a frame tells nothing that did not arrive, and within its limits all of it.
 * And any bytes as an ACK frame: read or refused, and what was accepted goes downwards without an overlap.
 *
 * kind % 4   0  a packet: the next number + distance - 8, flags (eliciting, immediate, ECN), microseconds
 *            1  an ACK frame is written: room
 *            2  the newest frame is known to have arrived; an RTT is told
 *            3  the body is an ACK frame
 */
#include "fuzz.h"

#include "../../csrc/core/limits.h"
#include "acks.h"

const bool fuzz_records = true;

#define NUMBERS 1024 /* told apart; those beyond are not sent */

typedef struct model {
    srm_acks acks;
    srm_time now;
    bool arrived[NUMBERS];
    bool settled[NUMBERS]; /* may have been forgotten: an ACK that tells it has arrived */
    uint64_t next;         /* largest that arrived, plus 1 */
    uint64_t told;         /* largest of the newest frame, plus 1 */
    uint64_t eliciting;    /* not yet told of in a frame */
    bool full;             /* there were more ranges than are remembered: the lowest is forgotten */
} model;

static model m;

static void on_packet(fuzz_input *in) {
    int64_t distance = (int64_t)fuzz_take_u8(in) - 8;
    unsigned flags = fuzz_take_u8(in);
    int64_t number = (int64_t)m.next + (distance < 64 ? distance : 8 * distance);
    m.now += (srm_time)fuzz_take(in, 2) * SRM_MICROSECOND;
    if (number < 0 || number >= NUMBERS || m.arrived[number])
        return; /* replays never come so far */
    bool eliciting = (flags & 1) != 0;
    srm_acks_on_packet(&m.acks, (uint64_t)number, m.now, eliciting, (srm_ecn)(flags >> 1 & 3),
                       (flags & 8) != 0);
    m.arrived[number] = true;
    m.settled[number] = false;
    m.full |= srm_rangeset_count(&m.acks.ranges) == SRM_ACKS_RANGES_MAX;
    m.next = (uint64_t)number >= m.next ? (uint64_t)number + 1 : m.next;
    m.eliciting += eliciting;
    FUZZ_CHECK(srm_acks_pending(&m.acks) == (m.eliciting > 0), "what asks for an ACK waits for one");
    FUZZ_CHECK((srm_acks_deadline(&m.acks) == SRM_TIME_NEVER) == (m.eliciting == 0), "and not for ever");
    FUZZ_CHECK(m.eliciting == 0 || srm_acks_deadline(&m.acks) <= m.now + SRM_MAX_ACK_DELAY,
               "no longer than we promised");
}

/* Walks the frame's ranges. `arrived` NULL: nothing is known of what arrived. */
static void check_ranges(const srm_ack_frame *frame, const bool *arrived, bool *named) {
    srm_ack_iter iter = srm_ack_iter_of(frame);
    srm_range range;
    uint64_t below = UINT64_MAX;
    size_t count = 0;
    for (; srm_ack_iter_next(&iter, &range); count++) {
        FUZZ_CHECK(range.start < range.end, "no range is empty");
        FUZZ_CHECK(count == 0 ? range.end == frame->largest + 1 : range.end < below,
                   "ranges go down, with a gap between them");
        below = range.start;
        for (uint64_t n = range.start; arrived != NULL && n < range.end; n++) {
            FUZZ_CHECK(n < NUMBERS && arrived[n], "nothing is acknowledged that did not arrive");
            named[n] = true;
        }
    }
    FUZZ_CHECK(count == frame->range_count + 1, "as many ranges as it says");
}

/* With room enough all that arrived is told, unless it was settled or there were too many gaps. */
static void check_complete(const bool *named) {
    size_t missing = 0;
    for (uint64_t n = 0; n < m.next; n++)
        missing += m.arrived[n] && !m.settled[n] && !named[n];
    FUZZ_CHECK(missing == 0 || m.full, "something that arrived is not told");
}

static void write_frame(fuzz_input *in) {
    uint8_t bytes[2048];
    bool named[NUMBERS] = {false};
    size_t room = (size_t)fuzz_take(in, 2) % sizeof bytes;
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    uint64_t largest;
    srm_ack_frame frame;
    srm_time deadline = srm_acks_deadline(&m.acks);
    if (!srm_acks_write(&m.acks, m.now, &w, room, &largest)) {
        FUZZ_CHECK(srm_writer_used(&w) == 0 && srm_acks_deadline(&m.acks) == deadline, "nothing changed");
        FUZZ_CHECK(m.next == 0 || room < 1 + 8 + 8 + 1 + 8 + 3 * 8, "there was room for one range");
        return;
    }
    FUZZ_CHECK(srm_writer_used(&w) <= room, "no more room is taken than was given");
    srm_reader r = srm_reader_of(srm_writer_span(&w));
    uint8_t type = srm_read_u8(&r);
    FUZZ_CHECK(srm_ack_read(&r, type, &frame) && srm_reader_left(&r) == 0, "our own frame can be read");
    FUZZ_CHECK(frame.largest == largest && largest + 1 == m.next, "it names the largest that arrived");
    check_ranges(&frame, m.arrived, named);
    if (room >= 1024)
        check_complete(named);
    m.told = largest + 1;
    m.eliciting = 0;
    FUZZ_CHECK(srm_acks_deadline(&m.acks) == SRM_TIME_NEVER, "nothing is due after it");
}

static void frame_arrived(fuzz_input *in) {
    srm_acks_set_rtt(&m.acks, (srm_time)(fuzz_take(in, 3) + 1) * SRM_MICROSECOND);
    if (m.told == 0)
        return;
    srm_acks_on_ack_acked(&m.acks, m.told - 1);
    for (uint64_t n = 0; n < m.told; n++)
        m.settled[n] = true;
}

static void read_any(fuzz_input *in) {
    uint8_t type = (fuzz_take_u8(in) & 1) != 0 ? SRM_ACK_ECN_TYPE : SRM_ACK_TYPE;
    srm_reader r = srm_reader_of(srm_span_of(in->at, fuzz_left(in)));
    srm_ack_frame frame;
    if (!srm_ack_read(&r, type, &frame))
        return;
    FUZZ_CHECK(frame.delay >= 0 && frame.delay <= SRM_ACK_DELAY_LIMIT, "a delay in its limits");
    check_ranges(&frame, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    m = (model){.now = SRM_SECOND};
    srm_acks_init(&m.acks, SRM_MAX_ACK_DELAY);
    for (uint8_t kind; fuzz_take_record(&in, &kind, &body);) {
        switch (kind % 4) {
        case 0:
            on_packet(&body);
            break;
        case 1:
            write_frame(&body);
            break;
        case 2:
            frame_arrived(&body);
            break;
        default:
            read_any(&body);
            break;
        }
    }
    srm_acks_fini(&m.acks);
    return 0;
}
