#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request. */
static bool no_memory;
static void *scarce_malloc(size_t size) {
    return no_memory ? NULL : malloc(size);
}
static void *scarce_calloc(size_t count, size_t size) {
    return no_memory ? NULL : calloc(count, size);
}
static void *scarce_realloc(void *memory, size_t size) {
    return no_memory ? NULL : realloc(memory, size);
}
#define malloc scarce_malloc
#define calloc scarce_calloc
#define realloc scarce_realloc
#include "outbox.c"
#undef malloc
#undef calloc
#undef realloc

#include "check.h"

#define PLENTY ((uint64_t)1 << 40)
#define MTU 1200

static srm_message *push(srm_outbox *outbox, uint32_t size, uint8_t channel) {
    srm_message *message = srm_message_new(size, channel, 0);
    CHECK(message != NULL);
    memset(message->data, (int)size, size);
    CHECK(srm_outbox_push(outbox, message));
    return message;
}

static void start(srm_outbox *outbox, uint64_t limit) {
    srm_outbox_init(outbox);
    srm_outbox_max_data(outbox, limit);
}

/* The next piece, sent, must be [offset, offset + length) of `message`. */
static void check_next(srm_outbox *outbox, const srm_message *message, uint32_t offset, uint32_t length) {
    srm_fragment fragment;
    CHECK(srm_outbox_ready(outbox));
    CHECK(srm_outbox_next(outbox, MTU, &fragment));
    CHECK(fragment.message == message);
    CHECK_EQ(fragment.offset, offset);
    CHECK_EQ(fragment.length, length);
    CHECK_EQ(fragment.whole, offset == 0 && length == message->size);
    CHECK(srm_msg_frame_overhead(&fragment) + fragment.length <= MTU);
    srm_outbox_sent(outbox, &fragment);
}

static void check_nothing(srm_outbox *outbox) {
    srm_fragment fragment;
    CHECK(!srm_outbox_ready(outbox));
    CHECK(!srm_outbox_next(outbox, 65000, &fragment));
}

static void consume(srm_outbox *outbox, uint8_t channel, uint64_t next, uint64_t expected) {
    srm_message *list;
    CHECK(srm_outbox_consumed(outbox, channel, next, &list));
    for (; expected > 0; expected--) {
        CHECK(list != NULL && list->channel == channel && list->ranges == NULL);
        srm_message *following = list->next;
        srm_message_free(list);
        list = following;
    }
    CHECK(list == NULL);
}

static void send_everything(srm_outbox *outbox) {
    for (srm_fragment fragment; srm_outbox_next(outbox, MTU, &fragment);)
        srm_outbox_sent(outbox, &fragment);
}

/* ---- Order ---- */

TEST(lower_channels_go_first_and_lost_pieces_before_new_ones) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    srm_message *late = push(&outbox, 10, 255), *a = push(&outbox, 20, 64), *b = push(&outbox, 30, 64);
    check_next(&outbox, a, 0, 20);
    srm_message *first = push(&outbox, 40, 0);
    check_next(&outbox, first, 0, 40);
    srm_outbox_lost(&outbox, 64, 0, 0, 20);
    check_next(&outbox, a, 0, 20);
    check_next(&outbox, b, 0, 30);
    check_next(&outbox, late, 0, 10);
    check_nothing(&outbox);
    CHECK_EQ(late->number, 0);
    CHECK_EQ(b->number, 1);
    CHECK_EQ(srm_outbox_cost(&outbox), 10 + 20 + 30 + 40 + 4 * SRM_MESSAGE_COST);
    CHECK_EQ(srm_outbox_count(&outbox), 4);
    srm_outbox_fini(&outbox);
}

