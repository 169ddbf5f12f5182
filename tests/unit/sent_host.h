/* sent_host - one sender whose frames are numbered as its packets, for the tests of sent: short calls to
 * send, acknowledge and let the timer fire. `srm_sent` comes from whoever includes this.
 */
#ifndef SENT_HOST_H
#define SENT_HOST_H

#include "check.h"

#define MS SRM_MILLISECOND
#define US SRM_MICROSECOND

typedef struct host {
    srm_sent sent;
    srm_flight flight;
    srm_rtt rtt;
    srm_sent_sink sink;
    srm_sent_event event;
    uint64_t acked[4096]; /* frame numbers in the order they were reported */
    uint64_t lost[4096];
    size_t acked_count, lost_count;
} host;

static host h;

static inline void host_acked(void *context, const srm_sent_frame *frame) {
    host *to = context;
    to->acked[to->acked_count++ % SRM_COUNT_OF(to->acked)] = frame->number;
}

static inline void host_lost(void *context, const srm_sent_frame *frame) {
    host *to = context;
    to->lost[to->lost_count++ % SRM_COUNT_OF(to->lost)] = frame->number;
}

/* A host with an RTT of `rtt` measured at time 0 (0: none yet); max_ack_delay 5 ms. */
static inline void host_init(srm_time rtt) {
    h = (host){.sink = {host_acked, host_lost, &h}};
    srm_sent_init(&h.sent, &h.flight);
    srm_rtt_init(&h.rtt, SRM_RTT_INITIAL, 5 * MS);
    for (int i = 0; i < 100 && rtt > 0; i++)
        srm_rtt_update(&h.rtt, 0, rtt, 0);
}

static inline uint64_t send_flags(srm_time now, size_t bytes, unsigned flags) {
    uint64_t number = h.sent.next;
    srm_sent_frame frame = {
        .number = number, .offset = 7, .length = (uint32_t)bytes, .kind = 3, .channel = 9};
    CHECK(srm_sent_begin(&h.sent));
    CHECK(srm_sent_add_frame(&h.sent, &frame));
    srm_sent_commit(&h.sent, now, bytes, flags);
    return number;
}

static inline uint64_t send_one(srm_time now) {
    return send_flags(now, 1000, SRM_SENT_ELICITING);
}

/* An ACK frame of `count` ranges, first and last packet of each, the highest first. */
static inline srm_ack_frame frame_of(const uint64_t (*ranges)[2], size_t count) {
    static uint8_t bytes[128];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    srm_ack_frame frame;
    srm_write_varint(&w, ranges[0][1]);
    srm_write_varint(&w, 0);
    srm_write_varint(&w, count - 1);
    srm_write_varint(&w, ranges[0][1] - ranges[0][0]);
    for (size_t i = 1; i < count; i++) {
        srm_write_varint(&w, ranges[i - 1][0] - ranges[i][1] - 2);
        srm_write_varint(&w, ranges[i][1] - ranges[i][0]);
    }
    srm_reader r = srm_reader_of(srm_writer_span(&w));
    CHECK(srm_ack_read(&r, SRM_ACK_TYPE, &frame));
    return frame;
}

static inline void ack_ranges(srm_time now, const uint64_t (*ranges)[2], size_t count) {
    srm_ack_frame frame = frame_of(ranges, count);
    CHECK_EQ(srm_sent_on_ack(&h.sent, &frame, now, &h.rtt, &h.sink, &h.event), SRM_SENT_OK);
}

static inline void ack(srm_time now, uint64_t first, uint64_t last) {
    const uint64_t ranges[1][2] = {{first, last}};
    ack_ranges(now, ranges, 1);
}

static inline void ack_two(srm_time now, uint64_t first, uint64_t last, uint64_t low_first,
                           uint64_t low_last) {
    const uint64_t ranges[2][2] = {{first, last}, {low_first, low_last}};
    ack_ranges(now, ranges, 2);
}

static inline void timer(srm_time now) {
    srm_sent_on_timer(&h.sent, now, &h.rtt, &h.sink, &h.event);
}

static inline srm_time deadline(void) {
    return srm_sent_deadline(&h.sent, &h.rtt);
}

#endif
