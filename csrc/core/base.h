/* base - the few words every module of the core shares: time, spans, the assertion.
 *
 * The core has no clock, no syscall, no randomness and no threads. Time comes in as srm_time, random bytes
 * come in through srm_entropy; so one byte string or one seed replays everything.
 */
#ifndef SRM_BASE_H
#define SRM_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A point on the driver's monotonic clock, or a duration; nanoseconds. Never negative as a point in time. */
typedef int64_t srm_time;

#define SRM_TIME_NEVER INT64_MAX
#define SRM_MICROSECOND ((srm_time)1000)
#define SRM_MILLISECOND ((srm_time)1000000)
#define SRM_SECOND ((srm_time)1000000000)

static inline srm_time srm_time_min(srm_time a, srm_time b) {
    return a < b ? a : b;
}
static inline srm_time srm_time_max(srm_time a, srm_time b) {
    return a > b ? a : b;
}
static inline uint64_t srm_u64_min(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}
static inline uint64_t srm_u64_max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}
static inline size_t srm_size_min(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline size_t srm_size_max(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Borrowed bytes, by value. `data` may be NULL only when `size` is 0. */
typedef struct srm_span {
    const uint8_t *data;
    size_t size;
} srm_span;

static inline srm_span srm_span_of(const void *data, size_t size) {
    return (srm_span){.data = (const uint8_t *)data, .size = size};
}

static inline bool srm_span_equal(srm_span a, srm_span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Where the core gets random bytes: the driver gives the kernel's, the simulator a seeded generator.
 * `fill` must write all `size` bytes and cannot fail. */
typedef struct srm_entropy {
    void (*fill)(void *context, uint8_t *out, size_t size);
    void *context;
} srm_entropy;

/* Checks our own invariants, also in release builds (CPython compiles extensions with NDEBUG). Never for
 * anything a peer or a caller can choose: those get an error. Prints file, line and expression, aborts. */
_Noreturn void srm_assert_failed(const char *file, int line, const char *expression);
#define SRM_ASSERT(expression) ((expression) ? (void)0 : srm_assert_failed(__FILE__, __LINE__, #expression))

#define SRM_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
