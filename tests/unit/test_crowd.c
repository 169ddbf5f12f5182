/* Many peers at once behind one address: honest ones get in quickly, guessers don't, whatever else comes from
 * there.
 *
 *      1,000 endpoints at 10.9.9.9:1024..2023  ──── delay ────  one listener at 10.0.0.1:4000
 */
#include "endpoint.h"

#include "check.h"
#include "conn.h"
#include "state.h"

#include <sodium.h>
#include <stdlib.h>

#define CROWD 1000
#define STEP SRM_MILLISECOND

typedef struct letter {
    struct letter *next;
    srm_time due;
    unsigned to; /* a member, or CROWD: the listener's endpoint */
    srmudp_address from;
    size_t size;
    uint8_t data[];
} letter;

typedef struct member {
    srm_endpoint *endpoint;
    srm_conn *conn;
    srmudp_address address;
    bool guesser, answered, established;
} member;

static struct {
    srm_time now, delay;
    uint64_t random;
    member crowd[CROWD];
    srm_endpoint *server;
    srm_listener *listener;
    srmudp_address address;
    unsigned accepted;
    letter *first, **last; /* one delay for all: first in, first out */
} w;

static void fill(void *context, uint8_t *out, size_t size) {
    uint64_t *state = context;
    for (size_t i = 0; i < size; i++) {
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(*state >> 56);
    }
}

static void *on_accepted(void *context, void *user, srm_conn *conn) {
    (void)context, (void)user, (void)conn;
    w.accepted++;
    return &w;
}

static srm_endpoint *new_endpoint(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    return srm_endpoint_new(&config, (srm_entropy){fill, &w.random}, (srm_hooks){NULL, on_accepted, NULL},
                            w.now);
}

static void begin(srm_time rtt) {
    memset(&w, 0, sizeof w);
    w.now = 100 * SRM_SECOND;
    w.delay = rtt / 2;
    w.random = 7;
    w.last = &w.first;
    w.address = (srmudp_address){.ip = {10, 0, 0, 1}, .port = 4000, .family = 4};
    w.server = new_endpoint();
    CHECK_EQ(
        srm_endpoint_listen(w.server, w.now, srm_span_of("right", 5), srm_span_of("", 0), &w, &w.listener),
        SRMUDP_OK);
}

/* The guessers among `count` members are every `each`-th; 0: none. */
static void come(unsigned first, unsigned count, unsigned each) {
    for (unsigned i = first; i < first + count; i++) {
        member *m = &w.crowd[i];
        char key[32];
        m->address = (srmudp_address){.ip = {10, 9, 9, 9}, .port = (uint16_t)(1024 + i), .family = 4};
        m->guesser = each > 0 && i % each == 0;
        m->endpoint = new_endpoint();
        snprintf(key, sizeof key, m->guesser ? "wrong %u" : "right", i);
        CHECK_EQ(srm_endpoint_open(m->endpoint, w.now, srm_span_of(key, strlen(key)), srm_span_of("", 0),
                                   &w.address, 1, m, &m->conn),
                 SRMUDP_OK);
    }
}

static void end(void) {
    for (unsigned i = 0; i < CROWD; i++)
        srm_endpoint_free(w.crowd[i].endpoint);
    srm_endpoint_free(w.server);
    for (letter *next; w.first != NULL; w.first = next) {
        next = w.first->next;
        free(w.first);
    }
}

static void post(unsigned to, const srmudp_address *from, const uint8_t *data, size_t size) {
    letter *l = malloc(sizeof *l + size);
    CHECK(l != NULL);
    *l = (letter){.due = w.now + w.delay, .to = to, .from = *from, .size = size};
    memcpy(l->data, data, size);
    *w.last = l;
    w.last = &l->next;
}

static void note_events(srm_endpoint *endpoint, member *m) {
    for (srm_message *next, *event = srm_endpoint_events(endpoint); event != NULL; event = next) {
        next = event->next;
        srmudp_event e = {0};
        if (event->kind == SRMUDP_EVENT_STATUS)
            memcpy(&e, event->data, sizeof e);
        if (m != NULL)
            m->established |= e.status == SRMUDP_ESTABLISHED;
        srm_event_node_free(event);
    }
}

/* Does what is due, and posts what comes of it. */
static void run(srm_endpoint *endpoint, const srmudp_address *from, member *m) {
    uint8_t buffer[SRM_TRANSMIT_MIN_BUFFER];
    srm_transmit what;
    if (endpoint == NULL)
        return;
    if (srm_endpoint_deadline(endpoint) <= w.now)
        srm_endpoint_timeout(endpoint, w.now);
    while (srm_endpoint_transmit(endpoint, w.now, buffer, sizeof buffer, false, &what))
        post(m != NULL ? CROWD : (unsigned)(what.to.port - 1024), from, buffer, what.size);
    note_events(endpoint, m);
}

