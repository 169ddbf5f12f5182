#include "bytes.h"

#include "check.h"

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- Reading ---- */

TEST(integers_are_big_endian) {
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xff};
    srm_reader r = srm_reader_of(srm_span_of(bytes, sizeof bytes));
    CHECK_EQ(srm_read_u8(&r), 0x01);
    CHECK_EQ(srm_read_u16(&r), 0x0203);
    CHECK_EQ(srm_read_u32(&r), 0x04050607);
    CHECK_EQ(srm_read_u64(&r), 0x08090a0b0c0d0e0f);
    CHECK_EQ(srm_reader_left(&r), 1);
    CHECK_EQ(srm_read_u8(&r), 0xff);
    CHECK(!r.failed && srm_reader_left(&r) == 0);
    for (size_t size = 1; size <= 8; size++) {
        uint64_t expected = 0;
        for (size_t i = 0; i < size; i++)
            expected = expected << 8 | bytes[i];
        r = srm_reader_of(srm_span_of(bytes, sizeof bytes));
        CHECK_EQ(srm_read_uint(&r, size), expected);
        CHECK_EQ(srm_reader_left(&r), sizeof bytes - size);
    }
}

/* RFC 9000 appendix A.1. */
TEST(varints_of_the_rfc) {
    static const struct {
        uint8_t bytes[8];
        size_t size;
        uint64_t value;
    } examples[] = {
        {{0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c}, 8, UINT64_C(151288809941952652)},
        {{0x9d, 0x7f, 0x3e, 0x7d}, 4, 494878333},
        {{0x7b, 0xbd}, 2, 15293},
        {{0x25}, 1, 37},
    };
    for (size_t i = 0; i < SRM_COUNT_OF(examples); i++) {
        uint8_t out[8];
        srm_reader r = srm_reader_of(srm_span_of(examples[i].bytes, examples[i].size));
        CHECK_EQ(srm_read_varint(&r), examples[i].value);
        CHECK(!r.failed && srm_reader_left(&r) == 0);
        srm_writer w = srm_writer_of(out, sizeof out);
        srm_write_varint(&w, examples[i].value);
        CHECK(srm_span_equal(srm_writer_span(&w), srm_span_of(examples[i].bytes, examples[i].size)));
    }
    static const uint8_t longer[] = {0x40, 0x25}; /* not the shortest form; allowed */
    srm_reader r = srm_reader_of(srm_span_of(longer, sizeof longer));
    CHECK_EQ(srm_read_varint(&r), 37);
}

TEST(varints_change_length_at_their_limits) {
    static const uint64_t limits[] = {0x3f, 0x3fff, 0x3fffffff, SRM_VARINT_MAX};
    for (size_t i = 0; i < SRM_COUNT_OF(limits); i++) {
        for (uint64_t value = limits[i] - 1; value <= limits[i] + 1 && value <= SRM_VARINT_MAX; value++) {
            uint8_t out[8];
            size_t size = (size_t)1 << (i + (value > limits[i]));
            CHECK_EQ(srm_varint_size(value), size);
            srm_writer w = srm_writer_of(out, size);
            srm_write_varint(&w, value);
            CHECK(!w.failed);
            CHECK_EQ(srm_writer_used(&w), size);
            srm_reader r = srm_reader_of(srm_writer_span(&w));
            CHECK_EQ(srm_read_varint(&r), value);
            CHECK(!r.failed && srm_reader_left(&r) == 0);
        }
    }
}

TEST(a_varint_cut_short_fails) {
    for (unsigned top = 0; top < 4; top++) {
        uint8_t bytes[8] = {(uint8_t)(top << 6 | 0x2a), 1, 2, 3, 4, 5, 6, 7};
        for (size_t size = 0; size < (size_t)1 << top; size++) {
            srm_reader r = srm_reader_of(srm_span_of(bytes, size));
            CHECK_EQ(srm_read_varint(&r), 0);
            CHECK(r.failed);
        }
    }
}

TEST(a_reader_that_failed_stays_failed) {
    static const uint8_t bytes[] = {1, 2, 3, 4};
    srm_reader r = srm_reader_of(srm_span_of(bytes, sizeof bytes));
    uint8_t copy[3];
    memset(copy, 0xee, sizeof copy);
    CHECK_EQ(srm_read_u64(&r), 0);
    CHECK(r.failed);
    CHECK_EQ(srm_read_u8(&r), 0); /* would fit */
    CHECK_EQ(srm_read_u16(&r), 0);
    CHECK_EQ(srm_read_u32(&r), 0);
    CHECK_EQ(srm_read_uint(&r, 3), 0);
    CHECK_EQ(srm_read_varint(&r), 0);
    srm_read_copy(&r, copy, sizeof copy);
    CHECK(copy[0] == 0 && copy[1] == 0 && copy[2] == 0);
    srm_span none = srm_read_bytes(&r, 0);
    CHECK(none.size == 0 && r.failed);
}

