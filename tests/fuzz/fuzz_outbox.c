/* The outbox: messages are accepted, cut into pieces, acknowledged, lost, consumed, carried over to another
 * link or another peer process, against a model that knows the state of each byte. What is acknowledged is
 * not sent again, what is lost is, nothing begins without credit or before its turn in its channel, and when
 * nothing is left to send, every byte is on its way.
 *
 * kind % 16  0, 1  a message: channel, size    2..5  what comes next, into so much room
 *            6, 7  a piece is acknowledged     8, 9  a piece is lost
 *            10    the peer consumed           11    MAX_DATA
 *            12    another link                13    another process
 *            14    the probe timer             15    the peer accepts smaller ones only
 */
#include "fuzz.h"

#include "outbox.h"

const bool fuzz_records = true;

#define SIZE_MAX_SENT 3000
#define MESSAGES 64
#define PIECES 512

typedef enum byte_state { UNSENT, FLYING, LOST, ACKED } byte_state;

typedef struct entry {
    srm_message *message; /* the outbox's */
    uint64_t number;
    uint32_t size;
    uint8_t channel;
    bool begun;   /* its cost is reserved */
    bool whole;   /* sent to its end in this session */
    bool on_link; /* begun on this link */
    bool acked;
    uint8_t bytes[SIZE_MAX_SENT + 1]; /* an empty message is as one byte */
} entry;

typedef struct piece {
    uint8_t channel;
    uint64_t number;
    uint32_t offset, length;
} piece;

typedef struct model {
    srm_outbox outbox;
    entry entries[MESSAGES]; /* within a channel in order */
    size_t count;
    piece pieces[PIECES]; /* under way on this link */
    size_t piece_count;
    uint64_t next[256]; /* number of the next message */
    uint64_t reserved, limit;
} model;

static model m;

static uint32_t length_of(const entry *e) {
    return e->size > 0 ? e->size : 1;
}

static entry *find(uint8_t channel, uint64_t number) {
    for (size_t i = 0; i < m.count; i++)
        if (m.entries[i].channel == channel && m.entries[i].number == number)
            return &m.entries[i];
    return NULL;
}

static void remove_entry(size_t at) {
    m.count--;
    memmove(&m.entries[at], &m.entries[at + 1], (m.count - at) * sizeof(entry));
}

static bool has(const entry *e, byte_state state) {
    for (uint32_t i = 0; i < length_of(e); i++)
        if (e->bytes[i] == state)
            return true;
    return false;
}

static void set_bytes(entry *e, const piece *p, byte_state state) {
    uint32_t length = e->size > 0 ? p->length : 1;
    for (uint32_t i = p->offset; i < p->offset + length; i++)
        if (e->bytes[i] != ACKED)
            e->bytes[i] = (uint8_t)state;
}

/* ---- What happens ---- */

static void push(fuzz_input *in) {
    static const uint8_t channels[] = {0, 1, 2, 63, 64, 128, 200, 255};
    uint8_t channel = channels[fuzz_take_below(in, SRM_COUNT_OF(channels))];
    uint32_t size = (uint32_t)fuzz_take(in, 2) % (SIZE_MAX_SENT + 1);
    if (m.count == MESSAGES)
        return;
    srm_message *message = srm_message_new(size, channel, 0);
    FUZZ_CHECK(message != NULL, "memory");
    memset(message->data, 0, size);
    FUZZ_CHECK(srm_outbox_push(&m.outbox, message), "memory");
    FUZZ_CHECK(message->number == m.next[channel], "numbers follow each other");
    m.entries[m.count++] =
        (entry){.message = message, .number = m.next[channel]++, .size = size, .channel = channel};
}

static void check_turn(const entry *e) {
    for (size_t i = 0; i < m.count; i++) {
        const entry *other = &m.entries[i];
        FUZZ_CHECK(other->channel != e->channel || other->number >= e->number || !has(other, UNSENT),
                   "it begins when those before it in its channel are under way");
    }
}

static void check_fragment(const srm_fragment *f, size_t room) {
    entry *e = find(f->message->channel, f->message->number);
    FUZZ_CHECK(e != NULL && e->message == f->message, "a piece of a message that is there");
    FUZZ_CHECK(srm_msg_frame_overhead(f) + f->length <= room, "it fits");
    FUZZ_CHECK(f->offset <= e->size && f->length <= e->size - f->offset, "it lies within its message");
    FUZZ_CHECK(f->length > 0 || e->size == 0, "only an empty message has an empty piece");
    FUZZ_CHECK(f->whole == (f->offset == 0 && f->length == e->size), "whole or not");
    for (uint32_t i = f->offset; i < f->offset + (e->size > 0 ? f->length : 1); i++)
        FUZZ_CHECK(e->bytes[i] == (f->again ? LOST : UNSENT) || (f->again && e->bytes[i] == FLYING),
                   "what is acknowledged, or on its way for the first time, is not sent again");
    if (!f->again)
        check_turn(e);
}

