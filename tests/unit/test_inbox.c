#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request, at once or after so many allocations. */
static bool no_memory;
static int allocations_left = -1; /* -1: no end */
static bool refused(void) {
    if (allocations_left > 0)
        allocations_left--;
    return no_memory || allocations_left == 0;
}
static void *scarce_malloc(size_t size) {
    return refused() ? NULL : malloc(size);
}
static void *scarce_calloc(size_t count, size_t size) {
    return refused() ? NULL : calloc(count, size);
}
static void *scarce_realloc(void *memory, size_t size) {
    return refused() ? NULL : realloc(memory, size);
}
#define malloc scarce_malloc
#define calloc scarce_calloc
#define realloc scarce_realloc
#include "inbox.c"
#include "message.c"
#include "rangeset.c"
#undef malloc
#undef calloc
#undef realloc

#include "check.h"

#define LARGEST 20000
#define WINDOW ((uint64_t)100000)
#define WINDOW_MAX ((uint64_t)1000000)
#define MS SRM_MILLISECOND

static uint8_t pattern[LARGEST];

static void start(srm_inbox *inbox) {
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 131 >> 3);
    srm_inbox_init(inbox, LARGEST, WINDOW, WINDOW_MAX);
}

static srm_inbox_result piece(srm_inbox *inbox, uint8_t channel, uint64_t number, uint64_t offset,
                              uint64_t length, uint64_t total) {
    srm_fragment_in in = {.number = number, .offset = offset, .total = total, .channel = channel};
    if (offset + length <= sizeof pattern)
        in.data = srm_span_of(pattern + offset, (size_t)length);
    return srm_inbox_on_fragment(inbox, &in);
}

static srm_inbox_result whole(srm_inbox *inbox, uint8_t channel, uint64_t number, uint64_t size) {
    return piece(inbox, channel, number, 0, size, size);
}

/* Takes the next message, which must be this one, and gives it up as consumed. */
static void take(srm_inbox *inbox, uint8_t channel, uint64_t number, uint32_t size) {
    srm_message *message = srm_inbox_take(inbox);
    CHECK(message != NULL);
    CHECK_EQ(message->channel, channel);
    CHECK_EQ(message->number, number);
    CHECK_EQ(message->size, size);
    CHECK(message->next == NULL && message->ranges == NULL);
    if (size > 0)
        CHECK_MEM(message->data, pattern, size);
    srm_inbox_consumed(inbox, message, SRM_SECOND, 10 * MS);
    srm_message_free(message);
}

/* Nothing waits and all that began was consumed. */
static void finish(srm_inbox *inbox) {
    CHECK(srm_inbox_take(inbox) == NULL);
    CHECK_EQ(inbox->begun, inbox->consumed);
    srm_inbox_fini(inbox);
}

/* ---- Pieces ---- */

TEST(whole_messages_come_through) {
    srm_inbox inbox;
    start(&inbox);
    CHECK_EQ(whole(&inbox, 0, 0, 5), SRM_INBOX_COMPLETE);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_COMPLETE); /* empty messages are messages */
    CHECK_EQ(whole(&inbox, 255, 0, LARGEST), SRM_INBOX_COMPLETE);
    take(&inbox, 0, 0, 5);
    take(&inbox, 0, 1, 0);
    take(&inbox, 255, 0, LARGEST);
    finish(&inbox);
}

TEST(flags_arrive) {
    srm_inbox inbox;
    start(&inbox);
    srm_fragment_in in = {.flags = SRM_MESSAGE_TEXT | SRM_MESSAGE_MAYBE_DUPLICATE};
    CHECK_EQ(srm_inbox_on_fragment(&inbox, &in), SRM_INBOX_COMPLETE);
    CHECK_EQ(inbox.ready->flags, SRM_MESSAGE_TEXT | SRM_MESSAGE_MAYBE_DUPLICATE);
    take(&inbox, 0, 0, 0);
    finish(&inbox);
}

