#include "conn.h"

#include <stdlib.h>

/* Paths come and go with the links on them, and connections that share one take turns: deficit round robin
 * (as RFC 8290 has it for flows). Who has data and no room waits at the end of a line; when there is room,
 * the first in it may send one batch. Who doesn't stand in line may send at once, but no more than
 * SRM_PATH_FREE_BYTES before everybody in it had a turn. */

/* ---- Turns ---- */

static void note_busy(srm_endpoint *endpoint, srm_path *path) {
    bool busy = path->waiting > 0 || path->turn != NULL;
    endpoint->busy_count += busy;
    endpoint->busy_count -= path->busy;
    path->busy = busy;
}

static void append(srm_path *path, srm_conn *conn) {
    conn->waits_on = path;
    conn->wait_next = NULL;
    conn->wait_previous = path->waiting_last;
    if (path->waiting_last != NULL)
        path->waiting_last->wait_next = conn;
    else
        path->waiting_first = conn;
    path->waiting_last = conn;
    path->waiting++;
}

static void take_out(srm_path *path, srm_conn *conn) {
    if (conn->wait_previous != NULL)
        conn->wait_previous->wait_next = conn->wait_next;
    else
        path->waiting_first = conn->wait_next;
    if (conn->wait_next != NULL)
        conn->wait_next->wait_previous = conn->wait_previous;
    else
        path->waiting_last = conn->wait_previous;
    conn->waits_on = NULL;
    path->waiting--;
}

static bool has_turn(const srm_conn *conn, const srm_path *path) {
    return path->turn == conn;
}

/* Whether there is room for a batch that is worth a turn, but for the pacing. */
static bool has_room(const srm_path *path) {
    return srm_path_room(path) >= srm_path_packet_size(path, SIZE_MAX) / 2;
}

static srm_time room_time(const srm_endpoint *endpoint, const srm_path *path, srm_time now) {
    if (!has_room(path))
        return SRM_TIME_NEVER;
    return srm_pacer_deadline(&path->pacer, now, srm_cc_pacing_rate(&path->cc),
                              srm_path_quantum(path, endpoint->busy_count));
}

static void set_timer(srm_endpoint *endpoint, srm_path *path, srm_time now) {
    bool pending = path->waiting > 0 && path->turn == NULL;
    srm_time at = pending ? room_time(endpoint, path, now) : SRM_TIME_NEVER;
    srm_endpoint_timed_set(endpoint, &path->timed, srm_time_min(at, srm_mtu_deadline(&path->mtu)));
}

/* Somebody came into the line, or left it. */
static void note_change(srm_endpoint *endpoint, srm_path *path, srm_time now) {
    note_busy(endpoint, path);
    set_timer(endpoint, path, now);
}

void srm_conn_next_turn(srm_endpoint *endpoint, srm_path *path, srm_time now) {
    srm_conn *first = path->waiting_first;
    if (path->turn == NULL && first != NULL && room_time(endpoint, path, now) <= now) {
        take_out(path, first);
        path->turn = first;
        first->turn_number = ++path->turns;
        first->taken = 0;
        srm_conn_wake(first);
    }
    note_change(endpoint, path, now);
}

/* The turn is over, if it was this one's. */
static void end_turn(srm_conn *conn, srm_path *path, srm_time now) {
    if (!has_turn(conn, path))
        return;
    path->turn = NULL;
    srm_conn_next_turn(conn->endpoint, path, now);
}

void srm_conn_leave_line(srm_conn *conn, srm_time now) {
    if (conn->waits_on != NULL)
        take_out(conn->waits_on, conn);
    if (conn->current != NULL)
        end_turn(conn, conn->current->path, now);
}

bool srm_conn_may_take(srm_conn *conn, const srm_link *link) {
    const srm_path *path = link->path;
    if (has_turn(conn, path) || (path->waiting == 0 && path->turn == NULL))
        return true;
    if (conn->waits_on != NULL)
        return false;
    if (path->turns - conn->turn_number >= path->waiting) {
        conn->turn_number = path->turns;
        conn->taken = 0;
    }
    return conn->taken < SRM_PATH_FREE_BYTES;
}

void srm_conn_took(srm_conn *conn, srm_time now, uint64_t bytes) {
    conn->taken += bytes;
    end_turn(conn, conn->current->path, now);
}

void srm_conn_line_up(srm_conn *conn, srm_time now, bool wants) {
    srm_path *path = conn->current->path;
    if (!wants) {
        srm_conn_leave_line(conn, now);
    } else if (conn->waits_on == NULL) {
        if (has_turn(conn, path)) /* and could not use it: no memory, or the window shrank meanwhile */
            path->turn = NULL;
        append(path, conn);
    }
    note_change(conn->endpoint, path, now);
}

static void path_fire(srm_timed *timed, srm_time now) {
    srm_path *path = (srm_path *)timed;
    if (srm_mtu_deadline(&path->mtu) <= now)
        srm_mtu_on_timer(&path->mtu, now);
    srm_conn_next_turn(path->endpoint, path, now);
}

/* ---- Paths come and go ---- */

