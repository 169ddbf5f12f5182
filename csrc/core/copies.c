#include "copies.h"

#include <stdlib.h>

#define LOSS_MEMORY 256.0 /* packets over which the loss is averaged */

void srm_copies_init(srm_copies *copies, srm_time now) {
    memset(copies, 0, sizeof *copies);
    copies->lost_at = SRM_TIME_NEVER;
    copies->tokens = SRM_COPIES_BURST;
    copies->filled = now;
}

void srm_copies_fini(srm_copies *copies) {
    free(copies->waiting);
    copies->waiting = NULL;
    copies->count = 0;
}

void srm_copies_reset(srm_copies *copies, srm_time now) {
    srm_copies_fini(copies);
    srm_copies_init(copies, now);
}

void srm_copies_on_event(srm_copies *copies, srm_time now, uint64_t acked, uint64_t lost) {
    double packets = (double)(acked + lost);
    if (packets <= 0)
        return;
    double weight = packets < LOSS_MEMORY ? packets / LOSS_MEMORY : 1;
    copies->loss += ((double)lost / packets - copies->loss) * weight;
    if (lost > 0)
        copies->lost_at = now;
}

unsigned srm_copies_wanted(const srm_copies *copies, srm_time now) {
    if (copies->lost_at == SRM_TIME_NEVER || now - copies->lost_at > SRM_COPIES_MEMORY)
        return 0;
    /* loss ^ (copies + 1) below about 1/2000; the estimate of a thin flow is coarse, so rather one more. */
    return copies->loss < 0.003 ? 1 : copies->loss < 0.09 ? 2 : 3;
}

static srm_time ride_until(srm_time now, srm_time rtt) {
    return now + srm_time_min(srm_time_max(rtt / 8, SRM_COPIES_WAIT_MIN), SRM_COPIES_WAIT_MAX);
}

void srm_copies_note(srm_copies *copies, srm_time now, uint8_t channel, uint64_t number, size_t size,
                     uint64_t packet, srm_time rtt) {
    unsigned wanted = srm_copies_wanted(copies, now);
    if (wanted == 0 || size > SRM_COPIES_SIZE_MAX || copies->count == SRM_COPIES_WAITING_MAX)
        return;
    if (copies->waiting == NULL)
        copies->waiting = calloc(SRM_COPIES_WAITING_MAX, sizeof *copies->waiting);
    if (copies->waiting == NULL)
        return;
    copies->waiting[copies->count++] = (srm_copy){.number = number,
                                                  .packet = packet,
                                                  .due = ride_until(now, rtt),
                                                  .channel = channel,
                                                  .left = (uint8_t)wanted};
}

const srm_copy *srm_copies_next(const srm_copies *copies, uint64_t packet, size_t *at) {
    for (; *at < copies->count; ++*at)
        if (copies->waiting[*at].packet != packet)
            return &copies->waiting[*at];
    return NULL;
}

bool srm_copies_afford(srm_copies *copies, srm_time now, uint64_t rate, size_t bytes) {
    uint64_t speed = srm_u64_max(SRM_COPIES_RATE_MIN, rate / SRM_COPIES_RATE_SHARE);
    double gained = (double)(now - copies->filled) / 1e9 * (double)speed;
    if (gained >= 1) {
        copies->tokens += (uint64_t)(gained < (double)SRM_COPIES_BURST ? gained : (double)SRM_COPIES_BURST);
        copies->tokens = srm_u64_min(copies->tokens, SRM_COPIES_BURST);
        copies->filled = now;
    }
    if (copies->tokens < bytes)
        return false;
    copies->tokens -= bytes;
    return true;
}

void srm_copies_sent(srm_copies *copies, srm_time now, size_t *at, uint64_t packet, srm_time rtt) {
    srm_copy *copy = &copies->waiting[*at];
    copy->packet = packet;
    copy->due = ride_until(now, rtt);
    if (--copy->left == 0)
        srm_copies_drop(copies, *at);
    else
        ++*at;
}

void srm_copies_drop(srm_copies *copies, size_t at) {
    copies->count--;
    memmove(&copies->waiting[at], &copies->waiting[at + 1], (copies->count - at) * sizeof copies->waiting[0]);
}

srm_time srm_copies_deadline(const srm_copies *copies) {
    srm_time at = SRM_TIME_NEVER;
    for (size_t i = 0; i < copies->count; i++)
        at = srm_time_min(at, copies->waiting[i].due);
    return at;
}