TEST(pieces_in_any_order_make_the_message) {
    static const uint8_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {0, 2, 1, 3}, {2, 0, 3, 1}, {1, 3, 0, 2}};
    for (size_t o = 0; o < SRM_COUNT_OF(orders); o++) {
        srm_inbox inbox;
        start(&inbox);
        for (size_t i = 0; i < 4; i++)
            CHECK_EQ(piece(&inbox, 3, 0, orders[o][i] * 700, 700, 2800),
                     i == 3 ? SRM_INBOX_COMPLETE : SRM_INBOX_TAKEN);
        take(&inbox, 3, 0, 2800);
        CHECK_EQ(srm_inbox_duplicates(&inbox), 0);
        finish(&inbox);
    }
}

TEST(pieces_that_overlap_make_the_message) {
    static const uint16_t pieces[][2] = {{500, 600}, {100, 300}, {250, 550}, {0, 50}, {800, 1000}, {20, 820}};
    srm_inbox inbox;
    start(&inbox);
    for (size_t i = 0; i < SRM_COUNT_OF(pieces); i++)
        CHECK_EQ(piece(&inbox, 0, 0, pieces[i][0], (uint64_t)pieces[i][1] - pieces[i][0], 1000),
                 i == 5 ? SRM_INBOX_COMPLETE : SRM_INBOX_TAKEN);
    take(&inbox, 0, 0, 1000);
    finish(&inbox);
}

TEST(order_holds_in_a_channel_and_binds_no_other) {
    srm_inbox inbox;
    start(&inbox);
    CHECK_EQ(whole(&inbox, 1, 2, 12), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 1, 1, 11), SRM_INBOX_TAKEN);
    CHECK_EQ(piece(&inbox, 1, 4, 0, 7, 14), SRM_INBOX_TAKEN);
    CHECK(srm_inbox_take(&inbox) == NULL);
    CHECK_EQ(whole(&inbox, 2, 0, 20), SRM_INBOX_COMPLETE);
    CHECK_EQ(whole(&inbox, 1, 0, 10), SRM_INBOX_COMPLETE);
    take(&inbox, 2, 0, 20);
    take(&inbox, 1, 0, 10);
    take(&inbox, 1, 1, 11);
    take(&inbox, 1, 2, 12);
    CHECK_EQ(piece(&inbox, 1, 4, 7, 7, 14), SRM_INBOX_TAKEN); /* complete, but 3 is missing */
    CHECK(srm_inbox_take(&inbox) == NULL);
    CHECK_EQ(whole(&inbox, 1, 3, 13), SRM_INBOX_COMPLETE);
    take(&inbox, 1, 3, 13);
    take(&inbox, 1, 4, 14);
    finish(&inbox);
}

/* [R36], [R39] */
TEST(what_came_before_is_ignored) {
    srm_inbox inbox;
    start(&inbox);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_DUPLICATE);
    CHECK_EQ(piece(&inbox, 0, 0, 0, 100, 300), SRM_INBOX_TAKEN);
    CHECK_EQ(piece(&inbox, 0, 0, 0, 100, 300), SRM_INBOX_DUPLICATE);
    CHECK_EQ(piece(&inbox, 0, 0, 10, 50, 300), SRM_INBOX_DUPLICATE);
    CHECK_EQ(piece(&inbox, 0, 0, 200, 50, 300), SRM_INBOX_TAKEN);
    CHECK_EQ(piece(&inbox, 0, 0, 200, 50, 300), SRM_INBOX_DUPLICATE);
    CHECK_EQ(piece(&inbox, 0, 0, 210, 1, 300), SRM_INBOX_DUPLICATE);
    CHECK_EQ(whole(&inbox, 0, 0, 300), SRM_INBOX_COMPLETE); /* all of it, once more */
    CHECK_EQ(whole(&inbox, 0, 0, 300), SRM_INBOX_DUPLICATE);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_DUPLICATE);
    CHECK_EQ(srm_inbox_duplicates(&inbox), 7);
    take(&inbox, 0, 0, 300);
    CHECK_EQ(piece(&inbox, 0, 0, 0, 100, 300), SRM_INBOX_DUPLICATE);
    take(&inbox, 0, 1, 0);
    finish(&inbox);
}

