/* MSG frames and the inbox: pieces of messages in any order, size and overlap, against a model that keeps a
 * flag for each byte. Every message comes out once, in the order of its channel, with the bytes that went in;
 * the credit is what docs/protocol.md section 7 says, to the byte.
 *
 * kind % 8   0..2  a piece: channel, whole or cut, number from the next one - 4, flags, offset, length
 *            3     the body's bytes as a frame
 *            4     the application consumes as many messages
 *            5     DATA_BLOCKED, or MAX_DATA is told
 *            6     CONSUMED is told, was lost, or is told anew
 *            7     another peer process
 */
#include "fuzz.h"

#include "inbox.h"
#include "outbox.h"

const bool fuzz_records = true;

#define MAX_MESSAGE 3000
#define WINDOW 8192
#define WINDOW_MAX 32768
#define MESSAGES 1024 /* begun in one run; an input that wants more ends */

typedef struct known {
    uint64_t number;
    uint32_t total;
    uint8_t channel;
    bool delivered;
    bool came[MAX_MESSAGE];
} known;

typedef struct model {
    srm_inbox inbox;
    srm_time now;
    known messages[MESSAGES];
    size_t count;
    uint64_t next[256], end[256]; /* number to be delivered; largest begun, plus 1 */
    uint64_t consumed[256];
    bool untold[256]; /* its CONSUMED is to be told */
    uint64_t begun;   /* cost of all messages begun */
    uint64_t consumed_cost, granted;
    srm_message *delivered, **delivered_last; /* and not yet consumed */
} model;

static model m;

static uint8_t byte_at(uint8_t channel, uint64_t number, uint64_t offset) {
    uint64_t state = number * 1000003 + offset * 257 + channel;
    return (uint8_t)fuzz_random(&state);
}

/* ---- The model ---- */

static known *find(uint8_t channel, uint64_t number) {
    for (size_t i = 0; i < m.count; i++)
        if (m.messages[i].channel == channel && m.messages[i].number == number)
            return &m.messages[i];
    return NULL;
}

static bool complete(const known *k) {
    for (uint32_t i = 0; i < k->total; i++)
        if (!k->came[i])
            return false;
    return true;
}

/* Numbers below one that was begun of which nothing came. */
static uint64_t skipped_numbers(void) {
    uint64_t skipped = 0;
    for (int channel = 0; channel < 256; channel++)
        skipped += m.end[channel];
    return skipped - m.count;
}

static bool has_credit(const srm_fragment_in *f) {
    uint64_t end = srm_u64_max(m.end[f->channel], f->number + 1);
    if (end - m.end[f->channel] > m.granted) /* keeps the sum below small */
        return false;
    uint64_t skipped = skipped_numbers() + (end - m.end[f->channel]) - 1;
    return m.begun + SRM_MESSAGE_COST + f->total + skipped * SRM_MESSAGE_COST <= m.granted;
}

static bool note_bytes(known *k, const srm_fragment_in *f) {
    bool news = false;
    for (size_t i = 0; i < f->data.size; i++) {
        news |= !k->came[f->offset + i];
        k->came[f->offset + i] = true;
    }
    return news;
}

static srm_inbox_result completed(const known *k) {
    return complete(k) && k->number == m.next[k->channel] ? SRM_INBOX_COMPLETE : SRM_INBOX_TAKEN;
}

static srm_inbox_result expect(const srm_fragment_in *f) {
    if (f->total > MAX_MESSAGE)
        return SRM_INBOX_MALFORMED;
    if (f->number < m.next[f->channel])
        return SRM_INBOX_DUPLICATE;
    known *k = find(f->channel, f->number);
    if (k != NULL) {
        if (k->total != f->total)
            return SRM_INBOX_MALFORMED;
        return note_bytes(k, f) ? completed(k) : SRM_INBOX_DUPLICATE;
    }
    if (!has_credit(f))
        return SRM_INBOX_FLOW_CONTROL;
    k = &m.messages[m.count++];
    *k = (known){.number = f->number, .total = (uint32_t)f->total, .channel = f->channel};
    m.begun += f->total + SRM_MESSAGE_COST;
    m.end[f->channel] = srm_u64_max(m.end[f->channel], f->number + 1);
    note_bytes(k, f);
    return completed(k);
}

/* ---- Pieces ---- */

static void check_message(const srm_message *message, uint8_t channel) {
    known *k = find(message->channel, message->number);
    FUZZ_CHECK(message->channel == channel && message->number == m.next[channel], "the next one");
    FUZZ_CHECK(k != NULL && complete(k) && !k->delivered && k->total == message->size, "whole, and once");
    for (uint32_t i = 0; i < message->size; i++)
        FUZZ_CHECK(message->data[i] == byte_at(channel, message->number, i), "the bytes that went in");
    k->delivered = true;
    m.next[channel]++;
}

