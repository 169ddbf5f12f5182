/* How an endpoint says that events wait: a descriptor, or a call on the engine's thread. */
#include "srmudp.h"

#include <poll.h>
#include <pthread.h>

#include "check.h"
#include "host.h"

static bool is_readable(const host *h, int timeout) {
    struct pollfd fd = {.fd = srmudp_endpoint_fd(h->endpoint), .events = POLLIN};
    return poll(&fd, 1, timeout) == 1;
}

TEST(the_descriptor_is_readable_while_events_wait) {
    host *a = host_new(NULL), *b = host_new(NULL);
    host_listen(b, "key");
    CHECK(!is_readable(a, 0));
    peer *x = host_open(a, "127.0.0.1", b, "key");
    UNTIL(b->accepted == 1 && x->established == 1 && host_last(b)->established == 1);
    host_settle(50);
    CHECK(!is_readable(b, 0));
    for (uint64_t i = 0; i < 3; i++)
        host_send(x, 10, 0, i);
    srmudp_event event;
    int messages = 0;
    while (messages < 3) {
        CHECK(is_readable(b, 5000));
        /* One at a time: as long as more may wait it stays readable. */
        if (!srmudp_endpoint_next_event(b->endpoint, &event))
            continue;
        CHECK_EQ(event.kind, SRMUDP_EVENT_MESSAGE);
        srmudp_message_consume(event.message);
        messages++;
        CHECK(is_readable(b, 0));
    }
    while (srmudp_endpoint_next_event(b->endpoint, &event))
        ;
    CHECK(!is_readable(b, 0));
    CHECK(!srmudp_endpoint_next_event(b->endpoint, &event));
    host_free(a);
    host_free(b);
}

/* ---- on_ready ---- */

typedef struct notified {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int calls, messages;
    srmudp_endpoint *endpoint;
    bool work_there; /* call the endpoint's functions from on_ready */
    uint64_t connections;
    srmudp_connection *connection;
} notified;

/* On the engine's thread the application's functions may be called too, also those that ask the engine. */
static void work(notified *n) {
    srmudp_event event;
    while (srmudp_endpoint_next_event(n->endpoint, &event)) {
        if (event.kind == SRMUDP_EVENT_MESSAGE) {
            srmudp_stats stats;
            srmudp_endpoint_stats all;
            CHECK(srmudp_connection_stats(event.connection, &stats));
            srmudp_endpoint_get_stats(n->endpoint, &all);
            n->connections = all.connections;
            CHECK_EQ(srmudp_connection_send(event.connection, event.message, NULL), SRMUDP_OK);
            n->messages++;
        }
    }
}

static void on_ready(void *context) {
    notified *n = context;
    pthread_mutex_lock(&n->mutex);
    n->calls++;
    if (n->work_there)
        work(n);
    pthread_cond_signal(&n->condition);
    pthread_mutex_unlock(&n->mutex);
}

static host *notified_host(notified *n, bool work_there) {
    *n = (notified){.work_there = work_there};
    pthread_mutex_init(&n->mutex, NULL);
    pthread_cond_init(&n->condition, NULL);
    srmudp_config config;
    srmudp_config_init(&config);
    config.on_ready = on_ready;
    config.on_ready_context = n;
    host *h = host_new(&config);
    n->endpoint = h->endpoint;
    return h;
}

TEST(on_ready_takes_the_place_of_the_descriptor) {
    notified n;
    host *b = host_new(NULL), *a = notified_host(&n, false);
    CHECK_EQ(srmudp_endpoint_fd(a->endpoint), -1);
    host_listen(b, "key");
    peer *x = host_open(a, "127.0.0.1", b, "key");
    for (int seen = 0; x->status != SRMUDP_ESTABLISHED;) {
        pthread_mutex_lock(&n.mutex);
        while (n.calls == seen)
            pthread_cond_wait(&n.condition, &n.mutex);
        seen = n.calls;
        pthread_mutex_unlock(&n.mutex);
        host_pump(host_now());
    }
    host_settle(50);
    host_free(a);
    host_free(b);
}

TEST(functions_may_be_called_on_the_engines_thread) {
    notified n;
    host *b = host_new(NULL), *a = notified_host(&n, true);
    pthread_mutex_lock(&n.mutex); /* so that the two don't meet */
    srmudp_listener *listener;
    CHECK_EQ(srmudp_endpoint_listen(a->endpoint, "key", 3, NULL, NULL, &listener), SRMUDP_OK);
    pthread_mutex_unlock(&n.mutex);
    host_hide(a);
    peer *y = host_open(b, "127.0.0.1", a, "key");
    for (uint64_t i = 0; i < 100; i++)
        host_send(y, 500, 0, i);
    UNTIL(y->messages == 100 && y->consumed[0] == 0);
    CHECK_EQ(n.messages, 100);
    CHECK_EQ(n.connections, 1);
    host_free(a);
    host_free(b);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
