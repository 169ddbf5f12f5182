#include "outbox.h"

#include "rangeset.h"

#include <stdlib.h>

/* srm_message.state */
enum {
    BEGUN = 1, /* its cost is reserved */
    SENT = 2,  /* wholly, at least once in this session */
    ACKED = 4, /* wholly */
    FLYING = 8 /* begun on this link and counted in `unacked` */
};

typedef struct piece {
    uint64_t number;
    uint32_t offset, length;
} piece;

struct srm_outbox_channel {
    srm_message **ring;               /* by number; holds [base, next) */
    piece *lost;                      /* a ring too */
    uint32_t capacity, lost_capacity; /* 0 or powers of two */
    uint32_t lost_first, lost_count;
    uint64_t base, acked, send, next;
    uint64_t shift; /* number n lies in slot n + shift */
    uint8_t channel;
};

/* ---- Channels and their rings ---- */

static srm_message **slot(const srm_outbox_channel *c, uint64_t number) {
    return &c->ring[(number + c->shift) & (c->capacity - 1)];
}

static size_t channel_place(const srm_outbox *outbox, uint8_t channel) {
    size_t low = 0, high = outbox->channel_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (outbox->channels[middle]->channel < channel)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static srm_outbox_channel *find_channel(const srm_outbox *outbox, uint8_t channel) {
    size_t at = channel_place(outbox, channel);
    return at < outbox->channel_count && outbox->channels[at]->channel == channel ? outbox->channels[at]
                                                                                  : NULL;
}

static srm_outbox_channel *add_channel(srm_outbox *outbox, uint8_t channel) {
    if (outbox->channel_count == outbox->channel_capacity) {
        size_t capacity = outbox->channel_capacity == 0 ? 1 : (size_t)outbox->channel_capacity * 2;
        srm_outbox_channel **grown = realloc(outbox->channels, capacity * sizeof(srm_outbox_channel *));
        if (grown == NULL)
            return NULL;
        outbox->channels = grown;
        outbox->channel_capacity = (uint16_t)capacity;
    }
    srm_outbox_channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->channel = channel;
    size_t at = channel_place(outbox, channel);
    memmove(&outbox->channels[at + 1], &outbox->channels[at],
            (outbox->channel_count - at) * sizeof(srm_outbox_channel *));
    outbox->channels[at] = c;
    outbox->channel_count++;
    return c;
}

static bool ring_grow(srm_outbox_channel *c) {
    uint32_t capacity = c->capacity == 0 ? 8 : c->capacity * 2;
    srm_message **ring = capacity > c->capacity ? malloc(capacity * sizeof(srm_message *)) : NULL;
    if (ring == NULL)
        return false;
    for (uint64_t number = c->base; number < c->next; number++)
        ring[(number + c->shift) & (capacity - 1)] = *slot(c, number);
    free(c->ring);
    c->ring = ring;
    c->capacity = capacity;
    return true;
}

static piece *lost_at(const srm_outbox_channel *c, uint32_t position) {
    return &c->lost[(c->lost_first + position) & (c->lost_capacity - 1)];
}

static bool lost_grow(srm_outbox_channel *c) {
    uint32_t capacity = c->lost_capacity == 0 ? 8 : c->lost_capacity * 2;
    piece *ring = capacity > c->lost_capacity ? malloc(capacity * sizeof *ring) : NULL;
    if (ring == NULL)
        return false;
    for (uint32_t i = 0; i < c->lost_count; i++)
        ring[i] = *lost_at(c, i);
    free(c->lost);
    c->lost = ring;
    c->lost_capacity = capacity;
    c->lost_first = 0;
    return true;
}

static void lost_pop(srm_outbox_channel *c) {
    c->lost_first = (c->lost_first + 1) & (c->lost_capacity - 1);
    c->lost_count--;
}

static void update_pending(srm_outbox *outbox, const srm_outbox_channel *c) {
    uint64_t bit = (uint64_t)1 << (c->channel & 63), *word = &outbox->pending[c->channel >> 6];
    *word = c->send < c->next || c->lost_count > 0 ? *word | bit : *word & ~bit;
}

/* ---- Messages ---- */

static void forget_ranges(srm_message *message) {
    if (message->ranges == NULL)
        return;
    srm_rangeset_fini(message->ranges);
    free(message->ranges);
    message->ranges = NULL;
}

static bool may_begin(const srm_outbox *outbox, const srm_message *message) {
    return (message->state & BEGUN) != 0 || outbox->reserved + srm_message_cost(message) <= outbox->limit;
}

/* The next bytes from `from` on that were not acknowledged. */
static srm_range unacked_from(const srm_message *message, uint32_t from) {
    if (message->ranges == NULL)
        return (srm_range){from, message->size};
    return srm_rangeset_next_gap(message->ranges, from, message->size);
}

static void set_acked(srm_outbox *outbox, srm_outbox_channel *c, srm_message *message) {
    forget_ranges(message);
    if ((message->state & FLYING) != 0)
        outbox->unacked--;
    message->state = (uint8_t)((message->state | ACKED) & ~FLYING);
    while (c->acked < c->next && (*slot(c, c->acked))->state & ACKED)
        c->acked++;
}

/* Past what is acknowledged already: the message to go on with, or NULL. */
static srm_message *head_unsent(srm_outbox_channel *c) {
    for (; c->send < c->next; c->send++) {
        srm_message *message = *slot(c, c->send);
        if ((message->state & ACKED) != 0)
            continue;
        if (message->done == 0 && message->ranges == NULL)
            return message;
        srm_range gap = unacked_from(message, message->done);
        message->done = (uint32_t)gap.start;
        if (gap.start < gap.end)
            return message;
    }
    return NULL;
}

/* The first lost piece that is still wanted, or NULL. */
static piece *head_lost(srm_outbox_channel *c) {
    for (; c->lost_count > 0; lost_pop(c)) {
        piece *p = lost_at(c, 0);
        srm_message *message = p->number >= c->base ? *slot(c, p->number) : NULL;
        if (message == NULL || (message->state & ACKED) != 0)
            continue;
        if (message->ranges == NULL)
            return p;
        srm_range gap = srm_rangeset_next_gap(message->ranges, p->offset, (uint64_t)p->offset + p->length);
        if (gap.start >= gap.end)
            continue;
        p->length -= (uint32_t)gap.start - p->offset;
        p->offset = (uint32_t)gap.start;
        return p;
    }
    return NULL;
}

/* ---- What goes out ---- */

void srm_outbox_init(srm_outbox *outbox) {
    memset(outbox, 0, sizeof *outbox);
}

void srm_outbox_fini(srm_outbox *outbox) {
    srm_message_free_list(srm_outbox_take_all(outbox));
    for (size_t i = 0; i < outbox->channel_count; i++) {
        free(outbox->channels[i]->ring);
        free(outbox->channels[i]->lost);
        free(outbox->channels[i]);
    }
    free(outbox->channels);
}

bool srm_outbox_push(srm_outbox *outbox, srm_message *message) {
    srm_outbox_channel *c = find_channel(outbox, message->channel);
    if (c == NULL && (c = add_channel(outbox, message->channel)) == NULL)
        return false;
    if (c->next - c->base >= c->capacity && !ring_grow(c))
        return false;
    message->next = NULL;
    message->number = c->next;
    message->state = 0;
    message->done = 0;
    *slot(c, c->next++) = message;
    outbox->cost += srm_message_cost(message);
    outbox->count++;
    update_pending(outbox, c);
    return true;
}

/* Cuts `[offset, end)` of the message to what fits `room`. */
static bool cut(const srm_message *message, uint32_t offset, uint64_t end, size_t room, srm_fragment *out) {
    size_t length = (size_t)(end - offset);
    *out = (srm_fragment){.message = message, .offset = offset, .length = (uint32_t)length};
    out->whole = offset == 0 && end == message->size;
    if (srm_msg_frame_overhead(out) + length <= room)
        return true;
    out->whole = false;
    size_t overhead = srm_msg_frame_overhead(out);
    if (length < SRM_FRAGMENT_WHOLE || room < overhead + SRM_FRAGMENT_MIN)
        return false;
    out->length = (uint32_t)(room - overhead);
    return true;
}

/* Whether the message may go now. `*waiting` is that of the lowest channel so far that lacks credit: who
 * comes after it may overtake, but not for ever. */
static bool may_go(const srm_outbox *outbox, const srm_message *message, const srm_message **waiting) {
    if (message == NULL)
        return false;
    if (!may_begin(outbox, message)) {
        *waiting = *waiting == NULL ? message : *waiting;
        return false;
    }
    return (message->state & BEGUN) != 0 || *waiting == NULL || *waiting != outbox->overtaken ||
           outbox->passed < srm_message_cost(*waiting);
}

static bool next_of(const srm_outbox *outbox, srm_outbox_channel *c, size_t room, srm_fragment *out,
                    const srm_message **waiting) {
    piece *p = head_lost(c);
    if (p != NULL) {
        bool fits = cut(*slot(c, p->number), p->offset, (uint64_t)p->offset + p->length, room, out);
        out->again = true;
        return fits;
    }
    srm_message *message = head_unsent(c);
    if (!may_go(outbox, message, waiting))
        return false;
    return cut(message, message->done, unacked_from(message, message->done).end, room, out);
}

static unsigned lowest_bit(uint64_t word) {
    return (unsigned)__builtin_ctzll(word);
}

bool srm_outbox_next(srm_outbox *outbox, size_t room, srm_fragment *out) {
    const srm_message *waiting = NULL;
    for (unsigned word = 0; word < 4; word++) {
        for (uint64_t bits = outbox->pending[word]; bits != 0; bits &= bits - 1) {
            srm_outbox_channel *c = find_channel(outbox, (uint8_t)(word * 64 + lowest_bit(bits)));
            if (next_of(outbox, c, room, out, &waiting))
                return true;
            update_pending(outbox, c);
        }
    }
    return false;
}

/* The message of the lowest channel that waits for credit alone, or NULL. */
static const srm_message *first_waiting(const srm_outbox *outbox) {
    for (unsigned word = 0; word < 4; word++) {
        for (uint64_t bits = outbox->pending[word]; bits != 0; bits &= bits - 1) {
            const srm_message *message =
                head_unsent(find_channel(outbox, (uint8_t)(word * 64 + lowest_bit(bits))));
            if (message != NULL && !may_begin(outbox, message))
                return message;
        }
    }
    return NULL;
}

/* This message begins: whom does it pass? */
static void note_overtaking(srm_outbox *outbox, const srm_message *message) {
    const srm_message *waiting = first_waiting(outbox);
    bool passes = waiting != NULL && waiting->channel < message->channel;
    if (message == outbox->overtaken || (passes && waiting != outbox->overtaken)) {
        outbox->overtaken = passes ? waiting : NULL;
        outbox->passed = 0;
    }
    outbox->passed += passes ? srm_message_cost(message) : 0;
}

static void begin(srm_outbox *outbox, srm_message *message) {
    if ((message->state & BEGUN) == 0) {
        note_overtaking(outbox, message);
        outbox->reserved += srm_message_cost(message);
    }
    if ((message->state & FLYING) == 0)
        outbox->unacked++;
    message->state |= BEGUN | FLYING;
}

void srm_outbox_sent(srm_outbox *outbox, const srm_fragment *fragment) {
    srm_outbox_channel *c = find_channel(outbox, fragment->message->channel);
    srm_message *message = *slot(c, fragment->message->number);
    if (fragment->again) {
        piece *p = lost_at(c, 0);
        p->offset += fragment->length;
        p->length -= fragment->length;
        if (p->length == 0)
            lost_pop(c);
    } else {
        begin(outbox, message);
        message->done = fragment->offset + fragment->length;
        if (message->done == message->size) {
            message->state |= SENT;
            c->send++;
        }
    }
    update_pending(outbox, c);
}

bool srm_outbox_ready(const srm_outbox *outbox) {
    const srm_message *waiting = NULL;
    for (unsigned word = 0; word < 4; word++) {
        for (uint64_t bits = outbox->pending[word]; bits != 0; bits &= bits - 1) {
            srm_outbox_channel *c = find_channel(outbox, (uint8_t)(word * 64 + lowest_bit(bits)));
            if (head_lost(c) != NULL)
                return true;
            if (may_go(outbox, head_unsent(c), &waiting))
                return true;
        }
    }
    return false;
}

bool srm_outbox_blocked(const srm_outbox *outbox, uint64_t *need) {
    const srm_message *message = first_waiting(outbox);
    if (message == NULL)
        return false;
    *need = outbox->reserved + srm_message_cost(message);
    return true;
}

void srm_outbox_max_data(srm_outbox *outbox, uint64_t limit) {
    outbox->limit = srm_u64_max(outbox->limit, limit);
}

/* ---- What became of it ---- */

static srm_message *find_message(const srm_outbox *outbox, uint8_t channel, uint64_t number,
                                 srm_outbox_channel **c) {
    *c = find_channel(outbox, channel);
    if (*c == NULL || number < (*c)->base || number >= (*c)->next)
        return NULL;
    srm_message *message = *slot(*c, number);
    return (message->state & ACKED) == 0 ? message : NULL;
}

const srm_message *srm_outbox_find(const srm_outbox *outbox, uint8_t channel, uint64_t number) {
    srm_outbox_channel *c;
    const srm_message *message = find_message(outbox, channel, number, &c);
    return message != NULL && (message->state & FLYING) != 0 ? message : NULL;
}

/* Without memory the bytes count as not acknowledged: they may go once more than needed. */
static void add_range(srm_message *message, uint32_t offset, uint32_t length) {
    if (message->ranges == NULL) {
        message->ranges = malloc(sizeof *message->ranges);
        if (message->ranges == NULL)
            return;
        srm_rangeset_init(message->ranges, SRM_RANGESET_NO_MAX, SRM_RANGESET_REFUSE);
    }
    (void)srm_rangeset_add(message->ranges, offset, (uint64_t)offset + length);
}

void srm_outbox_acked(srm_outbox *outbox, uint8_t channel, uint64_t number, uint32_t offset,
                      uint32_t length) {
    srm_outbox_channel *c;
    srm_message *message = find_message(outbox, channel, number, &c);
    if (message == NULL)
        return;
    bool all = offset == 0 && length == message->size;
    if (!all) {
        add_range(message, offset, length);
        all = message->ranges != NULL && srm_rangeset_total(message->ranges) == message->size;
    }
    if (all)
        set_acked(outbox, c, message);
}

static bool lost_push(srm_outbox *outbox, srm_outbox_channel *c, piece p) {
    if (c->lost_count == c->lost_capacity && !lost_grow(c))
        return false;
    *lost_at(c, c->lost_count++) = p;
    update_pending(outbox, c);
    return true;
}

void srm_outbox_lost(srm_outbox *outbox, uint8_t channel, uint64_t number, uint32_t offset, uint32_t length) {
    srm_outbox_channel *c;
    const srm_message *message = find_message(outbox, channel, number, &c);
    if (message == NULL || (message->ranges != NULL && length > 0 &&
                            srm_rangeset_covers(message->ranges, offset, (uint64_t)offset + length)))
        return;
    if (!lost_push(outbox, c, (piece){number, offset, length}))
        c->send = srm_u64_min(c->send, number),
        (*slot(c, number))->done = 0; /* no memory for the note: send it all again */
    update_pending(outbox, c);
}

bool srm_outbox_probe(srm_outbox *outbox) {
    if (srm_outbox_ready(outbox))
        return true;
    for (size_t i = 0; i < outbox->channel_count; i++) {
        srm_outbox_channel *c = outbox->channels[i];
        if (c->acked >= c->next)
            continue;
        const srm_message *message = *slot(c, c->acked);
        if ((message->state & FLYING) == 0)
            continue;
        srm_range gap = unacked_from(message, 0);
        if (lost_push(outbox, c,
                      (piece){c->acked, (uint32_t)gap.start,
                              (uint32_t)(srm_u64_min(gap.end, gap.start + 16384) - gap.start)}))
            return true;
    }
    return false;
}

/* ---- Consumption, links, sessions ---- */

static void remove_first(srm_outbox *outbox, srm_outbox_channel *c, srm_message ***last) {
    srm_message *message = *slot(c, c->base++);
    forget_ranges(message);
    if ((message->state & FLYING) != 0)
        outbox->unacked--;
    outbox->cost -= srm_message_cost(message);
    outbox->count--;
    message->next = NULL;
    **last = message;
    *last = &message->next;
}

bool srm_outbox_consumed(srm_outbox *outbox, uint8_t channel, uint64_t next, srm_message **list) {
    srm_outbox_channel *c = find_channel(outbox, channel);
    *list = NULL;
    if (c == NULL || next > c->next)
        return next == 0;
    for (uint64_t number = c->base; number < next; number++)
        if (((*slot(c, number))->state & SENT) == 0)
            return false;
    while (c->base < next)
        remove_first(outbox, c, &list);
    c->acked = srm_u64_max(c->acked, c->base);
    c->send = srm_u64_max(c->send, c->base);
    while (c->acked < c->next && (*slot(c, c->acked))->state & ACKED)
        c->acked++;
    update_pending(outbox, c);
    return true;
}

void srm_outbox_relink(srm_outbox *outbox) {
    for (size_t i = 0; i < outbox->channel_count; i++) {
        srm_outbox_channel *c = outbox->channels[i];
        c->lost_count = 0;
        c->send = c->base;
        for (uint64_t number = c->base; number < c->next; number++) {
            srm_message *message = *slot(c, number);
            message->done = 0;
            message->state &= (uint8_t)~FLYING;
        }
        update_pending(outbox, c);
    }
    outbox->unacked = 0;
}

static void restart_message(srm_message *message, uint64_t number, uint64_t *resent, uint64_t *unknown) {
    forget_ranges(message);
    if ((message->state & SENT) != 0) {
        message->flags |= SRM_MESSAGE_MAYBE_DUPLICATE;
        ++*unknown;
    }
    *resent += (message->state & BEGUN) != 0;
    message->number = number;
    message->state = 0;
    message->done = 0;
}

void srm_outbox_restart(srm_outbox *outbox, uint64_t *resent, uint64_t *unknown) {
    *resent = *unknown = 0;
    for (size_t i = 0; i < outbox->channel_count; i++) {
        srm_outbox_channel *c = outbox->channels[i];
        uint64_t count = c->next - c->base;
        for (uint64_t k = 0; k < count; k++)
            restart_message(*slot(c, c->base + k), k, resent, unknown);
        c->shift += c->base;
        c->base = c->acked = c->send = 0;
        c->next = count;
        c->lost_count = 0;
        update_pending(outbox, c);
    }
    outbox->unacked = outbox->reserved = outbox->limit = outbox->passed = 0;
    outbox->overtaken = NULL;
}

static void take_larger_of(srm_outbox *outbox, srm_outbox_channel *c, uint32_t limit, srm_message ***last) {
    uint64_t kept = c->base;
    for (uint64_t number = c->base; number < c->next; number++) {
        srm_message *message = *slot(c, number);
        if (message->size > limit) {
            outbox->cost -= srm_message_cost(message);
            outbox->count--;
            message->next = NULL;
            **last = message;
            *last = &message->next;
        } else {
            message->number = kept;
            *slot(c, kept++) = message;
        }
    }
    c->next = kept;
    update_pending(outbox, c);
}

srm_message *srm_outbox_take_larger(srm_outbox *outbox, uint32_t limit) {
    srm_message *list = NULL, **last = &list;
    SRM_ASSERT(outbox->reserved == 0);
    outbox->overtaken = NULL;
    for (size_t i = 0; i < outbox->channel_count; i++)
        take_larger_of(outbox, outbox->channels[i], limit, &last);
    return list;
}

srm_message *srm_outbox_take_all(srm_outbox *outbox) {
    srm_message *list = NULL, **last = &list;
    outbox->overtaken = NULL;
    for (size_t i = 0; i < outbox->channel_count; i++) {
        srm_outbox_channel *c = outbox->channels[i];
        while (c->base < c->next)
            remove_first(outbox, c, &last);
        c->acked = c->send = c->next;
        c->lost_count = 0;
        update_pending(outbox, c);
    }
    return list;
}
