/* Turns of the engine on the application's thread: that they happen, that they end, and what they must not
 * do. */
#include "srmudp.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "host.h"

static host *a, *b;
static peer *x, *y;

static void echo(peer *p, srmudp_message *message) {
    srmudp_connection *connection = p->connection;
    CHECK_EQ(srmudp_connection_send_bytes(connection, srmudp_message_data(message),
                                          srmudp_message_size(message), 0, 0, NULL),
             SRMUDP_OK);
    srmudp_message_consume(message);
}

static int rounds;

static void count_round(peer *p, srmudp_message *message) {
    (void)p;
    rounds++;
    srmudp_message_consume(message);
}

static void connect_pair(void) {
    a = host_new(NULL);
    b = host_new(NULL);
    host_listen(b, "key");
    x = host_open(a, "127.0.0.1", b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && b->accepted == 1 && host_last(b)->established == 1);
    y = host_last(b);
    y->on_message = echo;
    x->on_message = count_round;
    rounds = 0;
}

static void free_pair(void) {
    host_free(a);
    host_free(b);
}

static void play(int count) {
    for (int until = rounds + count; rounds < until;) {
        int before = rounds;
        CHECK_EQ(srmudp_connection_send_bytes(x->connection, "ball", 4, 0, 0, NULL), SRMUDP_OK);
        UNTIL(rounds > before);
    }
}

/* How often the engines' threads slept and were woken. */
static long engine_sleeps(void) {
    char path[300], line[200];
    long total = 0, n;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        bool engine = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof line, status) != NULL) {
            if (strncmp(line, "Name:", 5) == 0)
                engine = strstr(line, "srmudp\n") != NULL;
            if (engine && sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
                total += n;
        }
        if (status != NULL)
            fclose(status);
    }
    closedir(tasks);
    return total;
}

TEST(answers_of_a_near_peer_need_no_engine) {
    connect_pair();
    play(100);
    long before = engine_sleeps();
    int64_t since = host_now();
    play(2000);
    long sleeps = engine_sleeps() - before;
    /* By way of the engines there would be four a round; what remains is their look each millisecond. */
    CHECK(sleeps < 1000 + 3 * (long)(host_now() - since));
    free_pair();
}

/* The application goes away in the middle of it. */
TEST(the_engine_takes_over_when_the_application_does_not_come) {
    connect_pair();
    play(50);
    y->on_message = NULL;
    for (uint64_t i = 0; i < 20; i++)
        host_send(x, 1000, 0, i);
    srmudp_stats stats;
    int64_t deadline = host_now() + HOST_WAIT;
    do /* nobody takes b's events, and all of it is acknowledged */
        CHECK(srmudp_connection_stats(x->connection, &stats) && host_now() < deadline);
    while (stats.bytes_in_flight > 0);
    CHECK_EQ(y->messages, 50);
    CHECK_EQ(stats.packets_lost, 0);
    UNTIL(y->messages == 70);
    free_pair();
}

/* Nothing is left behind that wakes anybody. */
TEST(an_idle_endpoint_lends_nothing) {
    connect_pair();
    play(50);
    host_settle(100); /* acknowledgements, and the ends of the loans */
    long before = engine_sleeps();
    struct timespec pause = {.tv_nsec = 300 * 1000 * 1000};
    nanosleep(&pause, NULL); /* what must not happen has no event */
    CHECK(engine_sleeps() - before <= 4);
    play(1);
    free_pair();
}

/* Many small messages in a row go many to a packet, as without visits. */
TEST(a_stream_is_packed_by_the_engine) {
    enum { COUNT = 20000 };
    connect_pair();
    y->on_message = NULL;
    play(0);
    for (uint64_t i = 0; i < COUNT; i++)
        host_send(x, 100, 0, i);
    UNTIL(y->messages == COUNT && x->consumed[0] == COUNT);
    srmudp_stats stats;
    CHECK(srmudp_connection_stats(x->connection, &stats));
    CHECK(stats.packets_sent < COUNT / 4);
    free_pair();
}

/* Both ways at once, larger and smaller than what a visit takes: loans begin and end all the time. */
TEST(loans_come_and_go_and_nothing_is_lost) {
    connect_pair();
    y->on_message = NULL;
    x->on_message = NULL;
    uint64_t there = 0, back = 0, sent = 0;
    srand(7);
    for (int i = 0; i < 3000; i++) {
        size_t size = rand() % 50 == 0 ? 60000 : (size_t)(rand() % 5000);
        peer *from = rand() % 2 == 0 ? x : y;
        uint64_t *hash = from == x ? &there : &back;
        *hash = host_hash_message(*hash, size, 0, (uint64_t)i);
        host_send(from, size, 0, (uint64_t)i);
        sent++;
        if (rand() % 3 > 0)
            UNTIL(x->messages + y->messages == sent);
    }
    UNTIL(x->messages + y->messages == sent);
    CHECK_EQ(x->hash, back);
    CHECK_EQ(y->hash, there);
    free_pair();
}

