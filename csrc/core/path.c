#include "path.h"

void srm_path_init(srm_path *path, srm_time now, const srmudp_address *remote, const srmudp_config *config,
                   size_t max_datagram) {
    *path = (srm_path){.remote = *remote};
    srm_cc_init(&path->cc, config->congestion_control == SRMUDP_CONGESTION_CUBIC ? SRM_CC_CUBIC : SRM_CC_BBR,
                now);
    srm_pacer_init(&path->pacer, now);
    srm_mtu_init(&path->mtu, now, srm_size_min(max_datagram, SRM_DATAGRAM_MAX_MTU), config->pmtu_discovery);
}

void srm_path_copy(srm_path *path, const srm_path *from, const srmudp_address *remote, uint64_t in_flight) {
    *path = (srm_path){.remote = *remote,
                       .flight = from->flight,
                       .cc = from->cc,
                       .pacer = from->pacer,
                       .mtu = from->mtu,
                       .round_trip = from->round_trip};
    path->flight.in_flight = in_flight;
    srm_mtu_on_probe_gone(&path->mtu);
}

uint64_t srm_path_room(const srm_path *path) {
    uint64_t window = srm_cc_window(&path->cc), used = path->flight.in_flight;
    return window > used ? window - used : 0;
}

/* Among many busy paths each has its share of the engine's time as well: its packets leave in fewer and
 * larger batches, which cost less, up to SRM_QUANTA_MAX times what it would send alone in a quantum. */
uint64_t srm_path_quantum(const srm_path *path, size_t busy) {
    uint64_t quantum = srm_cc_send_quantum(&path->cc);
    uint64_t most = srm_u64_min(srm_cc_window(&path->cc) / 4, SRM_CC_QUANTUM_MAX);
    size_t times = srm_size_min(busy, SRM_QUANTA_MAX);
    return times < 2 ? quantum : srm_u64_max(quantum, srm_u64_min(quantum * times, most));
}

/* A loss must show among the packets behind it, so a window holds four; and no packet is longer than a burst
 * may be. */
size_t srm_path_worthwhile_size(const srm_path *path) {
    uint64_t share = srm_u64_min(srm_cc_window(&path->cc) / 4, srm_cc_send_quantum(&path->cc));
    return (size_t)srm_u64_max(share, SRM_DATAGRAM_USUAL_MTU);
}

size_t srm_path_packet_size(const srm_path *path, size_t max) {
    return srm_size_min(srm_size_min(srm_mtu_current(&path->mtu), srm_path_worthwhile_size(path)),
                        srm_size_max(max, SRM_DATAGRAM_MIN_MTU));
}

bool srm_path_is_stuck(const srm_path *path, srm_time now) {
    srm_time patience = srm_time_max(3 * path->round_trip, SRM_PATH_STUCK_MIN);
    return path->flight.in_flight > 0 && now - path->flight.delivered_time > patience;
}