TEST(a_message_that_changes_its_size_or_is_too_large_is_malformed) {
    srm_inbox inbox;
    start(&inbox);
    CHECK_EQ(piece(&inbox, 0, 0, 0, 100, LARGEST + 1), SRM_INBOX_MALFORMED);
    CHECK_EQ(piece(&inbox, 0, 0, 0, 100, UINT64_MAX), SRM_INBOX_MALFORMED);
    CHECK_EQ(piece(&inbox, 0, 0, 0, 100, LARGEST), SRM_INBOX_TAKEN);
    CHECK_EQ(piece(&inbox, 0, 0, 100, 100, LARGEST - 1), SRM_INBOX_MALFORMED);
    CHECK_EQ(whole(&inbox, 0, 0, 100), SRM_INBOX_MALFORMED);
    CHECK_EQ(whole(&inbox, 0, 1, 10), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 0, 1, 11), SRM_INBOX_MALFORMED); /* also when it is complete */
    CHECK_EQ(inbox.begun, LARGEST + 10 + 2 * SRM_MESSAGE_COST);
    srm_inbox_fini(&inbox);
}

/* A peer that sends crumbs must not make us sort millions of them: too many gaps in one message are refused,
 * but never what closes one, so that the message ends. */
TEST(gaps_in_one_message_are_bounded) {
    static const uint8_t crumb[1] = {7};
    srm_inbox inbox;
    uint32_t size = 3 * RUNS_MAX, refused_runs = 0;
    srm_inbox_init(&inbox, size, WINDOW_MAX, WINDOW_MAX);
    srm_fragment_in in = {.total = size, .data = srm_span_of(crumb, 1)};
    for (in.offset = size - 1; in.offset >= 2; in.offset -= 2) {
        srm_inbox_result result = srm_inbox_on_fragment(&inbox, &in);
        CHECK(result == SRM_INBOX_TAKEN || result == SRM_INBOX_NO_MEMORY);
        refused_runs += result == SRM_INBOX_NO_MEMORY;
    }
    CHECK_EQ(refused_runs, (size - 1) / 2 - RUNS_MAX);
    CHECK_EQ(inbox.channels[0]->ring[0]->ranges->count, RUNS_MAX);
    for (in.offset = 0; in.offset < size; in.offset++)
        CHECK(srm_inbox_on_fragment(&inbox, &in) <= SRM_INBOX_COMPLETE);
    srm_message *message = srm_inbox_take(&inbox);
    CHECK(message != NULL && message->data[0] == 7 && message->data[size - 1] == 7);
    srm_message_free(message);
    srm_inbox_fini(&inbox);
}

/* ---- Credit ---- */

/* [R37], [R39] */
TEST(the_sum_of_costs_ends_at_the_credit) {
    srm_inbox inbox;
    start(&inbox);
    for (uint64_t i = 0; i < 4; i++)
        CHECK_EQ(whole(&inbox, (uint8_t)i, 0, LARGEST), SRM_INBOX_COMPLETE);
    uint64_t left = WINDOW - 4 * (LARGEST + SRM_MESSAGE_COST);
    CHECK_EQ(piece(&inbox, 4, 0, 0, 1, left - SRM_MESSAGE_COST + 1), SRM_INBOX_FLOW_CONTROL);
    CHECK_EQ(inbox.begun, WINDOW - left);
    CHECK_EQ(piece(&inbox, 4, 0, 0, 1, left - SRM_MESSAGE_COST), SRM_INBOX_TAKEN);
    CHECK_EQ(inbox.begun, WINDOW);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_FLOW_CONTROL);
    CHECK_EQ(piece(&inbox, 4, 0, 1, left - SRM_MESSAGE_COST - 1, left - SRM_MESSAGE_COST),
             SRM_INBOX_COMPLETE);
    for (uint8_t i = 0; i < 4; i++)
        take(&inbox, i, 0, LARGEST);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_FLOW_CONTROL); /* not announced yet */
    CHECK(srm_inbox_max_data_due(&inbox));
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW + 4 * (LARGEST + SRM_MESSAGE_COST));
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_COMPLETE);
    take(&inbox, 4, 0, (uint32_t)(left - SRM_MESSAGE_COST));
    take(&inbox, 0, 1, 0);
    finish(&inbox);
}