static bool enlist(srm_endpoint *endpoint, srm_path *path) {
    if (!srm_endpoint_timed_add(endpoint, &path->timed, path_fire))
        return false;
    if (!srm_table_add(&endpoint->paths, srm_address_hash(endpoint, &path->remote, true), path)) {
        srm_endpoint_timed_remove(endpoint, &path->timed);
        return false;
    }
    path->endpoint = endpoint;
    path->open = true;
    set_timer(endpoint, path, endpoint->now);
    return true;
}

/* The one that newcomers to an address join; NULL: none. */
static srm_path *find_open(const srm_endpoint *endpoint, const srmudp_address *remote) {
    uint64_t hash = srm_address_hash(endpoint, remote, true);
    size_t cursor = 0;
    for (srm_path *path; (path = srm_table_each(&endpoint->paths, hash, &cursor)) != NULL;)
        if (path->open && srm_address_equal(&path->remote, remote))
            return path;
    return NULL;
}

static srm_path *add_path(srm_endpoint *endpoint, const srm_path *like) {
    srm_path *path = malloc(sizeof *path);
    if (path == NULL)
        return NULL;
    *path = *like;
    if (enlist(endpoint, path))
        return path;
    free(path);
    return NULL;
}

void srm_conn_leave_path(srm_endpoint *endpoint, srm_path *path, srm_time now) {
    if (--path->links > 0) {
        srm_conn_next_turn(endpoint, path, now);
        return;
    }
    SRM_ASSERT(path->waiting == 0 && path->turn == NULL);
    note_busy(endpoint, path);
    srm_endpoint_timed_remove(endpoint, &path->timed);
    srm_table_remove(&endpoint->paths, srm_address_hash(endpoint, &path->remote, true), path);
    free(path);
}

/* A link in place of a former one begins anew, whatever happened to the path; others that do so join it. */
static bool is_of_the_past(const srm_conn *conn, const srm_path *path, srm_time now) {
    return srm_path_is_stuck(path, now) || (conn->current != NULL && conn->current->path == path);
}

static srm_path *path_for(srm_conn *conn, srm_time now, const srm_confirmed *run) {
    srm_endpoint *endpoint = conn->endpoint;
    srm_path *path = find_open(endpoint, &run->remote), fresh;
    if (path != NULL && !is_of_the_past(conn, path, now))
        return path;
    if (path != NULL)
        path->open = false;
    srm_path_init(&fresh, now, &run->remote, &endpoint->config, run->peer.max_datagram);
    return add_path(endpoint, &fresh);
}

srm_link *srm_conn_new_link(srm_conn *conn, srm_time now, const srm_confirmed *run) {
    srm_path *path = path_for(conn, now, run);
    if (path == NULL)
        return NULL;
    path->links++;
    srm_link *link = srm_link_new(conn, path, now, run);
    if (link == NULL)
        srm_conn_leave_path(conn->endpoint, path, now);
    return link;
}

/* The path is not to wait for what only this link could have told. */
static void forget_link(srm_path *path, const srm_link *link) {
    if (path->prober == link) {
        srm_mtu_on_probe_gone(&path->mtu);
        path->prober = NULL;
    }
    if (path->loser == link)
        path->loser = NULL;
}

void srm_conn_free_link(srm_link *link) {
    srm_conn *conn = link->conn;
    srm_path *path = link->path;
    if (link == conn->current)
        srm_conn_leave_line(conn, conn->endpoint->now);
    forget_link(path, link);
    srm_link_free(link);
    srm_conn_leave_path(conn->endpoint, path, conn->endpoint->now);
}

/* Behind a NAT that only chose another port the way is the same. */
void srm_conn_move_link(srm_link *link, srm_time now, const srmudp_address *to) {
    srm_endpoint *endpoint = link->conn->endpoint;
    srm_path *old = link->path, *path = find_open(endpoint, to), made;
    bool same_ip = srm_address_same_ip(&link->remote, to), joins = path != NULL;
    link->remote = *to;
    if (!joins) {
        if (same_ip)
            srm_path_copy(&made, old, to, link->sent.aside ? 0 : link->sent.in_flight);
        else
            srm_path_init(&made, now, to, &endpoint->config, link->peer.max_datagram);
        path = add_path(endpoint, &made);
    }
    if (path == NULL || path == old) /* without memory what is known of the old one has to do */
        return;
    srm_conn_leave_line(link->conn, now);
    forget_link(old, link);
    path->links++;
    srm_link_set_path(link, now, path, same_ip && !joins, !same_ip);
    srm_conn_leave_path(endpoint, old, now);
}

void srm_conn_too_large(srm_endpoint *endpoint, srm_time now, const srmudp_address *to, size_t size) {
    uint64_t hash = srm_address_hash(endpoint, to, true);
    size_t cursor = 0;
    for (srm_path *path; (path = srm_table_each(&endpoint->paths, hash, &cursor)) != NULL;) {
        if (!srm_address_equal(&path->remote, to))
            continue;
        if (path->prober != NULL) {
            srm_sent_probe_refused(&path->prober->sent, now, size);
            srm_conn_wake(path->prober->conn);
        }
        srm_mtu_on_too_large(&path->mtu, now, size);
        srm_conn_next_turn(endpoint, path, now);
    }
}