static void take_messages(uint8_t channel) {
    for (srm_message *message; (message = srm_inbox_take(&m.inbox)) != NULL;) {
        check_message(message, channel);
        *m.delivered_last = message;
        m.delivered_last = &message->next;
    }
    const known *k = find(channel, m.next[channel]);
    FUZZ_CHECK(k == NULL || !complete(k), "a message that is whole doesn't wait");
}

static void apply(const srm_fragment_in *fragment) {
    srm_fragment_in f = *fragment;
    uint8_t bytes[MAX_MESSAGE];
    if (f.total <= MAX_MESSAGE) {
        for (size_t i = 0; i < f.data.size; i++)
            bytes[i] = byte_at(f.channel, f.number, f.offset + i);
        f.data.data = bytes;
    }
    uint64_t duplicates = srm_inbox_duplicates(&m.inbox);
    srm_inbox_result expected = expect(&f), got = srm_inbox_on_fragment(&m.inbox, &f);
    FUZZ_CHECK(got == expected, "what becomes of a piece");
    FUZZ_CHECK(srm_inbox_duplicates(&m.inbox) == duplicates + (got == SRM_INBOX_DUPLICATE), "duplicates");
    if (got == SRM_INBOX_COMPLETE)
        take_messages(f.channel);
    else
        FUZZ_CHECK(srm_inbox_take(&m.inbox) == NULL, "nothing to deliver");
}

/* Writes the frame and reads it again. */
static void write_and_read(const srm_fragment *fragment, srm_fragment_in *out) {
    static uint8_t bytes[64 + UINT16_MAX];
    size_t size = srm_msg_frame_overhead(fragment) + fragment->length;
    srm_writer w = srm_writer_of(bytes, size);
    srm_msg_frame_write(&w, fragment);
    FUZZ_CHECK(!w.failed && srm_writer_used(&w) == size, "a frame takes what it says");
    srm_reader r = srm_reader_of(srm_writer_span(&w));
    uint8_t type = srm_read_u8(&r);
    FUZZ_CHECK((type & 0xf0) == SRM_MSG_TYPE, "its type");
    FUZZ_CHECK(srm_msg_frame_read(&r, type, out) && srm_reader_left(&r) == 0, "our own frame is read");
    const srm_message *message = fragment->message;
    FUZZ_CHECK(out->channel == message->channel && out->number == message->number &&
                   out->total == message->size && out->flags == message->flags &&
                   out->offset == fragment->offset && out->data.size == fragment->length,
               "a field came back altered");
    FUZZ_CHECK(fragment->length == 0 ||
                   memcmp(out->data.data, message->data + fragment->offset, fragment->length) == 0,
               "bytes came back altered");
}

/* Mostly the size is the message's own, and small, so that pieces of one input complete each other. */
static uint32_t size_of(fuzz_input *in, uint8_t channel, uint64_t number, bool any) {
    if (any)
        return (uint32_t)fuzz_take(in, 2) % (MAX_MESSAGE + 2);
    return byte_at(channel, number, UINT32_MAX) & (number % 4 == 3 ? 1023 : 31);
}

static void piece(fuzz_input *in) {
    uint8_t channel = fuzz_take_u8(in), cut = fuzz_take_u8(in);
    uint64_t number = m.next[channel] + fuzz_take_u8(in);
    number = number >= 4 ? number - 4 : 0;
    uint32_t total = size_of(in, channel, number, cut >= 224);
    srm_message *message = srm_message_new(total, channel, fuzz_take_u8(in) & 3);
    FUZZ_CHECK(message != NULL, "memory");
    message->number = number;
    for (uint32_t i = 0; i < total; i++)
        message->data[i] = byte_at(channel, number, i);
    srm_fragment fragment = {.message = message, .length = total, .whole = true};
    if (cut % 4 != 0 && total > 0) {
        fragment.whole = false;
        fragment.offset = (uint32_t)fuzz_take_below(in, total);
        fragment.length = (uint32_t)fuzz_take_below(in, total - fragment.offset) + 1;
    }
    srm_fragment_in f;
    write_and_read(&fragment, &f);
    apply(&f);
    srm_message_free(message);
}