/* Whoever sends number n has begun all below it, each at the price of an empty message at least; so what the
 * inbox keeps to find them by is bounded by the credit too, in all channels together. */
TEST(numbers_far_ahead_cost_credit) {
    uint64_t most = WINDOW / SRM_MESSAGE_COST;
    srm_inbox inbox;
    start(&inbox);
    CHECK_EQ(whole(&inbox, 0, most, 0), SRM_INBOX_FLOW_CONTROL);
    CHECK_EQ(whole(&inbox, 0, UINT64_C(1) << 58, 0), SRM_INBOX_FLOW_CONTROL);
    CHECK_EQ(whole(&inbox, 0, SRM_VARINT_MAX, 0), SRM_INBOX_FLOW_CONTROL);
    CHECK_EQ(whole(&inbox, 0, most / 2, 0), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 1, most / 2, 0), SRM_INBOX_FLOW_CONTROL);
    CHECK_EQ(whole(&inbox, 1, most - most / 2 - 2, 0), SRM_INBOX_TAKEN);
    for (unsigned channel = 2; channel < 256; channel++)
        CHECK_EQ(whole(&inbox, (uint8_t)channel, 1, 0), SRM_INBOX_FLOW_CONTROL);
    for (uint64_t n = 0; n < most / 2; n++) /* a gap that closes costs nothing more */
        CHECK_EQ(whole(&inbox, 0, n, 0), SRM_INBOX_COMPLETE);
    for (uint64_t n = 0; n < most / 2 + 1; n++)
        take(&inbox, 0, n, 0);
    for (uint64_t n = most - most / 2 - 2; n-- > 0;)
        CHECK_EQ(whole(&inbox, 1, n, 0), n == 0 ? SRM_INBOX_COMPLETE : SRM_INBOX_TAKEN);
    for (uint64_t n = 0; n < most - most / 2 - 1; n++)
        take(&inbox, 1, n, 0);
    CHECK_EQ(inbox.begun, most * SRM_MESSAGE_COST);
    finish(&inbox);
}

TEST(a_number_of_any_size_with_any_window_is_no_harm) {
    srm_inbox inbox;
    srm_inbox_init(&inbox, LARGEST, UINT64_MAX >> 2, UINT64_MAX);
    for (unsigned bit = 40; bit < 62; bit++) {
        srm_inbox_result result = whole(&inbox, 0, UINT64_C(1) << bit, 0);
        CHECK(result == SRM_INBOX_FLOW_CONTROL || result == SRM_INBOX_NO_MEMORY);
    }
    CHECK_EQ(whole(&inbox, 0, 0, 10), SRM_INBOX_COMPLETE);
    take(&inbox, 0, 0, 10);
    finish(&inbox);
}

