#include "repair.h"

#include "gf256.h"

#include "check.h"

static srm_repair example(void) {
    static const uint8_t zeros[100];
    return (srm_repair){
        .first = 70000, .mask = 0x8003, .channel = 7, .index = 127, .symbol = {zeros, sizeof zeros}};
}

/* Writes a frame; the reader stands behind its type byte. */
static srm_reader written(uint8_t *buffer, size_t size, const srm_repair *repair) {
    srm_writer w = srm_writer_of(buffer, size);
    memset(srm_repair_frame_write(&w, repair), 0x77, repair->symbol.size);
    CHECK(!w.failed);
    CHECK_EQ(srm_writer_used(&w), srm_repair_frame_size(repair));
    srm_reader r = srm_reader_of(srm_writer_span(&w));
    CHECK_EQ(srm_read_u8(&r), 0x0b);
    return r;
}

TEST(a_frame_is_read_as_written) {
    uint8_t buffer[200];
    srm_repair repair = example(), read;
    srm_reader r = written(buffer, sizeof buffer, &repair);
    CHECK(srm_repair_frame_read(&r, &read));
    CHECK_EQ(srm_reader_left(&r), 0);
    CHECK_EQ(read.first, repair.first);
    CHECK_EQ(read.mask, repair.mask);
    CHECK_EQ(read.channel, repair.channel);
    CHECK_EQ(read.index, repair.index);
    CHECK_EQ(read.symbol.size, repair.symbol.size);
    CHECK_EQ(read.symbol.data[99], 0x77);
}

TEST(a_frame_cut_off_is_malformed) {
    uint8_t buffer[200];
    srm_repair repair = example(), read;
    size_t size = srm_repair_frame_size(&repair);
    for (size_t cut = 1; cut < size; cut++) {
        srm_reader r = written(buffer, sizeof buffer, &repair);
        r.end = buffer + cut;
        CHECK(!srm_repair_frame_read(&r, &read));
    }
}

static bool is_read(srm_repair repair) {
    static uint8_t buffer[1000];
    srm_repair read;
    srm_reader r = written(buffer, sizeof buffer, &repair);
    return srm_repair_frame_read(&r, &read);
}

TEST(limits) {
    static const uint8_t zeros[SRM_REPAIR_SYMBOL_MAX + 1];
    srm_repair repair = example();
    repair.mask = 2;
    CHECK(!is_read(repair));
    repair.mask = 1;
    CHECK(is_read(repair));
    repair.index = SRM_REPAIR_INDEXES;
    CHECK(!is_read(repair));
    repair.index = 0;
    repair.first = SRM_VARINT_MAX - SRM_REPAIR_SPAN + 1;
    CHECK(!is_read(repair));
    repair.first--;
    CHECK(is_read(repair));
    repair.symbol = srm_span_of(zeros, SRM_REPAIR_SYMBOL_MAX + 1);
    CHECK(!is_read(repair));
    repair.symbol.size = SRM_REPAIR_SYMBOL_MAX;
    CHECK(is_read(repair));
    repair.symbol.size = SRM_REPAIR_HEAD;
    CHECK(is_read(repair));
    repair.symbol.size = SRM_REPAIR_HEAD - 1;
    CHECK(!is_read(repair));
}

TEST(a_message_is_a_symbol_and_back) {
    uint8_t symbol[SRM_REPAIR_SYMBOL_MAX], bytes[SRM_REPAIR_SIZE_MAX], flags;
    static const size_t sizes[] = {0, 1, 511, SRM_REPAIR_SIZE_MAX};
    srm_span data;
    memset(bytes, 0xab, sizeof bytes);
    for (size_t i = 0; i < SRM_COUNT_OF(sizes); i++) {
        memset(symbol, 0, sizeof symbol);
        srm_repair_part part = {srm_span_of(bytes, sizes[i]), SRM_MESSAGE_MAYBE_DUPLICATE, 1};
        srm_repair_combine(symbol, sizeof symbol, &part, 1);
        CHECK(srm_repair_split(srm_span_of(symbol, sizeof symbol), &flags, &data));
        CHECK_EQ(flags, SRM_MESSAGE_MAYBE_DUPLICATE);
        CHECK(srm_span_equal(data, srm_span_of(bytes, sizes[i])));
    }
}

TEST(a_combination_is_the_sum_of_multiples) {
    uint8_t a[100], b[37], both[102] = {0}, sum[102] = {0}, one[102];
    memset(a, 0x5c, sizeof a);
    memset(b, 0xe1, sizeof b);
    srm_repair_part parts[] = {{srm_span_of(a, sizeof a), SRM_MESSAGE_TEXT, 0x93},
                               {srm_span_of(b, sizeof b), 0, 0x0e}};
    srm_repair_combine(both, sizeof both, parts, 2);
    for (size_t i = 0; i < 2; i++) {
        srm_repair_part plain = parts[i];
        plain.factor = 1;
        memset(one, 0, sizeof one);
        srm_repair_combine(one, sizeof one, &plain, 1);
        srm_gf256_add_scaled(sum, one, sizeof sum, parts[i].factor);
    }
    CHECK_MEM(both, sum, sizeof sum);
}

TEST(what_is_no_message) {
    uint8_t symbol[8] = {0x10, 1}, flags;
    srm_span data;
    CHECK(!srm_repair_split(srm_span_of(symbol, sizeof symbol), &flags, &data)); /* unknown flags */
    symbol[0] = 0;
    symbol[1] = 7;
    CHECK(!srm_repair_split(srm_span_of(symbol, sizeof symbol), &flags, &data)); /* longer than its symbol */
    symbol[1] = 5;
    symbol[7] = 1;
    CHECK(!srm_repair_split(srm_span_of(symbol, sizeof symbol), &flags, &data)); /* something behind it */
    CHECK(!srm_repair_split(srm_span_of(symbol, 1), &flags, &data));
}

/* Cauchy: no square part of the matrix is singular; here all parts of two by two. */
TEST(two_frames_are_never_the_same_combination) {
    int singular = 0;
    for (unsigned i = 0; i < SRM_REPAIR_INDEXES; i++)
        for (unsigned j = i + 1; j < SRM_REPAIR_INDEXES; j++)
            for (uint64_t n = 0; n < SRM_REPAIR_SPAN; n++) {
                uint8_t a = srm_repair_factor((uint8_t)i, 1000), b = srm_repair_factor((uint8_t)i, 1001 + n);
                uint8_t c = srm_repair_factor((uint8_t)j, 1000), d = srm_repair_factor((uint8_t)j, 1001 + n);
                singular += srm_gf256_multiply(a, d) == srm_gf256_multiply(b, c);
                singular += a == 0 || b == 0 || c == 0 || d == 0;
            }
    CHECK_EQ(singular, 0);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
