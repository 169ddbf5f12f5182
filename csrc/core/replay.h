/* replay - which packet numbers were received already. A bitmap of the newest numbers, used as a ring: number
 * n lives at bit n mod window. Older than the window counts as seen.
 *
 *                      window (a power of two, 512 .. 65,536)
 *      too old  |  1 1 0 1 1 1 1 1 1 0 1 1 0 1 1 1 |  new
 *               ^                                  ^ next: highest number marked + 1
 *
 * The smallest window lies in the struct; larger ones on the heap, as the caller asks (a window too small for
 * the rate drops good packets that were reordered: it should hold twice the packets of one round trip). A
 * number that fell out of a window stays too old when the window grows.
 *
 * Order of use: check before decrypting (saves the work), mark only after the packet opened.
 */
#ifndef SRM_REPLAY_H
#define SRM_REPLAY_H

#include "base.h"

#define SRM_REPLAY_WINDOW_MIN 512
#define SRM_REPLAY_WINDOW_MAX 65536

typedef enum srm_replay_answer {
    SRM_REPLAY_NEW,  /* never marked */
    SRM_REPLAY_SEEN, /* marked before: a duplicate */
    SRM_REPLAY_OLD,  /* older than the window: can't be told, drop it */
} srm_replay_answer;

/* All fields are private. */
typedef struct srm_replay {
    uint64_t next;   /* highest number marked + 1; 0: none */
    uint64_t *heap;  /* NULL: `small` is the ring */
    uint32_t window; /* bits in the ring */
    uint64_t small[SRM_REPLAY_WINDOW_MIN / 64];
} srm_replay;

/* Nothing received yet, the smallest window, no memory taken. The struct may be moved. */
void srm_replay_init(srm_replay *replay);
void srm_replay_fini(srm_replay *replay);

/* Whether `number` (below 2^62) may be taken. Changes nothing. */
srm_replay_answer srm_replay_check(const srm_replay *replay, uint64_t number);

/* The packet `number` was genuine. Returns what check would have said; unless NEW, nothing changes. */
srm_replay_answer srm_replay_mark(srm_replay *replay, uint64_t number);

/* Asks for a window of at least `window` numbers, e.g. twice the packets of a round trip, whenever that is
 * measured. Grows at once; gives memory back only when a quarter would do, so that it doesn't swing. Out of
 * range is clamped; without memory the window stays as it is. */
void srm_replay_want(srm_replay *replay, uint64_t window);

#endif
