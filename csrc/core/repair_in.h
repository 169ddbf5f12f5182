/* repair_in - the receiver's half of repair: it keeps the newest small messages of a link, and REPAIR frames
 * that cover more than one of them that didn't come, until it can compute those. docs/protocol.md [R43],
 * [R45].
 *
 *     messages   the newest SRM_REPAIR_IN_MESSAGES, of any channel: known, or missing
 *     rows       sum of factor * message = symbol, over missing ones only; solved as far as they go (Gauss
 * and Jordan): each row has a message of its own that is in no other row
 *
 * A link has one from its first REPAIR frame on, and gives it back when none came for SRM_REPAIR_IN_KEEP. It
 * knows nothing of order and delivery: what it computes goes the way of what arrives.
 */
#ifndef SRM_REPAIR_IN_H
#define SRM_REPAIR_IN_H

#include "msgframe.h"
#include "repair.h"

#define SRM_REPAIR_IN_MESSAGES 32 /* twice what one frame covers: some were late, or of other channels */
#define SRM_REPAIR_IN_ROWS 8
#define SRM_REPAIR_IN_KEEP (5 * SRM_SECOND)
#define SRM_REPAIR_IN_ROOM 520 /* a symbol, in whole words */

typedef enum srm_repair_state {
    SRM_REPAIR_EMPTY,
    SRM_REPAIR_MISSING,   /* a REPAIR frame named it, and it didn't come */
    SRM_REPAIR_RECOVERED, /* computed, and not taken yet */
    SRM_REPAIR_KNOWN,
} srm_repair_state;

/* Fields are for repair_in.c. */
typedef struct srm_repair_row {
    uint8_t factor[SRM_REPAIR_IN_MESSAGES]; /* by the message's place; 0: not in it */
    uint8_t symbol[SRM_REPAIR_IN_ROOM];     /* zeros behind `size` */
    uint16_t size;                          /* 0: the row is free */
    uint8_t own;                            /* the place whose factor is 1 here and 0 in every other row */
} srm_repair_row;

typedef struct srm_repair_in {
    uint64_t number[SRM_REPAIR_IN_MESSAGES];
    uint8_t channel[SRM_REPAIR_IN_MESSAGES];
    uint8_t state[SRM_REPAIR_IN_MESSAGES]; /* srm_repair_state */
    uint8_t flags[SRM_REPAIR_IN_MESSAGES];
    uint16_t size[SRM_REPAIR_IN_MESSAGES];
    uint8_t data[SRM_REPAIR_IN_MESSAGES][SRM_REPAIR_SIZE_MAX];
    srm_repair_row rows[SRM_REPAIR_IN_ROWS];
    uint32_t next;      /* the place that the next message takes: the oldest one's */
    uint32_t next_row;  /* the row that goes when none is free */
    uint32_t recovered; /* messages to be taken */
    srm_time used;      /* for the owner: when the newest REPAIR frame came */
} srm_repair_in;

/* NULL without memory. */
srm_repair_in *srm_repair_in_new(srm_time now);
void srm_repair_in_free(srm_repair_in *in);
/* Nothing has asked for it for so long that it may be freed. */
bool srm_repair_in_idle(const srm_repair_in *in, srm_time now);

/* A whole message came; one that is larger than SRM_REPAIR_SIZE_MAX is ignored. Copies it. */
void srm_repair_in_on_message(srm_repair_in *in, const srm_fragment_in *message);
/* Which messages that the frame covers aren't known here: bit i is that of first + i. */
uint16_t srm_repair_in_unknown(const srm_repair_in *in, const srm_repair *repair);
/* A frame whose unknown messages didn't come in any other way either (else they can't be told from it). */
void srm_repair_in_on_repair(srm_repair_in *in, const srm_repair *repair);
/* The next message that was computed, oldest first as far as one channel goes; its bytes are valid until the
 * next call of any other function. False: none is left. */
bool srm_repair_in_take(srm_repair_in *in, srm_fragment_in *out);

#endif