TEST(messages_are_cut_to_the_room_but_small_ones_wait) {
    srm_outbox outbox;
    srm_fragment fragment;
    start(&outbox, PLENTY);
    srm_message *small = push(&outbox, SRM_FRAGMENT_WHOLE - 1, 1);
    CHECK(!srm_outbox_next(&outbox, SRM_FRAGMENT_WHOLE - 1, &fragment)); /* its header would not fit */
    CHECK(srm_outbox_ready(&outbox));
    check_next(&outbox, small, 0, SRM_FRAGMENT_WHOLE - 1);
    srm_message *large = push(&outbox, SRM_FRAGMENT_WHOLE, 1);
    CHECK(!srm_outbox_next(&outbox, SRM_FRAGMENT_MIN, &fragment));
    CHECK(srm_outbox_next(&outbox, SRM_FRAGMENT_MIN + 8, &fragment));
    CHECK(fragment.message == large && !fragment.whole && fragment.length >= SRM_FRAGMENT_MIN);
    CHECK(srm_msg_frame_overhead(&fragment) + fragment.length <= SRM_FRAGMENT_MIN + 8);
    srm_outbox_sent(&outbox, &fragment);
    check_next(&outbox, large, fragment.length, SRM_FRAGMENT_WHOLE - fragment.length);
    check_nothing(&outbox);
    srm_outbox_fini(&outbox);
}

TEST(a_large_message_lets_a_small_one_of_a_higher_channel_fill_the_packet) {
    srm_outbox outbox;
    srm_fragment fragment;
    start(&outbox, PLENTY);
    push(&outbox, 5000, 0);
    srm_message *small = push(&outbox, 50, 1);
    CHECK(srm_outbox_next(&outbox, 200, &fragment));
    CHECK(fragment.message == small && fragment.whole);
    srm_outbox_fini(&outbox);
}

TEST(empty_messages_travel_are_lost_and_travel_again) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    srm_message *empty = push(&outbox, 0, 3), *second = push(&outbox, 0, 3);
    check_next(&outbox, empty, 0, 0);
    check_next(&outbox, second, 0, 0);
    CHECK(srm_outbox_unacked(&outbox));
    srm_outbox_lost(&outbox, 3, 0, 0, 0);
    check_next(&outbox, empty, 0, 0);
    check_nothing(&outbox);
    srm_outbox_acked(&outbox, 3, 1, 0, 0);
    CHECK(srm_outbox_unacked(&outbox));
    CHECK(srm_outbox_probe(&outbox));
    check_next(&outbox, empty, 0, 0);
    srm_outbox_acked(&outbox, 3, 0, 0, 0);
    srm_outbox_lost(&outbox, 3, 0, 0, 0); /* too late to matter */
    check_nothing(&outbox);
    CHECK(!srm_outbox_unacked(&outbox) && !srm_outbox_empty(&outbox));
    consume(&outbox, 3, 2, 2);
    CHECK(srm_outbox_empty(&outbox) && srm_outbox_cost(&outbox) == 0);
    srm_outbox_fini(&outbox);
}

TEST(what_fits_exactly_is_not_cut) {
    srm_outbox outbox;
    srm_fragment fragment;
    start(&outbox, PLENTY);
    push(&outbox, 1000, 0);
    CHECK(srm_outbox_next(&outbox, 1 + 1 + 2 + 1000, &fragment) && fragment.whole);
    CHECK(srm_outbox_next(&outbox, 1 + 1 + 2 + 999, &fragment) && !fragment.whole);
    CHECK_EQ(fragment.length, 1003 - (1 + 1 + 2 + 1 + 2));
    srm_outbox_fini(&outbox);
}

/* However many messages pass, the ring needs room for those that wait alone. */
TEST(a_queue_that_moves_keeps_its_memory_bounded) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    for (uint64_t i = 0; i < 20000; i++) {
        push(&outbox, 1, 9);
        send_everything(&outbox);
        srm_outbox_lost(&outbox, 9, i, 0, 1);
        send_everything(&outbox);
        if (i >= 3)
            consume(&outbox, 9, i - 2, 1);
    }
    CHECK(outbox.channels[0]->capacity <= 8 && outbox.channels[0]->lost_capacity <= 8);
    srm_outbox_fini(&outbox);
}

/* ---- Acknowledgement and loss ---- */

