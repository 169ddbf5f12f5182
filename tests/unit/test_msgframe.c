#include "msgframe.h"

#include "check.h"

#include <stdlib.h>

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static srm_message *message_of(uint32_t size, uint8_t channel, uint8_t flags, uint64_t number) {
    srm_message *message = srm_message_new(size, channel, flags);
    CHECK(message != NULL);
    message->number = number;
    for (uint32_t i = 0; i < size; i++)
        message->data[i] = (uint8_t)(i * 31 + 7);
    return message;
}

/* Writes into a buffer of exactly the announced size, on the heap so that a step beyond it is seen. */
static uint8_t *write_frame(const srm_fragment *fragment, size_t *size) {
    *size = srm_msg_frame_overhead(fragment) + fragment->length;
    uint8_t *bytes = malloc(*size);
    CHECK(bytes != NULL);
    srm_writer w = srm_writer_of(bytes, *size);
    srm_msg_frame_write(&w, fragment);
    CHECK(!w.failed);
    CHECK_EQ(srm_writer_left(&w), 0);
    return bytes;
}

static bool read_frame(const uint8_t *bytes, size_t size, srm_fragment_in *out, size_t *left) {
    srm_reader r = srm_reader_of(srm_span_of(bytes + 1, size - 1));
    bool good = srm_msg_frame_read(&r, bytes[0], out);
    *left = srm_reader_left(&r);
    return good && !r.failed;
}

static void check_bytes(const srm_fragment *fragment, const void *expected, size_t expected_size) {
    size_t size;
    uint8_t *bytes = write_frame(fragment, &size);
    CHECK_EQ(size, expected_size);
    CHECK_MEM(bytes, expected, size);
    free(bytes);
}

/* The layout of docs/protocol.md section 6, byte by byte. */
TEST(frames_as_the_protocol_draws_them) {
    srm_message *message = message_of(3, 0, 0, 5);
    memcpy(message->data, "abc", 3);
    check_bytes(&(srm_fragment){.message = message, .length = 3, .whole = true},
                "\x20\x05\x03"
                "abc",
                6);
    message->channel = 9;
    message->flags = SRM_MESSAGE_TEXT;
    check_bytes(&(srm_fragment){.message = message, .length = 3, .whole = true},
                "\x25\x09\x05\x03"
                "abc",
                7);
    message->number = 64;
    message->flags = SRM_MESSAGE_MAYBE_DUPLICATE;
    check_bytes(&(srm_fragment){.message = message, .offset = 1, .length = 2},
                "\x2b\x09\x40\x40\x01\x03\x02"
                "bc",
                9);
    srm_message_free(message);
    message = message_of(0, 255, SRM_MESSAGE_TEXT | SRM_MESSAGE_MAYBE_DUPLICATE, 0);
    check_bytes(&(srm_fragment){.message = message, .whole = true}, "\x2d\xff\x00\x00", 4);
    srm_message_free(message);
}

static void check_round_trip(const srm_fragment *fragment) {
    const srm_message *message = fragment->message;
    srm_fragment_in in;
    size_t size, left;
    uint8_t *bytes = write_frame(fragment, &size);
    CHECK_EQ(bytes[0] & 0xf0, SRM_MSG_TYPE);
    CHECK(read_frame(bytes, size, &in, &left));
    CHECK_EQ(left, 0);
    CHECK_EQ(in.number, message->number);
    CHECK_EQ(in.channel, message->channel);
    CHECK_EQ(in.flags, message->flags);
    CHECK_EQ(in.offset, fragment->offset);
    CHECK_EQ(in.total, message->size);
    CHECK_EQ(in.data.size, fragment->length);
    if (fragment->length > 0)
        CHECK_MEM(in.data.data, message->data + fragment->offset, fragment->length);
    for (size_t cut = 1; cut < size; cut += cut < 40 || cut > size - 4 ? 1 : 1 + size / 32)
        CHECK(!read_frame(bytes, cut, &in, &left));
    free(bytes);
}

