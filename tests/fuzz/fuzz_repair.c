/* The receiver's half of repairs: messages come or don't, REPAIR frames cover any of them. What is computed
 * is the message as it was sent, none that is known is given again, and as long as nobody lies each frame
 * about one missing message gives it. Whatever a liar says, nothing breaks.
 *
 * kind % 4   0..1  a message comes: channel, number; kind / 4 bytes are cut off its end   2  a true frame:
 * channel, first number, mask   3  a frame of any bytes
 */
#include "fuzz.h"

#include "gf256.h"
#include "repair_in.h"

const bool fuzz_records = true;

static srm_repair_in *in;
static uint8_t next_index;
static bool lied; /* from then on nobody knows what is true */

/* The one true message of that number; its size and bytes follow from it. */
static srm_fragment_in message(uint8_t channel, uint64_t number) {
    static uint8_t bytes[SRM_REPAIR_SIZE_MAX];
    uint64_t state = number * 4 + channel;
    size_t size = (size_t)(fuzz_random(&state) % (sizeof bytes + 1));
    for (size_t i = 0; i < size; i += sizeof state) {
        uint64_t word = fuzz_random(&state);
        memcpy(bytes + i, &word, sizeof word);
    }
    return (srm_fragment_in){.number = number,
                             .total = size,
                             .data = srm_span_of(bytes, size),
                             .channel = channel,
                             .flags = (uint8_t)(number & (SRM_MESSAGE_TEXT | SRM_MESSAGE_MAYBE_DUPLICATE))};
}

static bool is_known(uint8_t channel, uint64_t number) {
    srm_repair one = {.first = number, .mask = 1, .channel = channel};
    return srm_repair_in_unknown(in, &one) == 0;
}

static void take_all(void) {
    srm_fragment_in out;
    while (srm_repair_in_take(in, &out)) {
        FUZZ_CHECK(out.data.size <= SRM_REPAIR_SIZE_MAX && out.total == out.data.size,
                   "a whole small message");
        if (lied)
            continue;
        srm_fragment_in sent = message(out.channel, out.number);
        FUZZ_CHECK(out.flags == sent.flags && srm_span_equal(out.data, sent.data), "as it was sent");
        FUZZ_CHECK(is_known(out.channel, out.number), "given once");
    }
    FUZZ_CHECK(in->recovered == 0, "all that was computed is given");
}

static void come(fuzz_input *body, unsigned cut) {
    uint8_t channel = fuzz_take_u8(body) & 3;
    srm_fragment_in one = message(channel, fuzz_take_u8(body));
    one.data.size -= cut < one.data.size ? cut : one.data.size;
    bool whole = one.data.size == one.total;
    srm_repair_in_on_message(in, &one);
    FUZZ_CHECK(!whole || is_known(channel, one.number), "what came is known");
}

static void true_frame(fuzz_input *body) {
    uint8_t symbol[SRM_REPAIR_SYMBOL_MAX] = {0};
    srm_repair r = {.channel = fuzz_take_u8(body) & 3, .first = fuzz_take_u8(body)};
    r.mask = (uint16_t)(fuzz_take(body, 2) | 1);
    r.index = next_index++ & (SRM_REPAIR_INDEXES - 1);
    size_t size = 0;
    for (unsigned i = 0; i < SRM_REPAIR_SPAN; i++) {
        if ((r.mask >> i & 1) == 0)
            continue;
        srm_fragment_in sent = message(r.channel, r.first + i);
        srm_repair_part part = {.data = sent.data, .flags = sent.flags, .factor = 1};
        uint8_t one[SRM_REPAIR_SYMBOL_MAX] = {0};
        srm_repair_combine(one, sizeof one, &part, 1);
        srm_gf256_add_scaled(symbol, one, sizeof one, srm_repair_factor(r.index, sent.number));
        size = srm_size_max(size, SRM_REPAIR_HEAD + sent.data.size);
    }
    r.symbol = srm_span_of(symbol, size);
    uint16_t unknown = srm_repair_in_unknown(in, &r);
    srm_repair_in_on_repair(in, &r);
    uint16_t after = srm_repair_in_unknown(in, &r);
    bool one_missing = unknown != 0 && (unknown & (unknown - 1)) == 0;
    bool others_kept = (after & ~unknown) == 0; /* none of them had to make room for it */
    FUZZ_CHECK(!one_missing || !others_kept || lied || after == 0,
               "a true frame gives the one that is missing");
}

static void any_frame(fuzz_input *body) {
    srm_repair r;
    srm_reader reader = srm_reader_of(srm_span_of(body->at, fuzz_left(body)));
    lied = true;
    if (!srm_repair_frame_read(&reader, &r))
        return;
    srm_repair_in_on_repair(in, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = fuzz_input_of(data, size), body;
    in = srm_repair_in_new(0);
    FUZZ_CHECK(in != NULL, "memory");
    next_index = 0;
    lied = false;
    for (uint8_t kind; fuzz_take_record(&input, &kind, &body);) {
        if (kind % 4 == 2)
            true_frame(&body);
        else if (kind % 4 == 3)
            any_frame(&body);
        else
            come(&body, kind / 4);
        take_all();
    }
    srm_repair_in_free(in);
    return 0;
}
