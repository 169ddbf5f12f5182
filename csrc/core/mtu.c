#include "mtu.h"

/* UDP payloads of what is common: a tunnel of 1280 over IPv6 and IPv4, GRE and the like, WireGuard (1420)
 * over IPv6 and IPv4, PPPoE (1492), Ethernet with IPv6 and IPv4; then InfiniBand (4092), jumbo frames (9000),
 * and the loopbacks of macOS and Linux. */
static const uint16_t candidates[] = {1232, 1252, 1280, 1350,  1372,
                                      1392, 1444, 1452, 1464,  1472,
                                      4044, 8952, 8972, 16336, SRM_DATAGRAM_MAX_MTU};

/* The candidate in the middle of those above `low` and below `high`; 0 if there is none. */
static size_t middle(size_t low, size_t high) {
    size_t first = 0, end = SRM_COUNT_OF(candidates);
    while (first < end && candidates[first] <= low)
        first++;
    while (end > first && candidates[end - 1] >= high)
        end--;
    return first < end ? candidates[first + (end - first) / 2] : 0;
}

/* The largest size worth trying, from `max` and the candidates. */
static size_t largest(const srm_mtu *mtu, size_t worth) {
    if (worth >= mtu->max)
        return mtu->max;
    size_t end = SRM_COUNT_OF(candidates);
    while (candidates[end - 1] > worth)
        end--;
    return candidates[end - 1];
}

/* The next size to try; 0 when all is known that is worth it. What most paths carry comes first, then the
 * largest of all, then what lies between. */
static size_t candidate(const srm_mtu *mtu, size_t worth) {
    size_t usual = srm_size_min(mtu->max, SRM_DATAGRAM_USUAL_MTU);
    size_t top = mtu->current < usual ? usual : largest(mtu, srm_size_max(worth, SRM_DATAGRAM_USUAL_MTU));
    if (mtu->failed > top)
        return mtu->current < top ? top : 0;
    return middle(mtu->current, mtu->failed);
}

static void start(srm_mtu *mtu) {
    mtu->searching = true;
    mtu->search_at = SRM_TIME_NEVER;
    mtu->failed = mtu->max + 1;
    mtu->probing = 0;
    mtu->tries = 0;
}

static void finish_if_done(srm_mtu *mtu, srm_time now) {
    if (!mtu->searching || candidate(mtu, mtu->max) != 0)
        return;
    mtu->searching = false;
    mtu->search_at = mtu->current < mtu->max ? now + SRM_MTU_RAISE_EACH : SRM_TIME_NEVER;
}

static void forget_bursts(srm_mtu *mtu) {
    mtu->burst_count = 0;
    mtu->burst_open = false;
    mtu->acked_largest = 0;
}

/* Size `size` doesn't pass: the search goes on below it. */
static void rule_out(srm_mtu *mtu, srm_time now, size_t size) {
    mtu->probing = 0;
    mtu->tries = 0;
    if (size < mtu->failed)
        mtu->failed = size;
    finish_if_done(mtu, now);
}

static void fall_back(srm_mtu *mtu, srm_time now) {
    mtu->current = SRM_DATAGRAM_MIN_MTU;
    mtu->searching = false;
    mtu->probing = 0;
    mtu->search_at = now + SRM_MTU_HOLE_WAIT;
    forget_bursts(mtu);
}

void srm_mtu_init(srm_mtu *mtu, srm_time now, size_t max, bool discover) {
    *mtu = (srm_mtu){.current = SRM_DATAGRAM_MIN_MTU,
                     .max = discover ? srm_size_max(max, SRM_DATAGRAM_MIN_MTU) : SRM_DATAGRAM_MIN_MTU};
    start(mtu);
    finish_if_done(mtu, now);
}

size_t srm_mtu_current(const srm_mtu *mtu) {
    return mtu->current;
}

srm_time srm_mtu_deadline(const srm_mtu *mtu) {
    return mtu->search_at;
}

void srm_mtu_on_timer(srm_mtu *mtu, srm_time now) {
    if (mtu->search_at > now)
        return;
    start(mtu);
    finish_if_done(mtu, now);
}

size_t srm_mtu_probe_wanted(const srm_mtu *mtu, srm_time now, size_t worth) {
    (void)now;
    return mtu->searching && mtu->probing == 0 ? candidate(mtu, worth) : 0;
}

void srm_mtu_on_probe_sent(srm_mtu *mtu, srm_time now, size_t size) {
    (void)now;
    mtu->probing = size;
}

void srm_mtu_on_probe_acked(srm_mtu *mtu, srm_time now, size_t size) {
    if (size == mtu->probing)
        mtu->probing = 0;
    if (size <= mtu->current || size > mtu->max)
        return;
    mtu->current = size;
    mtu->tries = 0;
    if (mtu->failed <= size) /* a late answer: it was not too large after all */
        mtu->failed = mtu->max + 1;
    forget_bursts(mtu);
    finish_if_done(mtu, now);
}

void srm_mtu_on_probe_lost(srm_mtu *mtu, srm_time now, size_t size) {
    if (size != mtu->probing)
        return;
    mtu->probing = 0;
    if (++mtu->tries >= SRM_MTU_TRIES)
        rule_out(mtu, now, size);
}

void srm_mtu_on_probe_gone(srm_mtu *mtu) {
    mtu->probing = 0;
}

void srm_mtu_on_packets_acked(srm_mtu *mtu, srm_time now, size_t largest) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < mtu->burst_count; i++)
        if (mtu->bursts[i] > largest)
            mtu->bursts[kept++] = mtu->bursts[i];
    mtu->burst_count = kept;
    mtu->burst_open = false;
    mtu->acked_largest = srm_size_max(mtu->acked_largest, largest);
    if (kept == SRM_MTU_HOLE_BURSTS)
        fall_back(mtu, now);
}

void srm_mtu_on_packets_lost(srm_mtu *mtu, srm_time now, size_t smallest) {
    (void)now;
    bool suspicious = smallest > SRM_DATAGRAM_MIN_MTU && smallest > mtu->acked_largest;
    if (mtu->burst_open && mtu->burst_count > 0) {
        size_t *open = &mtu->bursts[mtu->burst_count - 1];
        *open = srm_size_min(*open, smallest);
        if (!suspicious)
            mtu->burst_count--;
    } else if (!mtu->burst_open && suspicious) {
        SRM_ASSERT(mtu->burst_count < SRM_MTU_HOLE_BURSTS); /* the ACK that ended the last one emptied it */
        mtu->bursts[mtu->burst_count++] = smallest;
    }
    mtu->burst_open = true;
    mtu->acked_largest = 0;
}

void srm_mtu_on_too_large(srm_mtu *mtu, srm_time now, size_t size) {
    if (size <= SRM_DATAGRAM_MIN_MTU || size > mtu->max)
        return;
    if (size <= mtu->current) { /* the interface changed: search again, below this size */
        mtu->current = SRM_DATAGRAM_MIN_MTU;
        forget_bursts(mtu);
        start(mtu);
    }
    rule_out(mtu, now, size);
}
