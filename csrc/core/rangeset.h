/* rangeset - a set of unsigned numbers kept as sorted ranges that neither overlap nor touch.
 *
 *      lowest                              highest
 *     [3, 7)      [9, 10)      [12, 40)             half open: 3..6, 9, 12..39
 *        0           1            2                 positions, for srm_rangeset_at
 *
 * Serves packet numbers (acks, sent) and byte ranges of one message. A few ranges live inside the struct,
 * more on the heap; the struct may be moved by assignment. Adding at the top and removing at the bottom are
 * O(1) amortised, anything else is a binary search and a move of what lies above.
 */
#ifndef SRM_RANGESET_H
#define SRM_RANGESET_H

#include "base.h"

typedef struct srm_range {
    uint64_t start;
    uint64_t end; /* the first number after the range */
} srm_range;

#define SRM_RANGESET_INLINE 4          /* ranges kept without the heap */
#define SRM_RANGESET_NO_MAX UINT32_MAX /* bounded by memory alone */

/* What happens to a range that would be one more than the maximum, or than memory allows. */
typedef enum srm_rangeset_full {
    SRM_RANGESET_REFUSE,     /* the call fails and changes nothing */
    SRM_RANGESET_DROP_LOWEST /* the lowest range is forgotten, be it the new one */
} srm_rangeset_full;

/* Fields are for rangeset.c and its inline functions. */
typedef struct srm_rangeset {
    srm_range *heap; /* NULL: the ranges are in `small` */
    uint64_t total;
    uint32_t first; /* slots before it are free: what was removed at the bottom */
    uint32_t count;
    uint32_t capacity;
    uint32_t max;
    srm_rangeset_full when_full;
    srm_range small[SRM_RANGESET_INLINE];
} srm_rangeset;

/* An empty set in the caller's storage of at most `max` ranges, 1 or more. */
void srm_rangeset_init(srm_rangeset *set, uint32_t max, srm_rangeset_full when_full);
/* Frees what the set holds; the set must be initialised again before use. */
void srm_rangeset_fini(srm_rangeset *set);
/* Empties the set; keeps its memory. */
void srm_rangeset_clear(srm_rangeset *set);
/* Gives memory back when the ranges fit into the struct again. */
void srm_rangeset_trim(srm_rangeset *set);

/* Adds [start, end), start <= end; what is already in stays in. True: the whole of it is in the set. False:
 * with SRM_RANGESET_REFUSE there was no room and nothing changed; with SRM_RANGESET_DROP_LOWEST it was itself
 * the lowest range and was forgotten. */
bool srm_rangeset_add(srm_rangeset *set, uint64_t start, uint64_t end);
/* Removes [start, end), start <= end. Cutting a range in two needs room for one more: false as for add (and
 * with SRM_RANGESET_DROP_LOWEST never: the lowest range goes instead). */
bool srm_rangeset_remove(srm_rangeset *set, uint64_t start, uint64_t end);

/* Whether `value` is in the set. */
bool srm_rangeset_contains(const srm_rangeset *set, uint64_t value);
/* Whether all of [start, end) is in the set; true for an empty range. */
bool srm_rangeset_covers(const srm_rangeset *set, uint64_t start, uint64_t end);
/* The first run of numbers in [from, limit) that are not in the set; {limit, limit} when there is none. */
srm_range srm_rangeset_next_gap(const srm_rangeset *set, uint64_t from, uint64_t limit);

/* How many ranges there are. */
static inline uint32_t srm_rangeset_count(const srm_rangeset *set) {
    return set->count;
}
/* How many numbers are in all ranges together. */
static inline uint64_t srm_rangeset_total(const srm_rangeset *set) {
    return set->total;
}
/* The range at `position`, 0 the lowest, count - 1 the highest. */
static inline srm_range srm_rangeset_at(const srm_rangeset *set, uint32_t position) {
    return (set->heap != NULL ? set->heap : set->small)[set->first + position];
}

#endif
