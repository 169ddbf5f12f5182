#include "deadline.h"

#include <stdlib.h>

void srm_deadlines_init(srm_deadlines *heap) {
    memset(heap, 0, sizeof *heap);
}

void srm_deadlines_fini(srm_deadlines *heap) {
    free(heap->items);
    srm_deadlines_init(heap);
}

bool srm_deadlines_reserve(srm_deadlines *heap, size_t items) {
    if (items <= heap->capacity)
        return true;
    size_t capacity = heap->capacity * 2 < 16 ? 16 : heap->capacity * 2;
    while (capacity < items)
        capacity *= 2;
    srm_deadline **grown = realloc(heap->items, capacity * sizeof *grown);
    if (grown == NULL)
        return false;
    heap->items = grown;
    heap->capacity = capacity;
    return true;
}

void srm_deadline_init(srm_deadline *item) {
    *item = (srm_deadline){.at = SRM_TIME_NEVER, .index = 0};
}

static void put(srm_deadlines *heap, size_t index, srm_deadline *item) {
    heap->items[index] = item;
    item->index = index;
}

static void sift_up(srm_deadlines *heap, size_t index, srm_deadline *item) {
    while (index > 0 && heap->items[(index - 1) / 2]->at > item->at) {
        put(heap, index, heap->items[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    put(heap, index, item);
}

static void sift_down(srm_deadlines *heap, size_t index, srm_deadline *item) {
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->items[child + 1]->at < heap->items[child]->at)
            child++;
        if (heap->items[child]->at >= item->at)
            break;
        put(heap, index, heap->items[child]);
        index = child;
    }
    put(heap, index, item);
}

static void take_out(srm_deadlines *heap, size_t index) {
    srm_deadline *last = heap->items[--heap->count];
    if (index == heap->count)
        return;
    if (index > 0 && heap->items[(index - 1) / 2]->at > last->at)
        sift_up(heap, index, last);
    else
        sift_down(heap, index, last);
}

void srm_deadline_set(srm_deadlines *heap, srm_deadline *item, srm_time at) {
    if (item->at == at)
        return;
    bool was_in = item->at != SRM_TIME_NEVER;
    srm_time before = item->at;
    item->at = at;
    if (at == SRM_TIME_NEVER) {
        take_out(heap, item->index);
    } else if (!was_in) {
        SRM_ASSERT(heap->count < heap->capacity);
        sift_up(heap, heap->count++, item);
    } else if (at < before) {
        sift_up(heap, item->index, item);
    } else {
        sift_down(heap, item->index, item);
    }
}

srm_time srm_deadlines_next(const srm_deadlines *heap) {
    return heap->count == 0 ? SRM_TIME_NEVER : heap->items[0]->at;
}

srm_deadline *srm_deadlines_pop(srm_deadlines *heap, srm_time now) {
    if (heap->count == 0 || heap->items[0]->at > now)
        return NULL;
    srm_deadline *item = heap->items[0];
    item->at = SRM_TIME_NEVER;
    take_out(heap, 0);
    return item;
}
