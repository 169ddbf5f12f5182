/* link - one confirmed run of the handshake: its keys, packet numbers, loss recovery, congestion control and
 * path. A session (srm_conn) has a current link and, for a while, candidates; RFC 9000 would call a link a
 * connection.
 *
 * A session packet (docs/protocol.md section 5):
 *
 *     0       10 K PP E RR    K: parity of the epoch; PP: packet number length - 1; E, R: zero
 *     1..8    CID of the receiver
 *     9..     packet number, 1 to 4 bytes, the low bits of it (RFC 9000 section 17.1 and A.2, A.3)
 *     ..      AEAD(frames), tag
 *
 * The low five bits of the first byte and the packet number are masked (RFC 9001 section 5.4, with SipHash).
 * The header, unmasked, is the associated data.
 */
#ifndef SRM_LINK_H
#define SRM_LINK_H

#include "acks.h"
#include "aead.h"
#include "endpoint.h"
#include "entry.h"
#include "marks.h"
#include "path.h"
#include "repair_in.h"
#include "repair_out.h"
#include "replay.h"
#include "rtt.h"
#include "sent.h"

typedef struct srm_conn srm_conn;

/* One direction's keys. */
typedef struct srm_link_keys {
    uint8_t ts[SRM_KEYS_HASH_SIZE]; /* of the present epoch */
    uint8_t hp[SRM_HEADER_KEY_SIZE];
    srm_aead aead;
    uint64_t epoch;
    uint64_t epoch_first; /* first packet number of it, as far as known */
    srm_time since;
} srm_link_keys;

typedef enum srm_link_state {
    SRM_LINK_CANDIDATE, /* confirmed, not yet used for sending data */
    SRM_LINK_CURRENT,
    SRM_LINK_CLOSING, /* repeats its CLOSE for a while */
} srm_link_state;

typedef struct srm_link {
    srm_conn *conn;
    struct srm_link *next; /* in the connection's list of candidates */
    srm_link_state state;
    srm_role role;
    srm_aead_kind aead_kind;
    uint64_t cid_local, cid_remote;
    uint8_t peer_id[SRM_CONNECTION_ID_SIZE];
    srm_params peer;
    srm_link_keys send, receive;
    srm_aead *previous; /* receive keys of the epoch before, for packets that were reordered */
    uint64_t forged;    /* failed openings */

    srmudp_address remote;
    srm_replay replay;
    srm_acks acks;
    srm_sent sent;
    srm_rtt rtt;
    srm_path *path; /* to `remote`; shared with other connections' links */
    srm_repair_out repair_out;
    srm_repair_in *repair_in; /* while the peer sends repairs; else NULL */
    uint64_t highest;         /* packet number received; path changes follow only a new highest */
    srm_time event_now;       /* time of the ACK or timer being worked on */
    srm_time created, heard;  /* confirmed; last authenticated packet */

    uint8_t *confirm; /* initiator: repeated until the first packet under these keys; then NULL */
    size_t confirm_size;
    srm_time confirm_at;
    srm_time confirm_wait;

    /* What is to be sent once, newest state only. */
    bool ping;
    bool max_data_due, blocked_due, close_due;
    bool respond_due, challenge_due;
    uint8_t response[8]; /* to the peer's CHALLENGE */
    srmudp_address respond_to;
    uint8_t challenge[8]; /* ours */
    uint8_t challenge_purpose;
    srmudp_address challenge_to;
    uint64_t challenge_room; /* to a new path: bytes that came from there and were not answered yet */
    bool challenge_open;
    bool fresh;                                             /* a candidate that answered */
    srm_time challenge_at, challenge_wait, challenge_first; /* next sending, SRM_TIME_NEVER: not before more
                                                               came from there; back-off; when it began */
    srm_time answered;                                      /* we answered a CHALLENGE last at; 0 never */
    uint32_t probes;                                        /* PTO probes to send */
    srm_marks marks;                                        /* whether packets are marked ECT(0) */
    srm_time close_at, close_wait;                          /* CLOSE is repeated, backing off … */
    srm_time close_until, close_said;                       /* … as long as that; when it was sent last */
} srm_link;

/* What a CHALLENGE is for. */
enum { SRM_CHALLENGE_FRESH = 1, SRM_CHALLENGE_PATH = 2, SRM_CHALLENGE_SILENCE = 3 };

/* A link from a confirmed run, on this path; NULL without memory. Not yet known to the endpoint's table. */
srm_link *srm_link_new(srm_conn *conn, srm_path *path, srm_time now, const srm_confirmed *run);
void srm_link_free(srm_link *link);

/* Bytes a packet takes besides its frames, at most. */
size_t srm_link_overhead(const srm_link *link);

/* A packet being built in a buffer. */
typedef struct srm_packet_out {
    uint8_t *start;
    size_t header_size;
    size_t number_size;
    uint64_t number;
    srm_writer w; /* where frames go; its end leaves room for the tag */
} srm_packet_out;

/* Starts a packet of at most `size` bytes with the link's next number. */
void srm_link_packet_begin(srm_link *link, uint8_t *buffer, size_t size, srm_packet_out *out);
/* Pads it to the size of a CHALLENGE, seals and masks; returns the packet's size. */
size_t srm_link_packet_finish(srm_link *link, srm_packet_out *out);

typedef enum srm_open_result {
    SRM_OPEN_FINE,
    SRM_OPEN_FORGED,
    SRM_OPEN_REPLAYED,
    SRM_OPEN_MALFORMED
} srm_open_result;

/* Unmasks and decrypts in place; on SRM_OPEN_FINE `*number` and the frames. Marks the number as received. */
srm_open_result srm_link_packet_open(srm_link *link, srm_time now, uint8_t *data, size_t size,
                                     uint64_t *number, srm_span *frames);

/* The send keys are used up, or old: next epoch, if the peer has answered under this one. */
void srm_link_update_keys(srm_link *link, srm_time now);

/* Goes by another path from now on. `copy`: it was made from the present one (srm_path_copy) and counts what
 * is in flight. `reset`: what the link knows by itself, RTT and the rest, is forgotten. */
void srm_link_set_path(srm_link *link, srm_time now, srm_path *path, bool copy, bool reset);

#endif
