#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request. */
static bool no_memory;
static void *scarce_calloc(size_t count, size_t size) {
    return no_memory ? NULL : calloc(count, size);
}
#define calloc scarce_calloc
#include "table.c"
#undef calloc

#include "check.h"

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- the naive model: a list of pairs ---- */

typedef struct pair {
    uint64_t key;
    void *value;
} pair;

#define PAIRS 600

typedef struct model {
    pair pairs[PAIRS];
    size_t count;
} model;

static char objects[PAIRS]; /* values are addresses of these */

static size_t model_at(const model *m, uint64_t key, const void *value) {
    size_t i = 0;
    while (i < m->count && (m->pairs[i].key != key || m->pairs[i].value != value))
        i++;
    return i;
}

static size_t model_values(const model *m, uint64_t key) {
    size_t values = 0;
    for (size_t i = 0; i < m->count; i++)
        values += m->pairs[i].key == key;
    return values;
}

/* Each value of the key comes once, and nothing else does. */
static void check_key(const srm_table *table, const model *m, uint64_t key) {
    bool seen[PAIRS] = {false};
    size_t cursor = 0, values = 0;
    void *first = srm_table_find(table, key);
    for (void *value; (value = srm_table_each(table, key, &cursor)) != NULL; values++) {
        size_t at = model_at(m, key, value);
        CHECK(at < m->count && !seen[at]);
        CHECK(values > 0 || value == first);
        seen[at] = true;
    }
    CHECK_EQ(values, model_values(m, key));
    CHECK_EQ(first != NULL, values > 0);
    CHECK(srm_table_each(table, key, &cursor) == NULL); /* the end stays the end */
}

static uint64_t random_key(uint64_t *seed, unsigned kinds) {
    uint64_t key = random_next(seed) % kinds;
    return key == 0 ? UINT64_MAX : key == 1 ? 0 : key << (key % 3 * 20);
}

static void random_step(srm_table *table, model *m, uint64_t *seed, unsigned kinds, bool growing) {
    uint64_t key = random_key(seed, kinds);
    void *value = &objects[random_next(seed) % PAIRS];
    size_t at = model_at(m, key, value);
    if (random_next(seed) % 8 < (growing ? 5 : 3)) {
        if (at < m->count || m->count == PAIRS)
            return;
        CHECK(srm_table_add(table, key, value));
        m->pairs[m->count++] = (pair){key, value};
    } else {
        if (m->count > 0 && random_next(seed) % 4 != 0) /* else one that is hardly there */
            at = random_next(seed) % m->count, key = m->pairs[at].key, value = m->pairs[at].value;
        srm_table_remove(table, key, value);
        if (at < m->count)
            m->pairs[at] = m->pairs[--m->count];
    }
    CHECK_EQ(table->count, m->count);
    check_key(table, m, key);
    check_key(table, m, random_key(seed, kinds));
}

TEST(random_traces_agree_with_a_list) {
    static const unsigned kinds[] = {1, 2, 5, 50, 1000, 1000000};
    for (size_t i = 0; i < SRM_COUNT_OF(kinds); i++) {
        uint64_t seed = 77001 + i;
        fprintf(stderr, "table: %u keys, seed %llu\n", kinds[i], (unsigned long long)seed);
        srm_table table;
        model m = {.count = 0};
        srm_table_init(&table);
        for (int step = 0; step < 12000; step++)
            random_step(&table, &m, &seed, kinds[i], step / 1500 % 2 == 0);
        for (size_t k = 0; k < m.count; k++)
            check_key(&table, &m, m.pairs[k].key);
        srm_table_fini(&table);
    }
}

TEST(an_empty_table_answers) {
    srm_table table;
    size_t cursor = 0;
    srm_table_init(&table);
    CHECK(srm_table_find(&table, 0) == NULL);
    CHECK(srm_table_each(&table, 7, &cursor) == NULL);
    srm_table_remove(&table, 7, &objects[0]);
    CHECK_EQ(table.count, 0);
    srm_table_fini(&table);
    CHECK(srm_table_add(&table, 7, &objects[0])); /* fini leaves an empty table */
    CHECK(srm_table_find(&table, 7) == &objects[0]);
    srm_table_fini(&table);
}

