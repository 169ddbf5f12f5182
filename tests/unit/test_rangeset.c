#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request. */
static bool no_memory;
static void *scarce_malloc(size_t size) {
    return no_memory ? NULL : malloc(size);
}
#define malloc scarce_malloc
#include "rangeset.c"
#undef malloc

#include "check.h"

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- the naive model: one byte a number ---- */

#define MODEL_SIZE 256

typedef struct model {
    uint8_t in[MODEL_SIZE];
} model;

static uint32_t model_ranges(const model *m, srm_range *out) {
    uint32_t count = 0;
    for (uint64_t i = 0; i < MODEL_SIZE;) {
        if (!m->in[i]) {
            i++;
            continue;
        }
        uint64_t start = i;
        while (i < MODEL_SIZE && m->in[i])
            i++;
        out[count++] = (srm_range){start, i};
    }
    return count;
}

/* Puts `value` into [start, end) under the rule of a set of `max` ranges; false when refused. */
static bool model_put(model *m, uint64_t start, uint64_t end, uint8_t value, uint32_t max,
                      srm_rangeset_full rule) {
    model next = *m;
    srm_range ranges[MODEL_SIZE];
    for (uint64_t i = start; i < end; i++)
        next.in[i] = value;
    for (uint32_t count; (count = model_ranges(&next, ranges)) > max;) {
        if (rule == SRM_RANGESET_REFUSE)
            return false;
        for (uint64_t i = ranges[0].start; i < ranges[0].end; i++)
            next.in[i] = 0;
    }
    *m = next;
    return true;
}

static void check_questions(const srm_rangeset *set, const model *m, uint64_t from, uint64_t limit) {
    uint64_t gap = from;
    while (gap < limit && m->in[gap])
        gap++;
    uint64_t gap_end = gap;
    while (gap_end < limit && !m->in[gap_end])
        gap_end++;
    srm_range found = srm_rangeset_next_gap(set, from, limit);
    CHECK_EQ(found.start, gap);
    CHECK_EQ(found.end, gap_end);
    CHECK_EQ(srm_rangeset_covers(set, from, limit), gap == limit);
    if (from < MODEL_SIZE)
        CHECK_EQ(srm_rangeset_contains(set, from), m->in[from]);
}

static void check_same(const srm_rangeset *set, const model *m) {
    srm_range ranges[MODEL_SIZE];
    uint32_t count = model_ranges(m, ranges);
    uint64_t total = 0;
    CHECK_EQ(srm_rangeset_count(set), count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(srm_rangeset_at(set, i).start, ranges[i].start);
        CHECK_EQ(srm_rangeset_at(set, i).end, ranges[i].end);
        total += ranges[i].end - ranges[i].start;
    }
    CHECK_EQ(srm_rangeset_total(set), total);
}

static void random_steps(srm_rangeset *set, model *m, uint32_t max, srm_rangeset_full rule, uint64_t *seed) {
    for (int step = 0; step < 3000; step++) {
        uint64_t start = random_next(seed) % MODEL_SIZE;
        uint64_t length = random_next(seed) % (random_next(seed) % 8 == 0 ? 100 : 6);
        uint64_t end = srm_u64_min(start + length, MODEL_SIZE);
        bool adding = random_next(seed) % 5 < 3;
        bool done = adding ? srm_rangeset_add(set, start, end) : srm_rangeset_remove(set, start, end);
        bool expected = model_put(m, start, end, adding, max, rule);
        if (rule == SRM_RANGESET_DROP_LOWEST && adding)
            CHECK_EQ(done, srm_rangeset_covers(set, start, end));
        else
            CHECK_EQ(done, expected);
        check_same(set, m);
        uint64_t from = random_next(seed) % (MODEL_SIZE + 1);
        check_questions(set, m, from, from + random_next(seed) % (MODEL_SIZE + 1 - from));
        if (random_next(seed) % 64 == 0)
            srm_rangeset_trim(set);
    }
}

TEST(random_traces_agree_with_a_bitmap) {
    static const uint32_t maxima[] = {1, 2, 3, 4, 5, 8, 13, 64, SRM_RANGESET_NO_MAX};
    for (size_t i = 0; i < SRM_COUNT_OF(maxima) * 2; i++) {
        uint64_t seed = UINT64_C(0x9e3779b97f4a7c15) + i;
        fprintf(stderr, "rangeset trace: max %u, seed %llu\n", (unsigned)maxima[i / 2],
                (unsigned long long)seed);
        srm_rangeset_full rule = i % 2 == 0 ? SRM_RANGESET_REFUSE : SRM_RANGESET_DROP_LOWEST;
        srm_rangeset set;
        model m = {{0}};
        srm_rangeset_init(&set, maxima[i / 2], rule);
        random_steps(&set, &m, maxima[i / 2], rule, &seed);
        srm_rangeset_fini(&set);
    }
}

TEST(neighbours_merge_and_empty_ranges_change_nothing) {
    srm_rangeset set;
    srm_rangeset_init(&set, 2, SRM_RANGESET_REFUSE);
    CHECK(srm_rangeset_add(&set, 5, 5));
    CHECK_EQ(srm_rangeset_count(&set), 0);
    CHECK(srm_rangeset_add(&set, 10, 20));
    CHECK(srm_rangeset_add(&set, 20, 30));
    CHECK(srm_rangeset_add(&set, 5, 10));
    CHECK_EQ(srm_rangeset_count(&set), 1);
    CHECK(srm_rangeset_covers(&set, 5, 30));
    CHECK(srm_rangeset_covers(&set, 99, 99));
    CHECK(!srm_rangeset_covers(&set, 5, 31));
    CHECK(srm_rangeset_remove(&set, 7, 7));
    CHECK_EQ(srm_rangeset_total(&set), 25);
    srm_rangeset_fini(&set);
}