static void raw_frame(fuzz_input *in) {
    srm_fragment_in f;
    uint8_t type = (uint8_t)(SRM_MSG_TYPE | (fuzz_take_u8(in) & 15));
    srm_reader r = srm_reader_of(srm_span_of(in->at, fuzz_left(in)));
    if (!srm_msg_frame_read(&r, type, &f))
        return;
    FUZZ_CHECK(f.offset + f.data.size <= f.total, "a piece lies within its message");
    FUZZ_CHECK(f.data.size == 0 || (f.data.data >= in->at && f.data.data + f.data.size <= in->end),
               "and within the packet");
    apply(&f);
}

/* ---- Consumption and credit ---- */

static void consume(size_t count) {
    for (; count > 0 && m.delivered != NULL; count--) {
        srm_message *message = m.delivered;
        m.delivered = message->next;
        if (m.delivered == NULL)
            m.delivered_last = &m.delivered;
        m.now += SRM_MILLISECOND;
        srm_inbox_consumed(&m.inbox, message, m.now, 20 * SRM_MILLISECOND);
        if (message->generation == m.inbox.generation) {
            m.consumed[message->channel] = message->number + 1;
            m.consumed_cost += srm_message_cost(message);
            m.untold[message->channel] = true;
        }
        srm_message_free(message);
    }
}

static void credit(fuzz_input *in) {
    unsigned what = fuzz_take_u8(in);
    if ((what & 1) != 0) {
        uint64_t need = (what & 2) != 0 ? fuzz_take(in, 8) & SRM_VARINT_MAX : m.granted + fuzz_take(in, 2);
        (void)srm_inbox_on_blocked(&m.inbox, need);
    }
    if ((what & 4) == 0 && !srm_inbox_max_data_due(&m.inbox))
        return;
    uint64_t limit = srm_inbox_max_data_announce(&m.inbox);
    FUZZ_CHECK(limit >= m.granted, "credit that was given stays given");
    FUZZ_CHECK(limit <= srm_u64_max(m.granted, m.consumed_cost + WINDOW_MAX),
               "no more than the buffer holds");
    m.granted = limit;
    FUZZ_CHECK(!srm_inbox_max_data_due(&m.inbox), "told once");
}

static void tell_consumed(void) {
    uint8_t channel;
    uint64_t next;
    while (srm_inbox_next_consumed(&m.inbox, &channel, &next)) {
        FUZZ_CHECK(m.untold[channel] && next == m.consumed[channel], "what was consumed, once");
        m.untold[channel] = false;
    }
    for (int i = 0; i < 256; i++)
        FUZZ_CHECK(!m.untold[i], "all of it");
    FUZZ_CHECK(srm_inbox_consumed_since(&m.inbox) == SRM_TIME_NEVER, "nothing waits to be told");
}

static void consumption(fuzz_input *in) {
    unsigned what = fuzz_take_u8(in);
    uint8_t channel = fuzz_take_u8(in);
    if ((what & 1) != 0) {
        srm_inbox_consumed_lost(&m.inbox, channel);
        m.untold[channel] |= m.consumed[channel] > 0;
    }
    if ((what & 2) != 0) {
        srm_inbox_control_again(&m.inbox);
        for (int i = 0; i < 256; i++)
            m.untold[i] |= m.consumed[i] > 0;
    }
    if ((what & 4) == 0)
        tell_consumed();
}

/* ---- A run ---- */

static void begin_session(void) {
    m.count = 0;
    m.begun = m.consumed_cost = 0;
    m.granted = m.inbox.granted;
    memset(m.next, 0, sizeof m.next);
    memset(m.end, 0, sizeof m.end);
    memset(m.consumed, 0, sizeof m.consumed);
    memset(m.untold, 0, sizeof m.untold);
}

static void step(uint8_t kind, fuzz_input *body) {
    switch (kind % 8) {
    case 0:
    case 1:
    case 2:
        piece(body);
        break;
    case 3:
        raw_frame(body);
        break;
    case 4:
        consume(fuzz_take_u8(body));
        break;
    case 5:
        credit(body);
        break;
    case 6:
        consumption(body);
        break;
    default:
        srm_inbox_restart(&m.inbox);
        begin_session();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    size_t before = fuzz_allocated();
    m.now = SRM_SECOND;
    m.delivered = NULL;
    m.delivered_last = &m.delivered;
    srm_inbox_init(&m.inbox, MAX_MESSAGE, WINDOW, WINDOW_MAX);
    begin_session();
    for (uint8_t kind; m.count < MESSAGES && fuzz_take_record(&in, &kind, &body);)
        step(kind, &body);
    srm_message_free_list(m.delivered);
    srm_inbox_fini(&m.inbox);
    FUZZ_CHECK(fuzz_allocated() == before, "all memory comes back");
    return 0;
}
