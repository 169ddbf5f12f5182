/* srmudp_c - the engine's figures from C: one program that plays both ends of a benchmark.
 *
 *     srmudp-c server HOST:PORT SCENARIO N
 *     srmudp-c client HOST:PORT SCENARIO N       the client binds to $CLIENT_HOST, by default 127.0.0.1
 *
 * The server prints READY when it listens; at its end each prints one line of JSON with its `role`. `cpu` is
 * what the process used, user and system, all threads, over the transfer.
 *
 *     bulk, rate   N seconds of messages of 64 KiB or 100 bytes, then END
 *     many         N connections, one message each, then on all at once as bulk for 5 s
 *     pingpong     N rounds of 1 KiB there and back, after 500 that don't count
 *     lat          200 messages a second of 200 bytes for N seconds; one-way times by the wall clock of one
 *                  machine
 *     beside       the same while messages of 64 KiB fill the send buffer on another channel, after 5 s
 *                  that don't count
 *     connect      N new connections, one after the other: age of the first message at the server, and of
 *                  the answer here
 *     idle         N connections, one message each, then 15 s of silence
 *
 * SRMUDP_CONGESTION (bbr, cubic), SRMUDP_GSO (0) and SRMUDP_PMTU (0: datagrams of 1200 bytes) choose what the
 * configuration has.
 */
#include <srmudp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"

#define KEY "a passphrase for the benchmark"
#define BULK_SIZE 65536
#define BULK_CHANNEL 9
#define WARM_UP 500
#define WARM_UP_MESSAGES 1000
#define MANY_SECONDS 5
#define MANY_AT_ONCE 8                    /* openings that may wait for one address and label */
#define MANY_BUFFERS ((uint64_t)64 << 20) /* of all connections together: what one has by default */

static srmudp_endpoint *endpoint;
static const char *scenario;
static double amount;
static char host[64];
static uint16_t port;
static times spans; /* of what the scenario times */

static void fail(const char *what, srmudp_error error) {
    fprintf(stderr, "%s: %s\n", what, srmudp_error_text(error));
    exit(1);
}

/* ---- Events ---- */

/* The next event, waiting for it up to `timeout` ms; false: none came. */
static bool next_event(srmudp_event *event, int timeout) {
    while (!srmudp_endpoint_next_event(endpoint, event))
        if (!srmudp_endpoint_wait(endpoint, timeout))
            return false;
    return true;
}

static void wait_for(srmudp_event_kind kind, srmudp_event *event, int timeout) {
    while (next_event(event, timeout)) {
        if (event->kind == kind)
            return;
        if (event->kind == SRMUDP_EVENT_MESSAGE)
            srmudp_message_consume(event->message);
        if (event->kind == SRMUDP_EVENT_CLOSED)
            fail("connection ended", event->reason);
    }
    fail("nothing came in time", SRMUDP_CONNECT_TIMEOUT);
}

static void send_or_wait(srmudp_connection *connection, const void *data, size_t size) {
    srmudp_event event;
    for (;;) {
        srmudp_error error = srmudp_connection_send_bytes(connection, data, size, 0, 0, NULL);
        if (error == SRMUDP_OK)
            return;
        if (error != SRMUDP_AGAIN)
            fail("send", error);
        wait_for(SRMUDP_EVENT_WRITABLE, &event, 30000);
    }
}

static void send_message(srmudp_connection *connection, srmudp_message *message) {
    srmudp_error error = srmudp_connection_send(connection, message, NULL);
    if (error != SRMUDP_OK)
        fail("send", error);
}

static bool is_scenario(const char *name) {
    return strcmp(scenario, name) == 0;
}

/* Small messages that are timed on their way there. */
static bool is_one_way(void) {
    return is_scenario("lat") || is_scenario("beside");
}

static void share_buffers(srmudp_config *config) {
    uint64_t each = MANY_BUFFERS / (uint64_t)amount, least = 4 * (BULK_SIZE + 64);
    config->max_message_size = BULK_SIZE;
    config->send_buffer = config->receive_buffer = each > least ? each : least;
}

