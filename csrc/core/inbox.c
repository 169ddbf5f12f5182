#include "inbox.h"

#include "outbox.h"
#include "rangeset.h"

#include <stdlib.h>

/* A window round that was half consumed within so long besides 2 RTT asks for more: applications run in
 * turns. */
#define WINDOW_TURN (10 * SRM_MILLISECOND)

/* A larger ring than this is given back when it is empty: bursts are rare, and there are 256 channels. */
#define RING_KEEP 1024

/* Runs of bytes of one message that wait for what is between them. Far more than packets under way make; a
 * peer that sends crumbs must not make us sort millions. Beyond it a piece counts as not come and is sent
 * again. */
#define RUNS_MAX 8192

struct srm_inbox_channel {
    srm_message **ring; /* by number: [next, end), NULL where nothing came */
    uint32_t capacity;  /* 0 or a power of two */
    uint64_t consumed, next, end;
    uint8_t channel;
};

static srm_message **slot(const srm_inbox_channel *c, uint64_t number) {
    return &c->ring[number & (c->capacity - 1)];
}

static size_t channel_place(const srm_inbox *inbox, uint8_t channel) {
    size_t low = 0, high = inbox->channel_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (inbox->channels[middle]->channel < channel)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static srm_inbox_channel *find_channel(const srm_inbox *inbox, uint8_t channel) {
    size_t at = channel_place(inbox, channel);
    return at < inbox->channel_count && inbox->channels[at]->channel == channel ? inbox->channels[at] : NULL;
}

static srm_inbox_channel *add_channel(srm_inbox *inbox, uint8_t channel) {
    if (inbox->channel_count == inbox->channel_capacity) {
        size_t capacity = inbox->channel_capacity == 0 ? 1 : (size_t)inbox->channel_capacity * 2;
        srm_inbox_channel **grown = realloc(inbox->channels, capacity * sizeof(srm_inbox_channel *));
        if (grown == NULL)
            return NULL;
        inbox->channels = grown;
        inbox->channel_capacity = (uint16_t)capacity;
    }
    srm_inbox_channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->channel = channel;
    size_t at = channel_place(inbox, channel);
    memmove(&inbox->channels[at + 1], &inbox->channels[at],
            (inbox->channel_count - at) * sizeof(srm_inbox_channel *));
    inbox->channels[at] = c;
    inbox->channel_count++;
    return c;
}

static void free_message(srm_message *message) {
    if (message != NULL && message->ranges != NULL) {
        srm_rangeset_fini(message->ranges);
        free(message->ranges);
    }
    srm_message_free(message);
}

static void free_channels(srm_inbox *inbox) {
    for (size_t i = 0; i < inbox->channel_count; i++) {
        srm_inbox_channel *c = inbox->channels[i];
        for (uint64_t number = c->next; number < c->end; number++)
            free_message(*slot(c, number));
        free(c->ring);
        free(c);
    }
    free(inbox->channels);
    inbox->channels = NULL;
    inbox->channel_count = inbox->channel_capacity = 0;
}

static void begin_session(srm_inbox *inbox) {
    memset(inbox->dirty, 0, sizeof inbox->dirty);
    inbox->ready = NULL;
    inbox->ready_last = &inbox->ready;
    inbox->begun = inbox->missing = inbox->consumed = inbox->round_consumed = 0;
    inbox->granted = inbox->window_initial;
    inbox->needed = inbox->needed_most = 0;
    inbox->round_began = 0;
    inbox->since = SRM_TIME_NEVER;
}

void srm_inbox_init(srm_inbox *inbox, uint32_t max_message, uint64_t window, uint64_t window_max) {
    memset(inbox, 0, sizeof *inbox);
    inbox->max_message = max_message;
    inbox->window = inbox->window_initial = srm_u64_min(window, window_max);
    inbox->window_max = window_max;
    begin_session(inbox);
}

void srm_inbox_fini(srm_inbox *inbox) {
    free_channels(inbox);
    for (srm_message *message; (message = srm_inbox_take(inbox)) != NULL;)
        srm_message_free(message);
}

void srm_inbox_restart(srm_inbox *inbox) {
    srm_inbox_fini(inbox);
    begin_session(inbox);
    inbox->generation++;
}

/* ---- Pieces ---- */

/* Makes the ring hold `number`; what the credit allows bounds it: a message costs SRM_MESSAGE_COST at least.
 */
static bool ring_reach(srm_inbox *inbox, srm_inbox_channel *c, uint64_t number) {
    uint64_t capacity = c->capacity == 0 ? 8 : c->capacity;
    while (number - c->next >= capacity)
        capacity *= 2;
    if (capacity != c->capacity) {
        srm_message **ring =
            capacity <= UINT32_MAX / 2 ? malloc((size_t)capacity * sizeof(srm_message *)) : NULL;
        if (ring == NULL)
            return false;
        for (uint64_t n = c->next; n < c->end; n++)
            ring[n & (capacity - 1)] = *slot(c, n);
        free(c->ring);
        c->ring = ring;
        c->capacity = (uint32_t)capacity;
    }
    for (; c->end <= number; c->end++) {
        *slot(c, c->end) = NULL;
        inbox->missing++;
    }
    return true;
}

static srm_message *new_message(srm_inbox *inbox, const srm_fragment_in *fragment) {
    srm_message *message = srm_message_new((uint32_t)fragment->total, fragment->channel, fragment->flags);
    if (message == NULL)
        return NULL;
    message->number = fragment->number;
    message->generation = inbox->generation;
    inbox->begun += srm_message_cost(message);
    return message;
}

static bool is_complete(const srm_message *message) {
    return message->done == message->size && message->state != 0;
}

/* Joins to the front what came out of order before and now follows without a gap. */
static void join_ranges(srm_message *message) {
    if (message->ranges == NULL)
        return;
    if (srm_rangeset_count(message->ranges) > 0 &&
        srm_rangeset_at(message->ranges, 0).start <= message->done) {
        srm_range gap = srm_rangeset_next_gap(message->ranges, message->done, message->size);
        message->done = (uint32_t)gap.start;
        (void)srm_rangeset_remove(message->ranges, 0, message->done);
    }
    if (srm_rangeset_count(message->ranges) == 0) {
        srm_rangeset_fini(message->ranges);
        free(message->ranges);
        message->ranges = NULL;
    }
}

static bool note_range(srm_message *message, uint64_t start, uint64_t end) {
    if (message->ranges == NULL) {
        message->ranges = malloc(sizeof *message->ranges);
        if (message->ranges == NULL)
            return false;
        srm_rangeset_init(message->ranges, RUNS_MAX, SRM_RANGESET_REFUSE);
    }
    return srm_rangeset_add(message->ranges, start, end);
}

static srm_inbox_result add_piece(srm_inbox *inbox, srm_message *message, const srm_fragment_in *fragment) {
    uint64_t start = fragment->offset, end = start + fragment->data.size;
    if (is_complete(message) || end <= message->done ||
        (message->ranges != NULL && srm_rangeset_covers(message->ranges, start, end))) {
        if (message->size > 0 || message->state != 0) {
            inbox->duplicates++;
            return SRM_INBOX_DUPLICATE;
        }
    }
    if (start > message->done && !note_range(message, start, end))
        return SRM_INBOX_NO_MEMORY;
    if (fragment->data.size > 0)
        memcpy(message->data + start, fragment->data.data, fragment->data.size);
    if (start <= message->done) {
        message->done = (uint32_t)end;
        join_ranges(message);
    }
    message->state = message->done == message->size;
    return SRM_INBOX_TAKEN;
}

static void make_ready(srm_inbox *inbox, srm_inbox_channel *c, srm_message *message) {
    message->next = NULL;
    *inbox->ready_last = message;
    inbox->ready_last = &message->next;
    c->next++;
    c->end = srm_u64_max(c->end, c->next);
}

static void release_in_order(srm_inbox *inbox, srm_inbox_channel *c) {
    while (c->next < c->end && *slot(c, c->next) != NULL && is_complete(*slot(c, c->next)))
        make_ready(inbox, c, *slot(c, c->next));
    if (c->next == c->end && c->capacity > RING_KEEP) {
        free(c->ring);
        c->ring = NULL;
        c->capacity = 0;
    }
}

static srm_inbox_result on_known(srm_inbox *inbox, srm_inbox_channel *c, srm_message *message,
                                 const srm_fragment_in *fragment) {
    if (message->size != fragment->total)
        return SRM_INBOX_MALFORMED;
    srm_inbox_result result = add_piece(inbox, message, fragment);
    if (result != SRM_INBOX_TAKEN || !is_complete(message) || message->number != c->next)
        return result;
    release_in_order(inbox, c);
    return SRM_INBOX_COMPLETE;
}

/* Whoever sends a number has begun all below it. Those of which nothing came cost as much as an empty message
 * at least, so that the rings stay within the credit too. */
static bool has_credit(const srm_inbox *inbox, const srm_inbox_channel *c, const srm_fragment_in *fragment) {
    uint64_t left = inbox->granted - inbox->begun - inbox->missing * SRM_MESSAGE_COST, skipped = 0;
    if (fragment->number < c->end)
        left += SRM_MESSAGE_COST;
    else
        skipped = fragment->number - c->end;
    return skipped <= left / SRM_MESSAGE_COST && (skipped + 1) * SRM_MESSAGE_COST + fragment->total <= left;
}

static srm_inbox_result on_new(srm_inbox *inbox, srm_inbox_channel *c, const srm_fragment_in *fragment) {
    if (!has_credit(inbox, c, fragment))
        return SRM_INBOX_FLOW_CONTROL;
    bool in_order = fragment->number == c->next && fragment->data.size == fragment->total;
    if (!in_order && !ring_reach(inbox, c, fragment->number))
        return SRM_INBOX_NO_MEMORY;
    srm_message *message = new_message(inbox, fragment);
    if (message == NULL)
        return SRM_INBOX_NO_MEMORY;
    if (add_piece(inbox, message, fragment) != SRM_INBOX_TAKEN) {
        inbox->begun -= srm_message_cost(message);
        free_message(message);
        return SRM_INBOX_NO_MEMORY;
    }
    inbox->missing -= fragment->number < c->end;
    if (!in_order) {
        *slot(c, fragment->number) = message;
        return SRM_INBOX_TAKEN;
    }
    make_ready(inbox, c, message);
    release_in_order(inbox, c);
    return SRM_INBOX_COMPLETE;
}

srm_inbox_result srm_inbox_on_fragment(srm_inbox *inbox, const srm_fragment_in *fragment) {
    if (fragment->total > inbox->max_message)
        return SRM_INBOX_MALFORMED;
    srm_inbox_channel *c = find_channel(inbox, fragment->channel);
    if (c == NULL && (c = add_channel(inbox, fragment->channel)) == NULL)
        return SRM_INBOX_NO_MEMORY;
    if (fragment->number < c->next) {
        inbox->duplicates++;
        return SRM_INBOX_DUPLICATE;
    }
    srm_message *known = fragment->number < c->end ? *slot(c, fragment->number) : NULL;
    return known != NULL ? on_known(inbox, c, known, fragment) : on_new(inbox, c, fragment);
}

bool srm_inbox_has(const srm_inbox *inbox, uint8_t channel, uint64_t number) {
    const srm_inbox_channel *c = find_channel(inbox, channel);
    if (c == NULL || number >= c->end)
        return c != NULL && number < c->next;
    return number < c->next || (*slot(c, number) != NULL && is_complete(*slot(c, number)));
}

srm_message *srm_inbox_take(srm_inbox *inbox) {
    srm_message *message = inbox->ready;
    if (message == NULL)
        return NULL;
    inbox->ready = message->next;
    if (inbox->ready == NULL)
        inbox->ready_last = &inbox->ready;
    message->next = NULL;
    return message;
}

/* ---- Consumption and credit ---- */

static void mark_dirty(srm_inbox *inbox, uint8_t channel) {
    inbox->dirty[channel >> 6] |= (uint64_t)1 << (channel & 63);
}

static void tune_window(srm_inbox *inbox, srm_time now, srm_time rtt) {
    if (inbox->consumed - inbox->round_consumed < inbox->window / 2)
        return;
    if (now - inbox->round_began < 2 * rtt + WINDOW_TURN)
        inbox->window = srm_u64_min(2 * inbox->window, inbox->window_max);
    inbox->round_consumed = inbox->consumed;
    inbox->round_began = now;
}

void srm_inbox_consumed(srm_inbox *inbox, const srm_message *message, srm_time now, srm_time rtt) {
    srm_inbox_channel *c =
        message->generation == inbox->generation ? find_channel(inbox, message->channel) : NULL;
    if (c == NULL)
        return;
    c->consumed = srm_u64_max(c->consumed, message->number + 1);
    inbox->consumed += srm_message_cost(message);
    tune_window(inbox, now, rtt);
    mark_dirty(inbox, c->channel);
    inbox->since = srm_time_min(inbox->since, now);
}

bool srm_inbox_on_blocked(srm_inbox *inbox, uint64_t need) {
    bool waits = inbox->needed > inbox->granted;
    inbox->needed = waits ? srm_u64_min(inbox->needed, need) : need;
    inbox->needed_most = srm_u64_max(inbox->needed_most, need);
    if (need > inbox->consumed + inbox->window)
        inbox->window = srm_u64_min(need - inbox->consumed, inbox->window_max);
    return inbox->consumed + inbox->window > inbox->granted;
}

bool srm_inbox_max_data_due(const srm_inbox *inbox) {
    uint64_t limit = inbox->consumed + inbox->window;
    bool waited_for = (inbox->needed > inbox->granted && limit >= inbox->needed) ||
                      (inbox->needed_most > inbox->granted && limit >= inbox->needed_most);
    return limit > inbox->granted && (waited_for || limit - inbox->granted >= inbox->window / 4);
}

uint64_t srm_inbox_max_data_announce(srm_inbox *inbox) {
    inbox->granted = srm_u64_max(inbox->granted, inbox->consumed + inbox->window);
    return inbox->granted;
}

bool srm_inbox_next_consumed(srm_inbox *inbox, uint8_t *channel, uint64_t *next) {
    for (unsigned word = 0; word < 4; word++) {
        if (inbox->dirty[word] == 0)
            continue;
        *channel = (uint8_t)(word * 64 + (unsigned)__builtin_ctzll(inbox->dirty[word]));
        inbox->dirty[word] &= inbox->dirty[word] - 1;
        *next = find_channel(inbox, *channel)->consumed;
        return true;
    }
    inbox->since = SRM_TIME_NEVER;
    return false;
}

void srm_inbox_consumed_lost(srm_inbox *inbox, uint8_t channel) {
    const srm_inbox_channel *c = find_channel(inbox, channel);
    if (c == NULL || c->consumed == 0)
        return;
    mark_dirty(inbox, channel);
    inbox->since = 0;
}

void srm_inbox_control_again(srm_inbox *inbox) {
    for (size_t i = 0; i < inbox->channel_count; i++)
        srm_inbox_consumed_lost(inbox, inbox->channels[i]->channel);
}
