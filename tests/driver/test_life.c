/* Ends of connections and endpoints: close, release, loss, fork; and that nothing is left behind. */
#include "host.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static host *a, *b;
static peer *x, *y;

static void connect_pair(const srmudp_config *config) {
    a = host_new(config);
    b = host_new(config);
    host_listen(b, "key");
    x = host_open(a, "127.0.0.1", b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && b->accepted == 1 && host_last(b)->established == 1);
    y = host_last(b);
}

static void free_pair(void) {
    for (int i = 0; i < a->count; i++)
        CHECK_EQ(a->peers[i].after_closed, 0);
    for (int i = 0; i < b->count; i++)
        CHECK_EQ(b->peers[i].after_closed, 0);
    host_free(a);
    host_free(b);
}

static srmudp_config impatient(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.liveness = 1000;
    config.liveness_in_flight = 500;
    config.keepalive_interval = 500;
    config.reconnect_delay = 100;
    return config;
}

/* ---- Closing a connection ---- */

TEST(close_delivers_what_was_sent) {
    connect_pair(NULL);
    for (uint64_t i = 0; i < 200; i++)
        host_send(x, 50000, (uint8_t)i, i);
    srmudp_connection_close(x->connection, 30000);
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, "late", 4, 0, 0, NULL), SRMUDP_CLOSED);
    UNTIL(x->closed == 1 && y->closed == 1);
    CHECK_EQ(y->messages, 200);
    CHECK(x->undelivered == 0 && y->undelivered == 0);
    CHECK_EQ(x->reason, SRMUDP_OK);
    CHECK_EQ(y->peer_closed, 1);
    CHECK(x->status == SRMUDP_STATUS_CLOSED);
    CHECK_EQ(srmudp_connection_send_bytes(y->connection, "late", 4, 0, 0, NULL), SRMUDP_CLOSED);
    free_pair();
}

TEST(close_gives_back_what_was_not_consumed_in_time) {
    connect_pair(NULL);
    y->hold = true;
    for (uint64_t i = 0; i < 10; i++)
        host_send(x, 1000, 0, i);
    UNTIL(y->held_count == 10);
    host_consume_held(y);
    UNTIL(x->consumed[0] == 10);
    for (uint64_t i = 0; i < 7; i++)
        host_send(x, 1000 + i, (uint8_t)i, i);
    UNTIL(y->held_count == 7);
    srmudp_connection_close(x->connection, 300);
    UNTIL(x->closed == 1);
    CHECK_EQ(x->undelivered, 7);
    CHECK_EQ(x->undelivered_bytes, 7 * 1000 + 21);
    UNTIL(y->closed == 1);
    free_pair();
}

TEST(a_second_close_may_only_shorten_the_first) {
    connect_pair(NULL);
    y->hold = true;
    host_send(x, 1000, 0, 1);
    UNTIL(y->held_count == 1);
    srmudp_connection_close(x->connection, 60000);
    srmudp_connection_close(x->connection, 120000);
    host_settle(50);
    CHECK_EQ(x->closed, 0);
    srmudp_connection_close(x->connection, 0);
    UNTIL_WITHIN(x->closed == 1, 2000);
    CHECK_EQ(x->undelivered, 1);
    free_pair();
}

TEST(close_of_one_that_waits_gives_everything_back) {
    a = host_new(NULL);
    b = host_new(NULL);
    x = host_open(a, "127.0.0.1", b, "key");
    for (uint64_t i = 0; i < 5; i++)
        host_send(x, 100, 0, i);
    srmudp_connection_close(x->connection, 0);
    UNTIL(x->closed == 1);
    CHECK_EQ(x->undelivered, 5);
    free_pair();
}