static void bind_to(const char *name, uint16_t at) {
    srmudp_config config;
    srmudp_config_init(&config);
    const char *congestion = getenv("SRMUDP_CONGESTION"), *gso = getenv("SRMUDP_GSO"),
               *pmtu = getenv("SRMUDP_PMTU");
    if (congestion != NULL && strcmp(congestion, "cubic") == 0)
        config.congestion_control = SRMUDP_CONGESTION_CUBIC;
    config.gso = gso == NULL || strcmp(gso, "0") != 0;
    config.pmtu_discovery = pmtu == NULL || strcmp(pmtu, "0") != 0;
    if (is_scenario("many"))
        share_buffers(&config);
    srmudp_error error = srmudp_endpoint_bind(name, at, &config, &endpoint);
    if (error != SRMUDP_OK)
        fail("bind", error);
}

/* ---- Server ---- */

typedef struct counted {
    uint64_t messages, bytes, first, last;
    double cpu;
    uint64_t *each; /* many: bytes of each connection */
    int accepted, ended;
} counted;

static bool is_end(const srmudp_message *message) {
    return srmudp_message_size(message) == 3 &&
           memcmp(srmudp_message_data((srmudp_message *)(uintptr_t)message), "END", 3) == 0;
}

static void count_message(counted *c, const srmudp_message *message) {
    c->last = wall_ns();
    if (c->messages++ == 0) {
        c->first = c->last;
        c->cpu = cpu_seconds();
    }
    c->bytes += srmudp_message_size(message);
}

static void echo(srmudp_connection *connection, const srmudp_message *message) {
    size_t size = srmudp_message_size(message);
    srmudp_message *answer = srmudp_message_new(size, 0, 0);
    if (answer == NULL)
        fail("echo", SRMUDP_NO_MEMORY);
    memcpy(srmudp_message_data(answer), srmudp_message_data((srmudp_message *)(uintptr_t)message), size);
    send_message(connection, answer);
}

/* One message as the scenario wants it; true: that was the end. */
static bool serve_message(counted *c, srmudp_event *event) {
    uint8_t *data = srmudp_message_data(event->message);
    bool end = is_end(event->message);
    uint8_t age[8];
    if (is_scenario("bulk") || is_scenario("rate")) {
        if (!end)
            count_message(c, event->message);
    } else if (is_scenario("many")) {
        if (!end && srmudp_message_size(event->message) == BULK_SIZE)
            count_message(c, event->message);
        *(uint64_t *)srmudp_connection_user(event->connection) += srmudp_message_size(event->message);
        end = end && ++c->ended == (int)amount;
    } else if (is_one_way()) {
        if (!end && srmudp_message_channel(event->message) == 0 && get64(data) != 0)
            times_add(&spans, wall_ns() - get64(data));
    } else if (is_scenario("connect")) {
        put64(age, wall_ns() - get64(data));
        send_or_wait(event->connection, age, sizeof age);
    } else {
        echo(event->connection, event->message);
    }
    srmudp_message_consume(event->message);
    return end;
}

static double least_share(const counted *c) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < (int)amount; i++)
        least = c->each[i] < least ? c->each[i] : least;
    return (double)least * amount / (double)c->bytes;
}

static void print_served(const counted *c) {
    if (is_one_way())
        times_print(&spans, "server", 0);
    else if (is_scenario("many"))
        printf(
            "{\"role\":\"server\",\"bytes\":%llu,\"msgs\":%llu,\"secs\":%.4f,\"cpu\":%.3f,\"least_share\":%."
            "3f}\n",
            (unsigned long long)c->bytes, (unsigned long long)c->messages, (double)(c->last - c->first) / 1e9,
            cpu_seconds() - c->cpu, least_share(c));
    else
        printf("{\"role\":\"server\",\"bytes\":%llu,\"msgs\":%llu,\"secs\":%.4f,\"cpu\":%.3f}\n",
               (unsigned long long)c->bytes, (unsigned long long)c->messages,
               (double)(c->last - c->first) / 1e9, cpu_seconds() - c->cpu);
    fflush(stdout);
}

