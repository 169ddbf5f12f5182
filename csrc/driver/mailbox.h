/* mailbox - a queue of srm_message nodes from any threads to one reader, without a lock.
 *
 * All of it is one word, the newest node; each node links the one before it:
 *
 *     empty, reader awake     NULL
 *     empty, reader asleep    ASLEEP                    the next push says "wake the reader"
 *     waiting                 newest -> ... -> oldest
 *
 * The reader takes everything at once and turns it round. Before it sleeps it changes NULL to ASLEEP, which
 * fails when a push came first; so a wake is needed exactly when a push finds ASLEEP, once for everything
 * that comes until the reader looked. No push is missed and no push to an awake reader costs more than its
 * one exchange.
 *
 * Order: nodes of one writer come out in the order they went in. Growth: the mailbox itself has no limit.
 * What bounds it is the send buffer of each connection towards the engine, and the credit given to the peer
 * (which follows what the application consumed) towards the application.
 */
#ifndef SRM_MAILBOX_H
#define SRM_MAILBOX_H

#include <stdatomic.h>

#include "../core/message.h"

typedef struct srm_mailbox {
    _Atomic(srm_message *) newest;
} srm_mailbox;

/* Empty, with its reader awake. The caller's storage; it must not move. */
void srm_mailbox_init(srm_mailbox *mailbox);

/* Any thread. Takes a node. True: the reader sleeps and must be woken, by the caller. */
bool srm_mailbox_push(srm_mailbox *mailbox, srm_message *node);
/* The same for a chain linked by `next`, oldest first; not empty. */
bool srm_mailbox_push_all(srm_mailbox *mailbox, srm_message *oldest);

/* The reader. Gives everything, oldest first, linked by `next`; NULL: nothing waits. Awake afterwards. */
srm_message *srm_mailbox_take(srm_mailbox *mailbox);
/* The reader, about to sleep. False: something waits, don't. */
bool srm_mailbox_sleep(srm_mailbox *mailbox);
/* The reader. Whether it said so, and nothing was pushed since. */
bool srm_mailbox_is_asleep(srm_mailbox *mailbox);
/* The reader, awake again for another reason: spares the next push its wake. */
void srm_mailbox_awake(srm_mailbox *mailbox);

#endif
