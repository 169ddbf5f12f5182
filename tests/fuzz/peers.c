#include "peers.h"

#include "../../csrc/core/limits.h"

#define KEY_SPAN(text) srm_span_of((text), strlen(text))

/* More than any window lets out at one instant, and more rounds than anything takes that has an end. */
#define DATAGRAMS_AT_ONCE 20000
#define ROUNDS_AT_ONCE 3

static void fill(void *context, uint8_t *out, size_t size) {
    peer *at = context;
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(fuzz_random(&at->random) >> 32);
}

/* ---- Connections and their events ---- */

static peer_conn *new_conn(peer *at) {
    peers *world = at->world;
    if (world->conn_count == PEERS_CONNS)
        return NULL;
    peer_conn *conn = &world->conns[world->conn_count++];
    *conn = (peer_conn){.at = at, .status = SRMUDP_WAITING};
    conn->held_last = &conn->held;
    return conn;
}

static void *accepted(void *context, void *listener_user, srm_conn *conn) {
    (void)listener_user;
    peer_conn *mine = new_conn(context);
    if (mine != NULL) {
        mine->conn = conn;
        mine->accepted = true;
    }
    return mine;
}

static void on_message(peer_conn *conn, srm_message *message) {
    peers *world = conn->at->world;
    conn->messages++;
    if (world->on_message != NULL)
        world->on_message(world, conn, message);
    if (conn->hold || conn->conn == NULL) {
        message->next = NULL;
        *conn->held_last = message;
        conn->held_last = &message->next;
    } else {
        srm_conn_consume(conn->conn, world->now, message);
    }
}

static void on_closed(peer_conn *conn, const srmudp_event *event) {
    conn->closed++;
    FUZZ_CHECK(event->reason == conn->reason, "it ends for the reason it gave");
    FUZZ_CHECK(conn->status == SRMUDP_FAILED || conn->status == SRMUDP_STATUS_CLOSED, "its status told so");
    srm_conn_release(conn->conn, conn->at->world->now);
    conn->conn = NULL;
}

static void on_event(peer_conn *conn, const srmudp_event *event) {
    switch (event->kind) {
    case SRMUDP_EVENT_STATUS:
        conn->status = event->status;
        conn->reason = event->reason;
        conn->established += event->status == SRMUDP_ESTABLISHED;
        break;
    case SRMUDP_EVENT_UNDELIVERED:
        conn->undelivered += event->count;
        srm_message_free_list(event->message);
        break;
    case SRMUDP_EVENT_WRONG_KEY:
        conn->wrong_keys++;
        break;
    case SRMUDP_EVENT_PEER_RESTARTED:
        conn->restarts++;
        break;
    case SRMUDP_EVENT_CLOSED:
        on_closed(conn, event);
        break;
    case SRMUDP_EVENT_MESSAGE:
    case SRMUDP_EVENT_WRITABLE:
    case SRMUDP_EVENT_CONSUMED:
    case SRMUDP_EVENT_ACCEPTED:
    case SRMUDP_EVENT_PEER_CLOSED:
    case SRMUDP_EVENT_PATH_CHANGED:
        break;
    }
}

static bool take_events(peer *at) {
    srm_message *node = srm_endpoint_events(at->endpoint);
    bool any = node != NULL;
    for (srm_message *next; node != NULL; node = next) {
        next = node->next;
        peer_conn *conn = node->owner;
        FUZZ_CHECK(conn->closed == 0 || node->kind == SRMUDP_EVENT_UNDELIVERED,
                   "CLOSED is the last event, but for what was sent before it was read");
        if (node->kind == SRMUDP_EVENT_MESSAGE) {
            on_message(conn, node);
            continue;
        }
        srmudp_event event;
        memcpy(&event, node->data, sizeof event);
        srm_message_free(node);
        on_event(conn, &event);
    }
    return any;
}

/* ---- The world ---- */

void peers_init(peers *world) {
    memset(world, 0, sizeof *world);
    world->now = SRM_SECOND;
}

/* No more events come for them. */
static void forget_conns(const peer *at) {
    for (int i = 0; i < at->world->conn_count; i++)
        if (at->world->conns[i].at == at)
            at->world->conns[i].conn = NULL;
}

void peers_kill(peer *at) {
    if (at->endpoint == NULL)
        return;
    take_events(at);
    srm_endpoint_free(at->endpoint);
    at->endpoint = NULL;
    at->listener = NULL;
    forget_conns(at);
}

void peers_fini(peers *world) {
    for (int i = 0; i < world->count; i++)
        peers_kill(&world->at[i]);
    for (int i = 0; i < world->conn_count; i++)
        srm_message_free_list(world->conns[i].held);
}

void peers_start(peer *at, const srmudp_config *config, uint64_t seed) {
    srm_hooks hooks = {.context = at, .accepted = accepted};
    at->random = seed;
    at->endpoint = srm_endpoint_new(config, (srm_entropy){fill, at}, hooks, at->world->now);
    FUZZ_CHECK(at->endpoint != NULL, "memory");
}