TEST(borrowed_bytes_end_where_the_buffer_ends) {
    static const uint8_t bytes[] = {1, 2, 3, 4};
    static const uint64_t too_many[] = {5, SIZE_MAX, UINT64_MAX, SRM_VARINT_MAX, UINT64_C(1) << 32};
    srm_reader r = srm_reader_of(srm_span_of(bytes, sizeof bytes));
    srm_span all = srm_read_bytes(&r, sizeof bytes);
    CHECK(all.data == bytes && all.size == sizeof bytes && !r.failed);
    CHECK_EQ(srm_read_bytes(&r, 0).size, 0);
    CHECK(!r.failed);
    for (size_t i = 0; i < SRM_COUNT_OF(too_many); i++) {
        r = srm_reader_of(srm_span_of(bytes, sizeof bytes));
        srm_span none = srm_read_bytes(&r, too_many[i]);
        CHECK(none.data == NULL && none.size == 0 && r.failed);
    }
}

/* An empty span may have no address, and then nothing may be computed with it that C leaves undefined. */
TEST(an_empty_span_may_be_null) {
    srm_reader r = srm_reader_of(srm_span_of(NULL, 0));
    CHECK_EQ(srm_reader_left(&r), 0);
    CHECK_EQ(srm_read_bytes(&r, 0).size, 0);
    srm_read_copy(&r, NULL, 0);
    CHECK(!r.failed);
    CHECK_EQ(srm_read_u8(&r), 0);
    CHECK(r.failed);
    srm_writer w = srm_writer_of(NULL, 0);
    srm_write_bytes(&w, srm_span_of(NULL, 0));
    srm_write_zeros(&w, 0);
    CHECK(!w.failed && srm_writer_used(&w) == 0 && srm_writer_left(&w) == 0);
    srm_write_u8(&w, 1);
    CHECK(w.failed);
    CHECK(srm_span_equal(srm_span_of(NULL, 0), srm_writer_span(&w)));
}

/* ---- Writing ---- */

TEST(a_writer_without_room_writes_nothing_more) {
    uint8_t out[8];
    memset(out, 0xee, sizeof out);
    srm_writer w = srm_writer_of(out, 3);
    srm_write_u16(&w, 0x0102);
    srm_write_u16(&w, 0x0304);
    CHECK(w.failed);
    CHECK_EQ(srm_writer_used(&w), 2);
    srm_write_u8(&w, 5); /* would fit */
    srm_write_varint(&w, 1);
    srm_write_zeros(&w, 1);
    srm_write_bytes(&w, srm_span_of(out, 1));
    CHECK(srm_write_reserve(&w, 0) == NULL);
    CHECK_EQ(srm_writer_used(&w), 2);
    static const uint8_t expected[] = {1, 2, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
    CHECK_MEM(out, expected, sizeof out);
}

TEST(a_writer_fills_its_buffer_to_the_last_byte) {
    uint8_t out[15];
    static const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    srm_writer w = srm_writer_of(out, sizeof out);
    srm_write_u8(&w, 1);
    srm_write_u16(&w, 0x0203);
    srm_write_u32(&w, 0x04050607);
    srm_write_u64(&w, 0x08090a0b0c0d0e0f);
    CHECK(!w.failed && srm_writer_left(&w) == 0);
    CHECK_MEM(out, expected, sizeof out);
    srm_write_zeros(&w, 0);
    CHECK(!w.failed && srm_write_reserve(&w, 0) == out + sizeof out);
    CHECK(srm_write_reserve(&w, SIZE_MAX) == NULL && w.failed);
}

/* ---- Both, at random ---- */

typedef struct op {
    unsigned kind;
    uint64_t value;
} op;

static size_t op_size(const op *o) {
    return o->kind == 0 ? srm_varint_size(o->value) : o->kind;
}

static op random_op(uint64_t *seed) {
    op o = {.kind = (unsigned)(random_next(seed) % 9)};
    uint64_t value = random_next(seed) >> random_next(seed) % 64;
    o.value = o.kind == 0   ? value & SRM_VARINT_MAX
              : o.kind == 8 ? value
                            : value & ((UINT64_C(1) << 8 * o.kind) - 1);
    return o;
}

static void write_op(srm_writer *w, const op *o) {
    if (o->kind == 0)
        srm_write_varint(w, o->value);
    else
        srm_write_uint(w, o->value, o->kind);
}

static uint64_t read_op(srm_reader *r, const op *o) {
    return o->kind == 0 ? srm_read_varint(r) : srm_read_uint(r, o->kind);
}

TEST(what_was_written_is_read_and_any_cut_is_noticed) {
    uint64_t seed = 20250101;
    fprintf(stderr, "bytes: seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 2000; round++) {
        op ops[12];
        size_t count = 1 + random_next(&seed) % SRM_COUNT_OF(ops), needed = 0;
        for (size_t i = 0; i < count; i++) {
            ops[i] = random_op(&seed);
            needed += op_size(&ops[i]);
        }
        uint8_t bytes[12 * 8];
        size_t capacity = random_next(&seed) % 2 == 0 ? needed : random_next(&seed) % (needed + 1);
        srm_writer w = srm_writer_of(bytes, capacity);
        for (size_t i = 0; i < count; i++)
            write_op(&w, &ops[i]);
        CHECK_EQ(w.failed, capacity < needed);
        if (w.failed)
            continue;
        size_t cut = random_next(&seed) % 2 == 0 ? needed : random_next(&seed) % (needed + 1), at = 0;
        srm_reader r = srm_reader_of(srm_span_of(bytes, cut));
        for (size_t i = 0; i < count; i++) {
            at += op_size(&ops[i]);
            CHECK(read_op(&r, &ops[i]) == (at <= cut ? ops[i].value : 0));
        }
        CHECK_EQ(r.failed, cut < needed);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
