/* Sets of ranges against a flag for each number: what is in, how many, the ranges in order, the gaps, and
 * what is refused or forgotten when there are too many ranges.
 *
 * first byte  even: what doesn't fit is refused; odd: the lowest range goes   second byte: most ranges, 0:
 * any number kind % 4   0, 1  add [start, start + length)   2  remove it   3  clear, trim, or begin anew
 */
#include "fuzz.h"

#include "rangeset.h"

const bool fuzz_records = true;

#define NUMBERS 512
#define BASE (UINT64_MAX - NUMBERS) /* the highest there are: sums must not run over */

typedef struct model {
    srm_rangeset set;
    bool in[NUMBERS];
    size_t max; /* ranges */
    bool drops;
} model;

static model m;

static size_t count_ranges(const bool *in) {
    size_t ranges = 0;
    for (size_t i = 0; i < NUMBERS; i++)
        ranges += in[i] && (i == 0 || !in[i - 1]);
    return ranges;
}

static void forget_lowest(bool *in) {
    size_t i = 0;
    while (i < NUMBERS && !in[i])
        i++;
    for (; i < NUMBERS && in[i]; i++)
        in[i] = false;
}

/* What should be true of a change; `wanted` is the set with it. */
static void expect(bool answer, const bool *wanted, size_t start, size_t end, bool adding) {
    bool fits = count_ranges(wanted) <= m.max;
    if (!fits && !m.drops) {
        FUZZ_CHECK(!answer, "what doesn't fit is refused");
        return;
    }
    memcpy(m.in, wanted, sizeof m.in);
    if (!fits)
        forget_lowest(m.in);
    bool all = true;
    for (size_t i = start; i < end; i++)
        all &= m.in[i] == adding;
    FUZZ_CHECK(answer == all, "the answer says whether the whole of it is so now");
}

static void change(fuzz_input *in, bool adding) {
    bool wanted[NUMBERS];
    size_t start = fuzz_take_below(in, NUMBERS), end = start + fuzz_take_below(in, 64);
    end = end < NUMBERS ? end : NUMBERS;
    memcpy(wanted, m.in, sizeof wanted);
    for (size_t i = start; i < end; i++)
        wanted[i] = adding;
    bool answer = adding ? srm_rangeset_add(&m.set, BASE + start, BASE + end)
                         : srm_rangeset_remove(&m.set, BASE + start, BASE + end);
    expect(answer, wanted, start, end, adding);
}

static void check_ranges(void) {
    size_t position = 0, total = 0;
    for (size_t i = 0; i < NUMBERS; i++) {
        total += m.in[i];
        FUZZ_CHECK(srm_rangeset_contains(&m.set, BASE + i) == m.in[i], "what is in");
        if (!m.in[i] || (i > 0 && m.in[i - 1]))
            continue;
        size_t end = i;
        while (end < NUMBERS && m.in[end])
            end++;
        srm_range range = srm_rangeset_at(&m.set, (uint32_t)position++);
        FUZZ_CHECK(range.start == BASE + i && range.end == BASE + end, "the ranges in their order");
        FUZZ_CHECK(srm_rangeset_covers(&m.set, range.start, range.end), "a range covers itself");
        FUZZ_CHECK(i == 0 || !srm_rangeset_covers(&m.set, range.start - 1, range.end), "and no more");
    }
    FUZZ_CHECK(srm_rangeset_count(&m.set) == position && srm_rangeset_total(&m.set) == total, "how many");
}

static void check_gap(size_t from, size_t limit) {
    srm_range gap = srm_rangeset_next_gap(&m.set, BASE + from, BASE + limit);
    size_t start = from;
    while (start < limit && m.in[start])
        start++;
    size_t end = start;
    while (end < limit && !m.in[end])
        end++;
    FUZZ_CHECK(gap.start == BASE + start && gap.end == BASE + end, "the first gap");
}

static void other(fuzz_input *in) {
    switch (fuzz_take_u8(in) % 3) {
    case 0:
        srm_rangeset_clear(&m.set);
        memset(m.in, 0, sizeof m.in);
        break;
    case 1:
        srm_rangeset_trim(&m.set);
        break;
    default: {
        srm_rangeset moved = m.set; /* by assignment, as is allowed */
        memset(&m.set, 0xff, sizeof m.set);
        m.set = moved;
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    memset(m.in, 0, sizeof m.in);
    m.drops = (fuzz_take_u8(&in) & 1) != 0;
    uint32_t max = fuzz_take_u8(&in) % 24;
    m.max = max > 0 ? max : NUMBERS;
    srm_rangeset_init(&m.set, max > 0 ? max : SRM_RANGESET_NO_MAX,
                      m.drops ? SRM_RANGESET_DROP_LOWEST : SRM_RANGESET_REFUSE);
    for (uint8_t kind; fuzz_take_record(&in, &kind, &body);) {
        if (kind % 4 == 3)
            other(&body);
        else
            change(&body, kind % 4 != 2);
        check_ranges();
        size_t from = fuzz_take_below(&body, NUMBERS);
        check_gap(from, from + fuzz_take_below(&body, NUMBERS - from));
    }
    srm_rangeset_fini(&m.set);
    return 0;
}
