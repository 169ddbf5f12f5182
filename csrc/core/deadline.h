/* deadline - a heap of timers. An item lies inside what it belongs to and has at most one time. */
#ifndef SRM_DEADLINE_H
#define SRM_DEADLINE_H

#include "base.h"

typedef struct srm_deadline {
    srm_time at;  /* SRM_TIME_NEVER: not in the heap */
    size_t index; /* in the heap */
} srm_deadline;

/* Whatever does something when its time has come. First member of its owner. */
typedef struct srm_timed {
    srm_deadline deadline;
    void (*fire)(struct srm_timed *timed, srm_time now);
} srm_timed;

typedef struct srm_deadlines {
    srm_deadline **items;
    size_t count, capacity;
} srm_deadlines;

void srm_deadlines_init(srm_deadlines *heap);
void srm_deadlines_fini(srm_deadlines *heap);
/* Makes room for so many items, before any is set; so that setting a time cannot fail. False: no memory. */
bool srm_deadlines_reserve(srm_deadlines *heap, size_t items);

void srm_deadline_init(srm_deadline *item);
/* Sets, moves or (SRM_TIME_NEVER) clears the time. */
void srm_deadline_set(srm_deadlines *heap, srm_deadline *item, srm_time at);

/* The earliest time, SRM_TIME_NEVER when there is none. */
srm_time srm_deadlines_next(const srm_deadlines *heap);
/* Takes the earliest item out if its time is at or before `now`; NULL otherwise. */
srm_deadline *srm_deadlines_pop(srm_deadlines *heap, srm_time now);

#endif
