/* The replay window against a list of all numbers ever taken: no number is taken twice, whatever the window
 * does meanwhile, and none within the window is refused that was not taken.
 *
 * kind % 4   0..2  a packet: the next number + distance - 128, times 1, 16 or 256   3  the window is asked to
 * be so large
 */
#include "fuzz.h"

#include "replay.h"

const bool fuzz_records = true;

#define TAKEN_MAX 2048

typedef struct model {
    srm_replay replay;
    uint64_t taken[TAKEN_MAX];
    size_t count;
    uint64_t next;
    uint64_t forgotten; /* numbers below were out of a window once */
} model;

static model m;

static bool is_taken(uint64_t number) {
    for (size_t i = 0; i < m.count; i++)
        if (m.taken[i] == number)
            return true;
    return false;
}

static void note_window(void) {
    if (m.next > m.replay.window && m.next - m.replay.window > m.forgotten)
        m.forgotten = m.next - m.replay.window;
}

static void packet(fuzz_input *in, unsigned scale) {
    int64_t distance = ((int64_t)fuzz_take_u8(in) - 128) * (INT64_C(1) << (4 * scale));
    if (distance < 0 && m.next < (uint64_t)-distance)
        return;
    uint64_t number = (m.next + (uint64_t)distance) & ((UINT64_C(1) << 61) - 1);
    srm_replay_answer said = srm_replay_check(&m.replay, number), done = srm_replay_mark(&m.replay, number);
    FUZZ_CHECK(said == done, "mark says what check said");
    FUZZ_CHECK(said != SRM_REPLAY_NEW || !is_taken(number), "no number is taken twice");
    FUZZ_CHECK(said == SRM_REPLAY_NEW || is_taken(number) || number < m.forgotten,
               "and none refused for nothing");
    if (said != SRM_REPLAY_NEW)
        return;
    m.taken[m.count++] = number;
    m.next = number >= m.next ? number + 1 : m.next;
    note_window();
    FUZZ_CHECK(srm_replay_check(&m.replay, number) != SRM_REPLAY_NEW, "it is taken now");
}

static void want(fuzz_input *in) {
    uint64_t window = fuzz_take(in, 3);
    srm_replay_want(&m.replay, window);
    uint64_t least = window < SRM_REPLAY_WINDOW_MAX ? window : SRM_REPLAY_WINDOW_MAX;
    FUZZ_CHECK(m.replay.window >= least && m.replay.window <= SRM_REPLAY_WINDOW_MAX,
               "a window in its limits");
    note_window();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    m.count = 0;
    m.next = m.forgotten = 0;
    srm_replay_init(&m.replay);
    for (uint8_t kind; m.count < TAKEN_MAX && fuzz_take_record(&in, &kind, &body);) {
        if (kind % 4 == 3)
            want(&body);
        else
            packet(&body, kind % 4);
    }
    srm_replay_fini(&m.replay);
    return 0;
}
