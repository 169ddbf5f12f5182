#include "hello.h"

#include "check.h"

#include <stdlib.h>

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fill(uint8_t *out, size_t size, uint8_t first) {
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(first + i);
}

static const uint8_t versions[] = {1}, aeads[] = {1, 2, 3}, sealed[] = {0xa1, 0xa2, 0xa3, 0xa4, 0xa5};
static const uint8_t others[] = {2, 7, 9};

/* A message of the type with something else in every field. */
static srm_hello_message sample(srm_hello_type type) {
    srm_hello_message m = {.type = type, .version = SRM_PROTOCOL_VERSION, .tx_seq = 3, .echo_seq = 250};
    fill(m.src_nonce, sizeof m.src_nonce, 0x10);
    fill(m.dst_nonce, sizeof m.dst_nonce, 0x30);
    if (type == SRM_HELLO || type == SRM_REPLY) {
        m.mode = SRM_MODE_RESUME;
        m.flags = SRM_REPLY_MORE;
        fill(m.share, sizeof m.share, 0x50);
        fill(m.connection_id, sizeof m.connection_id, 0x70);
        m.offer = (srm_offer){srm_span_of(versions, 1), srm_span_of(aeads, 3), {0xc0, 0xc1, 0xc2, 0xc3}};
    }
    if (type == SRM_HELLO || type == SRM_RETRY)
        fill(m.cookie, sizeof m.cookie, 0x90);
    if (type == SRM_HELLO)
        fill(m.label_hash, sizeof m.label_hash, 0xb0);
    if (type == SRM_REPLY || type == SRM_CONFIRM) {
        fill(m.tag, sizeof m.tag, 0xd0);
        m.sealed = srm_span_of(sealed, sizeof sealed);
    }
    if (type == SRM_VERSION)
        m.versions = srm_span_of(others, sizeof others);
    m.code = type == SRM_REJECT ? SRM_REJECT_RESUME : 0;
    return m;
}

static const srm_hello_type types[] = {SRM_HELLO, SRM_REPLY, SRM_CONFIRM, SRM_RETRY, SRM_VERSION, SRM_REJECT};

/* Where a message ends, padding aside, by docs/protocol.md section 3. */
static size_t length_of(srm_hello_type type) {
    size_t offer = (3 + sizeof versions) + (3 + sizeof aeads) + (3 + 4);
    switch (type) {
    case SRM_HELLO:
        return SRM_HELLO_MIN_SIZE;
    case SRM_REPLY:
        return 120 + offer + 2 + sizeof sealed;
    case SRM_CONFIRM:
        return 70 + sizeof sealed;
    case SRM_RETRY:
        return 52;
    case SRM_VERSION:
        return 37 + sizeof others;
    case SRM_REJECT:
        return 37;
    }
    return 0;
}

static bool holds(const uint8_t *at, size_t size, uint8_t first) {
    for (size_t i = 0; i < size; i++)
        if (at[i] != (uint8_t)(first + i))
            return false;
    return true;
}

static const uint8_t clear_tlvs[] = {1, 0, 1, 1, 2, 0, 3, 1, 2, 3, 3, 0, 4, 0xc0, 0xc1, 0xc2, 0xc3};

TEST(the_header_stands_where_the_protocol_draws_it) {
    for (size_t i = 0; i < SRM_COUNT_OF(types); i++) {
        uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE];
        srm_hello_message m = sample(types[i]);
        CHECK_EQ(srm_hello_write(&m, bytes, sizeof bytes), length_of(types[i]));
        CHECK_EQ(bytes[0], 0xc0 | types[i]);
        CHECK_EQ(bytes[1], 1);
        CHECK(holds(bytes + 2, 16, 0x10) && holds(bytes + 18, 16, 0x30));
        CHECK(bytes[34] == 3 && bytes[35] == 250);
    }
}

