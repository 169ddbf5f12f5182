/* The handshake's messages: any bytes are read or refused, and what was accepted is written back and read
 * again as the same message, whether the writer has just enough room or not. */
#include "fuzz.h"

#include "hello.h"

const bool fuzz_records = false;

#define CHECK_FIELD(a, b, field)                                                                             \
    FUZZ_CHECK(memcmp(&(a)->field, &(b)->field, sizeof(a)->field) == 0, "a field came back altered")

static bool inside(srm_span part, const uint8_t *data, size_t size) {
    return part.size == 0 || (part.data >= data && part.data + part.size <= data + size);
}

static void check_same(const srm_hello_message *a, const srm_hello_message *b) {
    CHECK_FIELD(a, b, type);
    CHECK_FIELD(a, b, version);
    CHECK_FIELD(a, b, src_nonce);
    CHECK_FIELD(a, b, dst_nonce);
    CHECK_FIELD(a, b, tx_seq);
    CHECK_FIELD(a, b, echo_seq);
    CHECK_FIELD(a, b, mode);
    CHECK_FIELD(a, b, flags);
    CHECK_FIELD(a, b, share);
    CHECK_FIELD(a, b, connection_id);
    CHECK_FIELD(a, b, cookie);
    CHECK_FIELD(a, b, label_hash);
    CHECK_FIELD(a, b, offer.capabilities);
    CHECK_FIELD(a, b, tag);
    CHECK_FIELD(a, b, code);
    FUZZ_CHECK(srm_span_equal(a->offer.versions, b->offer.versions), "versions");
    FUZZ_CHECK(srm_span_equal(a->offer.aeads, b->offer.aeads), "AEADs");
    FUZZ_CHECK(srm_span_equal(a->sealed, b->sealed), "sealed parameters");
    FUZZ_CHECK(srm_span_equal(a->versions, b->versions), "versions");
}

static void write_and_read(const srm_hello_message *message, size_t size) {
    size_t capacity = size + SRM_HELLO_MIN_SIZE;
    uint8_t *out = malloc(capacity);
    FUZZ_CHECK(out != NULL, "memory");
    size_t written = srm_hello_write(message, out, capacity);
    srm_hello_message again;
    FUZZ_CHECK(written > 0 && written <= capacity, "what was read can be written");
    FUZZ_CHECK(srm_hello_read(srm_span_of(out, written), &again) == SRM_HELLO_FINE, "and is read again");
    check_same(message, &again);

    uint8_t *exact = malloc(written);
    FUZZ_CHECK(exact != NULL, "memory");
    FUZZ_CHECK(srm_hello_write(message, exact, written) == written, "the size it takes is room enough");
    FUZZ_CHECK(memcmp(exact, out, written) == 0, "the same message gives the same bytes");
    FUZZ_CHECK(srm_hello_write(message, exact, written - 1) == 0, "and one byte less is not");
    free(exact);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    srm_hello_message message;
    srm_hello_result result = srm_hello_read(srm_span_of(data, size), &message);
    if (result != SRM_HELLO_FINE) {
        FUZZ_CHECK(result == SRM_HELLO_MALFORMED || message.version != SRM_PROTOCOL_VERSION,
                   "our version is no other version");
        return 0;
    }
    FUZZ_CHECK((data[0] & 0xc0) == 0xc0 && size >= SRM_HANDSHAKE_HEADER_SIZE, "a header");
    FUZZ_CHECK(message.type != SRM_HELLO || size >= SRM_HELLO_MIN_SIZE, "a HELLO is padded");
    FUZZ_CHECK(inside(message.offer.versions, data, size) && inside(message.offer.aeads, data, size) &&
                   inside(message.sealed, data, size) && inside(message.rest, data, size) &&
                   inside(message.versions, data, size),
               "what is borrowed lies in the datagram");
    write_and_read(&message, size);
    return 0;
}
