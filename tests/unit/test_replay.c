#include "replay.h"

#include <stdlib.h>

#include "check.h"

/* A small generator with a printable seed: the naive model and the filter get the same numbers. */
static uint64_t seed;
static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

TEST(a_number_is_new_once) {
    srm_replay replay;
    srm_replay_init(&replay);
    CHECK_EQ(srm_replay_check(&replay, 0), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_mark(&replay, 0), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_check(&replay, 0), SRM_REPLAY_SEEN);
    CHECK_EQ(srm_replay_mark(&replay, 0), SRM_REPLAY_SEEN);
    CHECK_EQ(srm_replay_check(&replay, 1), SRM_REPLAY_NEW);
    srm_replay_fini(&replay);
}

TEST(checking_changes_nothing) {
    srm_replay replay;
    srm_replay_init(&replay);
    CHECK_EQ(srm_replay_check(&replay, 1000000), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_check(&replay, 0), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_mark(&replay, 0), SRM_REPLAY_NEW);
    srm_replay_fini(&replay);
}

TEST(the_window_ends_where_it_says) {
    for (uint64_t window = SRM_REPLAY_WINDOW_MIN; window <= SRM_REPLAY_WINDOW_MAX; window *= 2) {
        srm_replay replay;
        srm_replay_init(&replay);
        srm_replay_want(&replay, window);
        const uint64_t top = 1000000;
        CHECK_EQ(srm_replay_mark(&replay, top), SRM_REPLAY_NEW);
        CHECK_EQ(srm_replay_check(&replay, top - window + 1), SRM_REPLAY_NEW);
        CHECK_EQ(srm_replay_check(&replay, top - window), SRM_REPLAY_OLD);
        CHECK_EQ(srm_replay_mark(&replay, top - window), SRM_REPLAY_OLD);
        CHECK_EQ(srm_replay_mark(&replay, top - window + 1), SRM_REPLAY_NEW);
        CHECK_EQ(srm_replay_mark(&replay, top - window + 1), SRM_REPLAY_SEEN);
        CHECK_EQ(srm_replay_mark(&replay, top + 1), SRM_REPLAY_NEW); /* takes the bit of top - window + 1 */
        CHECK_EQ(srm_replay_check(&replay, top - window + 1), SRM_REPLAY_OLD);
        CHECK_EQ(srm_replay_check(&replay, top), SRM_REPLAY_SEEN);
        srm_replay_fini(&replay);
    }
}

TEST(wants_are_rounded_up_and_clamped) {
    srm_replay replay;
    srm_replay_init(&replay);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MIN);
    srm_replay_want(&replay, 0);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MIN);
    srm_replay_want(&replay, SRM_REPLAY_WINDOW_MIN + 1);
    CHECK_EQ(replay.window, 2 * SRM_REPLAY_WINDOW_MIN);
    srm_replay_want(&replay, SRM_REPLAY_WINDOW_MAX + 1);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MAX);
    srm_replay_want(&replay, UINT64_MAX);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MAX);
    srm_replay_fini(&replay);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MIN);
}

TEST(memory_is_given_back_only_when_a_quarter_would_do) {
    srm_replay replay;
    srm_replay_init(&replay);
    CHECK(replay.heap == NULL);
    srm_replay_want(&replay, 4096);
    CHECK(replay.heap != NULL);
    srm_replay_want(&replay, 2048);
    CHECK_EQ(replay.window, 4096);
    srm_replay_want(&replay, 1024);
    CHECK_EQ(replay.window, 1024);
    srm_replay_want(&replay, 1);
    CHECK_EQ(replay.window, 1024);
    srm_replay_want(&replay, 4096);
    srm_replay_want(&replay, 1);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MIN);
    CHECK(replay.heap == NULL);
    srm_replay_fini(&replay);
}

TEST(growing_forgets_nothing_and_forgives_nothing) {
    srm_replay replay;
    srm_replay_init(&replay);
    for (uint64_t n = 0; n < 3000; n += 2)
        CHECK_EQ(srm_replay_mark(&replay, n),
                 SRM_REPLAY_NEW); /* 2998 is the last: 2487.. are in the window */
    srm_replay_want(&replay, 4096);
    for (uint64_t n = 0; n < 2487; n++)
        CHECK(srm_replay_check(&replay, n) != SRM_REPLAY_NEW); /* fell out before, also the odd ones */
    for (uint64_t n = 2487; n < 3000; n++)
        CHECK_EQ(srm_replay_check(&replay, n), n % 2 == 0 ? SRM_REPLAY_SEEN : SRM_REPLAY_NEW);
    srm_replay_fini(&replay);
}

TEST(shrinking_keeps_the_newest) {
    srm_replay replay;
    srm_replay_init(&replay);
    srm_replay_want(&replay, 8192);
    for (uint64_t n = 0; n < 9000; n += 3)
        (void)srm_replay_mark(&replay, n); /* 8997 is the last */
    srm_replay_want(&replay, 1);
    CHECK_EQ(replay.window, SRM_REPLAY_WINDOW_MIN);
    CHECK_EQ(srm_replay_check(&replay, 8997 - 512), SRM_REPLAY_OLD);
    for (uint64_t n = 8998 - 512; n < 8998; n++)
        CHECK_EQ(srm_replay_check(&replay, n), n % 3 == 0 ? SRM_REPLAY_SEEN : SRM_REPLAY_NEW);
    srm_replay_fini(&replay);
}

