/* outbox - what the application sent and the peer's application has not consumed yet: which piece goes out
 * next, what is acknowledged, what was lost. Belongs to the session and outlives links.
 *
 *     one channel:   base            acked            send                next
 *                     |  acknowledged  |  under way     |  not yet begun     |
 *                     `- kept until CONSUMED says the peer's application has them
 *
 * A message goes through: accepted, begun (its whole cost is reserved from the peer's credit, so that what
 * was begun can be finished), sent, acknowledged, consumed. Lower channels go first; within a channel what
 * was lost goes first. A channel that lacks credit is overtaken by higher ones that have it, but by no more
 * than its message's own cost: then they wait for it, for else many small messages would starve a large one
 * for ever. docs/protocol.md section 7.
 */
#ifndef SRM_OUTBOX_H
#define SRM_OUTBOX_H

#include "msgframe.h"

#define SRM_MESSAGE_COST 64    /* what a message costs of credit and buffers besides its bytes */
#define SRM_FRAGMENT_WHOLE 512 /* what is smaller waits for the next packet and isn't cut */
#define SRM_FRAGMENT_MIN 256   /* no smaller piece is cut off */

typedef struct srm_outbox_channel srm_outbox_channel; /* outbox.c */

typedef struct srm_outbox {
    srm_outbox_channel **channels; /* sorted by their number */
    uint16_t channel_count, channel_capacity;
    uint64_t pending[4]; /* a bit for each channel that has something to send */
    uint64_t cost;       /* of everything held */
    uint64_t count;
    uint64_t unacked;         /* messages begun on this link and not wholly acknowledged */
    uint64_t reserved, limit; /* credit taken; what MAX_DATA allows */
    const srm_message
        *overtaken;  /* lacks credit and was passed by a higher channel; NULL: none. Not its owner */
    uint64_t passed; /* cost of what passed it */
} srm_outbox;

void srm_outbox_init(srm_outbox *outbox);
/* Frees all messages. */
void srm_outbox_fini(srm_outbox *outbox);

/* Takes the message and numbers it. False: no memory; the message stays the caller's. */
bool srm_outbox_push(srm_outbox *outbox, srm_message *message);

/* What fits `room` bytes next, frame header included; false: nothing. Changes nothing a caller could see:
 * call srm_outbox_sent once it is in a packet. */
bool srm_outbox_next(srm_outbox *outbox, size_t room, srm_fragment *out);
void srm_outbox_sent(srm_outbox *outbox, const srm_fragment *fragment);
/* Whether there is something that credit allows to send now. */
bool srm_outbox_ready(const srm_outbox *outbox);

/* What became of a piece on this link; pieces of messages that are gone are ignored. */
void srm_outbox_acked(srm_outbox *outbox, uint8_t channel, uint64_t number, uint32_t offset, uint32_t length);
void srm_outbox_lost(srm_outbox *outbox, uint8_t channel, uint64_t number, uint32_t offset, uint32_t length);
/* Makes sure that there is something to send for the probe timer, if need be the oldest that is under way.
 * False: there is nothing at all. */
bool srm_outbox_probe(srm_outbox *outbox);

/* A message begun on this link and not wholly acknowledged; NULL: there is none such. */
const srm_message *srm_outbox_find(const srm_outbox *outbox, uint8_t channel, uint64_t number);

/* The peer's application consumed all below `next`: those messages are given as a list, oldest first. False:
 * it cannot have. */
bool srm_outbox_consumed(srm_outbox *outbox, uint8_t channel, uint64_t next, srm_message **list);
/* MAX_DATA; a lower limit than known is ignored. */
void srm_outbox_max_data(srm_outbox *outbox, uint64_t limit);
/* True when some message waits for credit alone; `*need` is the limit that would let it begin. */
bool srm_outbox_blocked(const srm_outbox *outbox, uint64_t *need);

/* A new link carries the same session: all that is not acknowledged will be sent anew. */
void srm_outbox_relink(srm_outbox *outbox);
/* A new peer process: all that is not consumed is numbered anew and will be sent again; what had been sent
 * completely is marked SRM_MESSAGE_MAYBE_DUPLICATE. `*resent`: how many had been begun; `*unknown`: how many
 * of them completely. */
void srm_outbox_restart(srm_outbox *outbox, uint64_t *resent, uint64_t *unknown);

/* Takes out the messages larger than `limit`, which the peer doesn't accept, and numbers the others anew;
 * only while nothing was sent in this session. Given as a list, by channel and number. */
srm_message *srm_outbox_take_larger(srm_outbox *outbox, uint32_t limit);

/* Everything, as a list in order of channels and numbers; the outbox is empty then. */
srm_message *srm_outbox_take_all(srm_outbox *outbox);

static inline uint64_t srm_outbox_cost(const srm_outbox *outbox) {
    return outbox->cost;
}
static inline uint64_t srm_outbox_count(const srm_outbox *outbox) {
    return outbox->count;
}
static inline bool srm_outbox_empty(const srm_outbox *outbox) {
    return outbox->count == 0;
}
/* Whether something sent on this link is not acknowledged yet. */
static inline bool srm_outbox_unacked(const srm_outbox *outbox) {
    return outbox->unacked > 0;
}
static inline uint64_t srm_message_cost(const srm_message *message) {
    return (uint64_t)message->size + SRM_MESSAGE_COST;
}

#endif
