#include "repair_out.h"

#include <stdlib.h>

#define LOSS_MEMORY 256.0 /* packets over which the loss is averaged */

_Static_assert((SRM_REPAIR_WINDOW & (SRM_REPAIR_WINDOW - 1)) == 0, "places are found by masking");

void srm_repair_out_init(srm_repair_out *out, srm_time now) {
    *out = (srm_repair_out){.lost_at = SRM_TIME_NEVER, .tokens = SRM_REPAIR_BURST, .filled = now};
}

void srm_repair_out_fini(srm_repair_out *out) {
    srm_repair_out_trim(out);
}

void srm_repair_out_reset(srm_repair_out *out, srm_time now) {
    uint8_t index = out->index; /* the link goes on, and so do its frames */
    srm_repair_out_trim(out);
    srm_repair_out_init(out, now);
    out->index = index;
}

void srm_repair_out_trim(srm_repair_out *out) {
    free(out->entries);
    out->entries = NULL;
    out->count = 0;
}

void srm_repair_out_on_event(srm_repair_out *out, srm_time now, uint64_t acked, uint64_t lost) {
    double packets = (double)(acked + lost);
    if (packets <= 0)
        return;
    out->heard += acked + lost;
    double weight = packets < LOSS_MEMORY ? packets / LOSS_MEMORY : 1;
    out->loss += ((double)lost / packets - out->loss) * weight;
    if (lost > 0)
        out->lost_at = now;
}

static bool is_lossy(const srm_repair_out *out, srm_time now) {
    return out->lost_at != SRM_TIME_NEVER && now - out->lost_at <= SRM_REPAIR_MEMORY;
}

bool srm_repair_out_on_trial(const srm_repair_out *out, srm_time now) {
    return out->heard < SRM_REPAIR_TRIAL && !is_lossy(out, now);
}

bool srm_repair_out_active(const srm_repair_out *out, srm_time now) {
    return out->heard < SRM_REPAIR_TRIAL || is_lossy(out, now);
}

/* ---- The window ---- */

static srm_repair_entry *entry_at(const srm_repair_out *out, size_t at) {
    return &out->entries[(out->first + at) & (SRM_REPAIR_WINDOW - 1)];
}

static srm_time ride_until(srm_time now, srm_time rtt) {
    return now + srm_time_min(srm_time_max(rtt / 8, SRM_REPAIR_WAIT_MIN), SRM_REPAIR_WAIT_MAX);
}

static srm_repair_entry *find(const srm_repair_out *out, uint8_t channel, uint64_t number) {
    for (size_t at = 0; at < out->count; at++)
        if (entry_at(out, at)->number == number && entry_at(out, at)->channel == channel)
            return entry_at(out, at);
    return NULL;
}

/* The oldest entry makes room. */
static srm_repair_entry *push(srm_repair_out *out) {
    if (out->entries == NULL)
        out->entries = calloc(SRM_REPAIR_WINDOW, sizeof *out->entries);
    if (out->entries == NULL)
        return NULL;
    if (out->count == SRM_REPAIR_WINDOW) {
        out->first++;
        out->count--;
    }
    return entry_at(out, out->count++);
}

/* What those before it were to pay besides, the repairs that it pays do: they cover them too. */
static void take_over(srm_repair_out *out, uint8_t channel, uint64_t packet) {
    for (size_t at = 0; at < out->count; at++)
        if (entry_at(out, at)->channel == channel && entry_at(out, at)->packet != packet)
            entry_at(out, at)->extra = 0;
}

void srm_repair_out_note(srm_repair_out *out, srm_time now, uint8_t channel, uint64_t number, size_t size,
                         bool again, uint64_t packet, srm_time rtt) {
    if (size > SRM_REPAIR_SIZE_MAX || !srm_repair_out_active(out, now))
        return;
    take_over(out, channel, packet);
    srm_repair_entry *entry = again ? find(out, channel, number) : NULL;
    if (entry == NULL && (entry = push(out)) == NULL)
        return;
    /* One for each packet gives back nearly everything up to a loss of some percent; the estimate of a thin
     * flow is coarse, so rather early one more. */
    *entry = (srm_repair_entry){.number = number,
                                .packet = packet,
                                .due = ride_until(now, rtt),
                                .channel = channel,
                                .owed = out->loss < 0.09 ? 1 : 2,
                                .extra = out->loss < 0.003 ? 0 : 1};
}

/* ---- Repairs ---- */

const srm_repair_entry *srm_repair_out_payer(const srm_repair_out *out, srm_time now, uint64_t packet) {
    for (size_t at = 0; at < out->count; at++) {
        const srm_repair_entry *entry = entry_at(out, at);
        if (entry->packet != packet && (entry->owed > 0 || (entry->extra > 0 && entry->due <= now)))
            return entry;
    }
    return NULL;
}

srm_repair_entry *srm_repair_out_covered(const srm_repair_out *out, const srm_repair_entry *payer,
                                         size_t *at) {
    for (; *at < out->count; ++*at) {
        srm_repair_entry *entry = entry_at(out, *at);
        if (entry->channel == payer->channel && !entry->gone)
            return entry;
    }
    return NULL;
}

bool srm_repair_out_afford(srm_repair_out *out, srm_time now, uint64_t rate, size_t bytes) {
    uint64_t speed = srm_u64_max(SRM_REPAIR_RATE_MIN, rate / SRM_REPAIR_RATE_SHARE);
    double gained = (double)(now - out->filled) / 1e9 * (double)speed;
    if (gained >= 1) {
        out->tokens += (uint64_t)(gained < (double)SRM_REPAIR_BURST ? gained : (double)SRM_REPAIR_BURST);
        out->tokens = srm_u64_min(out->tokens, SRM_REPAIR_BURST);
        out->filled = now;
    }
    if (out->tokens < bytes)
        return false;
    out->tokens -= bytes;
    return true;
}

void srm_repair_out_sent(srm_repair_out *out, const srm_repair_entry *payer, srm_time now, uint64_t packet,
                         srm_time rtt) {
    srm_repair_entry *entry = find(out, payer->channel, payer->number);
    entry->packet = packet;
    entry->due = ride_until(now, rtt);
    if (entry->owed > 0)
        entry->owed--;
    else
        entry->extra--;
    out->index = (uint8_t)((out->index + 1) % SRM_REPAIR_INDEXES);
}

void srm_repair_out_waive(srm_repair_out *out, const srm_repair_entry *payer) {
    srm_repair_entry *entry = find(out, payer->channel, payer->number);
    entry->owed = entry->extra = 0;
}

srm_time srm_repair_out_deadline(const srm_repair_out *out) {
    srm_time at = SRM_TIME_NEVER;
    for (size_t i = 0; i < out->count; i++)
        if (entry_at(out, i)->owed + entry_at(out, i)->extra > 0)
            at = srm_time_min(at, entry_at(out, i)->due);
    return at;
}
