#include "outlet.h"

#include "clock.h"

void srm_outlet_init(srm_outlet *outlet) {
    outlet->first = outlet->count = 0;
}

/* False: the core has nothing to send. */
static bool collect(srm_outlet *outlet, srm_endpoint *core) {
    srm_time now = srm_clock_now();
    size_t used = 0;
    outlet->first = outlet->count = 0;
    while (outlet->count < SRM_OUTLET_ROWS && used < SRM_OUTLET_BYTES) {
        srm_udp_row *row = &outlet->rows[outlet->count];
        *row = (srm_udp_row){.data = outlet->data + used};
        size_t room = srm_size_min(sizeof outlet->data - used, SRM_OUTLET_ROW - 1);
        if (!srm_endpoint_transmit(core, now, outlet->data + used, room, true, &row->what))
            break;
        used += row->what.size;
        outlet->count++;
    }
    return outlet->count > 0;
}

/* False: blocked. */
static bool flush(srm_outlet *outlet, srm_udp *udp, srm_endpoint *core) {
    while (outlet->first < outlet->count) {
        size_t done;
        srm_udp_row *rows = &outlet->rows[outlet->first];
        srm_udp_result result = srm_udp_send(udp, rows, outlet->count - outlet->first, &done);
        outlet->first += done;
        if (result == SRM_UDP_BLOCKED)
            return false;
        if (result == SRM_UDP_SENT)
            continue;
        const srm_transmit *what = &rows[done].what;
        srm_endpoint_send_failed(core, srm_clock_now(), &what->to, srm_size_min(what->segment, what->size),
                                 result == SRM_UDP_TOO_LARGE ? SRM_SEND_TOO_LARGE : SRM_SEND_UNREACHABLE);
        outlet->first++;
    }
    return true;
}

srm_outlet_state srm_outlet_run(srm_outlet *outlet, srm_udp *udp, srm_endpoint *core) {
    for (int round = 0; round < SRM_OUTLET_ROUNDS; round++) {
        if (outlet->first == outlet->count && !collect(outlet, core))
            return SRM_OUTLET_EMPTY;
        if (!flush(outlet, udp, core))
            return SRM_OUTLET_BLOCKED;
    }
    return SRM_OUTLET_MORE;
}

srm_udp_socket *srm_outlet_blocked_by(const srm_outlet *outlet, srm_udp *udp) {
    if (outlet->first == outlet->count)
        return NULL;
    return srm_udp_socket_for(udp, outlet->rows[outlet->first].what.to.family);
}
