/* message - one message of the application, in one allocation, from the moment it is accepted to the moment
 * it is consumed. The same struct travels through queues between threads (`next`), waits in the outbox of the
 * sender until the peer's application consumed it, and is filled by the inbox of the receiver.
 *
 * Ownership: exactly one owner at a time; a function that "takes" a message frees it or hands it on.
 */
#ifndef SRM_MESSAGE_H
#define SRM_MESSAGE_H

#include "base.h"

#define SRM_MESSAGE_TEXT 0x01 /* the application sent text; carried to the peer */
#define SRM_MESSAGE_MAYBE_DUPLICATE                                                                          \
    0x02 /* a process that died may have consumed it already; carried to the peer */

typedef struct srm_message {
    struct srm_message *next; /* whoever owns the message may link it */
    void *owner;              /* for the layer above: the connection it belongs to; the core never reads it */
    uint64_t number;          /* within (session, channel), from 0; set by the outbox or the inbox */
    uint64_t sequence;        /* set by the layer above; a CONSUMED event gives that of the newest consumed */
    struct srm_rangeset
        *ranges;   /* for the outbox and the inbox: bytes acknowledged or received out of order */
    uint32_t size; /* bytes in data */
    uint32_t done; /* for the outbox: bytes sent on this link; for the inbox: bytes received without a gap */
    uint32_t generation; /* set by the inbox: which peer process sent it, counted */
    uint8_t channel;
    uint8_t flags; /* SRM_MESSAGE_* */
    uint8_t kind;  /* what a queue carries it as: an srmudp_event_kind, or a command of the driver */
    uint8_t state; /* for the outbox */
    _Alignas(8) uint8_t data[];
} srm_message;

/* A new message with room for `size` bytes, everything but `data` set; NULL when there is no memory. */
srm_message *srm_message_new(uint32_t size, uint8_t channel, uint8_t flags);
/* Frees it; NULL is allowed. */
void srm_message_free(srm_message *message);
/* Frees a list linked by `next`. */
void srm_message_free_list(srm_message *list);

#endif