/* The peer ends it while we go on sending: all of it comes back, and CLOSED is last. */
TEST(closed_is_last_whoever_sends_meanwhile) {
    for (int round = 0; round < 20; round++) {
        connect_pair(NULL);
        host_send(x, 1000, 0, 0);
        UNTIL(y->messages == 1);
        srmudp_connection_close(y->connection, 0);
        uint64_t sent = 1;
        /* Without taking events, so that the end comes between two of these. */
        for (int64_t end = host_now() + 20; host_now() < end; sent++)
            CHECK_EQ(srmudp_connection_send_bytes(x->connection, "x", 1, 0, 0, NULL), SRMUDP_OK);
        UNTIL(x->closed == 1);
        /* What y consumed at the very end it couldn't say any more: that may be on both sides' lists. */
        CHECK(x->undelivered + y->messages >= sent && x->undelivered < sent);
        CHECK_EQ(srmudp_connection_send_bytes(x->connection, "x", 1, 0, 0, NULL), SRMUDP_CLOSED);
        host_settle(20);
        free_pair();
    }
}

/* ---- Releasing ---- */

static void release_in(int state) {
    srmudp_config config = impatient();
    a = host_new(&config);
    b = host_new(&config);
    if (state >= 1)
        host_listen(b, "key");
    x = host_open(a, "127.0.0.1", b, "key");
    for (uint64_t i = 0; i < 20; i++)
        host_send(x, 5000, (uint8_t)i, i);
    if (state >= 2)
        UNTIL(b->accepted == 1 && host_last(b)->messages == 20);
    if (state == 3)
        srmudp_connection_close(x->connection, 5000);
    if (state == 4) {
        srmudp_connection_close(x->connection, 0);
        UNTIL(x->closed == 1);
    }
    if (state == 5)
        srmudp_connection_reconnect(x->connection);
    host_release(x);
    int closed = x->closed;
    host_settle(state == 2 ? 300 : 20);
    CHECK_EQ(x->closed, closed); /* nothing names it any more */
    if (state == 2)
        CHECK_EQ(host_last(b)->closed, 1);
    srmudp_endpoint_stats stats;
    srmudp_endpoint_get_stats(a->endpoint, &stats);
    free_pair();
}

TEST(release_is_allowed_in_every_state) {
    for (int state = 0; state <= 5; state++)
        release_in(state);
}

TEST(messages_outlive_their_connection_and_their_endpoint) {
    connect_pair(NULL);
    y->hold = true;
    for (uint64_t i = 0; i < 6; i++)
        host_send(x, 1000, 0, i);
    UNTIL(y->held_count == 6);
    srmudp_message_consume(y->held[0]);
    host_release(y);
    srmudp_message_consume(y->held[1]);
    srmudp_message_free(y->held[2]);
    CHECK_EQ(srmudp_connection_send(x->connection, y->held[3], NULL), SRMUDP_OK);
    srmudp_message *kept[2] = {y->held[4], y->held[5]};
    y->held_count = 0;
    host_free(a);
    host_free(b);
    CHECK_EQ(srmudp_message_size(kept[0]), 1000);
    srmudp_message_consume(kept[0]);
    srmudp_message_free(kept[1]);
}

TEST(an_endpoint_is_closed_with_everything_open) {
    connect_pair(NULL);
    host_open(a, "127.0.0.1", b, "another key");
    host_open_port(a, "localhost", b->port, "key", "name");
    for (uint64_t i = 0; i < 50; i++) {
        host_send(x, 10000, 0, i);
        host_send(y, 10000, 0, i);
    }
    srmudp_connection_close(x->connection, 10000);
    host_free(a);
    UNTIL(y->closed == 1); /* told at once */
    host_free(b);
}

/* ---- Nothing is left behind ---- */

