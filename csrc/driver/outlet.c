#include "outlet.h"

#include "address.h"
#include "clock.h"

void srm_outlet_init(srm_outlet *outlet) {
    outlet->first = outlet->count = 0;
}

static bool is_single(const srm_transmit *what) {
    return what->size <= what->segment;
}

/* Whether `next`, which lies behind the row, can be more of it: datagrams of one size to one place, the last
 * of which may be shorter. One that stands alone may be a probe for the MTU, which the kernel may refuse:
 * only its like goes along. */
static bool continues(const srm_transmit *row, const srm_transmit *next) {
    if (row->size % row->segment != 0 || next->ecn != row->ecn || !srm_address_same(&row->to, &next->to))
        return false;
    return next->segment == row->segment || (is_single(next) && next->size < row->segment && !is_single(row));
}

/* Connections to one address share rows. False: the core has nothing to send. */
static bool collect(srm_outlet *outlet, srm_endpoint *core) {
    srm_time now = srm_clock_now();
    size_t used = 0;
    outlet->first = outlet->count = 0;
    while (outlet->count < SRM_OUTLET_ROWS && used < SRM_OUTLET_BYTES) {
        srm_transmit what;
        size_t room = srm_size_min(sizeof outlet->data - used, SRM_OUTLET_ROW - 1);
        if (!srm_endpoint_transmit(core, now, outlet->data + used, room, true, &what))
            break;
        srm_udp_row *last = outlet->count > 0 ? &outlet->rows[outlet->count - 1] : NULL;
        if (last != NULL && continues(&last->what, &what))
            last->what.size += what.size;
        else
            outlet->rows[outlet->count++] = (srm_udp_row){.what = what, .data = outlet->data + used};
        used += what.size;
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
