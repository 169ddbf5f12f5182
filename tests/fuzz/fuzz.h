/* fuzz - what every fuzz target shares. A target is one file fuzz_<name>.c: it defines LLVMFuzzerTestOneInput
 * and says in fuzz_records how its input is made. libFuzzer drives it (mutate.c), or a plain program replays
 * given files (replay.c).
 *
 * The same input does the same each time: no clock, no entropy, no address decides anything.
 *
 * Many inputs are a list of records, so that a mutation of one step leaves the others what they are:
 *
 *     kind (1)  size of the body (2, big-endian)  body
 *
 * A body that is cut off ends with the input. What is read beyond an end is zero.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether the target's input is a list of records; each target defines it. */
extern const bool fuzz_records;

/* libFuzzer's own interface. The target's one function: always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Before the first input; see start.c. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* mutate.c */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size,
                                 uint8_t *out, size_t out_capacity, unsigned seed);

/* What must hold whatever the input is. Says where and what, and aborts: a finding. */
#define FUZZ_CHECK(condition, what)                                                                          \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (not true: %s)\n", __FILE__, __LINE__, (what), #condition);           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* ---- Reading the input ---- */

typedef struct fuzz_input {
    const uint8_t *at, *end;
} fuzz_input;

static inline fuzz_input fuzz_input_of(const uint8_t *data, size_t size) {
    return (fuzz_input){.at = data, .end = size > 0 ? data + size : data};
}
static inline size_t fuzz_left(const fuzz_input *in) {
    return (size_t)(in->end - in->at);
}
static inline uint64_t fuzz_take(fuzz_input *in, size_t bytes) { /* 1 to 8 */
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | (in->at < in->end ? *in->at++ : 0);
    return value;
}
static inline uint8_t fuzz_take_u8(fuzz_input *in) {
    return (uint8_t)fuzz_take(in, 1);
}
/* A value from 0 to `limit` - 1. */
static inline size_t fuzz_take_below(fuzz_input *in, size_t limit) {
    return (size_t)(fuzz_take(in, limit <= 256 ? 1 : 2) % limit);
}
/* The next record; false at the end of the input. */
static inline bool fuzz_take_record(fuzz_input *in, uint8_t *kind, fuzz_input *body) {
    if (fuzz_left(in) == 0)
        return false;
    *kind = fuzz_take_u8(in);
    size_t size = (size_t)fuzz_take(in, 2), left = fuzz_left(in);
    size = size < left ? size : left;
    *body = fuzz_input_of(in->at, size);
    in->at += size;
    return true;
}

/* ---- Helpers (start.c) ---- */

/* A small generator (splitmix64) for bytes that only have to differ. */
uint64_t fuzz_random(uint64_t *state);
/* Bytes that the program holds from malloc now; 0 where AddressSanitizer is not there to tell. */
size_t fuzz_allocated(void);

#endif
