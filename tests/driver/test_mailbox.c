#include "mailbox.h"

#include <pthread.h>

#include "check.h"

static srm_message *node(uint64_t number) {
    srm_message *message = srm_message_new(0, 0, 0);
    message->number = number;
    return message;
}

TEST(nodes_come_out_in_the_order_they_went_in) {
    srm_mailbox mailbox;
    srm_mailbox_init(&mailbox);
    CHECK(srm_mailbox_take(&mailbox) == NULL);
    for (uint64_t i = 0; i < 10; i++)
        CHECK(!srm_mailbox_push(&mailbox, node(i)));
    uint64_t expected = 0;
    for (srm_message *next, *at = srm_mailbox_take(&mailbox); at != NULL; at = next, expected++) {
        next = at->next;
        CHECK_EQ(at->number, expected);
        srm_message_free(at);
    }
    CHECK_EQ(expected, 10);
    CHECK(srm_mailbox_take(&mailbox) == NULL);
}

TEST(a_chain_is_as_its_nodes_one_by_one) {
    srm_mailbox mailbox;
    srm_message *nodes[5];
    srm_mailbox_init(&mailbox);
    for (uint64_t i = 0; i < 5; i++)
        nodes[i] = node(i);
    srm_mailbox_push(&mailbox, nodes[0]);
    for (int i = 1; i < 4; i++)
        nodes[i]->next = i < 3 ? nodes[i + 1] : NULL;
    CHECK(!srm_mailbox_push_all(&mailbox, nodes[1]));
    srm_mailbox_push(&mailbox, nodes[4]);
    srm_message *at = srm_mailbox_take(&mailbox);
    for (int i = 0; i < 5; i++, at = at->next)
        CHECK(at == nodes[i]);
    CHECK(at == NULL);
    for (int i = 0; i < 5; i++)
        srm_message_free(nodes[i]);
}

TEST(a_wake_is_due_once_for_all_that_comes_while_the_reader_sleeps) {
    srm_mailbox mailbox;
    srm_mailbox_init(&mailbox);
    CHECK(srm_mailbox_sleep(&mailbox));
    CHECK(srm_mailbox_push(&mailbox, node(0)));
    CHECK(!srm_mailbox_push(&mailbox, node(1)));
    CHECK(!srm_mailbox_sleep(&mailbox)); /* something waits */
    srm_message *list = srm_mailbox_take(&mailbox);
    CHECK_EQ(list->number, 0);
    CHECK_EQ(list->next->number, 1);
    srm_message_free(list->next);
    srm_message_free(list);
    CHECK(srm_mailbox_sleep(&mailbox));
    CHECK(srm_mailbox_take(&mailbox) == NULL); /* taking wakes */
    CHECK(srm_mailbox_sleep(&mailbox));
    srm_mailbox_awake(&mailbox);
    srm_message *last = node(2);
    CHECK(!srm_mailbox_push(&mailbox, last));
    srm_mailbox_awake(&mailbox); /* changes nothing */
    CHECK(srm_mailbox_take(&mailbox) == last);
    srm_message_free(last);
}

/* ---- Threads: writers push, the reader sleeps whenever it found nothing, and no node may be missed. ---- */

#define WRITERS 3
#define EACH 100000

static srm_mailbox shared;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static unsigned wakes;

static void wake(void) {
    pthread_mutex_lock(&mutex);
    wakes++;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
}

static void *write_nodes(void *writer) {
    for (uint64_t i = 0; i < EACH; i++) {
        srm_message *message = node(i);
        message->owner = writer;
        if (srm_mailbox_push(&shared, message))
            wake();
    }
    return NULL;
}

static void wait_for_wake(unsigned seen) {
    pthread_mutex_lock(&mutex);
    while (wakes == seen)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
}

TEST(no_node_and_no_wake_is_lost_between_threads) {
    pthread_t threads[WRITERS];
    uint64_t next_of[WRITERS] = {0};
    unsigned seen = 0;
    srm_mailbox_init(&shared);
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, write_nodes, &next_of[i]), 0);
    for (uint64_t got = 0; got < (uint64_t)WRITERS * EACH;) {
        for (srm_message *next, *at = srm_mailbox_take(&shared); at != NULL; at = next, got++) {
            next = at->next;
            uint64_t *expected = at->owner;
            CHECK_EQ(at->number, *expected);
            ++*expected;
            srm_message_free(at);
        }
        if (got < (uint64_t)WRITERS * EACH && srm_mailbox_sleep(&shared))
            wait_for_wake(seen++);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