TEST(every_kind_of_frame_round_trips_and_no_cut_does) {
    static const uint64_t numbers[] = {0, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, SRM_VARINT_MAX};
    static const uint32_t sizes[] = {1, 63, 64, 16383, 16384, 70000};
    for (size_t n = 0; n < SRM_COUNT_OF(numbers); n++) {
        for (unsigned kind = 0; kind < 8 * SRM_COUNT_OF(sizes); kind++) {
            uint32_t size = sizes[kind / 8];
            srm_message *message = message_of(size, kind & 1 ? 200 : 0, kind >> 1 & 3, numbers[n]);
            check_round_trip(&(srm_fragment){.message = message, .length = size, .whole = true});
            check_round_trip(&(srm_fragment){.message = message, .length = size}); /* all, as a piece */
            check_round_trip(&(srm_fragment){.message = message, .offset = size - 1, .length = 1});
            check_round_trip(
                &(srm_fragment){.message = message, .offset = size / 2, .length = (size + 1) / 2});
            srm_message_free(message);
        }
    }
    srm_message *empty = message_of(0, 1, 0, 77);
    check_round_trip(&(srm_fragment){.message = empty, .whole = true});
    srm_message_free(empty);
}

TEST(what_follows_the_frame_is_left) {
    srm_message *message = message_of(10, 3, 0, 1);
    srm_fragment fragment = {.message = message, .length = 10, .whole = true};
    uint8_t bytes[40];
    srm_writer w = srm_writer_of(bytes, sizeof bytes);
    srm_msg_frame_write(&w, &fragment);
    srm_write_u32(&w, 0x01020304);
    srm_fragment_in in;
    size_t left;
    CHECK(read_frame(bytes, srm_writer_used(&w), &in, &left));
    CHECK_EQ(left, 4);
    srm_message_free(message);
}

/* A fragment frame with these numbers and `carried` bytes behind it. */
static bool reads(uint64_t offset, uint64_t total, uint64_t length, size_t carried) {
    uint8_t bytes[64] = {SRM_MSG_TYPE | 2};
    srm_fragment_in in;
    size_t left;
    srm_writer w = srm_writer_of(bytes + 1, sizeof bytes - 1);
    srm_write_varint(&w, 0);
    srm_write_varint(&w, offset);
    srm_write_varint(&w, total);
    srm_write_varint(&w, length);
    srm_write_zeros(&w, carried);
    CHECK(!w.failed);
    return read_frame(bytes, 1 + srm_writer_used(&w), &in, &left);
}

/* [R39] */
TEST(pieces_outside_their_message_are_malformed) {
    CHECK(reads(0, 4, 4, 4) && reads(3, 4, 1, 1) && reads(SRM_VARINT_MAX - 1, SRM_VARINT_MAX, 1, 1));
    CHECK(!reads(0, 4, 5, 5));
    CHECK(!reads(1, 4, 4, 4));
    CHECK(!reads(4, 4, 1, 1));
    CHECK(!reads(5, 4, 1, 1));
    CHECK(!reads(SRM_VARINT_MAX, 4, 1, 1));
    CHECK(!reads(SRM_VARINT_MAX, SRM_VARINT_MAX, 1, 1));
    CHECK(!reads(0, 0, 0, 0)); /* empty pieces say nothing */
    CHECK(!reads(2, 4, 0, 0) && !reads(4, 4, 0, 0));
    CHECK(!reads(0, 4, 4, 3)); /* its bytes did not come */
    CHECK(!reads(0, SRM_VARINT_MAX, SRM_VARINT_MAX, 4));
}

TEST(random_bytes_give_pieces_within_bounds_or_nothing) {
    uint64_t seed = 31337, good = 0;
    fprintf(stderr, "msgframe: seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 300000; round++) {
        size_t size = 1 + random_next(&seed) % 24, left;
        uint8_t *bytes = malloc(size); /* exactly as long, for the sanitizer */
        CHECK(bytes != NULL);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(random_next(&seed) % 3 == 0 ? random_next(&seed) : random_next(&seed) % 16);
        srm_fragment_in in;
        if (read_frame(bytes, size, &in, &left)) {
            good++;
            CHECK(in.data.size <= in.total && in.offset <= in.total - in.data.size);
            CHECK(in.data.size == 0 || (in.data.data > bytes && in.data.data + in.data.size <= bytes + size));
            CHECK(in.data.size > 0 || in.total == 0);
            CHECK(in.flags <= (SRM_MESSAGE_TEXT | SRM_MESSAGE_MAYBE_DUPLICATE));
        }
        free(bytes);
    }
    CHECK(good > 1000); /* the bytes aren't all nonsense */
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
