/* many - what many connections in one process cost: how fast they come, what a gigabyte over all of them
 * costs, and whether each gets its share.
 *
 *     many N [SECONDS] [SOCKETS] [SIZE]      N connections, over 1 socket a side or SOCKETS (an engine each)
 *
 *      parent: SOCKETS engines ── N connections, number i on engine i % SOCKETS ──▶ child: as many listeners
 *
 * All connect as fast as they may, 8 at a time on an engine; then all send messages of SIZE bytes (65,536)
 * for SECONDS (3), after 2 that don't count. One line of JSON: `connect_s`, `mb_per_s`,
 * `cpu_per_gb` (user and system of both processes), `least_share` (the worst connection's bytes by the mean).
 */
#include <srmudp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define KEY "a passphrase for the benchmark"
#define AT_A_TIME 8 /* openings that may wait on one engine for one address and label */
#define BUFFERS ((uint64_t)64 << 20)
#define WARM_UP 2 /* seconds */

static int connections, sockets = 1, poller;
static double seconds = 3;
static size_t message_size = 65536;
static srmudp_endpoint **engines;

static void fail(const char *what, srmudp_error error) {
    fprintf(stderr, "many: %s: %s\n", what, srmudp_error_text(error));
    exit(1);
}

static double now_s(void) {
    return (double)clock_ns(CLOCK_MONOTONIC) / 1e9;
}

static void watch(int fd, int number) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)number};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll", SRMUDP_SYSTEM);
}

/* Buffers that together are what one connection has by default. */
static void bind_all(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    uint64_t each = BUFFERS / (uint64_t)connections, least = 4 * (message_size + 64);
    config.max_message_size = (uint32_t)message_size;
    config.send_buffer = config.receive_buffer = each > least ? each : least;
    poller = epoll_create1(0);
    engines = calloc((size_t)sockets, sizeof(srmudp_endpoint *));
    for (int i = 0; i < sockets; i++) {
        srmudp_error error = srmudp_endpoint_bind("127.0.0.1", 0, &config, &engines[i]);
        if (error != SRMUDP_OK)
            fail("bind", error);
        watch(srmudp_endpoint_fd(engines[i]), i);
    }
}

static void exchange(int fd, void *data, size_t size, bool out) {
    for (size_t done = 0; done < size;) {
        ssize_t n =
            out ? write(fd, (char *)data + done, size - done) : read(fd, (char *)data + done, size - done);
        if (n <= 0)
            exit(1);
        done += (size_t)n;
    }
}

/* ---- The child ---- */

typedef struct served {
    double bytes, least, cpu, seconds;
} served;

static double *share; /* bytes of each connection */
static int accepted;
static bool counting;

static void serve_event(srmudp_event *event) {
    if (event->kind == SRMUDP_EVENT_ACCEPTED && accepted < connections)
        srmudp_connection_set_user(event->connection, &share[accepted++]);
    if (event->kind == SRMUDP_EVENT_MESSAGE) {
        double *mine = srmudp_connection_user(event->connection);
        if (counting && mine != NULL)
            *mine += (double)srmudp_message_size(event->message);
        srmudp_message_consume(event->message);
    }
    if (event->kind == SRMUDP_EVENT_CLOSED)
        srmudp_connection_release(event->connection);
}

static served sum_up(double start, double cpu) {
    served s = {.cpu = cpu_seconds() - cpu, .seconds = now_s() - start, .least = share[0]};
    for (int i = 0; i < connections; i++) {
        s.bytes += share[i];
        s.least = share[i] < s.least ? share[i] : s.least;
    }
    return s;
}

/* A byte says when to count from, and when it is over. */
static void serve(int orders, int answers) {
    bind_all();
    watch(orders, sockets);
    share = calloc((size_t)connections, sizeof *share);
    for (int i = 0; i < sockets; i++) {
        srmudp_listener *listener;
        srmudp_address address[2];
        srmudp_error error = srmudp_endpoint_listen(engines[i], KEY, sizeof KEY - 1, NULL, NULL, &listener);
        if (error != SRMUDP_OK)
            fail("listen", error);
        srmudp_endpoint_addresses(engines[i], address);
        exchange(answers, &address[0].port, sizeof address[0].port, true);
    }
    double start = 0, cpu = 0;
    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(poller, ready, 64, -1);
        for (int i = 0; i < count; i++) {
            srmudp_event event;
            char order;
            if (ready[i].data.u32 < (uint32_t)sockets) {
                for (int n = 0; n < 256 && srmudp_endpoint_next_event(engines[ready[i].data.u32], &event);
                     n++)
                    serve_event(&event);
                continue;
            }
            exchange(orders, &order, 1, false);
            if (counting) {
                served s = sum_up(start, cpu);
                exchange(answers, &s, sizeof s, true);
                exchange(orders, &order, 1, false); /* the other side is gone: nothing is left to say */
                _exit(0);
            }
            counting = true;
            start = now_s();
            cpu = cpu_seconds();
        }
    }
}

/* ---- The parent ---- */