TEST(many_losses_are_repaired_in_the_order_they_were_noticed) {
    srm_outbox outbox;
    srm_message *messages[100];
    start(&outbox, PLENTY);
    for (uint32_t i = 0; i < 100; i++)
        messages[i] = push(&outbox, 300 + i, 0);
    send_everything(&outbox);
    for (uint32_t i = 100; i-- > 0;) {
        srm_outbox_lost(&outbox, 0, i, 0, 300 + i);
        if (i == 97) /* so that the ring of losses does not begin at its start when it grows */
            check_next(&outbox, messages[99], 0, 399);
    }
    for (uint32_t i = 99; i-- > 0;)
        check_next(&outbox, messages[i], 0, 300 + i);
    check_nothing(&outbox);
    srm_outbox_fini(&outbox);
}

TEST(a_message_under_way_is_found_and_no_other) {
    srm_outbox outbox;
    start(&outbox, 3 * (100 + SRM_MESSAGE_COST));
    srm_message *first = push(&outbox, 100, 7), *second = push(&outbox, 100, 7);
    CHECK(srm_outbox_find(&outbox, 7, 0) == NULL); /* not sent yet: it has no credit */
    send_everything(&outbox);
    CHECK(srm_outbox_find(&outbox, 7, 0) == first && srm_outbox_find(&outbox, 7, 1) == second);
    CHECK(srm_outbox_find(&outbox, 7, 2) == NULL && srm_outbox_find(&outbox, 8, 0) == NULL);
    srm_outbox_acked(&outbox, 7, 1, 0, 100);
    CHECK(srm_outbox_find(&outbox, 7, 1) == NULL);
    consume(&outbox, 7, 1, 1);
    CHECK(srm_outbox_find(&outbox, 7, 0) == NULL);
    srm_message *third = push(&outbox, 100, 7);
    send_everything(&outbox);
    CHECK(srm_outbox_find(&outbox, 7, 2) == third);
    srm_outbox_relink(&outbox);
    CHECK(srm_outbox_find(&outbox, 7, 2) == NULL);
    srm_outbox_fini(&outbox);
}

TEST(only_what_was_not_acknowledged_goes_again) {
    srm_outbox outbox;
    srm_fragment fragment;
    start(&outbox, PLENTY);
    srm_message *message = push(&outbox, 10000, 0);
    send_everything(&outbox);
    srm_outbox_acked(&outbox, 0, 0, 0, 3000);
    srm_outbox_lost(&outbox, 0, 0, 2000, 1500); /* another copy of its front has arrived */
    check_next(&outbox, message, 3000, 500);
    srm_outbox_lost(&outbox, 0, 0, 1000, 2000); /* came with the copy */
    check_nothing(&outbox);
    srm_outbox_lost(&outbox, 0, 0, 4000, 3000);
    CHECK(srm_outbox_next(&outbox, 700, &fragment) && fragment.offset == 4000 && fragment.length < 700);
    srm_outbox_sent(&outbox, &fragment);
    srm_outbox_acked(&outbox, 0, 0, 4000, 1000);
    CHECK(srm_outbox_next(&outbox, MTU, &fragment) && fragment.offset == 5000);
    srm_outbox_acked(&outbox, 0, 0, 3000, 7000);
    check_nothing(&outbox); /* the rest of the lost piece is there too */
    CHECK(!srm_outbox_unacked(&outbox));
    srm_outbox_fini(&outbox);
}

TEST(news_of_what_is_gone_is_ignored) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    push(&outbox, 100, 0);
    push(&outbox, 100, 0);
    send_everything(&outbox);
    consume(&outbox, 0, 1, 1);
    srm_outbox_acked(&outbox, 0, 0, 0, 100);
    srm_outbox_lost(&outbox, 0, 0, 0, 100);
    srm_outbox_acked(&outbox, 9, 0, 0, 100); /* such a channel never was */
    srm_outbox_lost(&outbox, 9, 0, 0, 100);
    srm_outbox_acked(&outbox, 0, 2, 0, 100);
    check_nothing(&outbox);
    CHECK(srm_outbox_unacked(&outbox));
    srm_outbox_acked(&outbox, 0, 1, 0, 100);
    srm_outbox_acked(&outbox, 0, 1, 0, 100);
    CHECK(!srm_outbox_unacked(&outbox));
    srm_outbox_fini(&outbox);
}

