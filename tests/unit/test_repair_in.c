#include "repair_in.h"

#include "gf256.h"

#include "check.h"

/* Message `number` of a channel: size, bytes and flags follow from both. */
typedef struct sample {
    uint8_t bytes[SRM_REPAIR_SIZE_MAX];
    srm_fragment_in in;
} sample;

static const sample *message(uint8_t channel, uint64_t number) {
    static sample s;
    size_t size = (size_t)((number * 7919 + channel * 101u) % (SRM_REPAIR_SIZE_MAX + 1));
    for (size_t i = 0; i < size; i++)
        s.bytes[i] = (uint8_t)(number * 31 + channel + i * i);
    s.in = (srm_fragment_in){.number = number,
                             .total = size,
                             .data = srm_span_of(s.bytes, size),
                             .channel = channel,
                             .flags = (uint8_t)(number & SRM_MESSAGE_TEXT)};
    return &s;
}

static uint8_t next_index;

/* By the definition, one message after the other. */
static void add_scaled(uint8_t *symbol, const sample *m, uint8_t factor) {
    uint8_t one[SRM_REPAIR_SYMBOL_MAX] = {0};
    srm_repair_part part = {.data = m->in.data, .flags = m->in.flags, .factor = 1};
    srm_repair_combine(one, sizeof one, &part, 1);
    srm_gf256_add_scaled(symbol, one, sizeof one, factor);
}

/* The frame that a sender makes of these messages; `symbol` holds its bytes. */
static srm_repair repair_of(uint8_t *symbol, uint8_t channel, uint64_t first, uint16_t mask) {
    srm_repair r = {.first = first, .mask = mask, .channel = channel, .index = next_index};
    size_t size = 0;
    next_index = (uint8_t)((next_index + 1) % SRM_REPAIR_INDEXES);
    memset(symbol, 0, SRM_REPAIR_SYMBOL_MAX);
    for (unsigned i = 0; i < SRM_REPAIR_SPAN; i++)
        if ((mask >> i & 1) != 0) {
            const sample *m = message(channel, first + i);
            size = srm_size_max(size, SRM_REPAIR_HEAD + m->in.data.size);
            add_scaled(symbol, m, srm_repair_factor(r.index, first + i));
        }
    r.symbol = srm_span_of(symbol, size);
    return r;
}

static void repair(srm_repair_in *in, uint8_t channel, uint64_t first, uint16_t mask) {
    uint8_t symbol[SRM_REPAIR_SYMBOL_MAX];
    srm_repair r = repair_of(symbol, channel, first, mask);
    srm_repair_in_on_repair(in, &r);
}

static void come(srm_repair_in *in, uint8_t channel, uint64_t number) {
    srm_repair_in_on_message(in, &message(channel, number)->in);
}

/* The next one recovered is this one, byte for byte. */
static bool gives(srm_repair_in *in, uint8_t channel, uint64_t number) {
    srm_fragment_in out;
    if (!srm_repair_in_take(in, &out))
        return false;
    const sample *m = message(channel, number);
    return out.number == number && out.channel == channel && out.flags == m->in.flags && out.offset == 0 &&
           out.total == m->in.total && srm_span_equal(out.data, m->in.data);
}

static bool gives_nothing(srm_repair_in *in) {
    srm_fragment_in out;
    return !srm_repair_in_take(in, &out);
}

TEST(one_that_is_missing_comes_back_at_once) {
    srm_repair_in *in = srm_repair_in_new(0);
    come(in, 0, 1);
    come(in, 0, 3);
    repair(in, 0, 1, 7);
    CHECK(gives(in, 0, 2));
    CHECK(gives_nothing(in));
    repair(in, 0, 1, 7);
    CHECK(gives_nothing(in));
    srm_repair_in_free(in);
}

TEST(as_many_frames_as_messages_are_missing) {
    for (unsigned missing = 1; missing <= SRM_REPAIR_IN_ROWS; missing++) {
        srm_repair_in *in = srm_repair_in_new(0);
        for (uint64_t n = missing; n < SRM_REPAIR_SPAN; n++)
            come(in, 3, 500 + n);
        for (unsigned i = 0; i < missing; i++) {
            CHECK(gives_nothing(in));
            repair(in, 3, 500, 0xffff);
        }
        for (uint64_t n = 0; n < missing; n++)
            CHECK(gives(in, 3, 500 + n));
        CHECK(gives_nothing(in));
        srm_repair_in_free(in);
    }
}

TEST(a_message_that_comes_late_helps_the_others) {
    srm_repair_in *in = srm_repair_in_new(0);
    repair(in, 0, 10, 7);
    repair(in, 0, 10, 7);
    CHECK(gives_nothing(in));
    come(in, 0, 11);
    CHECK(gives(in, 0, 10));
    CHECK(gives(in, 0, 12));
    come(in, 0, 10); /* late, too: known by now */
    CHECK(gives_nothing(in));
    srm_repair_in_free(in);
}

TEST(a_window_that_slides) {
    srm_repair_in *in = srm_repair_in_new(0);
    repair(in, 0, 1, 3); /* 1 + 2, then 2 + 3, then 3 + 4: a chain that one message undoes */
    repair(in, 0, 2, 3);
    repair(in, 0, 3, 3);
    CHECK(gives_nothing(in));
    come(in, 0, 4);
    for (uint64_t n = 1; n < 4; n++)
        CHECK(gives(in, 0, n));
    srm_repair_in_free(in);
}