TEST(removing_takes_the_pair_and_no_other) {
    srm_table table;
    srm_table_init(&table);
    CHECK(srm_table_add(&table, 1, &objects[0]) && srm_table_add(&table, 1, &objects[1]));
    CHECK(srm_table_add(&table, 2, &objects[0]));
    srm_table_remove(&table, 2, &objects[1]); /* no such pair */
    CHECK_EQ(table.count, 3);
    srm_table_remove(&table, 1, &objects[0]);
    srm_table_remove(&table, 1, &objects[0]);
    CHECK_EQ(table.count, 2);
    CHECK(srm_table_find(&table, 1) == &objects[1] && srm_table_find(&table, 2) == &objects[0]);
    srm_table_fini(&table);
}

/* Keys come and go for ever: what was removed must neither fill the table nor make it grow. */
TEST(coming_and_going_keeps_the_table_small) {
    srm_table table;
    srm_table_init(&table);
    for (uint64_t i = 0; i < 300000; i++) {
        CHECK(srm_table_add(&table, i, &objects[i % PAIRS]));
        if (i >= 10)
            srm_table_remove(&table, i - 10, &objects[(i - 10) % PAIRS]);
        CHECK(table.used < table.capacity); /* else a search for what isn't there never ends */
    }
    CHECK_EQ(table.count, 10);
    CHECK(table.capacity <= 64);
    CHECK(srm_table_find(&table, 5) == NULL && srm_table_find(&table, 300000) == NULL);
    srm_table_fini(&table);
}

/* As many as an endpoint has connections; each is found, and in a few steps. */
TEST(many_keys_stay_few_steps_apart) {
    enum { MANY = 100000 };
    srm_table table;
    uint64_t seed = 4242, worst = 0, steps = 0;
    srm_table_init(&table);
    for (uint64_t i = 0; i < MANY; i++)
        CHECK(srm_table_add(&table, i % 2 == 0 ? i : random_next(&seed), &objects[i % PAIRS]));
    CHECK_EQ(table.count, MANY);
    for (size_t i = 0; i < table.capacity; i++) {
        if (table.slots[i].value == NULL)
            continue;
        uint64_t distance = (i - slot_of(&table, table.slots[i].key)) & (table.capacity - 1);
        steps += distance;
        worst = srm_u64_max(worst, distance);
    }
    CHECK(steps < 3 * MANY);
    CHECK(worst < 200);
    for (uint64_t i = 0; i < MANY; i += 2)
        CHECK(srm_table_find(&table, i) == &objects[i % PAIRS]);
    CHECK(table.capacity <= 4 * 131072 && table.slots != NULL);
    srm_table_fini(&table);
}

TEST(without_memory_nothing_is_added_or_lost) {
    srm_table table;
    srm_table_init(&table);
    no_memory = true;
    CHECK(!srm_table_add(&table, 1, &objects[0]));
    CHECK(table.count == 0 && srm_table_find(&table, 1) == NULL);
    no_memory = false;
    CHECK(srm_table_add(&table, 0, &objects[0]));
    no_memory = true;
    uint64_t added = 1;
    while (added < PAIRS && srm_table_add(&table, added, &objects[added]))
        added++;
    CHECK(added < PAIRS);
    CHECK_EQ(table.count, added);
    for (uint64_t i = 0; i <= added; i++)
        CHECK(srm_table_find(&table, i) == (i < added ? &objects[i] : NULL));
    for (uint64_t i = 1; i < added; i++)
        srm_table_remove(&table, i, &objects[i]);
    no_memory = false;
    CHECK(srm_table_add(&table, added, &objects[added]));
    CHECK_EQ(table.count, 2);
    srm_table_fini(&table);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