TEST(a_probe_repeats_the_oldest_if_nothing_else_waits) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    CHECK(!srm_outbox_probe(&outbox));
    srm_message *first = push(&outbox, 2000, 5), *second = push(&outbox, 300, 5);
    CHECK(srm_outbox_probe(&outbox)); /* something new is as good */
    srm_fragment fragment;
    CHECK(srm_outbox_next(&outbox, MTU, &fragment) && fragment.offset == 0 && !fragment.again);
    send_everything(&outbox);
    srm_outbox_acked(&outbox, 5, 0, 0, 700);
    CHECK(srm_outbox_probe(&outbox) && srm_outbox_probe(&outbox));
    check_next(&outbox, first, 700, 1191);
    check_next(&outbox, first, 1891, 109);
    check_nothing(&outbox);
    srm_outbox_acked(&outbox, 5, 0, 700, 1300);
    CHECK(srm_outbox_probe(&outbox));
    check_next(&outbox, second, 0, 300);
    srm_outbox_acked(&outbox, 5, 1, 0, 300);
    CHECK(!srm_outbox_probe(&outbox));
    srm_outbox_fini(&outbox);
}

/* A message that waits for credit is not under way: it cannot be probed with. */
TEST(a_probe_passes_over_what_was_never_sent) {
    srm_outbox outbox;
    start(&outbox, 2 * (100 + SRM_MESSAGE_COST));
    push(&outbox, 1000, 0);
    srm_message *sent = push(&outbox, 100, 1);
    send_everything(&outbox);
    CHECK(srm_outbox_probe(&outbox));
    check_next(&outbox, sent, 0, 100);
    srm_outbox_acked(&outbox, 1, 0, 0, 100);
    CHECK(!srm_outbox_probe(&outbox));
    srm_outbox_fini(&outbox);
}

/* ---- Credit ---- */

TEST(a_message_begins_only_when_all_of_it_has_credit) {
    srm_outbox outbox;
    uint64_t need = 0;
    srm_outbox_init(&outbox);
    CHECK(!srm_outbox_blocked(&outbox, &need));
    srm_message *message = push(&outbox, 5000, 0);
    CHECK(srm_outbox_blocked(&outbox, &need));
    CHECK_EQ(need, 5000 + SRM_MESSAGE_COST);
    check_nothing(&outbox);
    srm_outbox_max_data(&outbox, need - 1);
    check_nothing(&outbox);
    srm_outbox_max_data(&outbox, need);
    srm_outbox_max_data(&outbox, 1); /* a limit never falls */
    CHECK(!srm_outbox_blocked(&outbox, &need));
    check_next(&outbox, message, 0, 1193);
    srm_message *small = push(&outbox, 0, 1);
    CHECK(srm_outbox_blocked(&outbox, &need));
    CHECK_EQ(need, 5000 + 2 * SRM_MESSAGE_COST);
    send_everything(&outbox); /* what was begun ends */
    CHECK_EQ(message->done, 5000);
    srm_outbox_max_data(&outbox, need);
    check_next(&outbox, small, 0, 0);
    consume(&outbox, 0, 1, 1);
    push(&outbox, 0, 0);
    CHECK(srm_outbox_blocked(&outbox, &need)); /* consumption alone gives no credit: MAX_DATA does */
    CHECK_EQ(need, 5000 + 3 * SRM_MESSAGE_COST);
    srm_outbox_fini(&outbox);
}

