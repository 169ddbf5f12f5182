/* An outbox and an inbox against each other over a network that loses, doubles and reorders:
 *
 *     application --> srm_outbox --- MSG, DATA_BLOCKED ---------> srm_inbox --> application
 *                         ^                                          |
 *                         `------ ACK, CONSUMED, MAX_DATA -----------'
 *
 * Links are replaced and either process is, at any moment. A model knows what each channel must give next.
 */
#include "check.h"
#include "inbox.h"
#include "outbox.h"

#include <stdlib.h>

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#define LARGEST 40000
#define WINDOW 20000 /* less than the largest message: DATA_BLOCKED must help */
#define WINDOW_MAX 100000
#define MTU 1150
#define CHANNELS 5
#define QUEUE 4096
#define FRAMES 40
#define PACKETS 256

static const uint8_t channels[CHANNELS] = {0, 1, 63, 64, 255};

/* ---- What travels ---- */

typedef struct frame { /* of the record of a packet */
    uint64_t number;
    uint32_t offset, length;
    uint8_t channel;
} frame;

typedef struct packet {
    uint64_t id;
    frame frames[FRAMES];
    size_t frame_count;
    uint8_t bytes[MTU];
    size_t size;
    uint64_t blocked;                    /* forward: the limit needed, or 0 */
    uint64_t max_data, told[CHANNELS];   /* backward: 0 where it tells nothing */
    uint64_t acked[FRAMES], acked_count; /* backward: packets that came */
} packet;

typedef struct network {
    packet items[PACKETS];
    size_t count;
} network;

static void network_put(network *n, const packet *p) {
    if (n->count < PACKETS) /* else lost */
        n->items[n->count++] = *p;
}

static void network_drop(network *n, size_t at) {
    n->items[at] = n->items[--n->count];
}

/* ---- The model ---- */

typedef struct entry {
    uint64_t id;
    bool consumed; /* by an application that ever was, whether the sender heard of it or not */
    bool again;    /* has been held through a change of the peer's process */
    bool begun;
    uint32_t sent; /* bytes of it that went out, in order; over the first link alone */
} entry;

typedef struct lane { /* one channel: what was accepted and not told consumed, in order */
    entry items[QUEUE];
    size_t first, end; /* [first, end) is held by the outbox */
    size_t taken;      /* given to the application at the other end, this session */
    uint64_t base;     /* number of the message at `first` */
    size_t waiting;    /* given and not consumed yet: the last `waiting` before `taken` */
    srm_message *app_first, **app_last;
} lane;

typedef struct world {
    uint64_t seed, next_id, next_packet;
    srm_outbox outbox;
    srm_inbox inbox;
    lane lanes[CHANNELS];
    network forward, backward;
    packet sent[PACKETS]; /* records of packets neither acknowledged nor forgotten */
    bool lost[PACKETS];
    size_t sent_count;
    packet acks; /* to be told with the next backward packet */
    srm_time now;
    uint64_t delivered, restarts;
    unsigned loss; /* per cent */
} world;

static world w;

static uint64_t chance(unsigned percent) {
    return random_next(&w.seed) % 100 < percent;
}