TEST(bodies_stand_where_the_protocol_draws_them) {
    uint8_t b[SRM_HANDSHAKE_MAX_SIZE];
    srm_hello_message m = sample(SRM_HELLO);
    CHECK_EQ(srm_hello_write(&m, b, sizeof b), SRM_HELLO_MIN_SIZE);
    CHECK(b[36] == 1 && b[37] == 1 && holds(b + 38, 32, 0x50) && holds(b + 70, 16, 0x70));
    CHECK(holds(b + 86, 16, 0x90) && holds(b + 102, 8, 0xb0));
    CHECK(b[110] == 0 && b[111] == sizeof clear_tlvs);
    CHECK_MEM(b + 112, clear_tlvs, sizeof clear_tlvs);
    for (size_t i = 112 + sizeof clear_tlvs; i < SRM_HELLO_MIN_SIZE; i++)
        CHECK_EQ(b[i], 0);

    m = sample(SRM_REPLY);
    CHECK(srm_hello_write(&m, b, sizeof b) > 0);
    CHECK(b[36] == 1 && b[37] == 1 && holds(b + 38, 32, 0x50) && holds(b + 70, 16, 0x70));
    CHECK(holds(b + 86, 32, 0xd0) && b[118] == 0 && b[119] == sizeof clear_tlvs);
    CHECK_MEM(b + 120, clear_tlvs, sizeof clear_tlvs);
    CHECK(b[137] == 0 && b[138] == sizeof sealed && holds(b + 139, sizeof sealed, 0xa1));

    m = sample(SRM_CONFIRM);
    CHECK(srm_hello_write(&m, b, sizeof b) > 0);
    CHECK(holds(b + 36, 32, 0xd0) && b[68] == 0 && b[69] == sizeof sealed);
    CHECK(holds(b + 70, sizeof sealed, 0xa1));
    m = sample(SRM_RETRY);
    CHECK(srm_hello_write(&m, b, sizeof b) > 0 && holds(b + 36, 16, 0x90));
    m = sample(SRM_VERSION);
    CHECK(srm_hello_write(&m, b, sizeof b) > 0 && b[36] == 3 && b[37] == 2 && b[38] == 7 && b[39] == 9);
    m = sample(SRM_REJECT);
    CHECK(srm_hello_write(&m, b, sizeof b) > 0 && b[36] == 2);
}

static bool same_span(srm_span a, srm_span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#define CHECK_FIELD(a, b, field) CHECK(memcmp((a).field, (b).field, sizeof(a).field) == 0)

static void check_same(const srm_hello_message *a, const srm_hello_message *b) {
    CHECK_EQ(a->type, b->type);
    CHECK_EQ(a->version, b->version);
    CHECK_FIELD(*a, *b, src_nonce);
    CHECK_FIELD(*a, *b, dst_nonce);
    CHECK(a->tx_seq == b->tx_seq && a->echo_seq == b->echo_seq && a->mode == b->mode && a->flags == b->flags);
    CHECK_FIELD(*a, *b, share);
    CHECK_FIELD(*a, *b, connection_id);
    CHECK_FIELD(*a, *b, cookie);
    CHECK_FIELD(*a, *b, label_hash);
    CHECK(same_span(a->offer.versions, b->offer.versions) && same_span(a->offer.aeads, b->offer.aeads));
    CHECK_FIELD(*a, *b, offer.capabilities);
    CHECK_FIELD(*a, *b, tag);
    CHECK(same_span(a->sealed, b->sealed) && same_span(a->versions, b->versions));
    CHECK_EQ(a->code, b->code);
}

/* On the heap, exactly as long, so that a step beyond is seen. */
static srm_hello_result read_exact(const uint8_t *bytes, size_t size, srm_hello_message *out) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    srm_hello_result result = srm_hello_read(srm_span_of(copy, size), out);
    free(copy);
    return result;
}

TEST(what_was_written_is_read_and_no_cut_is) {
    for (size_t i = 0; i < SRM_COUNT_OF(types); i++) {
        uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE];
        srm_hello_message m = sample(types[i]), back;
        size_t size = srm_hello_write(&m, bytes, sizeof bytes);
        CHECK_EQ(srm_hello_read(srm_span_of(bytes, size), &back), SRM_HELLO_FINE);
        check_same(&back, &m);
        CHECK_EQ(back.rest.size, 0);
        for (size_t cut = 0; cut < size; cut++)
            CHECK_EQ(read_exact(bytes, cut, &back), SRM_HELLO_MALFORMED);
    }
}