/* Sending is no reason to leave the sockets to the application: it may not come for what they bring. */
TEST(who_only_sends_is_acknowledged_all_the_same) {
    enum { MESSAGES = 200 };
    struct timespec pause = {.tv_nsec = 2 * 1000 * 1000}; /* less than SRM_DIRECT_WATCH */
    connect_pair();
    play(50);
    y->on_message = NULL;
    srmudp_stats before, after;
    CHECK(srmudp_connection_stats(x->connection, &before));
    for (uint64_t i = 0; i < MESSAGES; i++) {
        host_send(x, 200, 0, i);
        nanosleep(&pause, NULL); /* the application is busy elsewhere */
    }
    CHECK(srmudp_connection_stats(x->connection, &after));
    CHECK(after.packets_received - before.packets_received > MESSAGES / 10);
    CHECK(after.bytes_in_flight < 10000);
    UNTIL(y->messages == 50 + MESSAGES);
    free_pair();
}

/* Where the machine is busy a loan may be for nothing, and the next messages go without. */
TEST(what_is_expected_is_waited_for) {
    enum { TRIES = 500 };
    connect_pair();
    CHECK(!srmudp_endpoint_expects(a->endpoint)); /* nothing was asked */
    bool came = false;
    for (int i = 0; i < TRIES && !came; i++) {
        play(5);
        uint64_t before = x->messages + (uint64_t)rounds;
        CHECK_EQ(srmudp_connection_send_bytes(x->connection, "ball", 4, 0, 0, NULL), SRMUDP_OK);
        bool expected = srmudp_endpoint_expects(a->endpoint);
        CHECK_EQ(srmudp_connection_send_bytes(y->connection, "ball", 4, 0, 0, NULL), SRMUDP_OK);
        came = expected && srmudp_endpoint_linger(a->endpoint);
        UNTIL(x->messages + (uint64_t)rounds >= before + 2);
    }
    CHECK(came);
    free_pair();
}

/* Nobody answers: the time that is lost doesn't add up. */
TEST(what_does_not_come_is_seldom_waited_for) {
    enum { WAITS = 400 };
    connect_pair();
    int in_vain = 0;
    for (int i = 0; i < WAITS; i++) {
        play(2);
        y->on_message = NULL;
        uint64_t before = y->messages;
        CHECK_EQ(srmudp_connection_send_bytes(x->connection, "ball", 4, 0, 0, NULL), SRMUDP_OK);
        in_vain += srmudp_endpoint_expects(a->endpoint) && !srmudp_endpoint_linger(a->endpoint);
        UNTIL(y->messages == before + 1);
        y->on_message = echo;
    }
    CHECK(in_vain > 1);
    CHECK(in_vain < WAITS / 10);
    free_pair();
}

static void send_in_child(void) {
    pid_t child = fork();
    if (child == 0) { /* without forget: not even a careless one may send */
        srmudp_connection_send_bytes(x->connection, "lost", 4, 0, 0, NULL);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

/* A number of a packet that is used by both would be a nonce used twice. */
TEST(a_forked_child_takes_no_turn) {
    enum { CHILDREN = 10 }; /* in some of them the lock is held by a thread that they don't have */
    connect_pair();
    for (int i = 0; i < CHILDREN; i++) {
        play(5);
        send_in_child();
    }
    host_settle(50);
    CHECK_EQ(rounds, 5 * CHILDREN);
    CHECK_EQ(y->messages, 5 * CHILDREN);
    free_pair();
}

/* The descriptor is the parent's as well. */
TEST(a_forked_child_takes_no_events) {
    enum { MESSAGES = 20 };
    connect_pair();
    x->on_message = NULL;
    for (uint64_t i = 0; i < MESSAGES; i++)
        host_send(y, 100, 0, i);
    struct pollfd wait = {.fd = srmudp_endpoint_fd(a->endpoint), .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, HOST_WAIT), 1);
    pid_t child = fork();
    srmudp_event event;
    if (child == 0)
        _exit(srmudp_endpoint_next_event(a->endpoint, &event) ? 1 : 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_EQ(poll(&wait, 1, 0), 1);
    UNTIL(x->messages == MESSAGES);
    free_pair();
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