TEST(credit_follows_consumption_in_steps_of_a_quarter) {
    srm_inbox inbox;
    start(&inbox);
    uint64_t cost = 1000 + SRM_MESSAGE_COST, number = 0;
    CHECK(!srm_inbox_max_data_due(&inbox));
    while (number * cost < WINDOW / 4) {
        CHECK(!srm_inbox_max_data_due(&inbox));
        CHECK_EQ(whole(&inbox, 0, number, 1000), SRM_INBOX_COMPLETE);
        CHECK(!srm_inbox_max_data_due(&inbox)); /* what merely came gives none */
        take(&inbox, 0, number++, 1000);
    }
    CHECK(srm_inbox_max_data_due(&inbox));
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW + number * cost);
    CHECK(!srm_inbox_max_data_due(&inbox));
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW + number * cost); /* told again */
    for (uint32_t i = 0; i < 2; i++) {                                     /* exactly a quarter */
        CHECK(!srm_inbox_max_data_due(&inbox));
        CHECK_EQ(whole(&inbox, 0, number, WINDOW / 8 - SRM_MESSAGE_COST), SRM_INBOX_COMPLETE);
        take(&inbox, 0, number++, WINDOW / 8 - SRM_MESSAGE_COST);
    }
    CHECK(srm_inbox_max_data_due(&inbox));
    finish(&inbox);
}

TEST(a_peer_that_needs_more_gets_it_up_to_the_buffer) {
    srm_inbox inbox;
    start(&inbox);
    CHECK(!srm_inbox_on_blocked(&inbox, WINDOW)); /* it has that */
    CHECK(srm_inbox_on_blocked(&inbox, 3 * WINDOW));
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), 3 * WINDOW);
    CHECK(!srm_inbox_on_blocked(&inbox, 3 * WINDOW));
    CHECK_EQ(whole(&inbox, 1, 0, 10000), SRM_INBOX_COMPLETE);
    take(&inbox, 1, 0, 10000);
    CHECK(srm_inbox_on_blocked(&inbox, 4 * WINDOW));
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), 4 * WINDOW); /* as much as was asked for */
    CHECK(srm_inbox_on_blocked(&inbox, SRM_VARINT_MAX));
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW_MAX + 10000 + SRM_MESSAGE_COST);
    CHECK(!srm_inbox_on_blocked(&inbox, UINT64_MAX));
    CHECK_EQ(whole(&inbox, 0, 0, 100), SRM_INBOX_COMPLETE);
    take(&inbox, 0, 0, 100);
    CHECK(srm_inbox_on_blocked(&inbox, 2 * WINDOW_MAX)); /* less than a quarter, but asked for */
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW_MAX + 10100 + 2 * SRM_MESSAGE_COST);
    finish(&inbox);
}

/* An older DATA_BLOCKED that comes late must not hide what the peer waits for now, nor a greater need a
 * smaller one. */
TEST(needs_told_in_any_order_are_all_met) {
    srm_inbox inbox;
    srm_inbox_init(&inbox, LARGEST, WINDOW, WINDOW);
    uint64_t cost = 100 + SRM_MESSAGE_COST;
    CHECK(!srm_inbox_on_blocked(&inbox, WINDOW + 2 * cost));
    CHECK(!srm_inbox_on_blocked(&inbox, WINDOW + cost));
    for (uint64_t number = 0; number < 2; number++) {
        CHECK_EQ(whole(&inbox, 0, number, 100), SRM_INBOX_COMPLETE);
        take(&inbox, 0, number, 100);
        CHECK(srm_inbox_max_data_due(&inbox));
        CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW + (number + 1) * cost);
    }
    finish(&inbox);
}