TEST(writing_without_room_gives_nothing_and_stays_inside) {
    for (size_t i = 0; i < SRM_COUNT_OF(types); i++) {
        srm_hello_message m = sample(types[i]);
        size_t needed = length_of(types[i]);
        for (size_t capacity = 0; capacity <= needed; capacity++) {
            uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);
            CHECK(bytes != NULL);
            CHECK_EQ(srm_hello_write(&m, bytes, capacity), capacity < needed ? 0 : needed);
            free(bytes);
        }
    }
}

TEST(what_stands_behind_a_confirm_is_its_rest) {
    uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE];
    srm_hello_message m = sample(SRM_CONFIRM), back;
    size_t size = srm_hello_write(&m, bytes, sizeof bytes);
    memcpy(bytes + size, "\x80packet", 7);
    CHECK_EQ(srm_hello_read(srm_span_of(bytes, size + 7), &back), SRM_HELLO_FINE);
    CHECK(back.rest.data == bytes + size && back.rest.size == 7);
    CHECK(back.sealed.data == bytes + 70); /* borrowed */
}

/* [R3] */
TEST(a_hello_is_never_smaller_than_320_bytes) {
    uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE] = {0};
    srm_hello_message m = sample(SRM_HELLO), back;
    CHECK_EQ(srm_hello_write(&m, bytes, sizeof bytes), 320);
    CHECK_EQ(read_exact(bytes, 319, &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(read_exact(bytes, 320, &back), SRM_HELLO_FINE);
    CHECK_EQ(read_exact(bytes, sizeof bytes, &back), SRM_HELLO_FINE); /* more padding */
    static const uint8_t many[220] = {1, 3};
    m.offer.aeads = srm_span_of(many, sizeof many);
    size_t size = srm_hello_write(&m, bytes, sizeof bytes);
    CHECK(size > 320);
    CHECK_EQ(read_exact(bytes, size, &back), SRM_HELLO_FINE);
    CHECK_EQ(read_exact(bytes, size - 1, &back), SRM_HELLO_MALFORMED); /* here the offer ends */
}

/* Puts these clear TLVs into a HELLO and reads it. */
static srm_hello_result with_tlvs(const void *tlvs, size_t size, srm_hello_message *back) {
    static uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE];
    srm_hello_message m = sample(SRM_HELLO);
    CHECK(srm_hello_write(&m, bytes, sizeof bytes) == 320 && size <= 208);
    memset(bytes + 112, 0, 208);
    bytes[111] = (uint8_t)size;
    memcpy(bytes + 112, tlvs, size);
    return srm_hello_read(srm_span_of(bytes, 320), back);
}
#define WITH_TLVS(text, back) with_tlvs(text, sizeof(text) - 1, back)