peer *peers_add(peers *world, const srmudp_config *config, uint64_t seed) {
    FUZZ_CHECK(world->count < PEERS_MAX, "room for another peer");
    int index = world->count++;
    peer *at = &world->at[index];
    *at = (peer){.world = world};
    at->address = (srmudp_address){.ip = {10, 0, 0, (uint8_t)(index + 1)}, .port = 4000, .family = 4};
    peers_start(at, config, seed);
    return at;
}

peer_conn *peers_open(peer *from, const char *key, const srmudp_address *to) {
    peer_conn *conn = new_conn(from);
    FUZZ_CHECK(conn != NULL, "room for another connection");
    FUZZ_CHECK(srm_endpoint_open(from->endpoint, from->world->now, KEY_SPAN(key), KEY_SPAN(""), to, 1, conn,
                                 &conn->conn) == SRMUDP_OK,
               "open");
    return conn;
}

void peers_listen(peer *at, const char *key) {
    FUZZ_CHECK(srm_endpoint_listen(at->endpoint, at->world->now, KEY_SPAN(key), KEY_SPAN(""), at,
                                   &at->listener) == SRMUDP_OK,
               "listen");
}

peer_conn *peers_accepted(peers *world, const peer *at) {
    for (int i = world->conn_count - 1; i >= 0; i--)
        if (world->conns[i].at == at && world->conns[i].accepted)
            return &world->conns[i];
    return NULL;
}

void peers_send(peer_conn *conn, uint8_t channel, uint32_t size, uint8_t byte) {
    srm_message *message = conn->conn != NULL ? srm_message_new(size, channel, 0) : NULL;
    if (message == NULL)
        return;
    memset(message->data, byte, size);
    srm_conn_send(conn->conn, conn->at->world->now, message);
}

void peers_release(peer_conn *conn) {
    for (srm_message *next; conn->held != NULL; conn->held = next) {
        next = conn->held->next;
        if (conn->conn != NULL)
            srm_conn_consume(conn->conn, conn->at->world->now, conn->held);
        else
            srm_message_free(conn->held);
    }
    conn->held_last = &conn->held;
}

/* ---- Time and datagrams ---- */

void peers_deliver(peers *world, peer *to, const srmudp_address *from, uint8_t *data, size_t size) {
    srm_datagram datagram = {.data = data, .size = size, .segment = size, .from = *from};
    srm_endpoint_receive(to->endpoint, world->now, &datagram);
}

static void forward(peer *from, const srmudp_address *to, uint8_t *data, size_t size) {
    peers *world = from->world;
    world->datagrams++;
    if (world->on_datagram != NULL && !world->on_datagram(world, from, to, data, size))
        return;
    for (int i = 0; i < world->count; i++)
        if (world->at[i].endpoint != NULL && world->at[i].address.port == to->port &&
            memcmp(&world->at[i].address.ip, &to->ip, sizeof to->ip) == 0)
            peers_deliver(world, &world->at[i], &from->address, data, size);
}

static bool send_all(peer *at) {
    static uint8_t buffer[SRM_TRANSMIT_MIN_BUFFER]; /* so probes of the path MTU are no larger either */
    srm_transmit out;
    size_t count = 0;
    while (srm_endpoint_transmit(at->endpoint, at->world->now, buffer, sizeof buffer, false, &out)) {
        FUZZ_CHECK(++count < DATAGRAMS_AT_ONCE, "it sends without end");
        FUZZ_CHECK(out.size > 0 && out.size <= sizeof buffer && out.segment == out.size,
                   "one datagram of a size that travels");
        forward(at, &out.to, buffer, out.size);
    }
    return count > 0;
}

/* All that one peer has to do now. True: it did something. */
static bool turn(peer *at) {
    bool any = false;
    for (int rounds = 0;; rounds++) {
        bool due = srm_endpoint_deadline(at->endpoint) <= at->world->now;
        FUZZ_CHECK(!due || rounds < ROUNDS_AT_ONCE, "something is due again and again: a driver would spin");
        if (due)
            srm_endpoint_timeout(at->endpoint, at->world->now);
        bool sent = send_all(at), told = take_events(at);
        any |= due || sent || told;
        if (!due && !sent && !told)
            return any;
        rounds -= !due;
    }
}

static srm_time next_deadline(const peers *world, srm_time next) {
    for (int i = 0; i < world->count; i++)
        if (world->at[i].endpoint != NULL)
            next = srm_time_min(next, srm_endpoint_deadline(world->at[i].endpoint));
    return next;
}

void peers_run(peers *world, srm_time span) {
    srm_time end = world->now + span;
    world->pause = false;
    do {
        bool any = false;
        for (int i = 0; i < world->count; i++) {
            any |= world->at[i].endpoint != NULL && turn(&world->at[i]);
            world->now += PEERS_HOP;
        }
        if (!any && !world->pause)
            world->now = srm_time_max(world->now, next_deadline(world, end));
    } while (world->now < end && !world->pause);
}