TEST(a_full_set_refuses_or_forgets_the_lowest) {
    srm_rangeset set;
    srm_rangeset_init(&set, 3, SRM_RANGESET_REFUSE);
    for (uint64_t i = 1; i <= 3; i++)
        CHECK(srm_rangeset_add(&set, i * 10, i * 10 + 2));
    CHECK(!srm_rangeset_add(&set, 40, 41));
    CHECK(srm_rangeset_add(&set, 12, 20)); /* joins two: room again */
    CHECK(srm_rangeset_add(&set, 40, 41));
    CHECK(!srm_rangeset_remove(&set, 15, 16)); /* would be four */
    CHECK(srm_rangeset_covers(&set, 10, 22));
    CHECK_EQ(srm_rangeset_total(&set), 15);
    srm_rangeset_fini(&set);

    srm_rangeset_init(&set, 3, SRM_RANGESET_DROP_LOWEST);
    for (uint64_t i = 1; i <= 4; i++)
        CHECK(srm_rangeset_add(&set, i * 10, i * 10 + 2));
    CHECK_EQ(srm_rangeset_at(&set, 0).start, 20);
    CHECK(!srm_rangeset_add(&set, 5, 6)); /* is the lowest itself */
    CHECK_EQ(srm_rangeset_count(&set), 3);
    CHECK_EQ(srm_rangeset_at(&set, 0).start, 20);
    srm_rangeset_fini(&set);
}

TEST(the_ends_of_the_number_range_work) {
    srm_rangeset set;
    srm_rangeset_init(&set, SRM_RANGESET_NO_MAX, SRM_RANGESET_REFUSE);
    CHECK(srm_rangeset_add(&set, UINT64_MAX - 1, UINT64_MAX));
    CHECK(srm_rangeset_add(&set, 0, 1));
    CHECK(srm_rangeset_contains(&set, UINT64_MAX - 1));
    CHECK(!srm_rangeset_contains(&set, UINT64_MAX));
    CHECK(srm_rangeset_contains(&set, 0));
    CHECK_EQ(srm_rangeset_next_gap(&set, 0, UINT64_MAX).end, UINT64_MAX - 1);
    CHECK(srm_rangeset_add(&set, 0, UINT64_MAX));
    CHECK_EQ(srm_rangeset_count(&set), 1);
    CHECK(srm_rangeset_remove(&set, 0, UINT64_MAX));
    CHECK_EQ(srm_rangeset_count(&set), 0);
    CHECK_EQ(srm_rangeset_total(&set), 0);
    srm_rangeset_fini(&set);
}

TEST(a_window_that_moves_up_keeps_its_memory_bounded) {
    srm_rangeset set;
    srm_rangeset_init(&set, SRM_RANGESET_NO_MAX, SRM_RANGESET_REFUSE);
    for (uint64_t i = 0; i < 100000; i++) {
        CHECK(srm_rangeset_add(&set, i * 2, i * 2 + 1));
        if (i >= 100)
            CHECK(srm_rangeset_remove(&set, 0, (i - 99) * 2));
    }
    CHECK_EQ(srm_rangeset_count(&set), 100);
    CHECK(set.capacity <= 256);
    CHECK_EQ(srm_rangeset_at(&set, 0).start, (100000 - 100) * 2);
    srm_rangeset_remove(&set, 0, (100000 - 4) * 2);
    srm_rangeset_trim(&set);
    CHECK(set.heap == NULL);
    CHECK_EQ(srm_rangeset_count(&set), 4);
    CHECK_EQ(srm_rangeset_at(&set, 3).end, 99999 * 2 + 1);
    srm_rangeset moved = set; /* no pointer into itself */
    memset(&set, 0xff, sizeof set);
    CHECK(srm_rangeset_contains(&moved, 99999 * 2));
    srm_rangeset_clear(&moved);
    CHECK_EQ(srm_rangeset_count(&moved), 0);
    srm_rangeset_fini(&moved);
}

TEST(without_memory_the_set_makes_do_with_what_it_has) {
    srm_rangeset set;
    srm_rangeset_init(&set, SRM_RANGESET_NO_MAX, SRM_RANGESET_REFUSE);
    no_memory = true;
    for (uint64_t i = 0; i < SRM_RANGESET_INLINE; i++)
        CHECK(srm_rangeset_add(&set, i * 10, i * 10 + 4));
    CHECK(!srm_rangeset_add(&set, 100, 101));
    CHECK(!srm_rangeset_remove(&set, 11, 12));
    CHECK_EQ(srm_rangeset_total(&set), 16);
    CHECK(srm_rangeset_remove(&set, 0, 4));
    CHECK(srm_rangeset_add(&set, 100, 101)); /* the slot freed below is used */
    CHECK_EQ(srm_rangeset_at(&set, 0).start, 10);
    CHECK_EQ(srm_rangeset_at(&set, 3).end, 101);
    srm_rangeset_fini(&set);

    srm_rangeset_init(&set, 64, SRM_RANGESET_DROP_LOWEST);
    for (uint64_t i = 0; i < 10; i++)
        CHECK(srm_rangeset_add(&set, i * 10, i * 10 + 4));
    CHECK(srm_rangeset_remove(&set, 91, 92)); /* cut in two: the lowest goes */
    CHECK_EQ(srm_rangeset_count(&set), SRM_RANGESET_INLINE);
    CHECK_EQ(srm_rangeset_at(&set, 0).start, 70);
    no_memory = false;
    srm_rangeset_fini(&set);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