typedef struct sender {
    srmudp_connection *connection;
    bool established, blocked;
} sender;

static sender *senders;
static int established;
static int *waiting; /* openings under way, of each engine */

static void note_event(int engine, const srmudp_event *event) {
    sender *s = event->connection != NULL ? srmudp_connection_user(event->connection) : NULL;
    if (event->kind == SRMUDP_EVENT_CLOSED)
        fail("a connection ended", event->reason);
    if (event->kind == SRMUDP_EVENT_WRITABLE && s != NULL)
        s->blocked = false;
    if (event->kind == SRMUDP_EVENT_STATUS && event->status == SRMUDP_ESTABLISHED && s != NULL &&
        !s->established) {
        s->established = true;
        established++;
        waiting[engine]--;
    }
}

static void take_events(int timeout) {
    struct epoll_event ready[64];
    int count = epoll_wait(poller, ready, 64, timeout);
    for (int i = 0; i < count; i++) {
        srmudp_event event;
        while (srmudp_endpoint_next_event(engines[ready[i].data.u32], &event))
            note_event((int)ready[i].data.u32, &event);
    }
}

static double connect_all(const uint16_t *ports) {
    double start = now_s();
    for (int opened = 0; established < connections;) {
        bool any = false;
        for (; opened < connections && waiting[opened % sockets] < AT_A_TIME; opened++, any = true) {
            int engine = opened % sockets;
            srmudp_target target = {.host = "127.0.0.1",
                                    .port = ports[engine],
                                    .key = KEY,
                                    .key_size = sizeof KEY - 1,
                                    .user = &senders[opened]};
            srmudp_error error = srmudp_endpoint_open(engines[engine], &target, &senders[opened].connection);
            if (error != SRMUDP_OK)
                fail("open", error);
            waiting[engine]++;
        }
        take_events(any ? 0 : 10000);
        if (now_s() - start > 60)
            fail("connecting", SRMUDP_CONNECT_TIMEOUT);
    }
    return now_s() - start;
}

static void send_all(double until) {
    uint8_t *data = calloc(1, message_size);
    while (now_s() < until) {
        int sent = 0;
        for (int i = 0; i < connections; i++) {
            sender *s = &senders[i];
            if (s->blocked)
                continue;
            srmudp_error error = srmudp_connection_send_bytes(s->connection, data, message_size, 0, 0, NULL);
            if (error != SRMUDP_OK && error != SRMUDP_AGAIN)
                fail("send", error);
            s->blocked = error == SRMUDP_AGAIN;
            sent += error == SRMUDP_OK;
            if ((i & 63) == 63)
                take_events(0);
        }
        take_events(sent > 0 ? 0 : 100);
    }
    free(data);
}

static void act(int orders, int answers) {
    uint16_t *ports = calloc((size_t)sockets, sizeof *ports);
    served s;
    char order = 'x';
    bind_all();
    senders = calloc((size_t)connections, sizeof *senders);
    waiting = calloc((size_t)sockets, sizeof *waiting);
    exchange(answers, ports, (size_t)sockets * sizeof *ports, false);
    double took = connect_all(ports);
    send_all(now_s() + WARM_UP); /* windows open, memory is touched for the first time */
    exchange(orders, &order, 1, true);
    double cpu = cpu_seconds();
    send_all(now_s() + seconds);
    cpu = cpu_seconds() - cpu;
    exchange(orders, &order, 1, true);
    for (struct epoll_event none; epoll_wait(poller, &none, 1, 0) > 0;)
        take_events(0);
    exchange(answers, &s, sizeof s, false);
    printf(
        "{\"connections\":%d,\"sockets\":%d,\"connect_s\":%.3f,\"mb_per_s\":%.1f,\"cpu_per_gb\":%.3f,"
        "\"cpu_sender\":%.3f,\"cpu_receiver\":%.3f,\"least_share\":%.3f}\n",
        connections, sockets, took, s.bytes / s.seconds / 1e6, (cpu + s.cpu) / (s.bytes / 1e9), cpu, s.cpu,
        s.least / (s.bytes / connections));
    fflush(stdout);
    exchange(orders, &order, 1, true);
    free(ports);
}

int main(int argc, char **argv) {
    int orders[2], answers[2];
    connections = argc > 1 ? atoi(argv[1]) : 0;
    seconds = argc > 2 ? strtod(argv[2], NULL) : seconds;
    sockets = argc > 3 ? atoi(argv[3]) : sockets;
    message_size = argc > 4 ? strtoul(argv[4], NULL, 10) : message_size;
    if (connections < 1 || sockets < 1 || sockets > connections || message_size < 1) {
        fprintf(stderr, "usage: %s N [SECONDS] [SOCKETS] [SIZE]\n", argv[0]);
        return 2;
    }
    if (pipe(orders) != 0 || pipe(answers) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0)
        serve(orders[0], answers[1]);
    act(orders[1], answers[0]);
    waitpid(child, NULL, 0);
    _exit(0); /* peers are gone: nothing is left to say */
}