TEST(an_offer_needs_its_lists_and_skips_what_is_new) {
    srm_hello_message back;
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\1\3", &back), SRM_HELLO_FINE); /* without capabilities: none */
    CHECK_MEM(back.offer.capabilities, "\0\0\0\0", 4);
    CHECK_EQ(WITH_TLVS("\x63\0\2hi\1\0\1\1\4\0\0\2\0\1\3\0\0\0", &back), SRM_HELLO_FINE);
    CHECK(back.offer.versions.size == 1 && back.offer.aeads.size == 1 && back.offer.aeads.data[0] == 3);
    CHECK_EQ(WITH_TLVS("", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\1\1", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\2\0\1\3", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\0\2\0\1\3", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\0", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\1\3\3\0\3\0\0\0", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\1\3\3\0\5\0\0\0\0\0", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\2\3", &back), SRM_HELLO_MALFORMED); /* a value cut short */
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\1\3\5", &back), SRM_HELLO_MALFORMED);
    CHECK_EQ(WITH_TLVS("\1\0\1\1\2\0\1\3\5\0", &back), SRM_HELLO_MALFORMED);
}

TEST(other_versions_are_told_from_nonsense) {
    uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE] = {0};
    srm_hello_message m = sample(SRM_HELLO), back;
    m.version = 2;
    size_t size = srm_hello_write(&m, bytes, sizeof bytes);
    memset(bytes + 36, 0xff, size - 36); /* whatever another version has there */
    CHECK_EQ(read_exact(bytes, size, &back), SRM_HELLO_OTHER_VERSION);
    CHECK(back.version == 2 && back.type == SRM_HELLO);
    CHECK_FIELD(back, m, src_nonce);
    CHECK_EQ(read_exact(bytes, SRM_HANDSHAKE_HEADER_SIZE, &back), SRM_HELLO_OTHER_VERSION);
    CHECK_EQ(read_exact(bytes, SRM_HANDSHAKE_HEADER_SIZE - 1, &back), SRM_HELLO_MALFORMED);
    m = sample(SRM_VERSION);
    m.version = 2; /* the answer of one that speaks 2, 7 and 9 must be understood */
    size = srm_hello_write(&m, bytes, sizeof bytes);
    CHECK_EQ(read_exact(bytes, size, &back), SRM_HELLO_FINE);
    bytes[36] = 0;
    CHECK_EQ(read_exact(bytes, size, &back), SRM_HELLO_MALFORMED);
    bytes[36] = 255;
    CHECK_EQ(read_exact(bytes, size, &back), SRM_HELLO_MALFORMED);
}

TEST(only_the_six_types_are_known) {
    uint8_t bytes[SRM_HANDSHAKE_MAX_SIZE] = {0};
    srm_hello_message m = sample(SRM_HELLO), back;
    CHECK(srm_hello_write(&m, bytes, sizeof bytes) > 0);
    for (unsigned first = 0; first < 256; first++) {
        bytes[0] = (uint8_t)first;
        bool known = first > 0xc0 && first <= 0xc6;
        srm_hello_result result = read_exact(bytes, sizeof bytes, &back);
        CHECK(known || result == SRM_HELLO_MALFORMED);
    }
}

TEST(patching_changes_what_may_change_and_nothing_else) {
    uint8_t bytes[SRM_HELLO_MIN_SIZE], before[SRM_HELLO_MIN_SIZE], nonce[16], cookie[16];
    srm_hello_message m = sample(SRM_HELLO), back;
    CHECK(srm_hello_write(&m, bytes, sizeof bytes) == sizeof bytes);
    memcpy(before, bytes, sizeof bytes);
    fill(nonce, 16, 0xe0);
    fill(cookie, 16, 0xf0);
    srm_hello_patch(bytes, nonce, 9, 8, cookie);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bool may = (i >= 18 && i < 36) || (i >= 86 && i < 102); /* [R4] */
        CHECK(may || bytes[i] == before[i]);
    }
    CHECK_EQ(srm_hello_read(srm_span_of(bytes, sizeof bytes), &back), SRM_HELLO_FINE);
    CHECK(back.tx_seq == 9 && back.echo_seq == 8);
    CHECK_MEM(back.dst_nonce, nonce, 16);
    CHECK_MEM(back.cookie, cookie, 16);
    srm_hello_patch(bytes, m.dst_nonce, 3, 250, m.cookie);
    CHECK_MEM(bytes, before, sizeof bytes);
    srm_hello_patch_seq(bytes, 255, 0);
    CHECK(bytes[34] == 255 && bytes[35] == 0);
}

/* What the reader gives must lie inside the datagram; reading the bytes lets the sanitizer look. */
static unsigned touch(srm_span span) {
    unsigned sum = 0;
    for (size_t i = 0; i < span.size; i++)
        sum += span.data[i];
    return sum;
}