TEST(a_channel_without_credit_holds_up_no_other) {
    srm_outbox outbox;
    uint64_t need = 0;
    start(&outbox, 1000);
    push(&outbox, 5000, 0);
    srm_message *behind = push(&outbox, 10, 0), *beside = push(&outbox, 10, 1);
    check_next(&outbox, beside, 0, 10);
    check_nothing(&outbox); /* but the order within its channel holds */
    CHECK(srm_outbox_blocked(&outbox, &need));
    CHECK_EQ(need, 10 + 5000 + 2 * SRM_MESSAGE_COST);
    CHECK_EQ(behind->number, 1);
    srm_outbox_fini(&outbox);
    start(&outbox, 0);
    push(&outbox, 5, 200); /* whatever channel it is that waits */
    CHECK(srm_outbox_blocked(&outbox, &need) && need == 5 + SRM_MESSAGE_COST);
    srm_outbox_fini(&outbox);
}

/* Small messages of a higher channel use what credit there is, at first; then the large one gets its turn. */
TEST(a_channel_without_credit_is_not_starved) {
    enum { SIZE = 5000 - SRM_MESSAGE_COST };
    srm_outbox outbox;
    srm_fragment fragment;
    uint64_t need;
    start(&outbox, 0);
    for (int i = 0; i < 300; i++)
        push(&outbox, 36, 4); /* costs 100 */
    for (int large = 0; large < 3; large++) {
        srm_message *waits = push(&outbox, SIZE, 3);
        uint64_t passed = 0;
        for (int round = 0; round < 100; round++) {
            srm_outbox_max_data(&outbox, outbox.reserved + 1000); /* never enough while others take it */
            for (; srm_outbox_next(&outbox, MTU, &fragment); passed += 100) {
                CHECK(fragment.message->channel == 4);
                srm_outbox_sent(&outbox, &fragment);
            }
            CHECK(!srm_outbox_ready(&outbox) && srm_outbox_blocked(&outbox, &need));
            CHECK_EQ(need, outbox.reserved + 5000); /* the peer is told what would help */
        }
        CHECK_EQ(passed, 5000);
        srm_message *urgent = push(&outbox, 36, 2); /* a lower channel waits for nobody */
        check_next(&outbox, urgent, 0, 36);
        srm_outbox_max_data(&outbox, outbox.reserved + 5000);
        check_next(&outbox, waits, 0, 1192);
        while (waits->done < SIZE) {
            CHECK(srm_outbox_next(&outbox, MTU, &fragment) && fragment.message == waits);
            srm_outbox_sent(&outbox, &fragment);
        }
    }
    srm_outbox_max_data(&outbox, outbox.reserved + 100);
    CHECK(srm_outbox_next(&outbox, MTU, &fragment) && fragment.message->channel == 4);
    srm_outbox_fini(&outbox);
}

/* Who is held up for another's sake goes on when that one is gone, and repairs what was lost meanwhile. */
TEST(holding_up_ends_with_its_reason) {
    srm_outbox outbox;
    srm_message *held = NULL;
    uint64_t resent, unknown;
    start(&outbox, 1000);
    push(&outbox, 950, 0);
    for (int i = 0; i < 9; i++)
        push(&outbox, 200, 1);
    send_everything(&outbox);
    CHECK_EQ(outbox.reserved, 3 * (200 + SRM_MESSAGE_COST));
    srm_outbox_max_data(&outbox,
                        outbox.reserved + 1000); /* room for three more, or for two and then it waits */
    send_everything(&outbox);
    CHECK_EQ(outbox.reserved, 4 * (200 + SRM_MESSAGE_COST));
    check_nothing(&outbox);
    srm_outbox_lost(&outbox, 1, 0, 0, 200);
    held = *slot(find_channel(&outbox, 1), 0);
    check_next(&outbox, held, 0, 200);
    check_nothing(&outbox);
    srm_outbox_relink(&outbox); /* what was begun goes on, over any link */
    send_everything(&outbox);
    CHECK_EQ(outbox.reserved, 4 * (200 + SRM_MESSAGE_COST));
    srm_outbox_restart(&outbox, &resent, &unknown);
    srm_outbox_max_data(&outbox, 900);
    send_everything(&outbox); /* and begins anew with another peer */
    CHECK_EQ(outbox.reserved, 3 * (200 + SRM_MESSAGE_COST));
    srm_outbox_fini(&outbox);
}