TEST(channels_are_apart) {
    srm_repair_in *in = srm_repair_in_new(0);
    come(in, 1, 6);
    repair(in, 2, 5, 3);
    CHECK(gives_nothing(in));
    repair(in, 1, 5, 3);
    CHECK(gives(in, 1, 5));
    come(in, 2, 6);
    CHECK(gives(in, 2, 5));
    srm_repair_in_free(in);
}

TEST(what_is_too_long_ago_is_forgotten) {
    srm_repair_in *in = srm_repair_in_new(0);
    repair(in, 0, 0, 3);
    for (uint64_t n = 100; n < 100 + SRM_REPAIR_IN_MESSAGES - 1; n++)
        come(in, 0, n);
    uint8_t symbol[SRM_REPAIR_SYMBOL_MAX];
    srm_repair r = repair_of(symbol, 0, 0, 3);
    CHECK_EQ(srm_repair_in_unknown(in, &r), 3);
    come(in, 0, 1); /* 0 has gone, and with it the row */
    CHECK(gives_nothing(in));
    come(in, 0, 200);
    come(in, 0, 201);
    r = repair_of(symbol, 0, 100, 3);
    CHECK_EQ(srm_repair_in_unknown(in, &r), 1);
    srm_repair_in_free(in);
}

TEST(more_rows_than_there_is_room_for) {
    srm_repair_in *in = srm_repair_in_new(0);
    for (uint64_t n = 0; n < SRM_REPAIR_IN_ROWS + 1; n++)
        repair(in, 0, 2 * n, 3);
    come(in, 0, 1); /* the oldest row went */
    CHECK(gives_nothing(in));
    come(in, 0, 3);
    CHECK(gives(in, 0, 2));
    come(in, 0, 2 * SRM_REPAIR_IN_ROWS);
    CHECK(gives(in, 0, 2 * SRM_REPAIR_IN_ROWS + 1));
    srm_repair_in_free(in);
}

TEST(large_messages_and_pieces_are_not_kept) {
    srm_repair_in *in = srm_repair_in_new(0);
    static const uint8_t bytes[SRM_REPAIR_SIZE_MAX + 1];
    srm_repair_in_on_message(
        in, &(srm_fragment_in){.total = sizeof bytes, .data = srm_span_of(bytes, sizeof bytes)});
    srm_repair_in_on_message(in, &(srm_fragment_in){.number = 1, .total = 9, .data = srm_span_of(bytes, 8)});
    uint8_t symbol[SRM_REPAIR_SYMBOL_MAX];
    srm_repair r = repair_of(symbol, 0, 0, 3);
    CHECK_EQ(srm_repair_in_unknown(in, &r), 3);
    srm_repair_in_free(in);
}

/* A peer that lies gets nothing, and breaks nothing: what it says of other messages still holds. */
TEST(lies) {
    srm_repair_in *in = srm_repair_in_new(0);
    uint8_t symbol[SRM_REPAIR_SYMBOL_MAX];
    come(in, 0, 1);
    srm_repair r = repair_of(symbol, 0, 1, 3);
    r.symbol.size = SRM_REPAIR_HEAD; /* shorter than a message it covers */
    srm_repair_in_on_repair(in, &r);
    CHECK(gives_nothing(in));
    memset(symbol, 0xff, sizeof symbol); /* no message */
    r = (srm_repair){.first = 40, .mask = 1, .symbol = {symbol, sizeof symbol}};
    srm_repair_in_on_repair(in, &r);
    CHECK(gives_nothing(in));
    repair(in, 0, 1, 3);
    CHECK(gives(in, 0, 2));
    repair(in, 0, 40, 1);
    CHECK(gives(in, 0, 40));
    srm_repair_in_free(in);
}

TEST(it_is_given_back_when_nothing_asks_for_it) {
    srm_repair_in *in = srm_repair_in_new(SRM_SECOND);
    CHECK(!srm_repair_in_idle(in, SRM_SECOND + SRM_REPAIR_IN_KEEP));
    CHECK(srm_repair_in_idle(in, SRM_SECOND + SRM_REPAIR_IN_KEEP + 1));
    CHECK(sizeof *in <= 24 * 1024);
    srm_repair_in_free(in);
}

/* A flow of messages with a repair behind each, any of which may be lost: what comes back is right, never
 * what came already, and nearly everything comes back. */
TEST(a_long_flow_with_losses) {
    srm_repair_in *in = srm_repair_in_new(0);
    uint64_t state = 1;
    bool known[2000] = {false};
    unsigned back = 0, lost = 0;
    for (uint64_t n = 0; n < SRM_COUNT_OF(known); n++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (state >> 33 & 3 || n < 16) { /* three of four come */
            if (n >= 16)
                repair(in, 0, n - 16, 0xffff);
            come(in, 0, n);
            known[n] = true;
        } else {
            lost++;
        }
        srm_fragment_in out;
        while (srm_repair_in_take(in, &out)) {
            CHECK(!known[out.number]);
            known[out.number] = true;
            CHECK(srm_span_equal(out.data, message(0, out.number)->in.data));
            back++;
        }
    }
    CHECK(lost > 400);
    CHECK(back > lost * 95 / 100);
    srm_repair_in_free(in);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
