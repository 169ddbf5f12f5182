#include "acks.h"

void srm_acks_init(srm_acks *acks, srm_time max_ack_delay) {
    SRM_ASSERT(max_ack_delay >= 0);
    *acks = (srm_acks){.deadline = SRM_TIME_NEVER,
                       .delay_limit = max_ack_delay,
                       .srtt = SRM_TIME_NEVER,
                       .every = SRM_ACKS_EVERY_MIN};
    srm_rangeset_init(&acks->ranges, SRM_ACKS_RANGES_MAX, SRM_RANGESET_DROP_LOWEST);
}

void srm_acks_fini(srm_acks *acks) {
    srm_rangeset_fini(&acks->ranges);
}

void srm_acks_set_rtt(srm_acks *acks, srm_time smoothed) {
    SRM_ASSERT(smoothed > 0);
    acks->srtt = smoothed;
}

void srm_acks_trim(srm_acks *acks) {
    srm_rangeset_trim(&acks->ranges);
}

static srm_time ack_delay(const srm_acks *acks) {
    srm_time delay = srm_time_max(acks->srtt / 4, SRM_ACKS_DELAY_MIN);
    return srm_time_min(delay, acks->delay_limit);
}

/* Packets per RTT, counted over at least one RTT; after a pause the count says what it should: few. */
static void count_packet(srm_acks *acks, srm_time now) {
    acks->window_count++;
    srm_time elapsed = now - acks->window_start;
    if (elapsed < acks->srtt)
        return;
    uint64_t rate = (uint64_t)((double)acks->window_count * (double)acks->srtt / (double)elapsed);
    uint64_t every = rate < SRM_ACKS_BUSY ? SRM_ACKS_EVERY_MIN : rate / 8;
    acks->every = (uint32_t)srm_u64_min(every, SRM_ACKS_EVERY_MAX);
    acks->window_start = now;
    acks->window_count = 0;
}

static void want_ack(srm_acks *acks, srm_time now, bool at_once) {
    acks->waiting++;
    if (at_once || acks->waiting >= acks->every)
        acks->deadline = srm_time_min(acks->deadline, now);
    else if (acks->deadline == SRM_TIME_NEVER)
        acks->deadline = now + ack_delay(acks);
}

void srm_acks_on_packet(srm_acks *acks, uint64_t number, srm_time now, bool ack_eliciting, srm_ecn ecn,
                        bool immediate) {
    bool in_order = number == acks->end;
    srm_rangeset_add(&acks->ranges, number, number + 1);
    if (number >= acks->end) {
        acks->end = number + 1;
        acks->largest_at = now;
    }
    acks->ect0 += ecn == SRM_ECN_ECT0;
    acks->ect1 += ecn == SRM_ECN_ECT1;
    acks->ce += ecn == SRM_ECN_CE;
    if (!ack_eliciting)
        return;
    count_packet(acks, now);
    want_ack(acks, now, immediate || !in_order || ecn == SRM_ECN_CE);
}

void srm_acks_on_ack_acked(srm_acks *acks, uint64_t largest) {
    /* the largest of all stays: an ACK must be able to name it, with the delay that belongs to it */
    if (acks->end > 0)
        srm_rangeset_remove(&acks->ranges, 0, srm_u64_min(largest + 1, acks->end - 1));
    acks->unconfirmed = 0;
}

static size_t fixed_size(const srm_acks *acks, srm_range top, uint64_t delay, bool has_ecn) {
    size_t size = 1 + srm_varint_size(top.end - 1) + srm_varint_size(delay) + 1 /* range count */ +
                  srm_varint_size(top.end - top.start - 1);
    if (has_ecn)
        size += srm_varint_size(acks->ect0) + srm_varint_size(acks->ect1) + srm_varint_size(acks->ce);
    return size;
}

static srm_range pair_at(const srm_acks *acks, uint32_t position) {
    srm_range range = srm_rangeset_at(&acks->ranges, position);
    srm_range above = srm_rangeset_at(&acks->ranges, position + 1);
    return (srm_range){above.start - range.end - 1, range.end - range.start - 1}; /* gap, length */
}

/* How many pairs below the highest range fit into `room`. */
static uint32_t pairs_fitting(const srm_acks *acks, size_t room) {
    uint32_t below = srm_rangeset_count(&acks->ranges) - 1;
    for (uint32_t pairs = 0; pairs < below; pairs++) {
        srm_range pair = pair_at(acks, below - 1 - pairs);
        size_t size = srm_varint_size(pair.start) + srm_varint_size(pair.end);
        if (size > room)
            return pairs;
        room -= size;
    }
    return below;
}

