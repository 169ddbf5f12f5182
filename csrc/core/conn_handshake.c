#include "conn.h"

#include <stdlib.h>

static srm_conn *conn_of(const srm_entry *entry) {
    return (srm_conn *)(uintptr_t)((const char *)entry - offsetof(srm_conn, entry));
}

bool srm_conn_same_session(const srm_conn *conn, const srm_link *link) {
    return conn->session && memcmp(conn->peer_id, link->peer_id, sizeof conn->peer_id) == 0;
}

bool srm_conn_is_foreign(const srm_link *link) {
    return link != link->conn->current && !srm_conn_same_session(link->conn, link);
}

/* ---- Links come and go ---- */

void srm_conn_link_gone(srm_conn *conn, srm_link *link) {
    srm_table_remove(&conn->endpoint->links, link->cid_local, link);
    srm_conn_count_link(conn, link);
    srm_conn_free_link(link);
}

void srm_conn_forget_links(srm_conn *conn, bool current_too) {
    for (srm_link *next; conn->candidates != NULL; conn->candidates = next) {
        next = conn->candidates->next;
        srm_conn_link_gone(conn, conn->candidates);
    }
    if (current_too && conn->current != NULL) {
        srm_conn_link_gone(conn, conn->current);
        conn->current = NULL;
    }
}

void srm_conn_drop_candidate(srm_conn *conn, srm_link *link) {
    for (srm_link **at = &conn->candidates; *at != NULL; at = &(*at)->next)
        if (*at == link) {
            *at = link->next;
            srm_conn_link_gone(conn, link);
            return;
        }
}

void srm_conn_close_link(srm_link *link, srm_time now) {
    link->state = SRM_LINK_CLOSING;
    link->close_due = true;
    link->close_at = now;
    link->close_wait = srm_rtt_pto(&link->rtt);
    link->close_until = now + SRM_CLOSE_LINGER;
    link->close_said = now - SRM_CLOSE_EACH;
    link->challenge_open = link->challenge_due = false;
}

static void drop_oldest_candidate(srm_conn *conn) {
    srm_link *oldest = NULL;
    size_t count = 0;
    for (srm_link *link = conn->candidates; link != NULL; link = link->next, count++)
        if (oldest == NULL || link->created < oldest->created)
            oldest = link;
    if (count >= SRM_CANDIDATES_MAX)
        srm_conn_drop_candidate(conn, oldest);
}

/* ---- CHALLENGE ---- */

void srm_conn_challenge(srm_link *link, srm_time now, uint8_t purpose, const srmudp_address *to) {
    if (link->challenge_open && link->challenge_purpose == SRM_CHALLENGE_FRESH)
        return; /* that one says it all */
    if (link->challenge_open && link->challenge_purpose == SRM_CHALLENGE_SILENCE)
        return; /* a new path is asked again with its next packet */
    srm_endpoint_random(link->conn->endpoint, link->challenge, sizeof link->challenge);
    link->challenge_open = link->challenge_due = true;
    link->challenge_purpose = purpose;
    link->challenge_to = *to;
    link->challenge_room = 0;
    link->challenge_first = link->challenge_at = now;
    link->challenge_wait = srm_rtt_has_sample(&link->rtt) ? srm_rtt_pto(&link->rtt) : SRM_CHALLENGE_FIRST;
    if (purpose == SRM_CHALLENGE_SILENCE)
        link->challenge_wait /= 2;
    srm_conn_wake(link->conn);
}

/* Nobody waits for the end of an accepted connection, and its peer may have a thousand of them to look after:
 * it has as long to answer as for data. */
static srm_time silence_wait(const srm_link *link) {
    const srm_conn *conn = link->conn;
    srm_time least = conn->accepted ? conn->endpoint->config.liveness_in_flight * SRM_MILLISECOND
                                    : (srm_time)SRM_SILENCE_MIN;
    return srm_time_max(3 * srm_rtt_pto(&link->rtt), least);
}

/* How long a CHALLENGE is worth waiting for: on a slow path the answer alone takes seconds. */
static srm_time challenge_life(const srm_link *link) {
    return srm_time_max(SRM_CHALLENGE_LIFE, 2 * srm_rtt_pto(&link->rtt));
}

/* When an open CHALLENGE of this link ends unanswered. */
srm_time srm_conn_silence_time(const srm_link *link) {
    if (!link->challenge_open)
        return SRM_TIME_NEVER;
    if (link->challenge_purpose == SRM_CHALLENGE_SILENCE)
        return link->challenge_first + silence_wait(link);
    srm_time life = challenge_life(link), end = link->challenge_first + life;
    srm_time hold = srm_time_max(SRM_CANDIDATE_HOLD, 3 * life);
    return link->answered > 0 ? srm_time_max(end, link->answered + hold) : end;
}

/* ---- A link becomes current ---- */

