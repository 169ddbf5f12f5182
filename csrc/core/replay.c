#include "replay.h"

#include <stdlib.h>

#define WORD_BITS 64

static uint64_t *ring(srm_replay *replay) {
    return replay->heap != NULL ? replay->heap : replay->small;
}

static const uint64_t *ring_of(const srm_replay *replay) {
    return replay->heap != NULL ? replay->heap : replay->small;
}

static bool get(const uint64_t *words, uint32_t window, uint64_t number) {
    uint64_t bit = number & (window - 1);
    return (words[bit / WORD_BITS] >> (bit % WORD_BITS) & 1) != 0;
}

static void set(uint64_t *words, uint32_t window, uint64_t number) {
    uint64_t bit = number & (window - 1);
    words[bit / WORD_BITS] |= UINT64_C(1) << (bit % WORD_BITS);
}

/* Clears the bits of the numbers from..to-1, at most a whole window of them. */
static void clear(uint64_t *words, uint32_t window, uint64_t from, uint64_t to) {
    while (from < to) {
        uint64_t bit = from & (window - 1), in_word = bit % WORD_BITS;
        uint64_t count = srm_u64_min(to - from, WORD_BITS - in_word);
        uint64_t mask = count == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << count) - 1;
        words[bit / WORD_BITS] &= ~(mask << in_word);
        from += count;
    }
}

void srm_replay_init(srm_replay *replay) {
    *replay = (srm_replay){.window = SRM_REPLAY_WINDOW_MIN};
}

void srm_replay_fini(srm_replay *replay) {
    free(replay->heap);
    srm_replay_init(replay);
}

srm_replay_answer srm_replay_check(const srm_replay *replay, uint64_t number) {
    if (number >= replay->next)
        return SRM_REPLAY_NEW;
    if (replay->next - number > replay->window)
        return SRM_REPLAY_OLD;
    return get(ring_of(replay), replay->window, number) ? SRM_REPLAY_SEEN : SRM_REPLAY_NEW;
}

srm_replay_answer srm_replay_mark(srm_replay *replay, uint64_t number) {
    SRM_ASSERT(number < UINT64_C(1) << 62);
    srm_replay_answer answer = srm_replay_check(replay, number);
    if (answer != SRM_REPLAY_NEW)
        return answer;
    if (number >= replay->next) {
        uint64_t oldest = number < replay->window ? 0 : number + 1 - replay->window;
        clear(ring(replay), replay->window, srm_u64_max(replay->next, oldest), number + 1);
        replay->next = number + 1;
    }
    set(ring(replay), replay->window, number);
    return SRM_REPLAY_NEW;
}

/* Carries what is known into another ring. All that the old window had forgotten counts as seen in the new
 * one: a duplicate taken for new would be worse than a late packet lost. Bits of numbers to come don't
 * matter, they are cleared when the window moves over them. */
static void carry(const srm_replay *replay, uint64_t *words, uint32_t window) {
    uint64_t known = srm_u64_min(replay->next, srm_u64_min(window, replay->window));
    uint64_t number = replay->next - known;
    memset(words, 0xff, window / 8);
    while (number < replay->next) {
        if (number % WORD_BITS == 0 && replay->next - number >= WORD_BITS) {
            words[number % window / WORD_BITS] = ring_of(replay)[number % replay->window / WORD_BITS];
            number += WORD_BITS;
        } else {
            if (!get(ring_of(replay), replay->window, number))
                clear(words, window, number, number + 1);
            number++;
        }
    }
}

static void resize(srm_replay *replay, uint32_t window) {
    uint64_t small[SRM_REPLAY_WINDOW_MIN / WORD_BITS];
    uint64_t *heap = window > SRM_REPLAY_WINDOW_MIN ? malloc(window / 8) : NULL;
    if (window > SRM_REPLAY_WINDOW_MIN && heap == NULL)
        return;
    carry(replay, heap != NULL ? heap : small, window);
    free(replay->heap);
    replay->heap = heap;
    replay->window = window;
    if (heap == NULL)
        memcpy(replay->small, small, sizeof small);
}

void srm_replay_want(srm_replay *replay, uint64_t window) {
    uint32_t wanted = SRM_REPLAY_WINDOW_MIN;
    while (wanted < window && wanted < SRM_REPLAY_WINDOW_MAX)
        wanted *= 2;
    if (wanted > replay->window || wanted <= replay->window / 4)
        resize(replay, wanted);
}