static uint64_t mix(uint64_t id, uint64_t salt) {
    uint64_t x = (id + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ salt * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 31;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 29;
}

static uint32_t size_of(uint64_t id) {
    uint64_t r = mix(id, 1), kind = r % 16;
    r >>= 8;
    return (uint32_t)(kind == 0    ? 0
                      : kind < 8   ? r % 600
                      : kind < 14  ? r % 5000
                      : kind == 14 ? r % (LARGEST + 1)
                                   : SRM_FRAGMENT_WHOLE - 2 + r % 4);
}

static void fill(uint64_t id, uint8_t *out, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        out[i] = (uint8_t)(mix(id, 7) >> i % 57) ^ (uint8_t)(i * 2654435761u >> 24);
}

static size_t lane_of(uint8_t channel) {
    size_t i = 0;
    while (channels[i] != channel)
        i++;
    return i;
}

/* ---- The sender ---- */

static void push(void) {
    size_t i = random_next(&w.seed) % CHANNELS;
    lane *l = &w.lanes[i];
    if (l->end == QUEUE || srm_outbox_cost(&w.outbox) > 4 * WINDOW_MAX)
        return;
    uint64_t id = w.next_id++;
    srm_message *message = srm_message_new(size_of(id), channels[i], mix(id, 2) & SRM_MESSAGE_TEXT);
    CHECK(message != NULL);
    fill(id, message->data, message->size);
    CHECK(srm_outbox_push(&w.outbox, message));
    CHECK_EQ(message->number, l->base + (l->end - l->first));
    l->items[l->end++] = (entry){.id = id};
}

/* Nothing of a lower channel was to be sent that had not been sent yet, unless it lacks credit, or has it and
 * waits for one below that does. What was lost goes before, so with it the question doesn't arise. */
static void check_turn(size_t chosen, uint64_t reserved) {
    bool waiting = false;
    for (size_t i = 0; i < chosen; i++) {
        const lane *l = &w.lanes[i];
        size_t k = l->first;
        while (k < l->end && l->items[k].begun && l->items[k].sent == size_of(l->items[k].id))
            k++;
        if (k == l->end)
            continue;
        waiting |= reserved + size_of(l->items[k].id) + SRM_MESSAGE_COST > w.outbox.limit;
        CHECK(!l->items[k].begun && waiting);
    }
}

static void note_sent(const srm_fragment *f, bool first_of_packet, uint64_t reserved) {
    size_t i = lane_of(f->message->channel);
    lane *l = &w.lanes[i];
    entry *e = &l->items[l->first + (f->message->number - l->base)];
    if (first_of_packet && w.restarts == 0)
        check_turn(i, reserved);
    if (f->again)
        return;
    CHECK(w.restarts > 0 || f->offset == e->sent);
    e->begun = true;
    e->sent = f->offset + f->length;
}

static void send_packet(void) {
    if (w.sent_count == PACKETS)
        return;
    packet p = {.id = w.next_packet++};
    srm_writer writer = srm_writer_of(p.bytes, chance(80) ? MTU : MTU / 2);
    uint64_t reserved = w.outbox.reserved;
    srm_fragment f;
    while (p.frame_count < FRAMES && srm_outbox_next(&w.outbox, srm_writer_left(&writer), &f)) {
        p.frames[p.frame_count++] = (frame){f.message->number, f.offset, f.length, f.message->channel};
        srm_msg_frame_write(&writer, &f);
        CHECK(!writer.failed);
        srm_outbox_sent(&w.outbox, &f);
        note_sent(&f, p.frame_count == 1 && srm_writer_used(&writer) > MTU / 2, reserved);
    }
    uint64_t need;
    p.blocked = srm_outbox_blocked(&w.outbox, &need) ? need : 0;
    p.size = srm_writer_used(&writer);
    if (p.frame_count == 0 && p.blocked == 0)
        return;
    w.lost[w.sent_count] = false;
    w.sent[w.sent_count++] = p;
    if (!chance(w.loss))
        network_put(&w.forward, &p);
}

static void forget_record(size_t at) {
    w.sent[at] = w.sent[--w.sent_count];
    w.lost[at] = w.lost[w.sent_count];
}

static void on_acked(uint64_t id) {
    for (size_t i = 0; i < w.sent_count; i++)
        if (w.sent[i].id == id) {
            for (size_t k = 0; k < w.sent[i].frame_count; k++) {
                const frame *f = &w.sent[i].frames[k];
                srm_outbox_acked(&w.outbox, f->channel, f->number, f->offset, f->length);
            }
            forget_record(i);
            return;
        }
}

/* Old packets are lost, also some that merely take long: their ACK may come yet. */
static void declare_lost(void) {
    for (size_t i = 0; i < w.sent_count; i++) {
        if (w.sent[i].id + 40 > w.next_packet && !chance(2))
            continue;
        if (!w.lost[i]) {
            for (size_t k = 0; k < w.sent[i].frame_count; k++) {
                const frame *f = &w.sent[i].frames[k];
                srm_outbox_lost(&w.outbox, f->channel, f->number, f->offset, f->length);
            }
            w.lost[i] = true;
        } else if (chance(30)) {
            forget_record(i--);
        }
    }
}

static void on_consumed(size_t lane_index, uint64_t next) {
    lane *l = &w.lanes[lane_index];
    srm_message *list;
    CHECK(srm_outbox_consumed(&w.outbox, channels[lane_index], next, &list));
    for (srm_message *following; list != NULL; list = following) {
        following = list->next;
        uint64_t id = l->items[l->first].id;
        CHECK(l->items[l->first].consumed);
        CHECK_EQ(list->number, l->base);
        CHECK_EQ(list->size, size_of(id));
        CHECK(list->ranges == NULL);
        srm_message_free(list);
        l->first++;
        l->base++;
    }
    CHECK(l->base >= next);
}

static void on_backward(const packet *p) {
    for (size_t i = 0; i < p->acked_count; i++)
        on_acked(p->acked[i]);
    if (p->max_data > 0)
        srm_outbox_max_data(&w.outbox, p->max_data);
    for (size_t i = 0; i < CHANNELS; i++)
        if (p->told[i] > 0)
            on_consumed(i, p->told[i]);
}

/* ---- The receiver ---- */

static void check_message(lane *l, const srm_message *message) {
    CHECK(l->taken < l->end);
    entry *e = &l->items[l->taken++];
    CHECK_EQ(message->size, size_of(e->id));
    CHECK_EQ(message->flags & SRM_MESSAGE_TEXT, mix(e->id, 2) & SRM_MESSAGE_TEXT);
    bool marked = (message->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0;
    CHECK(marked || !e->consumed); /* nobody gets a second copy without being told */
    CHECK(!marked || e->again);
    static uint8_t expected[LARGEST];
    fill(e->id, expected, message->size);
    CHECK_MEM(message->data, expected, message->size);
    w.delivered++;
}

static void take_all(void) {
    for (srm_message *message; (message = srm_inbox_take(&w.inbox)) != NULL;) {
        lane *l = &w.lanes[lane_of(message->channel)];
        check_message(l, message);
        l->waiting++;
        *l->app_last = message;
        l->app_last = &message->next;
    }
}

static void on_forward(const packet *p) {
    srm_reader r = srm_reader_of(srm_span_of(p->bytes, p->size));
    while (srm_reader_left(&r) > 0) {
        srm_fragment_in in;
        uint8_t type = srm_read_u8(&r);
        CHECK_EQ(type & 0xf0, SRM_MSG_TYPE);
        CHECK(srm_msg_frame_read(&r, type, &in));
        srm_inbox_result result = srm_inbox_on_fragment(&w.inbox, &in);
        CHECK(result == SRM_INBOX_TAKEN || result == SRM_INBOX_DUPLICATE || result == SRM_INBOX_COMPLETE);
        CHECK_EQ(result == SRM_INBOX_COMPLETE, w.inbox.ready != NULL);
        take_all();
    }
    if (p->blocked > 0 && srm_inbox_on_blocked(&w.inbox, p->blocked))
        w.acks.max_data = srm_inbox_max_data_announce(&w.inbox);
    if (w.acks.acked_count < FRAMES)
        w.acks.acked[w.acks.acked_count++] = p->id;
}

static void consume(void) {
    lane *l = &w.lanes[random_next(&w.seed) % CHANNELS];
    srm_message *message = l->app_first;
    if (message == NULL)
        return;
    l->app_first = message->next;
    if (l->app_first == NULL)
        l->app_last = &l->app_first;
    if (message->generation == w.inbox.generation)
        l->items[l->taken - l->waiting--].consumed = true;
    srm_inbox_consumed(&w.inbox, message, w.now, 20 * SRM_MILLISECOND);
    srm_message_free(message);
}

static void send_backward(void) {
    packet p = w.acks;
    uint8_t channel;
    uint64_t next;
    memset(&w.acks, 0, sizeof w.acks);
    if (srm_inbox_max_data_due(&w.inbox))
        p.max_data = srm_inbox_max_data_announce(&w.inbox);
    for (int i = 0; i < 3 && srm_inbox_next_consumed(&w.inbox, &channel, &next); i++)
        p.told[lane_of(channel)] = next;
    if (!chance(w.loss)) {
        network_put(&w.backward, &p);
        return;
    }
    for (size_t i = 0; i < CHANNELS; i++) /* loss detection tells, at some time */
        if (p.told[i] > 0)
            srm_inbox_consumed_lost(&w.inbox, channels[i]);
    if (p.max_data > 0)
        w.acks.max_data = srm_inbox_max_data_announce(&w.inbox);
}

/* ---- Links and processes end ---- */

static void cut_link(void) {
    w.restarts++;
    w.forward.count = w.backward.count = w.sent_count = 0;
    memset(&w.acks, 0, sizeof w.acks);
}

static void new_link(void) {
    cut_link();
    srm_outbox_relink(&w.outbox);
    CHECK(!srm_outbox_unacked(&w.outbox));
    srm_inbox_control_again(&w.inbox);
    w.acks.max_data = srm_inbox_max_data_announce(&w.inbox);
}

static void free_app(lane *l) {
    for (srm_message *next; l->app_first != NULL; l->app_first = next) {
        next = l->app_first->next;
        srm_message_free(l->app_first);
    }
    l->app_last = &l->app_first;
    l->waiting = 0;
}

static void receiver_is_replaced(void) {
    uint64_t resent, unknown, held = srm_outbox_count(&w.outbox), cost = srm_outbox_cost(&w.outbox);
    cut_link();
    srm_inbox_fini(&w.inbox);
    srm_inbox_init(&w.inbox, LARGEST, WINDOW, WINDOW_MAX);
    srm_outbox_restart(&w.outbox, &resent, &unknown);
    srm_outbox_max_data(&w.outbox, WINDOW);
    CHECK(unknown <= resent && resent <= held);
    CHECK(srm_outbox_count(&w.outbox) == held && srm_outbox_cost(&w.outbox) == cost);
    for (size_t i = 0; i < CHANNELS; i++) {
        lane *l = &w.lanes[i];
        free_app(l);
        l->taken = l->first;
        l->base = 0;
        for (size_t k = l->first; k < l->end; k++)
            l->items[k].again = true;
    }
}

/* What the old sender held is gone with it; what the receiver's application holds of it is consumed later. */
static void sender_is_replaced(void) {
    cut_link();
    srm_outbox_fini(&w.outbox);
    srm_outbox_init(&w.outbox);
    srm_outbox_max_data(&w.outbox, WINDOW);
    srm_inbox_restart(&w.inbox);
    for (size_t i = 0; i < CHANNELS; i++) {
        lane *l = &w.lanes[i];
        l->first = l->taken = l->end = 0;
        l->base = l->waiting = 0;
    }
}

static void compact(void) {
    for (size_t i = 0; i < CHANNELS; i++) {
        lane *l = &w.lanes[i];
        if (l->first < QUEUE / 2)
            continue;
        memmove(l->items, l->items + l->first, (l->end - l->first) * sizeof *l->items);
        l->end -= l->first;
        l->taken -= l->first;
        l->first = 0;
    }
}

/* ---- Running it ---- */

static void check_accounts(void) {
    uint64_t cost = 0, count = 0;
    for (size_t i = 0; i < CHANNELS; i++)
        for (size_t k = w.lanes[i].first; k < w.lanes[i].end; k++, count++)
            cost += size_of(w.lanes[i].items[k].id) + SRM_MESSAGE_COST;
    CHECK_EQ(srm_outbox_cost(&w.outbox), cost);
    CHECK_EQ(srm_outbox_count(&w.outbox), count);
    CHECK(w.outbox.reserved <= w.outbox.limit && w.outbox.limit <= w.inbox.granted);
    CHECK(w.inbox.begun + w.inbox.missing * SRM_MESSAGE_COST <= w.outbox.reserved);
    CHECK(w.inbox.consumed <= w.inbox.begun);
    CHECK(w.inbox.granted <= w.inbox.consumed + WINDOW_MAX);
}

static void deliver_one(network *n, void (*deliver)(const packet *p)) {
    if (n->count == 0)
        return;
    size_t at = chance(70) ? 0 : random_next(&w.seed) % n->count;
    packet p = n->items[at];
    if (!chance(5)) /* else a copy will follow */
        network_drop(n, at);
    deliver(&p);
}

static void step(unsigned restarts) {
    w.now += SRM_MILLISECOND;
    switch (random_next(&w.seed) % 10) {
    case 0:
        push();
        break;
    case 1:
    case 2:
        send_packet();
        break;
    case 3:
    case 4:
        deliver_one(&w.forward, on_forward);
        break;
    case 5:
        send_backward();
        break;
    case 6:
        deliver_one(&w.backward, on_backward);
        break;
    case 7:
        declare_lost();
        break;
    case 8:
        consume();
        consume();
        break;
    default:
        if (chance(10))
            (void)srm_outbox_probe(&w.outbox);
        if (restarts > 0 && random_next(&w.seed) % 300 == 0)
            new_link();
        if (restarts > 1 && random_next(&w.seed) % 900 == 0)
            receiver_is_replaced();
        if (restarts > 1 && random_next(&w.seed) % 1800 == 0)
            sender_is_replaced();
    }
    compact();
}

static void begin(uint64_t seed, unsigned loss) {
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.loss = loss;
    srm_outbox_init(&w.outbox);
    srm_outbox_max_data(&w.outbox, WINDOW);
    srm_inbox_init(&w.inbox, LARGEST, WINDOW, WINDOW_MAX);
    for (size_t i = 0; i < CHANNELS; i++)
        w.lanes[i].app_last = &w.lanes[i].app_first;
}

/* The network heals; all that was accepted must arrive within a few rounds, and the accounts end at zero. */
static void settle(void) {
    w.loss = 0;
    for (int round = 0; round < 3000 && !srm_outbox_empty(&w.outbox); round++) {
        for (int i = 0; i < 10; i++)
            send_packet();
        while (w.forward.count > 0)
            deliver_one(&w.forward, on_forward);
        for (int i = 0; i < 40; i++)
            consume();
        send_backward();
        while (w.backward.count > 0)
            deliver_one(&w.backward, on_backward);
        declare_lost();
        if (!srm_outbox_ready(&w.outbox))
            (void)srm_outbox_probe(&w.outbox);
    }
    check_accounts();
    CHECK(srm_outbox_empty(&w.outbox) && srm_outbox_cost(&w.outbox) == 0 && !srm_outbox_unacked(&w.outbox));
    CHECK_EQ(w.inbox.consumed, w.inbox.begun);
    CHECK_EQ(w.inbox.consumed, w.outbox.reserved);
    CHECK_EQ(w.inbox.missing, 0);
    CHECK(!srm_outbox_ready(&w.outbox) && !srm_outbox_probe(&w.outbox));
    for (size_t i = 0; i < CHANNELS; i++)
        CHECK_EQ(w.lanes[i].taken, w.lanes[i].end);
}

static void run(uint64_t seed, unsigned loss, unsigned restarts, int steps) {
    fprintf(stderr, "delivery: loss %u %%, restarts %u, seed %llu: ", loss, restarts,
            (unsigned long long)seed);
    begin(seed, loss);
    for (int i = 0; i < steps; i++) {
        step(restarts);
        if (i % 16 == 0)
            check_accounts();
    }
    settle();
    fprintf(stderr, "%llu messages\n", (unsigned long long)w.delivered);
    CHECK(w.delivered > (uint64_t)steps / 100);
    for (size_t i = 0; i < CHANNELS; i++)
        free_app(&w.lanes[i]);
    srm_outbox_fini(&w.outbox);
    srm_inbox_fini(&w.inbox);
}

TEST(everything_arrives_once_and_in_order) {
    static const unsigned losses[] = {0, 2, 10, 30, 60};
    for (uint64_t i = 0; i < SRM_COUNT_OF(losses) * 2; i++)
        run(1000 + i, losses[i / 2], 0, 20000);
}

TEST(also_over_one_link_after_another) {
    for (uint64_t i = 0; i < 6; i++)
        run(2000 + i, (unsigned)i * 8, 1, 20000);
}

TEST(also_when_processes_are_replaced) {
    for (uint64_t i = 0; i < 12; i++)
        run(3000 + i, (unsigned)i * 4, 2, 20000);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