static bool send(size_t room) {
    srm_fragment f;
    bool ready = srm_outbox_ready(&m.outbox);
    if (!srm_outbox_next(&m.outbox, room, &f)) {
        FUZZ_CHECK(!ready || room < SRM_FRAGMENT_WHOLE + 32, "what is ready goes");
        return false;
    }
    FUZZ_CHECK(ready, "what goes is ready");
    check_fragment(&f, room);
    entry *e = find(f.message->channel, f.message->number);
    if (!e->begun)
        m.reserved += srm_message_cost(e->message);
    FUZZ_CHECK(e->begun || m.reserved <= m.limit, "nothing begins without credit");
    e->begun = e->on_link = true;
    srm_outbox_sent(&m.outbox, &f);
    piece p = {e->channel, e->number, f.offset, f.length};
    set_bytes(e, &p, FLYING);
    e->whole |= !f.again && f.offset + f.length == e->size;
    if (m.piece_count < PIECES)
        m.pieces[m.piece_count++] = p;
    return true;
}

/* One that is under way, told about once. */
static bool take_piece(fuzz_input *in, piece *out) {
    if (m.piece_count == 0)
        return false;
    size_t at = fuzz_take_below(in, m.piece_count);
    *out = m.pieces[at];
    m.pieces[at] = m.pieces[--m.piece_count];
    return true;
}

static void acked(fuzz_input *in) {
    piece p;
    if (!take_piece(in, &p))
        return;
    srm_outbox_acked(&m.outbox, p.channel, p.number, p.offset, p.length);
    entry *e = find(p.channel, p.number);
    if (e == NULL)
        return;
    set_bytes(e, &p, ACKED);
    e->acked = !has(e, UNSENT) && !has(e, FLYING) && !has(e, LOST);
}

static void lost(fuzz_input *in) {
    piece p;
    if (!take_piece(in, &p))
        return;
    srm_outbox_lost(&m.outbox, p.channel, p.number, p.offset, p.length);
    entry *e = find(p.channel, p.number);
    if (e != NULL)
        set_bytes(e, &p, LOST);
}

static void consumed(fuzz_input *in) {
    if (m.count == 0)
        return;
    const entry *e = &m.entries[fuzz_take_below(in, m.count)];
    uint8_t channel = e->channel;
    uint64_t next = e->number + 1 + (fuzz_take_u8(in) == 255);
    bool can = next <= m.next[channel];
    for (size_t i = 0; i < m.count; i++)
        can &= m.entries[i].channel != channel || m.entries[i].number >= next || m.entries[i].whole;
    srm_message *list;
    FUZZ_CHECK(srm_outbox_consumed(&m.outbox, channel, next, &list) == can, "only what was sent");
    FUZZ_CHECK(can || list == NULL, "and nothing else changes");
    for (size_t i = 0; can && i < m.count;) {
        if (m.entries[i].channel != channel || m.entries[i].number >= next) {
            i++;
            continue;
        }
        FUZZ_CHECK(list == m.entries[i].message, "the messages, oldest first");
        srm_message *gone = list;
        list = list->next;
        srm_message_free(gone);
        remove_entry(i);
    }
    FUZZ_CHECK(list == NULL, "and no others");
}

static void more_credit(uint64_t limit) {
    srm_outbox_max_data(&m.outbox, limit);
    m.limit = srm_u64_max(m.limit, limit);
}

static void another_link(void) {
    srm_outbox_relink(&m.outbox);
    m.piece_count = 0;
    for (size_t i = 0; i < m.count; i++) {
        entry *e = &m.entries[i];
        for (uint32_t k = 0; k < length_of(e); k++)
            e->bytes[k] = e->bytes[k] == ACKED ? ACKED : UNSENT;
        e->on_link = false;
    }
}

