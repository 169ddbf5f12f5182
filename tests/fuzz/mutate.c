/* mutate - how libFuzzer changes an input that is a list of records (fuzz.h): whole records come, go, change
 * places, or one of them is altered inside, so that the steps around it stay what they were. Inputs of other
 * targets are left to libFuzzer alone. */
#include "fuzz.h"

#define RECORDS_MAX 512
#define HEADER 3
#define BODY_MAX UINT16_MAX

/* libFuzzer's: changes bytes in place, within `max_size`; the new size. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

typedef struct record {
    uint8_t kind;
    const uint8_t *body;
    size_t size;
} record;

typedef struct record_list {
    record at[RECORDS_MAX];
    size_t count;
} record_list;

static void parse(record_list *list, const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    list->count = 0;
    for (uint8_t kind; list->count < RECORDS_MAX && fuzz_take_record(&in, &kind, &body);)
        list->at[list->count++] = (record){kind, body.at, fuzz_left(&body)};
}

/* Writes as many whole records as fit. */
static size_t join(const record_list *list, uint8_t *out, size_t capacity) {
    size_t used = 0;
    for (size_t i = 0; i < list->count && used + HEADER + list->at[i].size <= capacity; i++) {
        const record *r = &list->at[i];
        out[used] = r->kind;
        out[used + 1] = (uint8_t)(r->size >> 8);
        out[used + 2] = (uint8_t)r->size;
        if (r->size > 0)
            memcpy(out + used + HEADER, r->body, r->size);
        used += HEADER + r->size;
    }
    return used;
}

static void insert(record_list *list, size_t at, record r) {
    if (list->count == RECORDS_MAX)
        return;
    memmove(&list->at[at + 1], &list->at[at], (list->count - at) * sizeof r);
    list->at[at] = r;
    list->count++;
}

static record cut_out(record_list *list, size_t at) {
    record r = list->at[at];
    list->count--;
    memmove(&list->at[at], &list->at[at + 1], (list->count - at) * sizeof r);
    return r;
}

/* Alters the body of one record in `scratch`. */
static void alter(record *r, uint8_t *scratch, size_t capacity, uint64_t *seed) {
    size_t size = r->size < capacity ? r->size : capacity;
    if (size > 0)
        memcpy(scratch, r->body, size);
    if (size == 0 || fuzz_random(seed) % 4 == 0) { /* one more byte at the end: bodies must be able to grow */
        scratch[size < capacity ? size++ : size - 1] = (uint8_t)fuzz_random(seed);
    } else {
        size = LLVMFuzzerMutate(scratch, size, capacity);
    }
    r->body = scratch;
    r->size = size;
}

/* One change of the list; `spare` is room for a changed body. */
static void change(record_list *list, uint8_t *spare, size_t capacity, uint64_t *seed) {
    size_t at = list->count > 0 ? fuzz_random(seed) % list->count : 0;
    size_t other = list->count > 0 ? fuzz_random(seed) % list->count : 0;
    uint64_t choice = list->count > 0 ? fuzz_random(seed) % 16 : 0;
    record moved;
    switch (choice) {
    case 0:
        moved = (record){(uint8_t)fuzz_random(seed), NULL, 0};
        alter(&moved, spare, capacity, seed);
        insert(list, at, moved);
        break;
    case 1:
        cut_out(list, at);
        break;
    case 2:
    case 3:
        insert(list, other, list->at[at]);
        break;
    case 4:
        moved = cut_out(list, at);
        insert(list, other < list->count ? other : list->count, moved);
        break;
    case 5:
        list->at[at].kind = (uint8_t)fuzz_random(seed);
        break;
    case 6:
        list->at[at].kind ^= (uint8_t)(1u << fuzz_random(seed) % 8);
        break;
    default:
        alter(&list->at[at], spare, capacity, seed);
        break;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    static record_list list;
    static uint8_t before[1 << 20], spare[BODY_MAX];
    uint64_t state = seed;
    if (!fuzz_records || size > sizeof before || fuzz_random(&state) % 16 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    memcpy(before, data, size);
    parse(&list, before, size);
    size_t capacity = max_size > HEADER ? max_size - HEADER : 1;
    change(&list, spare, capacity < sizeof spare ? capacity : sizeof spare, &state);
    return join(&list, data, max_size);
}

/* The beginning of one and the end of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size,
                                 uint8_t *out, size_t out_capacity, unsigned seed) {
    static record_list first, second;
    uint64_t state = seed;
    if (!fuzz_records)
        return 0;
    parse(&first, one, one_size);
    parse(&second, two, two_size);
    if (first.count > 0)
        first.count = fuzz_random(&state) % first.count + 1;
    size_t from = second.count > 0 ? fuzz_random(&state) % second.count : 0;
    for (size_t i = from; i < second.count; i++)
        insert(&first, first.count, second.at[i]);
    return join(&first, out, out_capacity);
}