TEST(credit_at_the_end_of_numbers_does_not_wrap) {
    srm_outbox outbox;
    start(&outbox, UINT64_MAX);
    srm_message *message = push(&outbox, 100, 0);
    check_next(&outbox, message, 0, 100);
    srm_outbox_fini(&outbox);
}

/* ---- Consumption ---- */

TEST(only_what_was_sent_can_have_been_consumed) {
    srm_outbox outbox;
    srm_message *list;
    srm_fragment fragment;
    start(&outbox, PLENTY);
    CHECK(!srm_outbox_consumed(&outbox, 0, 1, &list));
    CHECK(srm_outbox_consumed(&outbox, 0, 0, &list) && list == NULL); /* says nothing, and that is true */
    push(&outbox, 100, 0);
    push(&outbox, 5000, 0);
    CHECK(!srm_outbox_consumed(&outbox, 0, 1, &list) && list == NULL);
    CHECK(srm_outbox_next(&outbox, MTU, &fragment) && fragment.whole);
    srm_outbox_sent(&outbox, &fragment);
    CHECK(srm_outbox_next(&outbox, MTU, &fragment) && !fragment.whole);
    srm_outbox_sent(&outbox, &fragment);
    CHECK(!srm_outbox_consumed(&outbox, 0, 2, &list) && list == NULL); /* sent in part */
    CHECK(!srm_outbox_consumed(&outbox, 0, UINT64_MAX, &list) && list == NULL);
    CHECK(!srm_outbox_consumed(&outbox, 1, 1, &list) && list == NULL);
    CHECK_EQ(srm_outbox_count(&outbox), 2);
    consume(&outbox, 0, 1, 1); /* no acknowledgement is needed first */
    consume(&outbox, 0, 1, 0); /* old news */
    consume(&outbox, 0, 0, 0);
    CHECK_EQ(srm_outbox_cost(&outbox), 5000 + SRM_MESSAGE_COST);
    send_everything(&outbox);
    consume(&outbox, 0, 2, 1);
    CHECK(srm_outbox_empty(&outbox) && !srm_outbox_unacked(&outbox));
    srm_outbox_fini(&outbox);
}

TEST(an_acknowledged_message_is_kept_until_consumed) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    srm_message *message = push(&outbox, 10, 0);
    send_everything(&outbox);
    srm_outbox_acked(&outbox, 0, 0, 0, 10);
    CHECK(!srm_outbox_empty(&outbox) && !srm_outbox_unacked(&outbox));
    srm_outbox_relink(&outbox);
    check_nothing(&outbox); /* the peer has it, also on a new link */
    uint64_t resent, unknown;
    srm_outbox_restart(&outbox, &resent, &unknown);
    srm_outbox_max_data(&outbox, PLENTY);
    check_next(&outbox, message, 0, 10); /* a new process doesn't */
    srm_outbox_fini(&outbox);
}

/* ---- Links and sessions ---- */

/* [R40] */
TEST(a_new_link_sends_what_was_not_acknowledged) {
    srm_outbox outbox;
    start(&outbox, 100000);
    srm_message *acked = push(&outbox, 100, 0), *partly = push(&outbox, 3000, 0),
                *lost = push(&outbox, 50, 0);
    srm_message *other = push(&outbox, 60, 2);
    send_everything(&outbox);
    srm_outbox_acked(&outbox, 0, 0, 0, 100);
    srm_outbox_acked(&outbox, 0, 1, 1000, 500);
    srm_outbox_lost(&outbox, 0, 2, 0, 50);
    srm_outbox_relink(&outbox);
    CHECK(!srm_outbox_unacked(&outbox));
    check_next(&outbox, partly, 0, 1000);
    check_next(&outbox, partly, 1500, 1192);
    check_next(&outbox, partly, 2692, 308);
    check_next(&outbox, lost, 0, 50);
    check_next(&outbox, other, 0, 60);
    check_nothing(&outbox);
    CHECK_EQ(outbox.reserved, 100 + 3000 + 50 + 60 + 4 * SRM_MESSAGE_COST); /* reserved once */
    CHECK(acked->done == 0 || acked->done == 100);
    srm_outbox_fini(&outbox);
}

