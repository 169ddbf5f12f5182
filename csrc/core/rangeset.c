#include "rangeset.h"

#include <stdlib.h>

static srm_range *slots(srm_rangeset *set) {
    return (set->heap != NULL ? set->heap : set->small) + set->first;
}

void srm_rangeset_init(srm_rangeset *set, uint32_t max, srm_rangeset_full when_full) {
    SRM_ASSERT(max > 0);
    *set = (srm_rangeset){.capacity = SRM_RANGESET_INLINE, .max = max, .when_full = when_full};
}

void srm_rangeset_fini(srm_rangeset *set) {
    free(set->heap);
    set->heap = NULL;
    set->capacity = SRM_RANGESET_INLINE;
    srm_rangeset_clear(set);
}

void srm_rangeset_clear(srm_rangeset *set) {
    set->total = 0;
    set->first = 0;
    set->count = 0;
}

void srm_rangeset_trim(srm_rangeset *set) {
    if (set->heap == NULL || set->count > SRM_RANGESET_INLINE)
        return;
    memcpy(set->small, slots(set), set->count * sizeof(srm_range));
    free(set->heap);
    set->heap = NULL;
    set->first = 0;
    set->capacity = SRM_RANGESET_INLINE;
}

static void close_up(srm_rangeset *set) {
    srm_range *to = slots(set) - set->first;
    memmove(to, to + set->first, set->count * sizeof *to);
    set->first = 0;
}

static bool grow(srm_rangeset *set) {
    if (set->capacity > UINT32_MAX / 2)
        return false;
    uint32_t capacity = set->capacity * 2;
    srm_range *heap = malloc(capacity * sizeof *heap);
    if (heap == NULL)
        return false;
    memcpy(heap, slots(set), set->count * sizeof *heap);
    free(set->heap);
    set->heap = heap;
    set->first = 0;
    set->capacity = capacity;
    return true;
}

/* Room for one more range behind the last. Free slots at the front are used once they are half of all, so
 * that moving down is paid for by the removals that freed them, or when the set can't need more slots than it
 * has. */
static bool make_room(srm_rangeset *set) {
    if (set->first + set->count < set->capacity)
        return true;
    bool enough = set->first >= set->capacity / 2 || set->capacity >= set->max;
    if (!(set->first > 0 && enough) && grow(set))
        return true;
    if (set->first == 0)
        return false;
    close_up(set);
    return true;
}

static void erase(srm_rangeset *set, uint32_t position, uint32_t count) {
    if (count == 0)
        return;
    srm_range *at = slots(set) + position;
    for (uint32_t i = 0; i < count; i++)
        set->total -= at[i].end - at[i].start;
    set->count -= count;
    if (position == 0)
        set->first = set->count > 0 ? set->first + count : 0;
    else
        memmove(at, at + count, (set->count - position) * sizeof *at);
}

static bool insert(srm_rangeset *set, uint32_t position, srm_range range) {
    while (set->count >= set->max || !make_room(set)) {
        if (set->when_full == SRM_RANGESET_REFUSE || position == 0)
            return false;
        erase(set, 0, 1);
        position--;
    }
    srm_range *at = slots(set) + position;
    memmove(at + 1, at, (set->count - position) * sizeof *at);
    *at = range;
    set->count++;
    set->total += range.end - range.start;
    return true;
}

/* The position of the first range whose end is `value` or more; count when there is none. Looks in steps that
 * double from the top, where nearly all questions are. */
static uint32_t first_reaching(const srm_rangeset *set, uint64_t value) {
    uint32_t low = 0, high = set->count;
    for (size_t step = 1; step <= set->count; step *= 2) {
        uint32_t probe = set->count - (uint32_t)step;
        srm_range range = srm_rangeset_at(set, probe);
        if (range.end < value) {
            low = probe + 1;
            break;
        }
        if (range.start <= value)
            return probe;
        high = probe;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (srm_rangeset_at(set, middle).end < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The position of the first range that ends after `value`: contains it or lies above it. */
static uint32_t first_beyond(const srm_rangeset *set, uint64_t value) {
    return value == UINT64_MAX ? set->count : first_reaching(set, value + 1);
}

bool srm_rangeset_add(srm_rangeset *set, uint64_t start, uint64_t end) {
    SRM_ASSERT(start <= end);
    if (start == end)
        return true;
    uint32_t from = first_reaching(set, start);
    if (from == set->count || srm_rangeset_at(set, from).start > end)
        return insert(set, from, (srm_range){start, end});
    srm_range *range = slots(set) + from;
    uint64_t before = range->end - range->start;
    uint32_t swallowed = 0;
    while (from + swallowed + 1 < set->count && range[swallowed + 1].start <= end)
        swallowed++;
    range->start = srm_u64_min(range->start, start);
    uint64_t reach = srm_u64_max(range[swallowed].end, end);
    if (swallowed > 0)
        erase(set, from + 1, swallowed);
    range->end = reach;
    set->total += range->end - range->start - before;
    return true;
}

static bool split(srm_rangeset *set, uint32_t position, uint64_t start, uint64_t end) {
    srm_range whole = srm_rangeset_at(set, position);
    slots(set)[position].start = end;
    set->total -= end - whole.start;
    if (insert(set, position, (srm_range){whole.start, start}) || set->when_full == SRM_RANGESET_DROP_LOWEST)
        return true;
    slots(set)[position].start = whole.start;
    set->total += end - whole.start;
    return false;
}

bool srm_rangeset_remove(srm_rangeset *set, uint64_t start, uint64_t end) {
    SRM_ASSERT(start <= end);
    uint32_t from = first_beyond(set, start);
    if (start == end || from == set->count || srm_rangeset_at(set, from).start >= end)
        return true;
    srm_range *range = slots(set) + from;
    if (range->start < start && range->end > end)
        return split(set, from, start, end);
    if (range->start < start) {
        set->total -= range->end - start;
        range->end = start;
        range++;
        from++;
    }
    uint32_t whole = 0;
    while (from + whole < set->count && range[whole].end <= end)
        whole++;
    erase(set, from, whole);
    if (from < set->count && slots(set)[from].start < end) {
        range = slots(set) + from;
        set->total -= end - range->start;
        range->start = end;
    }
    return true;
}

bool srm_rangeset_contains(const srm_rangeset *set, uint64_t value) {
    uint32_t position = first_beyond(set, value);
    return position < set->count && srm_rangeset_at(set, position).start <= value;
}

bool srm_rangeset_covers(const srm_rangeset *set, uint64_t start, uint64_t end) {
    if (start >= end)
        return true;
    uint32_t position = first_beyond(set, start);
    if (position == set->count)
        return false;
    srm_range range = srm_rangeset_at(set, position);
    return range.start <= start && range.end >= end;
}

srm_range srm_rangeset_next_gap(const srm_rangeset *set, uint64_t from, uint64_t limit) {
    if (from >= limit)
        return (srm_range){limit, limit};
    uint32_t position = first_beyond(set, from);
    if (position < set->count && srm_rangeset_at(set, position).start <= from)
        from = srm_rangeset_at(set, position++).end;
    if (from >= limit)
        return (srm_range){limit, limit};
    uint64_t end = position < set->count ? srm_rangeset_at(set, position).start : limit;
    return (srm_range){from, srm_u64_min(end, limit)};
}