static void adopt_session(srm_conn *conn, const srm_link *link) {
    srm_endpoint *endpoint = conn->endpoint;
    if (conn->session)
        srm_table_remove(&endpoint->sessions, srm_prefix64(conn->peer_id), &conn->entry);
    conn->session = true;
    memcpy(conn->peer_id, link->peer_id, sizeof conn->peer_id);
    (void)srm_table_add(&endpoint->sessions, srm_prefix64(conn->peer_id), &conn->entry);
    conn->peer_max_message = link->peer.max_message_size;
    srm_conn_undelivered(conn, srm_outbox_take_larger(&conn->outbox, conn->peer_max_message));
    srm_outbox_max_data(&conn->outbox, link->peer.max_data);
}

static void restart_session(srm_conn *conn, srm_time now, const srm_link *link) {
    srmudp_event event = {.kind = SRMUDP_EVENT_PEER_RESTARTED};
    srm_outbox_restart(&conn->outbox, &event.count, &event.unknown);
    srm_inbox_restart(&conn->inbox);
    adopt_session(conn, link);
    srm_conn_set_status(conn, now, SRMUDP_RECONNECTING, SRMUDP_PEER_RESTARTED);
    srm_conn_emit(conn, &event);
    srm_conn_set_status(conn, now, SRMUDP_ESTABLISHED, SRMUDP_PEER_RESTARTED);
}

static void become_current(srm_conn *conn, srm_time now, srm_link *link) {
    srm_link *old = conn->current;
    for (srm_link **at = &conn->candidates; *at != NULL;) {
        srm_link *other = *at;
        if (other == link || other->created <= link->created) {
            *at = other->next;
            if (other != link)
                srm_conn_link_gone(conn, other);
        } else {
            at = &other->next;
        }
    }
    srm_conn_leave_line(conn, now);
    conn->current = link;
    link->next = NULL;
    link->state = SRM_LINK_CURRENT;
    conn->silent = false;
    conn->asked_until = 0;
    srm_entry_stop(&conn->entry);
    srm_entry_learn_address(&conn->entry, &link->remote);
    bool same = srm_conn_same_session(conn, link), first = !conn->session;
    if (old != NULL)
        srm_conn_link_gone(conn, old);
    if (first) {
        adopt_session(conn, link);
        srm_conn_set_status(conn, now, SRMUDP_ESTABLISHED, SRMUDP_OK);
    } else if (same) {
        srm_outbox_relink(&conn->outbox);
        srm_inbox_control_again(&conn->inbox);
        if (conn->status == SRMUDP_RECONNECTING)
            srm_conn_set_status(conn, now, SRMUDP_ESTABLISHED, SRMUDP_OK);
    } else {
        restart_session(conn, now, link);
    }
    link->max_data_due = !first;
    link->ping |=
        link->role == SRM_ROLE_RESPONDER; /* the peer repeats its CONFIRM until it hears something */
    conn->blocked_told = 0;
    srm_conn_wake(conn);
}

/* The newcomer holds the key but another process lives under the session we have: it is told so, under its
 * own keys. */
static void refuse_busy(srm_conn *conn, srm_time now) {
    for (srm_link *link = conn->candidates; link != NULL; link = link->next)
        if (!srm_conn_same_session(conn, link) && link->state == SRM_LINK_CANDIDATE)
            srm_conn_close_link(link, now);
    srm_conn_wake(conn);
}

/* A candidate that answered may take over: at once with the same peer process, else when the old one is
 * silent. */
static void try_candidate(srm_conn *conn, srm_time now, srm_link *link) {
    if (!link->fresh || link->state != SRM_LINK_CANDIDATE)
        return;
    if (conn->current == NULL || srm_conn_same_session(conn, link) || conn->silent || !srm_conn_alive(conn))
        become_current(conn, now, link);
}

void srm_conn_on_response(srm_link *link, srm_time now, const uint8_t data[8]) {
    srm_conn *conn = link->conn;
    if (!link->challenge_open || memcmp(link->challenge, data, sizeof link->challenge) != 0)
        return;
    link->challenge_open = link->challenge_due = false;
    switch (link->challenge_purpose) {
    case SRM_CHALLENGE_FRESH:
        link->fresh = true;
        try_candidate(conn, now, link);
        if (link != conn->current) /* the present peer came back to life meanwhile, maybe */
            srm_conn_challenge(conn->current, now, SRM_CHALLENGE_SILENCE, &conn->current->remote);
        break;
    case SRM_CHALLENGE_SILENCE:
        refuse_busy(conn, now);
        break;
    case SRM_CHALLENGE_PATH: {
        srm_conn_move_link(link, now, &link->challenge_to);
        srm_entry_learn_address(&conn->entry, &link->remote);
        srmudp_event event = {.kind = SRMUDP_EVENT_PATH_CHANGED, .remote = link->remote};
        srm_conn_emit(conn, &event);
        break;
    }
    default:
        break;
    }
}

/* ---- An accepted peer's process was replaced ---- */

static bool is_predecessor(const srm_conn *conn, const srm_conn *of) {
    return conn != of && conn->accepted && !conn->ended && conn->current != NULL &&
           conn->entry.key_bucket == of->entry.key_bucket &&
           memcmp(conn->entry.label_hash, of->entry.label_hash, SRM_LABEL_HASH_SIZE) == 0 &&
           srm_address_equal(&conn->current->remote, &of->current->remote);
}

