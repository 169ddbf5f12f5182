#include "mailbox.h"

/* No node has the mailbox' own address. */
static srm_message *asleep(srm_mailbox *mailbox) {
    return (srm_message *)(void *)mailbox;
}

void srm_mailbox_init(srm_mailbox *mailbox) {
    atomic_init(&mailbox->newest, NULL);
}

/* Puts newest -> ... -> oldest in front of what waits.
 *
 * Success releases the nodes to the reader's acquire; a chain of pushes by several writers is one release
 * sequence, so taking the newest gives the older ones too. It also acquires: finding ASLEEP comes after what
 * the reader did before it went to sleep (it emptied the descriptor that the wake will fill). A failed try
 * read nothing it uses but the pointer itself. */
static bool push(srm_mailbox *mailbox, srm_message *newest, srm_message *oldest) {
    srm_message *before = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do
        oldest->next = before == asleep(mailbox) ? NULL : before;
    while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &before, newest, memory_order_acq_rel,
                                                  memory_order_relaxed));
    return before == asleep(mailbox);
}

bool srm_mailbox_push(srm_mailbox *mailbox, srm_message *node) {
    return push(mailbox, node, node);
}

static srm_message *reversed(srm_message *node) {
    srm_message *front = NULL;
    for (srm_message *next; node != NULL; node = next) {
        next = node->next;
        node->next = front;
        front = node;
    }
    return front;
}

bool srm_mailbox_push_all(srm_mailbox *mailbox, srm_message *oldest) {
    return push(mailbox, reversed(oldest), oldest);
}

srm_message *srm_mailbox_take(srm_mailbox *mailbox) {
    /* Acquires what the pushes released. */
    srm_message *newest = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    return newest == asleep(mailbox) ? NULL : reversed(newest);
}

bool srm_mailbox_sleep(srm_mailbox *mailbox) {
    srm_message *nothing = NULL;
    /* Releases what the reader did before to the push that will find ASLEEP. */
    return atomic_compare_exchange_strong_explicit(&mailbox->newest, &nothing, asleep(mailbox),
                                                   memory_order_release, memory_order_relaxed);
}

bool srm_mailbox_is_asleep(srm_mailbox *mailbox) {
    /* The reader's own word, which nobody puts back once it is gone. */
    return atomic_load_explicit(&mailbox->newest, memory_order_relaxed) == asleep(mailbox);
}

void srm_mailbox_awake(srm_mailbox *mailbox) {
    srm_message *expected = asleep(mailbox);
    /* Passes nothing on: it only takes back the wish to be woken. */
    (void)atomic_compare_exchange_strong_explicit(&mailbox->newest, &expected, NULL, memory_order_relaxed,
                                                  memory_order_relaxed);
}
