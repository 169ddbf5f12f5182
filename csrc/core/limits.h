/* limits - every limit and packet layout constant of the core on one page, each with its unit.
 * Sources: docs/protocol.md. */
#ifndef SRM_LIMITS_H
#define SRM_LIMITS_H

#include "base.h"

/* ---- Sizes, bytes ---- */
#define SRM_NONCE_SIZE 16
#define SRM_CONNECTION_ID_SIZE 16 /* of an open(): names a session, in handshake messages */
#define SRM_CID_SIZE 8            /* of a link: names the receiver's keys, on session packets */
#define SRM_SHARE_SIZE 32
#define SRM_TAG_SIZE 32 /* key confirmation */
#define SRM_COOKIE_SIZE 16
#define SRM_LABEL_HASH_SIZE 8
#define SRM_HANDSHAKE_HEADER_SIZE 36
#define SRM_HELLO_MIN_SIZE 320 /* anything smaller is dropped: a REPLY is never larger than its HELLO */
#define SRM_HANDSHAKE_MAX_SIZE 1200
#define SRM_SEALED_MAX_SIZE 200
#define SRM_KEY_MAX_SIZE 4096
#define SRM_LABEL_MAX_SIZE 255
#define SRM_DATAGRAM_MIN_MTU 1200   /* UDP payload every path must carry */
#define SRM_DATAGRAM_USUAL_MTU 1472 /* Ethernet, IPv4; larger ones only in numbers: srm_mtu_probe_wanted */
#define SRM_DATAGRAM_MAX_MTU 65000  /* loopback, jumbo frames: below UDP's own 65,507 */
#define SRM_TRANSMIT_MIN_BUFFER 2048
#define SRM_TRANSMIT_MAX_BYTES SRM_DATAGRAM_MAX_MTU     /* of one batch */
#define SRM_TRANSMIT_MAX_SEGMENTS 64                    /* the kernel's UDP_MAX_SEGMENTS */
#define SRM_PACKET_MIN_SIZE (1 + SRM_CID_SIZE + 4 + 16) /* enough for the header-protection sample */
#define SRM_PACKET_BODY_MIN                                                                                  \
    (4 + 9) /* packet number and frames, padded: a CHALLENGE, so that any packet brings room for one */

#define SRM_WINDOW_INITIAL ((uint64_t)1 << 20) /* credit of a new session */

/* ---- Counts ---- */
#define SRM_ADDRESSES_MAX 16        /* of one name */
#define SRM_ADDRESSES_LEARNED 4     /* besides: where the peer was last seen */
#define SRM_OPENS_PER_ADDRESS_MAX 8 /* with one label: their keys are tried in turn */
#define SRM_ATTEMPTS_PER_ENTRY_MAX                                                                           \
    16 /* twice what 8 entries at one far address need; an evicted one costs a time-out */
#define SRM_LISTENER_ATTEMPTS_MAX 256
#define SRM_QUANTA_MAX 8 /* send quanta in one batch of a path among many */
#define SRM_ASIDE_PTOS 2 /* probe time-outs in a row, until others on the path don't wait for a link */
#define SRM_CANDIDATES_MAX 4
#define SRM_TRIED_MAX 16 /* responder shares one initiator scalar may meet */
#define SRM_TRIED_MIN 4
#define SRM_LISTENERS_MAX 64
#define SRM_HALF_OPEN_COOKIE 64    /* attempts waiting, from which cookies are demanded */
#define SRM_HALF_OPEN_STRANGERS 8  /* the same for sources nobody here dials */
#define SRM_HELLO_RATE_COOKIE 1000 /* HELLOs a second */
#define SRM_HINTS_PER_SECOND 10    /* RETRY and VERSION sent to one source: one bucket for both */
#define SRM_HINT_SOURCES 1024      /* such buckets */
#define SRM_EPOCH_PACKETS ((uint64_t)1 << 22)
#define SRM_FORGED_MAX                                                                                       \
    ((uint64_t)1 << 35) /* failed openings, then a new link takes its place (RFC 9001 section 6.6) */

/* ---- Timers ---- */
#define SRM_HELLO_FIRST (100 * SRM_MILLISECOND) /* then doubling: 100, 200, 400 ms after the first */
#define SRM_HELLO_EACH SRM_SECOND /* then each second: keeps a NAT's mapping and finds late peers */
#define SRM_HELLO_AT_ONCE (50 * SRM_MILLISECOND) /* least distance of repetitions that answer something */
#define SRM_REPLY_EACH (50 * SRM_MILLISECOND)
#define SRM_CONFIRM_FIRST (100 * SRM_MILLISECOND)
#define SRM_CONFIRM_MAX SRM_SECOND
#define SRM_INIT_LIFE                                                                                        \
    (10 * SRM_SECOND) /* then new nonce and scalar: the peer may hold an altered first one */
#define SRM_INIT_RENEW_EACH SRM_SECOND
#define SRM_ATTEMPT_LIFE (10 * SRM_SECOND)
#define SRM_CHALLENGE_FIRST (250 * SRM_MILLISECOND) /* before it is repeated, while no RTT is known */
#define SRM_CHALLENGE_LIFE (3 * SRM_SECOND)         /* of a candidate, after the last CHALLENGE sent */
#define SRM_CANDIDATE_HOLD                                                                                   \
    (10 * SRM_SECOND) /* who answered a CHALLENGE keeps that run longer than the other accepts it */
#define SRM_YIELD_AFTER                                                                                      \
    (300 * SRM_MILLISECOND) /* our HELLO out this long, and the peer's never names it: it is blocked */
#define SRM_YIELD_WAIT (500 * SRM_MILLISECOND)
#define SRM_YIELD_PAUSE (2 * SRM_SECOND)
#define SRM_WRONG_KEY_AFTER (300 * SRM_MILLISECOND)
#define SRM_WRONG_KEY_AFTER_SHARED                                                                           \
    (2500 * SRM_MILLISECOND) /* several entries towards one address: neighbours answer too */
#define SRM_SILENCE_MIN                                                                                      \
    (200 * SRM_MILLISECOND) /* before another process may take a living session's place                      \
                             */
#define SRM_EPOCH_LIFE (3600 * SRM_SECOND)
#define SRM_COOKIE_LIFE (120 * SRM_SECOND)
#define SRM_MAX_ACK_DELAY (5 * SRM_MILLISECOND)
#define SRM_CONSUMED_DELAY (2 * SRM_MILLISECOND) /* CONSUMED waits this long for a packet to ride on */
#define SRM_CLOSE_LINGER (3 * SRM_SECOND)        /* a closed link repeats its CLOSE this long at most */
#define SRM_CLOSE_EACH (50 * SRM_MILLISECOND)    /* least distance of CLOSEs that answer a packet */
#define SRM_KEEPALIVE_MIN_GAP (20 * SRM_MILLISECOND)

#endif