TEST(resizing_before_anything_came_marks_nothing) {
    srm_replay replay;
    srm_replay_init(&replay);
    srm_replay_want(&replay, 2048);
    for (uint64_t n = 2047; n < 2048; n--)
        CHECK_EQ(srm_replay_check(&replay, n), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_mark(&replay, 5000), SRM_REPLAY_NEW);
    for (uint64_t n = 5000 - 2047; n < 5000; n++)
        CHECK_EQ(srm_replay_check(&replay, n), SRM_REPLAY_NEW);
    srm_replay_fini(&replay);
}

TEST(far_jumps_leave_no_old_bits) {
    srm_replay replay;
    srm_replay_init(&replay);
    const uint64_t jumps[] = {1, 63, 64, 65, 511, 512, 513, 1024, 1 << 20, UINT64_C(1) << 40};
    for (size_t i = 0; i < SRM_COUNT_OF(jumps); i++) {
        srm_replay_fini(&replay);
        for (uint64_t n = 0; n < 700; n++)
            (void)srm_replay_mark(&replay, n);
        const uint64_t top = 699 + jumps[i];
        CHECK_EQ(srm_replay_mark(&replay, top), SRM_REPLAY_NEW);
        for (uint64_t n = top - 511; n < top; n++)
            CHECK_EQ(srm_replay_check(&replay, n), n < 700 ? SRM_REPLAY_SEEN : SRM_REPLAY_NEW);
    }
    srm_replay_fini(&replay);
}

TEST(the_largest_packet_number_works) {
    srm_replay replay;
    srm_replay_init(&replay);
    const uint64_t top = (UINT64_C(1) << 62) - 1;
    CHECK_EQ(srm_replay_mark(&replay, top), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_check(&replay, top), SRM_REPLAY_SEEN);
    CHECK_EQ(srm_replay_check(&replay, top - 1), SRM_REPLAY_NEW);
    CHECK_EQ(srm_replay_check(&replay, 0), SRM_REPLAY_OLD);
    srm_replay_fini(&replay);
}

/* ---- Against a model that remembers everything ---- */

#define MODEL 40000

typedef struct model {
    bool marked[MODEL];
    uint64_t next;
    uint64_t forgotten; /* numbers below fell out of some window */
    uint64_t window;
} model;

static srm_replay_answer model_answer(const model *m, uint64_t n) {
    if (n >= m->next)
        return SRM_REPLAY_NEW;
    if (m->next - n > m->window)
        return SRM_REPLAY_OLD;
    return m->marked[n] || n < m->forgotten ? SRM_REPLAY_SEEN : SRM_REPLAY_NEW;
}

static void model_mark(model *m, uint64_t n) {
    m->marked[n] = true;
    m->next = srm_u64_max(m->next, n + 1);
    if (m->next > m->window)
        m->forgotten = srm_u64_max(m->forgotten, m->next - m->window);
}

static uint64_t pick(const model *m) {
    uint64_t kind = next_random() % 16, back = next_random() % (2 * m->window), near = next_random() % 40;
    if (kind == 0)
        return m->next + next_random() % (m->window + 10); /* a gap */
    if (kind < 6)
        return m->next + near % 3;
    if (kind < 12)
        return m->next > near ? m->next - near : 0;
    return m->next > back ? m->next - back : 0;
}

static void one_life(uint64_t from_seed) {
    static model m;
    memset(&m, 0, sizeof m);
    m.window = SRM_REPLAY_WINDOW_MIN;
    seed = from_seed;
    srm_replay replay;
    srm_replay_init(&replay);
    for (uint64_t n; (n = pick(&m)) < MODEL;) {
        srm_replay_answer expected = model_answer(&m, n);
        if (srm_replay_check(&replay, n) != expected)
            fprintf(stderr, "seed %llu, number %llu\n", (unsigned long long)from_seed, (unsigned long long)n);
        CHECK_EQ(srm_replay_check(&replay, n), expected);
        CHECK_EQ(srm_replay_mark(&replay, n), expected);
        CHECK_EQ(srm_replay_check(&replay, n), expected == SRM_REPLAY_OLD ? SRM_REPLAY_OLD : SRM_REPLAY_SEEN);
        if (expected == SRM_REPLAY_NEW)
            model_mark(&m, n);
        else
            CHECK_EQ(model_answer(&m, n), expected);
        if (next_random() % 200 == 0) {
            srm_replay_want(&replay, next_random() % 10000);
            m.window = replay.window;
            if (m.next > m.window)
                m.forgotten = srm_u64_max(m.forgotten, m.next - m.window);
        }
    }
    for (uint64_t n = 0; n < m.next + 100 && n < MODEL; n++)
        CHECK_EQ(srm_replay_check(&replay, n), model_answer(&m, n));
    srm_replay_fini(&replay);
}

TEST(behaves_as_a_model_that_remembers_everything) {
    for (uint64_t s = 1; s <= 300; s++)
        one_life(s * UINT64_C(0x9e3779b97f4a7c15));
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
