/* measure - clocks, processor time and percentiles, for the benchmark programs in C; what is printed and how
 * numbers travel is in bench/README.md. Functions in the header, so that each program is one file to compile.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The clock that both ends of a benchmark share. */
static inline uint64_t wall_ns(void) {
    return clock_ns(CLOCK_REALTIME);
}

/* Used by this process so far, user and system, all threads. */
static inline double cpu_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* Times in messages: big-endian. */
static inline void put64(uint8_t *out, uint64_t value) {
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}
static inline uint64_t get64(const uint8_t *in) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return value;
}

/* ---- Percentiles ---- */

/* Begin with zeros. */
typedef struct times {
    uint64_t *ns;
    size_t count, capacity;
} times;

static inline void times_add(times *list, uint64_t ns) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 65536 : 2 * list->capacity;
        list->ns = realloc(list->ns, list->capacity * sizeof *list->ns);
        if (list->ns == NULL)
            abort();
    }
    list->ns[list->count++] = ns;
}

static inline int times_compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Before times_at. */
static inline void times_sort(times *list) {
    if (list->count > 0)
        qsort(list->ns, list->count, sizeof *list->ns, times_compare);
}

/* ns; 0 of an empty list. */
static inline double times_at(const times *sorted, double share) {
    size_t at = (size_t)(share * (double)sorted->count);
    return sorted->count == 0 ? 0 : (double)sorted->ns[at < sorted->count ? at : sorted->count - 1];
}

/* The line of JSON of pingpong and lat. */
static inline void times_print(times *list, const char *role, double cpu) {
    if (list->count == 0) {
        printf("{\"role\":\"%s\",\"n\":0}\n", role);
        return;
    }
    times_sort(list);
    printf(
        "{\"role\":\"%s\",\"n\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,"
        "\"cpu\":%.3f}\n",
        role, list->count, times_at(list, 0.5) / 1e3, times_at(list, 0.99) / 1e3, times_at(list, 0.999) / 1e3,
        times_at(list, 1) / 1e3, cpu);
}

#endif