/* A process may well hold a thousand connections from one socket, so one of the living speaks for them all:
 * only when it turns out to be silent the others are asked. */
static void ask_predecessors(srm_conn *of, srm_time now, bool all) {
    srm_endpoint *endpoint = of->endpoint;
    uint64_t hash = srm_address_hash(endpoint, &of->current->remote, true);
    size_t cursor = 0;
    bool asked = false;
    for (srm_entry_address *slot; (slot = srm_table_each(&endpoint->addresses, hash, &cursor)) != NULL;) {
        srm_conn *conn = conn_of(slot->entry);
        if (!is_predecessor(conn, of))
            continue;
        if (!srm_conn_alive(conn))
            srm_conn_end(conn, now, true, SRMUDP_PEER_RESTARTED, SRM_CLOSE_LOST);
        if (!srm_conn_alive(conn) || asked)
            continue;
        srm_conn_challenge(conn->current, now, SRM_CHALLENGE_SILENCE, &conn->current->remote);
        conn->speaks |= !all;
        asked = !all;
    }
}

void srm_conn_end_predecessors(srm_conn *newcomer, srm_time now) {
    ask_predecessors(newcomer, now, false);
}

void srm_conn_challenge_timeout(srm_link *link, srm_time now) {
    srm_conn *conn = link->conn;
    link->challenge_open = link->challenge_due = false;
    if (link->state == SRM_LINK_CANDIDATE) {
        srm_conn_drop_candidate(conn, link);
        return;
    }
    if (link->challenge_purpose != SRM_CHALLENGE_SILENCE)
        return; /* a path that doesn't answer is not taken */
    if (link->heard > link->challenge_first + srm_rtt_pto(&link->rtt)) {
        refuse_busy(conn, now); /* the answer got lost, but no dead process sent that */
        return;
    }
    conn->silent = true;
    if (conn->accepted) {
        if (conn->speaks)
            ask_predecessors(conn, now, true);
        srm_conn_end(conn, now, true, SRMUDP_PEER_RESTARTED, SRM_CLOSE_LOST);
        return;
    }
    for (srm_link *at = conn->candidates, *next; at != NULL && conn->silent; at = next) {
        next = at->next;
        try_candidate(conn, now, at);
        if (conn->current == at)
            break;
    }
}

/* ---- What the entry asks and tells ---- */

void srm_conn_confirmed(srm_conn *conn, srm_time now, const srm_confirmed *run) {
    /* Another process of an accepted peer is a connection of its own; it comes through the listener. */
    if (conn->accepted && conn->session && memcmp(conn->peer_id, run->peer_id, sizeof conn->peer_id) != 0)
        return;
    srm_link *link = srm_conn_new_link(conn, now, run);
    if (link == NULL)
        return;
    if (!srm_table_add(&conn->endpoint->links, link->cid_local, link)) {
        srm_conn_free_link(link);
        return;
    }
    if (conn->current == NULL) {
        become_current(conn, now, link);
        return;
    }
    drop_oldest_candidate(conn);
    link->next = conn->candidates;
    conn->candidates = link;
    srm_conn_challenge(link, now, SRM_CHALLENGE_FRESH, &link->remote);
    if (!srm_conn_same_session(conn, link) && srm_conn_alive(conn))
        srm_conn_challenge(conn->current, now, SRM_CHALLENGE_SILENCE, &conn->current->remote);
}

static srm_entry_session session_of(const srm_entry *entry) {
    const srm_conn *conn = conn_of(entry);
    if (conn->current == NULL)
        return SRM_SESSION_NONE;
    return srm_conn_alive(conn) ? SRM_SESSION_ALIVE : SRM_SESSION_DEAD;
}

static void entry_confirmed(srm_entry *entry, srm_time now, const srm_confirmed *run, srm_span packets) {
    (void)packets; /* they come to the link by its CID */
    if (!conn_of(entry)->ended)
        srm_conn_confirmed(conn_of(entry), now, run);
}

static void entry_wrong_key(srm_entry *entry, srm_time now, uint64_t count) {
    (void)now;
    srmudp_event event = {.kind = SRMUDP_EVENT_WRONG_KEY, .count = count};
    srm_conn_emit(conn_of(entry), &event);
}

static void entry_version(srm_entry *entry, srm_time now) {
    srm_conn *conn = conn_of(entry);
    if (!conn->version_told)
        srm_conn_set_status(conn, now, conn->status, SRMUDP_VERSION_MISMATCH);
    conn->version_told = true;
}

static void entry_tried(srm_entry *entry, srm_time now) {
    srm_conn *conn = conn_of(entry);
    conn->attempt++;
    if (conn->status == SRMUDP_RECONNECTING && conn->attempt > 1)
        srm_conn_set_status(conn, now, SRMUDP_RECONNECTING, SRMUDP_LIVENESS);
}

static void entry_touched(srm_entry *entry, srm_time now) {
    (void)now;
    srm_conn_wake(conn_of(entry));
}

const srm_entry_owner srm_conn_entry_owner = {session_of,    entry_confirmed, entry_wrong_key,
                                              entry_version, entry_tried,     entry_touched};
