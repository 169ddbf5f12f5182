#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request. */
static bool no_memory;
static void *scarce_realloc(void *memory, size_t size) {
    return no_memory ? NULL : realloc(memory, size);
}
#define realloc scarce_realloc
#include "deadline.c"
#undef realloc

#include "check.h"

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- the naive model: every item's time, looked at one by one ---- */

#define ITEMS 300

typedef struct model {
    srm_deadline items[ITEMS];
    srm_time at[ITEMS];
    size_t count;
} model;

static srm_time model_next(const model *m) {
    srm_time next = SRM_TIME_NEVER;
    for (size_t i = 0; i < m->count; i++)
        next = srm_time_min(next, m->at[i]);
    return next;
}

static void check_same(const srm_deadlines *heap, const model *m) {
    size_t waiting = 0;
    for (size_t i = 0; i < m->count; i++) {
        CHECK_EQ(m->items[i].at, m->at[i]);
        if (m->at[i] == SRM_TIME_NEVER)
            continue;
        waiting++;
        CHECK(m->items[i].index < heap->count && heap->items[m->items[i].index] == &m->items[i]);
    }
    CHECK_EQ(heap->count, waiting);
    CHECK_EQ(srm_deadlines_next(heap), model_next(m));
}

static void random_step(srm_deadlines *heap, model *m, srm_time *now, uint64_t *seed, unsigned spread) {
    if (random_next(seed) % 4 == 0) {
        *now += (srm_time)(random_next(seed) % (spread / 4 + 1));
        srm_time next = model_next(m);
        srm_deadline *item = srm_deadlines_pop(heap, *now);
        CHECK_EQ(item != NULL, next <= *now);
        if (item == NULL)
            return;
        size_t index = (size_t)(item - m->items);
        CHECK_EQ(m->at[index], next);
        m->at[index] = SRM_TIME_NEVER;
    } else {
        size_t index = random_next(seed) % m->count;
        m->at[index] = random_next(seed) % 5 == 0   ? SRM_TIME_NEVER
                       : random_next(seed) % 9 == 0 ? m->at[index]
                                                    : *now + (srm_time)(random_next(seed) % spread);
        srm_deadline_set(heap, &m->items[index], m->at[index]);
    }
}

TEST(random_traces_agree_with_a_search_of_all) {
    static const size_t counts[] = {1, 2, 3, 17, ITEMS};
    static const unsigned spreads[] = {1, 10, 1000000};
    for (size_t i = 0; i < SRM_COUNT_OF(counts) * SRM_COUNT_OF(spreads); i++) {
        uint64_t seed = 990 + i;
        unsigned spread = spreads[i % SRM_COUNT_OF(spreads)];
        static model m;
        m.count = counts[i / SRM_COUNT_OF(spreads)];
        fprintf(stderr, "deadline: %zu items, times within %u, seed %llu\n", m.count, spread,
                (unsigned long long)seed);
        srm_deadlines heap;
        srm_time now = 0;
        srm_deadlines_init(&heap);
        CHECK(srm_deadlines_reserve(&heap, m.count));
        for (size_t k = 0; k < m.count; k++) {
            srm_deadline_init(&m.items[k]);
            m.at[k] = SRM_TIME_NEVER;
        }
        for (int step = 0; step < 6000; step++) {
            random_step(&heap, &m, &now, &seed, spread);
            check_same(&heap, &m);
        }
        srm_deadlines_fini(&heap);
    }
}

TEST(an_item_is_due_at_its_time_and_not_before) {
    srm_deadlines heap;
    srm_deadline a, b;
    srm_deadlines_init(&heap);
    CHECK(srm_deadlines_reserve(&heap, 2));
    srm_deadline_init(&a);
    srm_deadline_init(&b);
    CHECK_EQ(srm_deadlines_next(&heap), SRM_TIME_NEVER);
    CHECK(srm_deadlines_pop(&heap, SRM_TIME_NEVER) == NULL);
    srm_deadline_set(&heap, &a, SRM_TIME_NEVER); /* clearing what isn't set */
    srm_deadline_set(&heap, &a, 100);
    CHECK(srm_deadlines_pop(&heap, 99) == NULL);
    srm_deadline_set(&heap, &b, SRM_TIME_NEVER - 1); /* the last time there is */
    CHECK(srm_deadlines_pop(&heap, 100) == &a);
    CHECK_EQ(a.at, SRM_TIME_NEVER);
    CHECK(srm_deadlines_pop(&heap, 100) == NULL);
    srm_deadline_set(&heap, &a, 0);
    CHECK(srm_deadlines_pop(&heap, SRM_TIME_NEVER) == &a);
    CHECK(srm_deadlines_pop(&heap, SRM_TIME_NEVER) == &b);
    CHECK_EQ(heap.count, 0);
    srm_deadlines_fini(&heap);
}

/* The last slot is where taking out is most easily wrong. */
TEST(clearing_works_at_every_place) {
    for (size_t victim = 0; victim < 31; victim++) {
        srm_deadlines heap;
        srm_deadline items[31];
        srm_time before = -1;
        srm_deadlines_init(&heap);
        CHECK(srm_deadlines_reserve(&heap, 31));
        for (size_t i = 0; i < 31; i++) {
            srm_deadline_init(&items[i]);
            srm_deadline_set(&heap, &items[i], (srm_time)(i * 7 % 31));
        }
        srm_deadline *gone = heap.items[victim];
        srm_deadline_set(&heap, gone, SRM_TIME_NEVER);
        CHECK_EQ(heap.count, 30);
        for (size_t i = 0; i < 30; i++) {
            srm_time next = srm_deadlines_next(&heap);
            srm_deadline *item = srm_deadlines_pop(&heap, SRM_TIME_NEVER - 1);
            CHECK(item != NULL && item != gone && next > before);
            before = next;
        }
        srm_deadlines_fini(&heap);
    }
}

TEST(room_is_made_ahead_or_refused) {
    srm_deadlines heap;
    static srm_deadline items[100];
    srm_deadlines_init(&heap);
    no_memory = true;
    CHECK(srm_deadlines_reserve(&heap, 0));
    CHECK(!srm_deadlines_reserve(&heap, 1));
    no_memory = false;
    size_t changes = 0, capacity = 0;
    for (size_t count = 1; count <= 60; count++, capacity = heap.capacity) {
        CHECK(srm_deadlines_reserve(&heap, count));
        changes += heap.capacity != capacity;
    }
    CHECK(changes <= 3);
    CHECK(srm_deadlines_reserve(&heap, 100));
    CHECK(heap.capacity >= 100 && heap.capacity <= 256);
    for (size_t i = 0; i < 100; i++) {
        srm_deadline_init(&items[i]);
        srm_deadline_set(&heap, &items[i], (srm_time)(100 - i));
    }
    no_memory = true;
    CHECK(!srm_deadlines_reserve(&heap, 10000));
    CHECK(srm_deadlines_reserve(&heap, 100)); /* what was reserved stays */
    no_memory = false;
    for (srm_time at = 1; at <= 100; at++)
        CHECK(srm_deadlines_pop(&heap, SRM_TIME_NEVER - 1) == &items[100 - at]);
    srm_deadlines_fini(&heap);
    CHECK_EQ(srm_deadlines_next(&heap), SRM_TIME_NEVER);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
