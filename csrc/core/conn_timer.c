#include "conn.h"

/* All of a connection's timers, and what they do. One deadline in the endpoint's heap stands for them all; it
 * is set anew whenever the connection has sent what it had to say (srm_conn_sent_all). */

bool srm_conn_alive(const srm_conn *conn) {
    return conn->status == SRMUDP_ESTABLISHED && conn->current != NULL;
}

/* When silence means that the peer is gone: counted from what waits for an answer longest (data, or a
 * CONFIRM), or from the last word. */
static srm_time death_time(const srm_conn *conn) {
    const srm_link *link = conn->current;
    if (!srm_conn_alive(conn))
        return SRM_TIME_NEVER;
    srm_time oldest = link->confirm != NULL ? link->created : srm_sent_oldest_unacked(&link->sent);
    if (oldest == SRM_TIME_NEVER)
        return SRM_TIME_NEVER;
    bool in_flight = srm_outbox_unacked(&conn->outbox) || link->confirm != NULL;
    const srmudp_config *config = &conn->endpoint->config;
    uint32_t limit = in_flight ? config->liveness_in_flight : config->liveness;
    return srm_time_max(oldest, link->heard) +
           srm_time_max(limit * SRM_MILLISECOND, 3 * srm_rtt_pto(&link->rtt));
}

/* The responder waits a little longer, so that usually one side's keep-alive serves both. */
static srm_time keepalive_time(const srm_conn *conn) {
    const srm_link *link = conn->current;
    if (!srm_conn_alive(conn) || link->sent.eliciting > 0)
        return SRM_TIME_NEVER;
    srm_time interval = conn->endpoint->config.keepalive_interval * SRM_MILLISECOND;
    return link->heard + (link->role == SRM_ROLE_RESPONDER ? interval + interval / 8 : interval);
}

static srm_time outage_end(const srm_conn *conn) {
    uint32_t limit = conn->endpoint->config.outage_limit;
    if (conn->status != SRMUDP_RECONNECTING || limit == SRMUDP_FOR_EVER)
        return SRM_TIME_NEVER;
    return conn->reconnecting_since + limit * SRM_MILLISECOND;
}

static srm_time link_time(const srm_link *link) {
    if (link->state == SRM_LINK_CLOSING)
        return srm_time_min(link->close_at, link->close_until);
    srm_time at = srm_sent_deadline(&link->sent, &link->rtt);
    if (!srm_conn_is_foreign(link))
        at = srm_time_min(at, srm_acks_deadline(&link->acks));
    if (link->confirm != NULL)
        at = srm_time_min(at, link->confirm_at);
    if (link->challenge_open)
        at = srm_time_min(at, srm_time_min(link->challenge_at, srm_conn_silence_time(link)));
    return at;
}

srm_time srm_conn_deadline(const srm_conn *conn, srm_time now) {
    srm_time at = srm_time_min(conn->gone_at, srm_entry_deadline(&conn->entry));
    for (const srm_link *link = conn->candidates; link != NULL; link = link->next)
        at = srm_time_min(at, link_time(link));
    if (conn->current != NULL)
        at = srm_time_min(at, link_time(conn->current));
    if (conn->ended)
        return at;
    if (conn->closing)
        at = srm_time_min(at, conn->close_at);
    at = srm_time_min(at, outage_end(conn));
    if (conn->current == NULL)
        return at;
    at = srm_time_min(at, srm_time_min(death_time(conn), keepalive_time(conn)));
    return srm_time_min(at, srm_conn_send_time(conn, now));
}

static void fire_link(srm_conn *conn, srm_link *link, srm_time now) {
    if (link->state == SRM_LINK_CLOSING) {
        link->close_due |= link->close_at <= now;
        if (link != conn->current && link->close_until <= now)
            srm_conn_drop_candidate(conn, link);
        return;
    }
    if (srm_sent_deadline(&link->sent, &link->rtt) <= now) {
        srm_sent_event event;
        srm_sent_sink sink = srm_conn_sink(link);
        link->event_now = now;
        srm_sent_on_timer(&link->sent, now, &link->rtt, &sink, &event);
        srm_conn_apply_sent_event(conn, link, now, &event);
    }
    if (!link->challenge_open)
        return;
    link->challenge_due |= link->challenge_at <= now;
    if (srm_conn_silence_time(link) <= now)
        srm_conn_challenge_timeout(link, now);
}

/* An idle connection doesn't keep what a burst took; its keep-alives bring it here. */
static void give_back(srm_link *link, srm_time now) {
    if (link->repair_in != NULL && srm_repair_in_idle(link->repair_in, now)) {
        srm_repair_in_free(link->repair_in);
        link->repair_in = NULL;
    }
    if (link->sent.eliciting > 0 || now - link->sent.pto_from < SRM_SECOND)
        return;
    srm_sent_trim(&link->sent, now);
    srm_acks_trim(&link->acks);
    srm_repair_out_trim(&link->repair_out);
}

static void fire_current(srm_conn *conn, srm_time now) {
    if (death_time(conn) <= now) {
        srm_conn_set_status(conn, now, SRMUDP_RECONNECTING, SRMUDP_LIVENESS);
        srm_entry_start(&conn->entry, now, true);
    }
    if (keepalive_time(conn) <= now)
        conn->current->ping = true;
    give_back(conn->current, now);
}

/* True when the connection is no more. */
static bool fire_gone(srm_conn *conn, srm_time now) {
    if (conn->gone_at > now)
        return false;
    srm_conn_forget_links(conn, true);
    conn->gone_at = SRM_TIME_NEVER;
    bool released = conn->released;
    if (released)
        srm_conn_free(conn);
    return released;
}

void srm_conn_fire(srm_timed *timed, srm_time now) {
    srm_conn *conn = (srm_conn *)timed;
    if (conn->ended && fire_gone(conn, now))
        return;
    for (srm_link *link = conn->candidates, *next; link != NULL; link = next) {
        next = link->next;
        fire_link(conn, link, now);
        if (conn->current == link || conn->candidates == NULL)
            break;
    }
    if (conn->current != NULL)
        fire_link(conn, conn->current, now);
    if (!conn->ended && conn->current != NULL)
        fire_current(conn, now);
    if (!conn->ended)
        srm_entry_timeout(&conn->entry, now);
    if (!conn->ended && outage_end(conn) <= now)
        srm_conn_end(conn, now, true, SRMUDP_CONNECTION_LOST, UINT8_MAX);
    if (!conn->ended && conn->closing && conn->close_at <= now)
        srm_conn_end(conn, now, false, SRMUDP_OK, SRM_CLOSE_GOODBYE);
    srm_conn_wake(conn);
}