static void write_frame(const srm_acks *acks, srm_writer *w, uint64_t delay, uint32_t pairs, bool has_ecn) {
    uint32_t below = srm_rangeset_count(&acks->ranges) - 1;
    srm_range top = srm_rangeset_at(&acks->ranges, below);
    srm_write_u8(w, has_ecn ? SRM_ACK_ECN_TYPE : SRM_ACK_TYPE);
    srm_write_varint(w, top.end - 1);
    srm_write_varint(w, delay);
    srm_write_varint(w, pairs);
    srm_write_varint(w, top.end - top.start - 1);
    for (uint32_t i = 0; i < pairs; i++) {
        srm_range pair = pair_at(acks, below - 1 - i);
        srm_write_varint(w, pair.start);
        srm_write_varint(w, pair.end);
    }
    if (has_ecn) {
        srm_write_varint(w, acks->ect0);
        srm_write_varint(w, acks->ect1);
        srm_write_varint(w, acks->ce);
    }
}

_Static_assert(SRM_ACKS_RANGES_MAX <= 64, "the range count is taken to be one byte");

bool srm_acks_write(srm_acks *acks, srm_time now, srm_writer *w, size_t room, uint64_t *largest) {
    room = srm_size_min(room, srm_writer_left(w));
    uint32_t count = srm_rangeset_count(&acks->ranges);
    if (count == 0 || w->failed)
        return false;
    srm_range top = srm_rangeset_at(&acks->ranges, count - 1);
    uint64_t delay = (uint64_t)(srm_time_max(now - acks->largest_at, 0) / SRM_MICROSECOND);
    delay >>= SRM_ACK_DELAY_EXPONENT;
    bool has_ecn = (acks->ect0 | acks->ect1 | acks->ce) != 0;
    size_t fixed = fixed_size(acks, top, delay, has_ecn);
    if (fixed > room)
        return false;
    write_frame(acks, w, delay, pairs_fitting(acks, room - fixed), has_ecn);
    *largest = top.end - 1;
    acks->waiting = 0;
    acks->unconfirmed++;
    acks->deadline = SRM_TIME_NEVER;
    return true;
}

bool srm_acks_take_elicit(srm_acks *acks) {
    if (acks->unconfirmed < SRM_ACKS_UNCONFIRMED_MAX || srm_rangeset_count(&acks->ranges) < 2)
        return false;
    acks->unconfirmed = 0;
    return true;
}

/* Reads one pair below `start`, the lowest number acknowledged so far, and gives the range it tells. */
static bool read_pair(srm_reader *r, uint64_t start, srm_range *range) {
    uint64_t gap = srm_read_varint(r);
    uint64_t length = srm_read_varint(r);
    if (r->failed || gap + 2 > start || length > start - gap - 2)
        return false;
    range->end = start - gap - 1;
    range->start = range->end - length - 1;
    return true;
}

static bool read_ranges(srm_reader *r, srm_ack_frame *frame) {
    const uint8_t *from = r->at;
    srm_range range = {.start = frame->largest - frame->first, .end = frame->largest + 1};
    for (uint64_t i = 0; i < frame->range_count; i++) {
        if (!read_pair(r, range.start, &range))
            return false;
    }
    frame->ranges = srm_span_of(from, (size_t)(r->at - from));
    return true;
}

bool srm_ack_read(srm_reader *r, uint8_t type, srm_ack_frame *frame) {
    *frame = (srm_ack_frame){.has_ecn = type == SRM_ACK_ECN_TYPE};
    frame->largest = srm_read_varint(r);
    uint64_t delay = srm_read_varint(r);
    uint64_t unit = (uint64_t)SRM_MICROSECOND << SRM_ACK_DELAY_EXPONENT;
    frame->delay = (srm_time)(srm_u64_min(delay, (uint64_t)SRM_ACK_DELAY_LIMIT / unit) * unit);
    frame->range_count = srm_read_varint(r);
    frame->first = srm_read_varint(r);
    if (r->failed || frame->first > frame->largest || !read_ranges(r, frame))
        return false;
    if (frame->has_ecn) {
        frame->ect0 = srm_read_varint(r);
        frame->ect1 = srm_read_varint(r);
        frame->ce = srm_read_varint(r);
    }
    return !r->failed;
}

srm_ack_iter srm_ack_iter_of(const srm_ack_frame *frame) {
    return (srm_ack_iter){.reader = srm_reader_of(frame->ranges),
                          .left = frame->range_count + 1,
                          .next = {.start = frame->largest - frame->first, .end = frame->largest + 1}};
}

bool srm_ack_iter_next(srm_ack_iter *iter, srm_range *range) {
    if (iter->left == 0)
        return false;
    *range = iter->next;
    if (--iter->left > 0)
        read_pair(&iter->reader, range->start, &iter->next);
    return true;
}