static void serve(void) {
    srmudp_listener *listener;
    srmudp_error error = srmudp_endpoint_listen(endpoint, KEY, sizeof KEY - 1, NULL, NULL, &listener);
    if (error != SRMUDP_OK)
        fail("listen", error);
    puts("READY");
    fflush(stdout);
    counted c = {.each = calloc((size_t)amount + 1, sizeof(uint64_t))};
    bool over = false;
    int left = is_scenario("many") ? (int)amount : 1;
    for (srmudp_event event; next_event(&event, over ? 5000 : -1);) {
        if (event.kind == SRMUDP_EVENT_ACCEPTED && is_scenario("many"))
            srmudp_connection_set_user(event.connection,
                                       &c.each[c.accepted < (int)amount ? c.accepted++ : 0]);
        if (event.kind == SRMUDP_EVENT_MESSAGE && serve_message(&c, &event)) {
            print_served(&c);
            over = true;
        }
        if (event.kind == SRMUDP_EVENT_CLOSED) {
            srmudp_connection_release(event.connection);
            if (over && --left <= 0)
                return;
        }
    }
}

/* ---- Client ---- */

static srmudp_connection *dial(void) {
    srmudp_target target = {.host = host, .port = port, .key = KEY, .key_size = sizeof KEY - 1};
    srmudp_connection *connection;
    srmudp_error error = srmudp_endpoint_open(endpoint, &target, &connection);
    if (error != SRMUDP_OK)
        fail("open", error);
    return connection;
}

static void close_and_wait(srmudp_connection *connection) {
    srmudp_connection_close(connection, 30000);
    for (srmudp_event event; next_event(&event, 40000);) {
        if (event.kind == SRMUDP_EVENT_MESSAGE)
            srmudp_message_consume(event.message);
        if (event.kind == SRMUDP_EVENT_CLOSED && event.connection == connection)
            break;
    }
    srmudp_connection_release(connection);
}

static void client_stream(srmudp_connection *connection, size_t size) {
    static uint8_t data[BULK_SIZE];
    srmudp_event event;
    uint64_t sent = 0, end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(amount * 1e9);
    double cpu = cpu_seconds();
    for (; (sent & 15) != 0 || clock_ns(CLOCK_MONOTONIC) < end; sent++) {
        send_or_wait(connection, data, size);
        while ((sent & 255) == 0 && srmudp_endpoint_next_event(endpoint, &event))
            if (event.kind == SRMUDP_EVENT_CLOSED)
                fail("connection ended", event.reason);
    }
    send_or_wait(connection, "END", 3);
    close_and_wait(connection);
    printf("{\"role\":\"client\",\"sent\":%llu,\"cpu\":%.3f}\n", (unsigned long long)sent,
           cpu_seconds() - cpu);
}

/* ---- Many connections at once ---- */

typedef struct sender {
    srmudp_connection *connection;
    bool there, blocked, closed;
} sender;

static int many_there, many_closed;

/* What waits, or the first that comes within `timeout` ms. */
static void take_events(int timeout) {
    for (srmudp_event event; next_event(&event, timeout); timeout = 0) {
        sender *s = event.connection != NULL ? srmudp_connection_user(event.connection) : NULL;
        if (event.kind == SRMUDP_EVENT_MESSAGE)
            srmudp_message_consume(event.message);
        else if (event.kind == SRMUDP_EVENT_CLOSED && event.reason != SRMUDP_OK)
            fail("connection ended", event.reason);
        else if (event.kind == SRMUDP_EVENT_CLOSED)
            many_closed++;
        else if (event.kind == SRMUDP_EVENT_WRITABLE && s != NULL)
            s->blocked = false;
        else if (event.kind == SRMUDP_EVENT_STATUS && event.status == SRMUDP_ESTABLISHED && s != NULL &&
                 !s->there) {
            s->there = true;
            many_there++;
        }
    }
}