TEST(random_and_altered_datagrams_do_no_harm) {
    uint64_t seed = 8675309, fine = 0;
    unsigned sum = 0;
    fprintf(stderr, "hello: seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 60000; round++) {
        uint8_t bytes[400];
        srm_hello_message m = sample(types[round % 6]), back;
        size_t size = srm_hello_write(&m, bytes, sizeof bytes);
        if (round % 7 == 0)
            for (size_t i = 1; i < size; i++)
                bytes[i] = (uint8_t)random_next(&seed);
        for (uint64_t changes = random_next(&seed) % 6; changes > 0; changes--)
            bytes[random_next(&seed) % 3 == 0 ? random_next(&seed) % size
                                              : 36 + random_next(&seed) % (size - 36)] =
                (uint8_t)random_next(&seed);
        bytes[1] = round % 7 == 0 ? 1 : bytes[1];
        size_t cut = random_next(&seed) % 4 == 0 ? random_next(&seed) % (size + 1) : size;
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        CHECK(copy != NULL);
        memcpy(copy, bytes, cut);
        if (srm_hello_read(srm_span_of(copy, cut), &back) == SRM_HELLO_FINE) {
            fine++;
            sum += touch(back.offer.versions) + touch(back.offer.aeads) + touch(back.sealed) +
                   touch(back.rest) + touch(back.versions);
        }
        free(copy);
    }
    CHECK(fine > 10000 && sum > 0);
}

/* ---- Sealed parameters ---- */

static srm_params sample_params(void) {
    srm_params p = {.cid = UINT64_C(0x0102030405060708),
                    .max_message_size = 0x11121314,
                    .max_data = UINT64_C(0x2122232425262728),
                    .max_ack_delay_us = 5000,
                    .max_datagram = 1472,
                    .keepalive_ms = 0x31323334,
                    .has_identity = true};
    fill(p.identity, sizeof p.identity, 0x40);
    fill(p.signature, sizeof p.signature, 0x80);
    return p;
}

TEST(parameters_as_the_protocol_draws_them) {
    static const uint8_t expected[] =
        "\1\0\10\1\2\3\4\5\6\7\10"
        "\2\0\4\x11\x12\x13\x14"
        "\3\0\10\x21\x22\x23\x24\x25\x26\x27\x28"
        "\4\0\4\0\0\x13\x88"
        "\5\0\2\x05\xc0"
        "\6\0\4\x31\x32\x33\x34"
        "\7\0\x60";
    uint8_t bytes[SRM_SEALED_MAX_SIZE];
    srm_params p = sample_params(), back;
    size_t size = srm_params_write(&p, bytes, sizeof bytes);
    CHECK_EQ(size, sizeof expected - 1 + 96);
    CHECK_MEM(bytes, expected, sizeof expected - 1);
    CHECK(holds(bytes + sizeof expected - 1, 32, 0x40) && holds(bytes + sizeof expected - 1 + 32, 64, 0x80));
    CHECK(srm_params_read(srm_span_of(bytes, size), &back));
    CHECK(back.cid == p.cid && back.max_message_size == p.max_message_size && back.max_data == p.max_data);
    CHECK(back.max_ack_delay_us == 5000 && back.max_datagram == 1472 && back.keepalive_ms == p.keepalive_ms);
    CHECK(back.has_identity);
    CHECK_FIELD(back, p, identity);
    CHECK_FIELD(back, p, signature);
    for (size_t capacity = 0; capacity < size; capacity++)
        CHECK_EQ(srm_params_write(&p, bytes, capacity), 0);
    p.has_identity = false;
    size = srm_params_write(&p, bytes, sizeof bytes);
    CHECK_EQ(size, sizeof expected - 1 - 3);
    CHECK(srm_params_read(srm_span_of(bytes, size), &back) && !back.has_identity);
}

/* Start and size of the parameter at `place`, in the order written. */
static size_t place_of(size_t place, size_t *size) {
    static const size_t sizes[] = {8, 4, 8, 4, 2, 4, 96};
    size_t at = 0;
    for (size_t i = 0; i < place; i++)
        at += 3 + sizes[i];
    *size = 3 + sizes[place];
    return at;
}

