/* The parameters inside REPLY and CONFIRM: any bytes are read or refused, what was accepted is within its
 * limits, and is the same after it was written and read again. */
#include "fuzz.h"

#include "hello.h"

const bool fuzz_records = false;

static void check_limits(const srm_params *p) {
    FUZZ_CHECK(p->max_datagram >= SRM_DATAGRAM_MIN_MTU, "the smallest datagram every path carries");
    FUZZ_CHECK(p->max_ack_delay_us <= 1000000, "an ACK delay of a second at most");
    FUZZ_CHECK(p->max_data < UINT64_C(1) << 62, "credit that a varint can tell");
}

static void check_same(const srm_params *a, const srm_params *b) {
    FUZZ_CHECK(a->cid == b->cid && a->max_message_size == b->max_message_size && a->max_data == b->max_data &&
                   a->max_ack_delay_us == b->max_ack_delay_us && a->max_datagram == b->max_datagram &&
                   a->keepalive_ms == b->keepalive_ms && a->has_identity == b->has_identity,
               "a parameter came back altered");
    FUZZ_CHECK(memcmp(a->identity, b->identity, sizeof a->identity) == 0 &&
                   memcmp(a->signature, b->signature, sizeof a->signature) == 0,
               "an identity came back altered");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    srm_params params, again;
    if (!srm_params_read(srm_span_of(data, size), &params))
        return 0;
    check_limits(&params);
    uint8_t out[SRM_SEALED_MAX_SIZE];
    size_t written = srm_params_write(&params, out, sizeof out);
    FUZZ_CHECK(written > 0, "all parameters fit where they are sealed");
    FUZZ_CHECK(srm_params_read(srm_span_of(out, written), &again), "what was written is read again");
    check_same(&params, &again);
    FUZZ_CHECK(srm_params_write(&params, out, written - 1) == 0, "a byte less is no room");
    return 0;
}