static void open_many(sender *senders) {
    for (int opened = 0; many_there < (int)amount;) {
        for (; opened < (int)amount && opened - many_there < MANY_AT_ONCE; opened++) {
            sender *s = &senders[opened];
            s->connection = dial();
            srmudp_connection_set_user(s->connection, s);
            send_or_wait(s->connection, "hi", 2);
        }
        take_events(10000);
    }
}

/* A message on each that has room, until the end; true: all took theirs. */
static bool send_on_all(sender *senders, const void *data, size_t size, uint64_t *sent) {
    bool all = true;
    for (int i = 0; i < (int)amount; i++) {
        sender *s = &senders[i];
        if (!s->blocked && !s->closed) {
            srmudp_error error = srmudp_connection_send_bytes(s->connection, data, size, 0, 0, NULL);
            if (error != SRMUDP_OK && error != SRMUDP_AGAIN)
                fail("send", error);
            s->blocked = error == SRMUDP_AGAIN;
            *sent += error == SRMUDP_OK;
            s->closed = error == SRMUDP_OK && size == 3; /* END */
        }
        all &= s->closed;
    }
    return all;
}

static void client_many(void) {
    static uint8_t data[BULK_SIZE];
    sender *senders = calloc((size_t)amount, sizeof *senders);
    uint64_t sent = 0, before = UINT64_MAX, ends = 0;
    if (senders == NULL)
        abort();
    open_many(senders);
    double cpu = cpu_seconds();
    for (uint64_t end = clock_ns(CLOCK_MONOTONIC) + MANY_SECONDS * UINT64_C(1000000000);
         clock_ns(CLOCK_MONOTONIC) < end; take_events(sent == before ? 100 : 0)) {
        before = sent;
        send_on_all(senders, data, sizeof data, &sent);
    }
    while (!send_on_all(senders, "END", 3, &ends))
        take_events(100);
    for (int i = 0; i < (int)amount; i++)
        srmudp_connection_close(senders[i].connection, 30000);
    while (many_closed < (int)amount)
        take_events(40000);
    printf("{\"role\":\"client\",\"sent\":%llu,\"cpu\":%.3f}\n", (unsigned long long)sent,
           cpu_seconds() - cpu);
    free(senders);
}

static void client_pingpong(srmudp_connection *connection) {
    static uint8_t data[1024];
    srmudp_event event;
    double cpu = cpu_seconds();
    for (int i = 0; i < (int)amount + WARM_UP; i++) {
        uint64_t start = wall_ns();
        send_or_wait(connection, data, sizeof data);
        wait_for(SRMUDP_EVENT_MESSAGE, &event, 30000);
        srmudp_message_consume(event.message);
        if (i >= WARM_UP)
            times_add(&spans, wall_ns() - start);
    }
    times_print(&spans, "client", cpu_seconds() - cpu);
}