/* What the peer waits for is told as soon as it is there, however little that is; asking once is enough. */
TEST(a_limit_that_is_waited_for_is_told_at_once) {
    srm_inbox inbox;
    srm_inbox_init(&inbox, LARGEST, WINDOW, WINDOW);
    uint64_t cost = 100 + SRM_MESSAGE_COST;
    CHECK(!srm_inbox_on_blocked(&inbox, WINDOW + 2 * cost));
    CHECK_EQ(inbox.window, WINDOW);
    for (uint64_t number = 0; number < 3; number++) {
        CHECK_EQ(whole(&inbox, 0, number, 100), SRM_INBOX_COMPLETE);
        CHECK(!srm_inbox_max_data_due(&inbox));
        take(&inbox, 0, number, 100);
        CHECK_EQ(srm_inbox_max_data_due(&inbox), number == 1);
        if (number == 1)
            CHECK_EQ(srm_inbox_max_data_announce(&inbox), WINDOW + 2 * cost);
        CHECK(!srm_inbox_max_data_due(&inbox)); /* told: the third waits for its quarter again */
    }
    srm_inbox_on_blocked(&inbox, WINDOW + 9 * cost);
    srm_inbox_restart(&inbox);
    CHECK_EQ(whole(&inbox, 0, 0, 10 * 164), SRM_INBOX_COMPLETE);
    take(&inbox, 0, 0, 10 * 164);
    CHECK(!srm_inbox_max_data_due(&inbox)); /* another peer's needs */
    finish(&inbox);
}

/* Half a window or more in exactly 2 RTT and a turn is not faster than that. */
TEST(rounds_of_the_window_are_measured_from_their_own_start) {
    for (int late = 0; late < 2; late++) {
        srm_inbox inbox;
        srm_inbox_init(&inbox, LARGEST, 4 * 1064, WINDOW_MAX);
        srm_time at = 1000 * MS;
        for (uint64_t number = 0; number < 6; number++) { /* a round is two messages */
            CHECK_EQ(whole(&inbox, 0, number, 1000), SRM_INBOX_COMPLETE);
            srm_message *message = srm_inbox_take(&inbox);
            at += number == 3 ? 30 * MS - (late ? 0 : 1) : number == 5 ? 40 * MS : 0;
            srm_inbox_consumed(&inbox, message, at, 10 * MS);
            srm_message_free(message);
            (void)srm_inbox_max_data_announce(&inbox);
            CHECK_EQ(inbox.window, (number < 3 || late ? 4 : 8) * 1064);
        }
        finish(&inbox);
    }
}

/* Half a window consumed within 2 RTT and a turn doubles it; slower, it stays. */
TEST(the_window_grows_with_a_fast_application_alone) {
    for (int fast = 0; fast < 2; fast++) {
        srm_inbox inbox;
        srm_time now = 0;
        start(&inbox);
        for (uint64_t number = 0; number < 400; number++) {
            CHECK_EQ(whole(&inbox, 0, number, 10000), SRM_INBOX_COMPLETE);
            now += fast ? MS / 10 : 20 * MS;
            srm_message *message = srm_inbox_take(&inbox);
            srm_inbox_consumed(&inbox, message, now, 10 * MS);
            srm_message_free(message);
            CHECK(srm_inbox_max_data_announce(&inbox) <= inbox.consumed + WINDOW_MAX);
        }
        CHECK_EQ(inbox.window, fast ? WINDOW_MAX : WINDOW);
        finish(&inbox);
    }
}

TEST(a_window_larger_than_the_buffer_is_cut) {
    srm_inbox inbox;
    srm_inbox_init(&inbox, 100, 1 << 20, 164);
    CHECK_EQ(whole(&inbox, 0, 0, 100), SRM_INBOX_COMPLETE);
    CHECK_EQ(whole(&inbox, 0, 1, 0), SRM_INBOX_FLOW_CONTROL);
    take(&inbox, 0, 0, 100);
    CHECK_EQ(srm_inbox_max_data_announce(&inbox), 328);
    finish(&inbox);
}

/* ---- CONSUMED ---- */

static void check_consumed(srm_inbox *inbox, unsigned channel, uint64_t next) {
    uint8_t told_channel;
    uint64_t told;
    CHECK(srm_inbox_next_consumed(inbox, &told_channel, &told));
    CHECK_EQ(told_channel, channel);
    CHECK_EQ(told, next);
}

static void check_all_told(srm_inbox *inbox) {
    uint8_t channel;
    uint64_t next;
    CHECK(!srm_inbox_next_consumed(inbox, &channel, &next));
    CHECK_EQ(srm_inbox_consumed_since(inbox), SRM_TIME_NEVER);
}