static void another_process(void) {
    uint64_t resent, unknown, begun = 0, whole = 0, numbers[256] = {0};
    srm_outbox_restart(&m.outbox, &resent, &unknown);
    m.piece_count = 0;
    m.reserved = m.limit = 0;
    for (size_t i = 0; i < m.count; i++) {
        entry *e = &m.entries[i];
        begun += e->begun;
        whole += e->whole;
        FUZZ_CHECK(!e->whole || (e->message->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0, "its mark");
        e->begun = e->whole = e->on_link = e->acked = false;
        e->number = numbers[e->channel]++;
        memset(e->bytes, UNSENT, sizeof e->bytes);
    }
    memcpy(m.next, numbers, sizeof m.next);
    FUZZ_CHECK(resent == begun && unknown == whole, "what is told");
}

static void probe(void) {
    bool ready = srm_outbox_ready(&m.outbox), under_way = m.outbox.unacked > 0;
    bool any = srm_outbox_probe(&m.outbox);
    FUZZ_CHECK(any == (ready || under_way), "what is under way can be sent once more");
    FUZZ_CHECK(any == srm_outbox_ready(&m.outbox), "and is ready");
}

static void smaller_only(fuzz_input *in) {
    uint32_t limit = (uint32_t)fuzz_take(in, 2);
    uint64_t numbers[256] = {0};
    bool began = m.outbox.reserved > 0;
    for (size_t i = 0; i < m.count; i++)
        began |= m.entries[i].number > m.next[m.entries[i].channel] || m.entries[i].begun;
    if (began || m.reserved > 0)
        return;
    srm_message *list = srm_outbox_take_larger(&m.outbox, limit);
    size_t taken = 0, larger = 0;
    for (const srm_message *at = list; at != NULL; at = at->next, taken++)
        FUZZ_CHECK(at->size > limit, "only larger ones");
    for (size_t i = 0; i < m.count;) {
        if (m.entries[i].size > limit) {
            larger++;
            remove_entry(i);
        } else {
            m.entries[i].number = numbers[m.entries[i].channel]++;
            i++;
        }
    }
    memcpy(m.next, numbers, sizeof m.next);
    FUZZ_CHECK(taken == larger, "all larger ones");
    srm_message_free_list(list);
}

/* ---- What always holds ---- */

static void check(void) {
    uint64_t cost = 0, unacked = 0, need;
    for (size_t i = 0; i < m.count; i++) {
        const entry *e = &m.entries[i];
        cost += srm_message_cost(e->message);
        unacked += e->on_link && !e->acked;
        FUZZ_CHECK(e->message->number == e->number, "its number");
        const srm_message *found = srm_outbox_find(&m.outbox, e->channel, e->number);
        FUZZ_CHECK((found == e->message) == (e->on_link && !e->acked), "found while it is under way");
    }
    FUZZ_CHECK(srm_outbox_cost(&m.outbox) == cost && srm_outbox_count(&m.outbox) == m.count, "what is held");
    FUZZ_CHECK(m.outbox.unacked == unacked, "what is under way");
    FUZZ_CHECK(m.outbox.reserved == m.reserved && m.outbox.limit == m.limit, "credit");
    if (srm_outbox_blocked(&m.outbox, &need))
        FUZZ_CHECK(need > m.limit, "who waits for credit lacks it");
}

static void step(uint8_t kind, fuzz_input *body) {
    switch (kind % 16) {
    case 0:
    case 1:
        push(body);
        break;
    case 6:
    case 7:
        acked(body);
        break;
    case 8:
    case 9:
        lost(body);
        break;
    case 10:
        consumed(body);
        break;
    case 11:
        more_credit(fuzz_take(body, 3));
        break;
    case 12:
        another_link();
        break;
    case 13:
        another_process();
        break;
    case 14:
        probe();
        break;
    case 15:
        smaller_only(body);
        break;
    default:
        send(fuzz_take(body, 2) % 1500);
        break;
    }
    check();
}

/* With credit and room for all of it, all of it gets under way. */
static void check_all_goes(void) {
    more_credit(UINT32_MAX);
    for (size_t pieces = 0; send(1400); pieces++)
        FUZZ_CHECK(pieces < 100 * MESSAGES, "it comes to an end");
    for (size_t i = 0; i < m.count; i++)
        FUZZ_CHECK(!has(&m.entries[i], UNSENT) && !has(&m.entries[i], LOST), "every byte is on its way");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input in = fuzz_input_of(data, size), body;
    size_t before = fuzz_allocated();
    m.count = m.piece_count = 0;
    m.reserved = m.limit = 0;
    memset(m.next, 0, sizeof m.next);
    srm_outbox_init(&m.outbox);
    for (uint8_t kind; fuzz_take_record(&in, &kind, &body);)
        step(kind, &body);
    check_all_goes();
    srm_outbox_fini(&m.outbox);
    FUZZ_CHECK(fuzz_allocated() == before, "all memory comes back");
    return 0;
}
