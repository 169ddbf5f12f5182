/* outlet - from the core's transmit to the sockets. Collects a few rows of datagrams, gives them to the
 * kernel in one call, and keeps what the kernel had no room for, so that nothing that the core counts as sent
 * is dropped between the two. */
#ifndef SRM_OUTLET_H
#define SRM_OUTLET_H

#include "udp.h"

/* Collected for one system call: enough to make its price small, little enough to leave the receiver
 * something to do while we encrypt the next. A single row may be SRM_OUTLET_ROW long. */
#define SRM_OUTLET_BYTES 65536
#define SRM_OUTLET_ROW 65536
#define SRM_OUTLET_ROWS 32
/* Rounds until received datagrams get their turn. */
#define SRM_OUTLET_ROUNDS 8

typedef struct srm_outlet {
    size_t first, count; /* rows waiting: [first, count) */
    srm_udp_row rows[SRM_OUTLET_ROWS];
    uint8_t data[SRM_OUTLET_BYTES + SRM_OUTLET_ROW];
} srm_outlet;

typedef enum srm_outlet_state {
    SRM_OUTLET_EMPTY,   /* the core has nothing to send now */
    SRM_OUTLET_MORE,    /* it may have: come again soon */
    SRM_OUTLET_BLOCKED, /* come again when the socket of srm_outlet_blocked_by is writable */
} srm_outlet_state;

void srm_outlet_init(srm_outlet *outlet);
/* Sends what waits and what the core wants to send. Tells the core what the kernel refused. */
srm_outlet_state srm_outlet_run(srm_outlet *outlet, srm_udp *udp, srm_endpoint *core);
/* The socket that the first waiting row is for; NULL: none waits, or no socket can send it. */
srm_udp_socket *srm_outlet_blocked_by(const srm_outlet *outlet, srm_udp *udp);

#endif