/* [R38], [R40] */
TEST(consumption_is_told_once_and_again_when_that_was_lost) {
    static const uint8_t channels[] = {0, 63, 64, 127, 128, 255};
    srm_inbox inbox;
    start(&inbox);
    check_all_told(&inbox);
    for (size_t i = 0; i < SRM_COUNT_OF(channels); i++)
        for (uint64_t number = 0; number <= i; number++) {
            CHECK_EQ(whole(&inbox, channels[i], number, 1), SRM_INBOX_COMPLETE);
            CHECK_EQ(srm_inbox_consumed_since(&inbox), i == 0 ? SRM_TIME_NEVER : SRM_SECOND);
            take(&inbox, channels[i], number, 1);
        }
    for (size_t i = 0; i < SRM_COUNT_OF(channels); i++)
        check_consumed(&inbox, channels[i], i + 1);
    check_all_told(&inbox);
    srm_inbox_consumed_lost(&inbox, 127);
    srm_inbox_consumed_lost(&inbox, 9); /* such a channel never was */
    CHECK(srm_inbox_consumed_since(&inbox) <= SRM_SECOND);
    check_consumed(&inbox, 127, 4);
    check_all_told(&inbox);
    CHECK_EQ(whole(&inbox, 7, 1, 1), SRM_INBOX_TAKEN); /* nothing of it consumed: nothing to tell */
    srm_inbox_control_again(&inbox);
    for (size_t i = 0; i < SRM_COUNT_OF(channels); i++)
        check_consumed(&inbox, channels[i], i + 1);
    check_all_told(&inbox);
    srm_inbox_fini(&inbox);
}

/* ---- A new peer process ---- */

TEST(a_restart_forgets_what_was_not_given_and_ignores_what_was) {
    srm_inbox inbox;
    start(&inbox);
    CHECK_EQ(whole(&inbox, 5, 0, 10), SRM_INBOX_COMPLETE);
    srm_message *old = srm_inbox_take(&inbox);
    CHECK_EQ(whole(&inbox, 5, 1, 11), SRM_INBOX_COMPLETE);
    CHECK_EQ(whole(&inbox, 5, 3, 11), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 6, 0, 1), SRM_INBOX_COMPLETE);
    srm_message *told = inbox.ready->next;
    CHECK(told->channel == 6);
    srm_inbox_consumed(&inbox, told, SRM_SECOND,
                       MS); /* leaves something to tell that nobody wants any more */
    CHECK_EQ(piece(&inbox, 5, 4, 100, 20, 9000), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 5, 5, 30), SRM_INBOX_TAKEN);
    srm_inbox_restart(&inbox);
    CHECK(srm_inbox_take(&inbox) == NULL);
    CHECK(inbox.begun == 0 && inbox.consumed == 0 && inbox.granted == WINDOW);
    srm_inbox_consumed(&inbox, old, SRM_SECOND, MS);
    srm_message_free(old);
    CHECK_EQ(inbox.consumed, 0);
    CHECK_EQ(srm_inbox_consumed_since(&inbox), SRM_TIME_NEVER);
    check_all_told(&inbox);
    CHECK_EQ(whole(&inbox, 5, 0, 12), SRM_INBOX_COMPLETE);
    take(&inbox, 5, 0, 12);
    check_consumed(&inbox, 5, 1);
    finish(&inbox);
}

TEST(leaving_in_the_middle_leaks_nothing) {
    srm_inbox inbox;
    start(&inbox);
    for (unsigned channel = 0; channel < 256; channel += 5) {
        CHECK_EQ(piece(&inbox, (uint8_t)channel, 2, 50, 20, 100), SRM_INBOX_TAKEN);
        CHECK_EQ(whole(&inbox, (uint8_t)channel, 1, 10), SRM_INBOX_TAKEN);
        CHECK_EQ(whole(&inbox, (uint8_t)channel, 0, 10), SRM_INBOX_COMPLETE);
    }
    srm_inbox_fini(&inbox);
}