/* [R5] */
TEST(each_parameter_is_needed_once_with_its_size) {
    uint8_t bytes[512], edited[1024];
    srm_params p = sample_params(), back;
    size_t size = srm_params_write(&p, bytes, sizeof bytes), one;
    for (size_t place = 0; place < 7; place++) {
        size_t at = place_of(place, &one);
        memcpy(edited, bytes, at); /* left out */
        memcpy(edited + at, bytes + at + one, size - at - one);
        CHECK_EQ(srm_params_read(srm_span_of(edited, size - one), &back), place == 6);
        memcpy(edited, bytes, size); /* twice */
        memcpy(edited + size, bytes + at, one);
        CHECK(!srm_params_read(srm_span_of(edited, size + one), &back));
        memcpy(edited, bytes, at + one); /* a byte longer, a byte shorter */
        edited[at + 2]++;
        edited[at + one] = 0;
        memcpy(edited + at + one + 1, bytes + at + one, size - at - one);
        CHECK(!srm_params_read(srm_span_of(edited, size + 1), &back));
        edited[at + 2] = (uint8_t)(edited[at + 2] - 2);
        memcpy(edited + at + one - 1, bytes + at + one, size - at - one);
        CHECK(!srm_params_read(srm_span_of(edited, size - 1), &back));
    }
    memcpy(edited, "\x08\0\3abc\0\0\0\xff\0\1z", 13); /* later versions' are skipped */
    memcpy(edited + 13, bytes, size);
    CHECK(srm_params_read(srm_span_of(edited, size + 13), &back) && back.cid == p.cid);
    CHECK(!srm_params_read(srm_span_of(NULL, 0), &back));
    for (size_t cut = 0; cut < size; cut++) {
        bool whole_but_identity = cut == size - 99;
        CHECK_EQ(srm_params_read(srm_span_of(bytes, cut), &back), whole_but_identity);
    }
}

static bool accepted(srm_params p) {
    uint8_t bytes[SRM_SEALED_MAX_SIZE];
    srm_params back;
    return srm_params_read(srm_span_of(bytes, srm_params_write(&p, bytes, sizeof bytes)), &back);
}

TEST(parameters_out_of_range_are_malformed) {
    srm_params p = sample_params();
    p.max_datagram = SRM_DATAGRAM_MIN_MTU;
    CHECK(accepted(p));
    p.max_datagram = SRM_DATAGRAM_MIN_MTU - 1;
    CHECK(!accepted(p));
    p = sample_params();
    p.max_ack_delay_us = 1000000;
    CHECK(accepted(p));
    p.max_ack_delay_us = 1000001;
    CHECK(!accepted(p));
    p = sample_params();
    p.max_data = (UINT64_C(1) << 62) - 1; /* a varint must hold it */
    CHECK(accepted(p));
    p.max_data++;
    CHECK(!accepted(p));
    p = sample_params();
    p.max_message_size = p.keepalive_ms = UINT32_MAX;
    p.cid = UINT64_MAX;
    CHECK(accepted(p));
}

TEST(random_parameters_do_no_harm) {
    uint64_t seed = 5550123;
    fprintf(stderr, "params: seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 60000; round++) {
        uint8_t bytes[SRM_SEALED_MAX_SIZE];
        srm_params p = sample_params(), back;
        size_t size = srm_params_write(&p, bytes, sizeof bytes);
        for (uint64_t changes = 1 + random_next(&seed) % 5; changes > 0; changes--)
            bytes[random_next(&seed) % size] = (uint8_t)(random_next(&seed) % 2 ? random_next(&seed) : 0);
        size = random_next(&seed) % 3 == 0 ? random_next(&seed) % (size + 1) : size;
        uint8_t *copy = malloc(size > 0 ? size : 1);
        CHECK(copy != NULL);
        memcpy(copy, bytes, size);
        if (srm_params_read(srm_span_of(copy, size), &back))
            CHECK(back.max_datagram >= SRM_DATAGRAM_MIN_MTU && back.max_ack_delay_us <= 1000000);
        free(copy);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