static void deliver(letter *l) {
    srm_datagram datagram = {.data = l->data, .size = l->size, .segment = l->size, .from = l->from};
    member *m = l->to < CROWD ? &w.crowd[l->to] : NULL;
    if (m != NULL)
        m->answered |= l->data[0] == (0xc0 | SRM_REPLY);
    if (m == NULL || m->endpoint != NULL)
        srm_endpoint_receive(m != NULL ? m->endpoint : w.server, w.now, &datagram);
    if (m == NULL)
        run(w.server, &w.address, NULL); /* or a thousand answers pile up within one step */
}

static unsigned count_of(bool guessers) {
    unsigned count = 0;
    for (unsigned i = 0; i < CROWD; i++)
        count += w.crowd[i].guesser == guessers && (guessers ? w.crowd[i].answered : w.crowd[i].established);
    return count;
}

/* Time goes by, or until so many honest ones are in. How long it took. */
static srm_time pass(srm_time span, unsigned honest) {
    srm_time start = w.now;
    for (; w.now < start + span && count_of(false) < honest; w.now += STEP) {
        for (letter *l; (l = w.first) != NULL && l->due <= w.now; free(l)) {
            w.first = l->next;
            if (w.first == NULL)
                w.last = &w.first;
            deliver(l);
        }
        for (unsigned i = 0; i < CROWD; i++)
            run(w.crowd[i].endpoint, &w.crowd[i].address, &w.crowd[i]);
        run(w.server, &w.address, NULL);
    }
    return w.now - start;
}

TEST(a_crowd_of_honest_peers_gets_in_at_once) {
    begin(20 * SRM_MILLISECOND);
    come(0, CROWD, 0);
    srm_time took = pass(5 * SRM_SECOND, CROWD);
    printf("  1,000 through 20 ms: %lld ms\n", (long long)(took / SRM_MILLISECOND));
    CHECK_EQ(count_of(false), CROWD);
    CHECK(took <= 700 * SRM_MILLISECOND);
    pass(20 * SRM_MILLISECOND, CROWD + 1); /* the last CONFIRMs are under way */
    CHECK_EQ(w.accepted, CROWD);
    end();
}

TEST(a_crowd_far_away_gets_in_too) {
    begin(100 * SRM_MILLISECOND);
    come(0, CROWD, 0);
    srm_time took = pass(10 * SRM_SECOND, CROWD);
    printf("  1,000 through 100 ms: %lld ms\n", (long long)(took / SRM_MILLISECOND));
    CHECK(took <= 3 * SRM_SECOND);
    end();
}

TEST(a_crowd_of_guessers_gets_four_guesses_and_one_a_minute) {
    begin(20 * SRM_MILLISECOND);
    come(0, CROWD, 1);
    pass(SRM_SECOND, 1);
    CHECK_EQ(count_of(true), 4);
    pass(20 * SRM_SECOND, 1);
    CHECK_EQ(count_of(true), 4);
    CHECK(w.server->lobby.count <= SRM_LOBBY_GUESTS);
    end();
}

/* Guessers hide among the honest of their own NAT: what these earn lends them SRM_GUESS_CREDIT, once. */
TEST(guessers_in_an_honest_crowd_are_bounded) {
    begin(20 * SRM_MILLISECOND);
    come(0, CROWD, 4);
    pass(20 * SRM_SECOND, CROWD);
    unsigned guesses = count_of(true);
    printf("  of 750 honest ones %u got in beside 250 guessers, who got %u guesses\n", count_of(false),
           guesses);
    CHECK(guesses >= 4 && guesses <= 4 + SRM_GUESS_CREDIT);
    end();
}

TEST(a_crowd_waiting_in_vain_leaves_nothing_behind) {
    begin(20 * SRM_MILLISECOND);
    come(0, CROWD, 1);
    pass(2 * SRM_SECOND, 1);
    CHECK(w.server->lobby.count > 0);
    for (unsigned i = 0; i < CROWD; i++) {
        srm_endpoint_free(w.crowd[i].endpoint);
        w.crowd[i].endpoint = NULL;
    }
    pass(30 * SRM_SECOND, 1);
    CHECK_EQ(w.server->lobby.count, 0);
    CHECK_EQ(srm_endpoint_deadline(w.server), SRM_TIME_NEVER); /* and no timer wakes it */
    end();
}

int main(int argc, char **argv) {
    if (sodium_init() < 0)
        return 1;
    return check_main(argc, argv);
}
