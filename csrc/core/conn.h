/* conn - one open() or one accepted peer: a session and the links under it. Split by what happens to it:
 *
 *     conn.c            life: open, accept, commands, status, end
 *     conn_handshake.c  runs that were confirmed: current and candidate links, CHALLENGE, restart of the peer
 *     conn_recv.c       a session packet and its frames
 *     conn_send.c       what goes out next
 *     conn_timer.c      deadlines: liveness, keep-alive, outage, and those of the parts
 */
#ifndef SRM_CONN_H
#define SRM_CONN_H

#include "inbox.h"
#include "link.h"
#include "outbox.h"
#include "state.h"

/* CLOSE's codes. Anything else counts as SRM_CLOSE_PROTOCOL. */
enum {
    SRM_CLOSE_GOODBYE = 0,
    SRM_CLOSE_PROTOCOL = 1,
    SRM_CLOSE_PEER_BUSY = 2,
    SRM_CLOSE_FLOW_CONTROL = 3,
    SRM_CLOSE_LOST = 4
};

/* What a packet carried, as its record says (srm_sent_frame.kind). */
enum {
    SRM_SENT_MSG = 1,
    SRM_SENT_COPY, /* the same once more (repair_out.h): its loss means nothing */
    SRM_SENT_ACK,  /* number: the largest */
    SRM_SENT_MAX_DATA,
    SRM_SENT_BLOCKED,
    SRM_SENT_CONSUMED, /* channel */
    SRM_SENT_PROBE,    /* of the path MTU; length: its size */
};

/* Frame types besides ACK (acks.h) and MSG (msgframe.h); docs/protocol.md section 6. */
enum {
    SRM_FRAME_PADDING = 0x00,
    SRM_FRAME_PING = 0x01,
    SRM_FRAME_MAX_DATA = 0x04,
    SRM_FRAME_DATA_BLOCKED = 0x05,
    SRM_FRAME_CONSUMED = 0x06,
    SRM_FRAME_CLOSE = 0x07,
    SRM_FRAME_CHALLENGE = 0x08,
    SRM_FRAME_RESPONSE = 0x09,
    SRM_FRAME_IMMEDIATE_ACK = 0x0a,
    SRM_FRAME_REPAIR = 0x0b, /* repair.h */
};

struct srm_conn {
    srm_timed timed; /* first: the heap of timers finds us by it */
    srm_entry entry;
    srm_endpoint *endpoint;
    srm_conn *next, **previous;
    srm_conn *send_next, *send_previous;
    srm_path *waits_on; /* in whose line it stands; NULL: none */
    srm_conn *wait_next, *wait_previous;
    uint64_t turn_number; /* the last turn of its path it had; what it took of it or since, bytes: */
    uint64_t taken;
    void *user;
    srmudp_status status;
    bool sending;  /* in the endpoint's queue */
    bool released; /* nobody listens to its events */
    bool accepted;
    bool session; /* a peer has proved the key: peer_id names its process's open() */
    bool closing; /* close() was called */
    bool ended;   /* CLOSED was said */
    bool listed;  /* in the endpoint's table of labels: strangers may be for it */
    bool version_told;
    bool speaks; /* it was asked for all connections of its address: its silence makes the others be asked */
    bool silent; /* the present peer left a CHALLENGE unanswered since it was last heard */
    uint8_t peer_id[SRM_CONNECTION_ID_SIZE];
    srm_outbox outbox;
    srm_inbox inbox;
    uint32_t generation; /* counts peer processes: numbers of messages begin anew with each */
    uint32_t peer_max_message;
    srm_link *current;
    srm_link *candidates;
    srm_time reconnecting_since;
    srm_time asked_until; /* reconnect(): until then packets of the present link don't count as being back */
    uint32_t attempt;
    srm_time close_at; /* when waiting for consumption ends */
    srm_time gone_at;  /* when the memory of a closed connection may go */
    srmudp_error close_reason;
    uint8_t close_code;
    srmudp_stats totals;   /* counters of links that are gone, and of the session */
    uint64_t blocked_told; /* the credit we last said to need */
};