static void sleep_until(uint64_t at) {
    struct timespec t = {.tv_sec = (time_t)(at / 1000000000u), .tv_nsec = (long)(at % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* As much as the send buffer takes. */
static void fill(srmudp_connection *connection) {
    static const uint8_t data[BULK_SIZE];
    srmudp_error error = SRMUDP_OK;
    while (error == SRMUDP_OK)
        error = srmudp_connection_send_bytes(connection, data, sizeof data, BULK_CHANNEL, 0, NULL);
    if (error != SRMUDP_AGAIN)
        fail("send", error);
}

static void client_lat(srmudp_connection *connection) {
    uint8_t data[200] = {0};
    srmudp_event event;
    uint64_t count = (uint64_t)(amount * 200), warm_up = is_scenario("beside") ? WARM_UP_MESSAGES : 0;
    uint64_t start = clock_ns(CLOCK_MONOTONIC);
    for (uint64_t k = 0; k < warm_up + count; k++) {
        sleep_until(start + k * 5000000);
        if (is_scenario("beside"))
            fill(connection);
        put64(data, k < warm_up ? 0 : wall_ns());
        send_or_wait(connection, data, sizeof data);
        while (srmudp_endpoint_next_event(endpoint, &event))
            if (event.kind == SRMUDP_EVENT_CLOSED)
                fail("connection ended", event.reason);
    }
    send_or_wait(connection, "END", 3);
    close_and_wait(connection);
    printf("{\"role\":\"client\",\"sent\":%llu}\n", (unsigned long long)count);
}

static void client_connect(void) {
    times ages = {0};
    srmudp_event event;
    for (int k = 0; k < (int)amount; k++) {
        uint8_t data[8];
        uint64_t start = wall_ns();
        put64(data, start);
        srmudp_connection *connection = dial();
        send_or_wait(connection, data, sizeof data);
        wait_for(SRMUDP_EVENT_MESSAGE, &event, 30000);
        times_add(&spans, wall_ns() - start);
        times_add(&ages, get64(srmudp_message_data(event.message)));
        srmudp_message_consume(event.message);
        close_and_wait(connection);
        sleep_until(clock_ns(CLOCK_MONOTONIC) + 100000000u);
    }
    times_sort(&ages);
    times_sort(&spans);
    printf("{\"role\":\"client\",\"srv_ms\":%.2f,\"reply_ms\":%.2f,\"reply_max_ms\":%.2f}\n",
           times_at(&ages, 0.5) / 1e6, times_at(&spans, 0.5) / 1e6, times_at(&spans, 1) / 1e6);
}

static void client_idle(void) {
    srmudp_event event;
    puts("BASE");
    fflush(stdout);
    usleep(500000);
    for (int k = 0; k < (int)amount; k++) {
        send_or_wait(dial(), "hi", 2);
        wait_for(SRMUDP_EVENT_MESSAGE, &event, 30000);
        srmudp_message_consume(event.message);
    }
    puts("IDLE");
    fflush(stdout);
    for (uint64_t end = clock_ns(CLOCK_MONOTONIC) + 15000000000u; clock_ns(CLOCK_MONOTONIC) < end;)
        (void)next_event(&event, 1000);
    printf("{\"role\":\"client\",\"n\":%d}\n", (int)amount);
}

static void act_as_client(void) {
    if (is_scenario("connect"))
        client_connect();
    else if (is_scenario("idle"))
        client_idle();
    else if (is_scenario("bulk"))
        client_stream(dial(), BULK_SIZE);
    else if (is_scenario("rate"))
        client_stream(dial(), 100);
    else if (is_scenario("many"))
        client_many();
    else if (is_scenario("pingpong"))
        client_pingpong(dial());
    else if (is_one_way())
        client_lat(dial());
    else
        fail(scenario, SRMUDP_INVALID_ARGUMENT);
}

int main(int argc, char **argv) {
    const char *colon = argc == 5 ? strrchr(argv[2], ':') : NULL;
    if (colon == NULL || (size_t)(colon - argv[2]) >= sizeof host) {
        fprintf(stderr,
                "usage: %s server|client HOST:PORT bulk|rate|many|pingpong|lat|beside|connect|idle N\n",
                argv[0]);
        return 2;
    }
    memcpy(host, argv[2], (size_t)(colon - argv[2]));
    port = (uint16_t)strtoul(colon + 1, NULL, 10);
    scenario = argv[3];
    amount = strtod(argv[4], NULL);
    if (strcmp(argv[1], "server") == 0) {
        bind_to(host, port);
        serve();
    } else {
        const char *from = getenv("CLIENT_HOST");
        bind_to(from != NULL ? from : "127.0.0.1", 0);
        act_as_client();
    }
    fflush(stdout);
    srmudp_endpoint_close(endpoint);
    return 0;
}
