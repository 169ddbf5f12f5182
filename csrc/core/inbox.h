/* inbox - messages coming in: pieces put together, order in each channel, exactly once; and the credit the
 * peer gets, which follows what our application consumed. Belongs to the session and outlives links.
 * docs/protocol.md section 7.
 *
 *     one channel:   consumed            next
 *                     |  at the application |  pieces and messages that wait for what is before them
 */
#ifndef SRM_INBOX_H
#define SRM_INBOX_H

#include "msgframe.h"

typedef struct srm_inbox_channel srm_inbox_channel; /* inbox.c */

typedef struct srm_inbox {
    srm_inbox_channel **channels; /* sorted by their number */
    uint16_t channel_count, channel_capacity;
    uint64_t dirty[4]; /* a bit for each channel whose CONSUMED is to be told */
    srm_message *ready, **ready_last;
    uint32_t max_message, generation;
    uint64_t duplicates;
    uint64_t begun;               /* cost of all messages of which something came */
    uint64_t missing;             /* numbers below one that came, of which nothing came; in all channels */
    uint64_t consumed;            /* cost of all that the application consumed */
    uint64_t granted;             /* MAX_DATA as announced */
    uint64_t needed, needed_most; /* limits that the peer said to be waiting for: the least and the most of
                                     those beyond `granted`. DATA_BLOCKED may come late and out of order */
    uint64_t window, window_initial, window_max;
    uint64_t round_consumed; /* `consumed` when the present round of window tuning began */
    srm_time round_began;
    srm_time since; /* the oldest consumption not told; SRM_TIME_NEVER: all told */
} srm_inbox;

typedef enum srm_inbox_result {
    SRM_INBOX_TAKEN,
    SRM_INBOX_DUPLICATE,
    SRM_INBOX_COMPLETE,     /* srm_inbox_take has something */
    SRM_INBOX_NO_MEMORY,    /* or too many gaps in one message; nothing changed */
    SRM_INBOX_FLOW_CONTROL, /* beyond the credit granted */
    SRM_INBOX_MALFORMED,    /* too large a message, or it changed its size */
} srm_inbox_result;

/* `window` is the credit of the start, which the handshake told the peer; it grows up to `window_max`, as the
 * application's speed and the peer's DATA_BLOCKED ask. */
void srm_inbox_init(srm_inbox *inbox, uint32_t max_message, uint64_t window, uint64_t window_max);
void srm_inbox_fini(srm_inbox *inbox);

srm_inbox_result srm_inbox_on_fragment(srm_inbox *inbox, const srm_fragment_in *fragment);
/* Whether the whole message came, given or not. */
bool srm_inbox_has(const srm_inbox *inbox, uint8_t channel, uint64_t number);
/* The next message for the application, or NULL; the caller's from then on. */
srm_message *srm_inbox_take(srm_inbox *inbox);
/* The application is done with a message that srm_inbox_take gave (in the order they came, in each channel).
 * `rtt`: smoothed. One of a former session changes nothing. */
void srm_inbox_consumed(srm_inbox *inbox, const srm_message *message, srm_time now, srm_time rtt);
/* Another peer process: everything begins anew, what was not given yet is forgotten. */
void srm_inbox_restart(srm_inbox *inbox);

/* DATA_BLOCKED: the peer needs this limit. True: a MAX_DATA is worth sending. */
bool srm_inbox_on_blocked(srm_inbox *inbox, uint64_t need);
/* Whether the limit grew enough to be told, and telling it. */
bool srm_inbox_max_data_due(const srm_inbox *inbox);
uint64_t srm_inbox_max_data_announce(srm_inbox *inbox);

/* A channel whose consumption is to be told, and counts it as told. */
bool srm_inbox_next_consumed(srm_inbox *inbox, uint8_t *channel, uint64_t *next);
static inline srm_time srm_inbox_consumed_since(const srm_inbox *inbox) {
    return inbox->since;
}
/* The packet that told it was lost; a new link knows nothing of what the old one told. */
void srm_inbox_consumed_lost(srm_inbox *inbox, uint8_t channel);
void srm_inbox_control_again(srm_inbox *inbox);

static inline uint64_t srm_inbox_duplicates(const srm_inbox *inbox) {
    return inbox->duplicates;
}

#endif