/* conn.c */
void srm_conn_wake(srm_conn *conn);
void srm_conn_rotate(srm_conn *conn);
srm_conn *srm_conn_next(srm_conn *conn);
void srm_conn_set_status(srm_conn *conn, srm_time now, srmudp_status status, srmudp_error reason);
/* Adds the counters of a link that goes to the connection's totals. */
void srm_conn_count_link(srm_conn *conn, const srm_link *link);
/* It will not go on: reports what was not delivered, FAILED (or CLOSED when `failed` is false), CLOSED. Sends
 * CLOSE with `code` if a link can carry it. */
void srm_conn_end(srm_conn *conn, srm_time now, bool failed, srmudp_error reason, uint8_t code);
void srm_conn_emit(srm_conn *conn, srmudp_event *event);
void srm_conn_undelivered(srm_conn *conn, srm_message *list);
void srm_event_node_free(srm_message *node);

/* conn_handshake.c */
extern const srm_entry_owner srm_conn_entry_owner;
void srm_conn_confirmed(srm_conn *conn, srm_time now, const srm_confirmed *run);
void srm_conn_challenge(srm_link *link, srm_time now, uint8_t purpose, const srmudp_address *to);
void srm_conn_on_response(srm_link *link, srm_time now, const uint8_t data[8]);
void srm_conn_drop_candidate(srm_conn *conn, srm_link *link);
/* From now on the link only says CLOSE. */
void srm_conn_close_link(srm_link *link, srm_time now);
void srm_conn_link_gone(srm_conn *conn, srm_link *link);
void srm_conn_forget_links(srm_conn *conn, bool current_too);
/* An accepted peer came: what an earlier process of its left behind, known by address, key and label, ends:
 * at once if it is silent already, else when it leaves a CHALLENGE unanswered. */
void srm_conn_end_predecessors(srm_conn *newcomer, srm_time now);
void srm_conn_challenge_timeout(srm_link *link, srm_time now);
srm_time srm_conn_silence_time(const srm_link *link);
bool srm_conn_same_session(const srm_conn *conn, const srm_link *link);
/* A candidate that would be another session: only CHALLENGE and its answer count until it is current, and
 * nothing is acknowledged [R34]. */
bool srm_conn_is_foreign(const srm_link *link);

/* conn_path.c */
/* A link from a confirmed run, on the path to its peer; NULL without memory. */
srm_link *srm_conn_new_link(srm_conn *conn, srm_time now, const srm_confirmed *run);
void srm_conn_free_link(srm_link *link);
/* One link less goes this way; without any the path is no more. */
void srm_conn_leave_path(srm_endpoint *endpoint, srm_path *path, srm_time now);
/* The peer is at another address now. */
void srm_conn_move_link(srm_link *link, srm_time now, const srmudp_address *to);
/* Whether the connection may use the room on its path now, or has to wait for its turn. */
bool srm_conn_may_take(srm_conn *conn, const srm_link *link);
/* It sent messages in so many bytes. */
void srm_conn_took(srm_conn *conn, srm_time now, uint64_t bytes);
/* It has sent what it might; `wants`: and has more. */
void srm_conn_line_up(srm_conn *conn, srm_time now, bool wants);
/* It will send nothing by its present link. */
void srm_conn_leave_line(srm_conn *conn, srm_time now);
/* There may be room: who is first? */
void srm_conn_next_turn(srm_endpoint *endpoint, srm_path *path, srm_time now);
/* A datagram was refused as too large (EMSGSIZE). */
void srm_conn_too_large(srm_endpoint *endpoint, srm_time now, const srmudp_address *to, size_t size);

/* conn_recv.c */
void srm_conn_apply_sent_event(srm_conn *conn, srm_link *link, srm_time now, const srm_sent_event *event);
srm_sent_sink srm_conn_sink(srm_link *link);

/* conn_send.c */
void srm_conn_sent_all(srm_conn *conn, srm_time now);
/* Whether messages, or repairs of them, want to go out; not while the peer's silence is only probed. */
bool srm_conn_data_due(const srm_conn *conn, srm_time now);
/* When sending wants to go on by itself (a delayed CONSUMED, a repair); SRM_TIME_NEVER otherwise. Who has
 * data waits for room on the path, not for a time. */
srm_time srm_conn_send_time(const srm_conn *conn, srm_time now);

/* conn_timer.c */
void srm_conn_fire(srm_timed *timed, srm_time now);
srm_time srm_conn_deadline(const srm_conn *conn, srm_time now);
bool srm_conn_alive(const srm_conn *conn);

#endif