static int entries_of(const char *path) {
    int count = 0;
    DIR *dir = opendir(path);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

TEST(a_thousand_endpoints_leave_no_descriptor_and_no_thread) {
    srmudp_endpoint *endpoint;
    CHECK_EQ(srmudp_endpoint_bind("", 0, NULL, &endpoint), SRMUDP_OK);
    srmudp_endpoint_close(endpoint); /* what libraries keep for the process is there now */
    int descriptors = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
    for (int i = 0; i < 1000; i++) {
        srmudp_connection *connection;
        srmudp_target target = {.host = "127.0.0.1", .port = 9, .key = "k", .key_size = 1};
        CHECK_EQ(srmudp_endpoint_bind("", 0, NULL, &endpoint), SRMUDP_OK);
        if (i % 2 == 0)
            CHECK_EQ(srmudp_endpoint_open(endpoint, &target, &connection), SRMUDP_OK);
        srmudp_endpoint_close(endpoint);
    }
    /* Fewer is possible: a lookup that an earlier test left behind has ended. */
    CHECK(entries_of("/proc/self/fd") <= descriptors);
    CHECK(entries_of("/proc/self/task") <= threads);
}

TEST(a_thousand_connections_leave_nothing_in_the_endpoint) {
    a = host_new(NULL);
    b = host_new(NULL);
    host_listen(b, "key");
    for (int i = 0; i < 1000; i++) {
        a->count = b->count = 0;
        x = i % 4 == 0 ? host_open_port(a, "127.0.0.1", 9, "key", NULL) : host_open(a, "127.0.0.1", b, "key");
        if (i % 4 != 0) {
            host_send(x, 100, 0, 1);
            UNTIL(b->count == 1 && b->peers[0].messages == 1);
            y = host_last(b);
            if (i % 4 == 1)
                srmudp_connection_close(x->connection, 1000);
            else
                host_release(x);
            UNTIL(y->closed == 1);
            host_release(y);
        }
        if (i % 4 < 2)
            host_release(x);
    }
    a->count = b->count = 0;
    srmudp_endpoint_stats stats;
    /* A closed link lingers to repeat its goodbye. */
    for (int64_t end = host_now() + 10000; host_now() < end; host_pump(host_now() + 100)) {
        srmudp_endpoint_get_stats(a->endpoint, &stats);
        if (stats.connections == 0)
            break;
    }
    CHECK_EQ(stats.connections, 0);
    free_pair();
}

/* ---- Fork ---- */

static int in_child(void (*act)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        act();
        _exit(42);
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static void use_as_child(void) {
    srmudp_event event;
    srmudp_stats stats;
    srmudp_endpoint_forget(a->endpoint);
    srmudp_target target = {.host = "127.0.0.1", .port = 9, .key = "k", .key_size = 1};
    srmudp_connection *connection;
    if (srmudp_endpoint_open(a->endpoint, &target, &connection) != SRMUDP_CLOSED ||
        srmudp_connection_send_bytes(x->connection, "x", 1, 0, 0, NULL) != SRMUDP_CLOSED ||
        srmudp_endpoint_next_event(a->endpoint, &event) || srmudp_connection_stats(x->connection, &stats))
        _exit(1);
    srmudp_connection_close(x->connection, 0);
    srmudp_connection_reconnect(x->connection);
    srmudp_connection_release(x->connection);
    srmudp_endpoint_close(a->endpoint);
}

static void close_as_child(void) {
    srmudp_endpoint_close(a->endpoint); /* without forget */
    srmudp_endpoint_close(b->endpoint);
}

TEST(a_forked_child_is_dead_and_disturbs_nobody) {
    connect_pair(NULL);
    CHECK_EQ(in_child(use_as_child), 42);
    CHECK_EQ(in_child(close_as_child), 42);
    host_send(x, 100000, 0, 1);
    host_send(y, 100000, 0, 1);
    UNTIL(x->messages == 1 && y->messages == 1);
    CHECK(x->reconnecting == 0 && y->reconnecting == 0);
    free_pair();
}

TEST(a_child_does_not_keep_the_port) {
    a = host_new(NULL);
    uint16_t port = a->port;
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        srmudp_endpoint_forget(a->endpoint);
        close(ready[0]);
        close(ready[1]);
        pause();
    }
    char byte;
    close(ready[1]);
    CHECK_EQ(read(ready[0], &byte, 1), 0); /* the child forgot */
    close(ready[0]);
    host_free(a);
    a = host_bound("", port, NULL);
    host_free(a);
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
