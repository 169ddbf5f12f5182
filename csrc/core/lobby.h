/* lobby - HELLOs that have shown a cookie and wait until the guess budget (guess.h) has room for them.
 * Without it a crowd behind one NAT would come in by its own repetitions only, 100 ms to 1 s apart, while the
 * budget that each success gives back lies idle.
 *
 *     source A   guest ─ guest ─ guest        one queue for each source, first in, first out: who has used up
 *     source B   guest ─ guest                its budget is in nobody's way but its own
 *
 * A guest is the datagram as it came, and is gone SRM_LOBBY_PATIENCE after its sender last repeated it. It
 * waits at no cost to the sender's budget, and its address is proved: forged HELLOs never get here. Bounded
 * by SRM_LOBBY_SOURCES and SRM_LOBBY_GUESTS; beyond them HELLOs are dropped, as if there were no lobby.
 */
#ifndef SRM_LOBBY_H
#define SRM_LOBBY_H

#include "../include/srmudp.h"
#include "base.h"
#include "table.h"

#define SRM_LOBBY_SOURCES 16
#define SRM_LOBBY_GUESTS 1024                       /* in all: less than a megabyte */
#define SRM_LOBBY_GUEST_MAX 640                     /* bytes of a HELLO; ours have 320 */
#define SRM_LOBBY_PATIENCE (1200 * SRM_MILLISECOND) /* a HELLO is repeated each second */

typedef struct srm_lobby_guest {
    struct srm_lobby_guest *next;
    uint64_t source; /* in whose queue it waits */
    uint64_t name;   /* a keyed hash of all that is authenticated of the HELLO */
    srm_time heard;
    srmudp_address from;
    size_t size;
    uint8_t data[];
} srm_lobby_guest;

typedef struct srm_lobby_queue {
    uint64_t source;
    srm_lobby_guest *first, **last;
    size_t count;
} srm_lobby_queue;

/* All fields are private but `count` and `expired`. */
typedef struct srm_lobby {
    srm_lobby_queue queues[SRM_LOBBY_SOURCES]; /* count 0: free */
    srm_table names;                           /* -> srm_lobby_guest */
    size_t count;
    uint64_t expired; /* guests whose patience was over, ever */
    size_t turn;      /* the queue that srm_lobby_next looks at first */
} srm_lobby;

/* Empty; allocates nothing. */
void srm_lobby_init(srm_lobby *lobby);
/* Sends everybody away. */
void srm_lobby_fini(srm_lobby *lobby);

/* A HELLO from that source (srm_guess_source_id) waits, or is heard again and keeps its place with the bytes
 * it has now; from another source it only counts as heard. The datagram is copied. False: no room, too long,
 * or no memory. */
bool srm_lobby_enter(srm_lobby *lobby, srm_time now, uint64_t source, uint64_t name,
                     const srmudp_address *from, srm_span datagram);
/* It was answered, or is not wanted any more; nothing happens when it isn't there. */
void srm_lobby_leave(srm_lobby *lobby, uint64_t name);

/* Who has waited longest of that source; NULL: nobody. Valid until the lobby changes. */
const srm_lobby_guest *srm_lobby_first(srm_lobby *lobby, srm_time now, uint64_t source);
/* The same of any source, of another each time. */
const srm_lobby_guest *srm_lobby_next(srm_lobby *lobby, srm_time now);
/* Sends away whose patience is over. */
void srm_lobby_expire(srm_lobby *lobby, srm_time now);

#endif