/* However far a session has come, the ring needs room for its gaps alone. */
TEST(memory_for_gaps_follows_their_width) {
    srm_inbox inbox;
    srm_inbox_init(&inbox, 100, WINDOW_MAX, WINDOW_MAX);
    for (uint64_t n = 0; n < 10000; n += 2) {
        CHECK_EQ(whole(&inbox, 0, n + 1, 1), SRM_INBOX_TAKEN);
        CHECK_EQ(whole(&inbox, 0, n, 1), SRM_INBOX_COMPLETE);
        take(&inbox, 0, n, 1);
        take(&inbox, 0, n + 1, 1);
        (void)srm_inbox_max_data_announce(&inbox);
        CHECK_EQ(inbox.channels[0]->capacity, 8);
    }
    finish(&inbox);
}

/* Many gaps once are no reason to hold the memory for ever: 256 channels may each have theirs in turn. */
TEST(memory_for_gaps_is_given_back) {
    srm_inbox inbox;
    srm_inbox_init(&inbox, 100, WINDOW_MAX, WINDOW_MAX);
    uint64_t many = WINDOW_MAX / SRM_MESSAGE_COST - 10;
    CHECK_EQ(whole(&inbox, 0, many, 0), SRM_INBOX_TAKEN);
    for (uint64_t n = 0; n < many; n++)
        CHECK_EQ(whole(&inbox, 0, n, 0), SRM_INBOX_COMPLETE);
    for (uint64_t n = 0; n <= many; n++)
        take(&inbox, 0, n, 0);
    CHECK(inbox.channels[0]->capacity <= 1024);
    srm_inbox_max_data_announce(&inbox);
    CHECK_EQ(whole(&inbox, 0, many + 2, 0), SRM_INBOX_TAKEN);
    CHECK_EQ(whole(&inbox, 0, many + 1, 5), SRM_INBOX_COMPLETE);
    take(&inbox, 0, many + 1, 5);
    take(&inbox, 0, many + 2, 0);
    finish(&inbox);
}

/* ---- Memory ---- */

/* Each piece with no allocation allowed, then one, then two: it counts as not come until it is taken whole.
 */
static srm_inbox_result insist(srm_inbox *inbox, uint64_t number, uint64_t offset) {
    for (int allowed = 0;; allowed++) {
        uint64_t begun = inbox->begun, duplicates = srm_inbox_duplicates(inbox);
        CHECK(allowed < 10);
        allocations_left = allowed + 1;
        srm_inbox_result result = piece(inbox, 200, number, offset, 100, 1000);
        allocations_left = -1;
        CHECK_EQ(srm_inbox_duplicates(inbox), duplicates);
        if (result != SRM_INBOX_NO_MEMORY)
            return result;
        CHECK_EQ(inbox->begun, begun);
        CHECK(srm_inbox_take(inbox) == NULL);
    }
}

TEST(without_memory_a_piece_counts_as_not_come) {
    srm_inbox inbox;
    start(&inbox);
    for (uint64_t number = 20; number-- > 0;) /* from the back, with gaps between the pieces */
        for (uint64_t i = 0; i < 10; i++) {
            srm_inbox_result result = insist(&inbox, number, (i * 7 + 3) % 10 * 100);
            CHECK_EQ(result, number == 0 && i == 9 ? SRM_INBOX_COMPLETE : SRM_INBOX_TAKEN);
        }
    for (uint64_t number = 0; number < 20; number++)
        take(&inbox, 200, number, 1000);
    no_memory = true;
    CHECK_EQ(whole(&inbox, 200, 20, 10), SRM_INBOX_NO_MEMORY);
    no_memory = false;
    CHECK_EQ(whole(&inbox, 200, 20, 10), SRM_INBOX_COMPLETE);
    take(&inbox, 200, 20, 10);
    finish(&inbox);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