TEST(what_was_consumed_over_the_old_link_does_not_go_over_the_new) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    push(&outbox, 100, 0);
    srm_message *second = push(&outbox, 100, 0);
    send_everything(&outbox);
    srm_outbox_relink(&outbox);
    consume(&outbox, 0, 1, 1);
    check_next(&outbox, second, 0, 100);
    srm_outbox_relink(&outbox);
    consume(&outbox, 0, 2, 1);
    check_nothing(&outbox);
    srm_outbox_fini(&outbox);
}

/* [R41] */
TEST(a_new_peer_process_gets_all_that_was_not_consumed_numbered_anew) {
    srm_outbox outbox;
    srm_fragment fragment;
    uint64_t resent, unknown, need;
    start(&outbox, 100000);
    for (int i = 0; i < 5; i++)
        push(&outbox, 10, 0);
    send_everything(&outbox);
    consume(&outbox, 0, 3, 3);
    srm_message *whole = *slot(find_channel(&outbox, 0), 3);
    srm_message *partly = push(&outbox, 3000, 4), *never = push(&outbox, 7, 4);
    CHECK(srm_outbox_next(&outbox, MTU, &fragment) && fragment.message == partly);
    srm_outbox_sent(&outbox, &fragment);
    srm_outbox_acked(&outbox, 4, 0, 0, fragment.length);
    srm_outbox_restart(&outbox, &resent, &unknown);
    CHECK_EQ(resent, 3);
    CHECK_EQ(unknown, 2);
    CHECK(!srm_outbox_unacked(&outbox) && outbox.reserved == 0);
    CHECK(srm_outbox_blocked(&outbox, &need)); /* the new process has granted nothing yet */
    CHECK_EQ(need, 10 + SRM_MESSAGE_COST);
    srm_outbox_max_data(&outbox, 50000);
    check_next(&outbox, whole, 0, 10);
    CHECK(whole->number == 0 && (whole->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0);
    send_everything(&outbox);
    CHECK(partly->number == 0 && never->number == 1);
    CHECK((partly->flags & SRM_MESSAGE_MAYBE_DUPLICATE) == 0); /* nobody can have consumed a part */
    CHECK((never->flags & SRM_MESSAGE_MAYBE_DUPLICATE) == 0);
    CHECK(partly->done == 3000 && partly->ranges == NULL);
    consume(&outbox, 0, 2, 2);
    srm_outbox_restart(&outbox, &resent, &unknown);
    CHECK(resent == 2 && unknown == 2 && (never->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0);
    srm_outbox_fini(&outbox);
}

TEST(messages_too_large_for_the_peer_are_taken_out) {
    srm_outbox outbox;
    srm_outbox_init(&outbox);
    srm_message *a = push(&outbox, 100, 0), *b = push(&outbox, 101, 0), *c = push(&outbox, 5, 0);
    srm_message *d = push(&outbox, 5000, 1);
    srm_message *list = srm_outbox_take_larger(&outbox, 100);
    CHECK(list == b && b->next == d && d->next == NULL);
    srm_message_free(b);
    srm_message_free(d);
    CHECK(srm_outbox_count(&outbox) == 2 && srm_outbox_cost(&outbox) == 105 + 2 * SRM_MESSAGE_COST);
    srm_outbox_max_data(&outbox, PLENTY);
    check_next(&outbox, a, 0, 100);
    check_next(&outbox, c, 0, 5);
    check_nothing(&outbox);
    CHECK(c->number == 1);
    srm_outbox_fini(&outbox);
}

TEST(everything_is_given_back_in_order) {
    static const uint8_t channels[] = {7, 0, 7, 255, 0};
    static const uint32_t order[] = {1, 4, 0, 2, 3}; /* sizes: when each was pushed */
    srm_outbox outbox;
    start(&outbox, 300);
    for (uint32_t i = 0; i < 5; i++)
        push(&outbox, i, channels[i]);
    send_everything(&outbox);
    srm_outbox_lost(&outbox, 0, 0, 0, 1);
    srm_message *list = srm_outbox_take_all(&outbox);
    for (size_t i = 0; i < 5; i++) {
        CHECK(list != NULL && list->size == order[i]);
        srm_message *following = list->next;
        srm_message_free(list);
        list = following;
    }
    CHECK(list == NULL && srm_outbox_empty(&outbox) && srm_outbox_cost(&outbox) == 0);
    CHECK(!srm_outbox_unacked(&outbox));
    check_nothing(&outbox);
    CHECK(srm_outbox_take_all(&outbox) == NULL && !srm_outbox_probe(&outbox));
    srm_outbox_fini(&outbox);
}

/* ---- Memory ---- */

TEST(without_memory_a_message_stays_the_callers) {
    srm_outbox outbox;
    start(&outbox, PLENTY);
    srm_message *message = srm_message_new(1, 0, 0);
    CHECK(message != NULL);
    no_memory = true;
    CHECK(!srm_outbox_push(&outbox, message));
    no_memory = false;
    CHECK(srm_outbox_empty(&outbox) && srm_outbox_cost(&outbox) == 0);
    check_nothing(&outbox);
    CHECK(srm_outbox_push(&outbox, message));
    no_memory = true;
    uint32_t pushed = 1;
    srm_message *refused;
    while ((refused = srm_message_new(1, 0, 0)) != NULL && srm_outbox_push(&outbox, refused))
        pushed++;
    CHECK(refused != NULL);
    srm_message_free(refused);
    no_memory = false;
    CHECK_EQ(srm_outbox_count(&outbox), pushed);
    CHECK_EQ(srm_outbox_cost(&outbox), pushed * (1 + SRM_MESSAGE_COST));
    send_everything(&outbox);
    consume(&outbox, 0, pushed, pushed);
    srm_outbox_fini(&outbox);
}

/* No memory to note a loss or an acknowledgement: more may go again than needed, but nothing is forgotten. */
TEST(without_memory_losses_are_repaired_all_the_same) {
    for (int round = 0; round < 2; round++) {
        srm_outbox outbox;
        uint8_t seen[4][5000] = {{0}};
        start(&outbox, PLENTY);
        for (uint32_t i = 0; i < 4; i++)
            push(&outbox, i == 3 ? 0 : 5000, 0);
        send_everything(&outbox);
        no_memory = true;
        srm_outbox_acked(&outbox, 0, 1, 0, 1000);
        if (round == 1)
            srm_outbox_acked(&outbox, 0, 2, 0, 5000);
        srm_outbox_lost(&outbox, 0, 1, 1000, 2000);
        srm_outbox_lost(&outbox, 0, 3, 0, 0);
        srm_outbox_lost(&outbox, 0, 0, 4000, 1000);
        CHECK(srm_outbox_ready(&outbox));
        bool empty_again = false;
        for (srm_fragment f; srm_outbox_next(&outbox, MTU, &f); srm_outbox_sent(&outbox, &f)) {
            CHECK(f.length > 0 || f.message->size == 0); /* an empty piece would be malformed */
            memset(seen[f.message->number] + f.offset, 1, f.length);
            empty_again |= f.message->number == 3;
        }
        no_memory = false;
        CHECK(empty_again);
        for (uint32_t i = 0; i < 1000; i++)
            CHECK(seen[0][4000 + i] && seen[1][1000 + i] && seen[1][2000 + i]);
        CHECK(round == 0 || !seen[2][0]);
        for (uint32_t i = 0; i < 4; i++)
            srm_outbox_acked(&outbox, 0, i, 0, i == 3 ? 0 : 5000);
        CHECK(!srm_outbox_unacked(&outbox));
        consume(&outbox, 0, 4, 4);
        srm_outbox_fini(&outbox);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
