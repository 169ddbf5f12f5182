#include "cc.h"

static const srm_cc_table *table_of(srm_cc_kind kind) {
    switch (kind) {
    case SRM_CC_BBR:
        return &srm_cc_bbr_table;
    case SRM_CC_CUBIC:
        return &srm_cc_cubic_table;
    }
    return &srm_cc_bbr_table;
}

void srm_cc_init(srm_cc *cc, srm_cc_kind kind, srm_time now) {
    const srm_cc_table *table = table_of(kind);
    *cc = (srm_cc){.kind = kind, .table = table, .window = SRM_CC_INITIAL_WINDOW};
    table->init(cc, now);
}

void srm_cc_on_sent(srm_cc *cc, srm_time now, uint64_t bytes, uint64_t in_flight) {
    cc->table->on_sent(cc, now, bytes, in_flight);
}

void srm_cc_on_sample(srm_cc *cc, const srm_cc_sample *sample) {
    cc->table->on_sample(cc, sample);
}

void srm_cc_on_spurious_loss(srm_cc *cc, srm_time now, uint64_t bytes) {
    cc->table->on_spurious_loss(cc, now, bytes);
}

void srm_cc_on_idle_restart(srm_cc *cc, srm_time now) {
    cc->table->on_idle_restart(cc, now);
}

uint64_t srm_cc_rate_of(uint64_t bytes, srm_time interval) {
    double rate = (double)bytes * (double)SRM_SECOND / (double)srm_time_max(interval, 1);
    return rate < (double)SRM_CC_RATE_MAX ? (uint64_t)rate : SRM_CC_RATE_MAX;
}

uint64_t srm_cc_bytes_of(uint64_t rate, srm_time interval) {
    return (uint64_t)((double)rate * (double)interval / (double)SRM_SECOND);
}

void srm_cc_set_rate(srm_cc *cc, uint64_t rate, srm_time burst) {
    cc->pacing_rate = srm_u64_min(srm_u64_max(rate, 1), SRM_CC_RATE_MAX);
    uint64_t quantum = srm_cc_bytes_of(cc->pacing_rate, burst);
    cc->send_quantum = srm_u64_min(srm_u64_max(quantum, SRM_CC_PACKET), SRM_CC_QUANTUM_MAX);
}
