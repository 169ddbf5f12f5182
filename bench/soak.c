/* soak - one side of a long exchange over one connection, for bench/soak.py, which watches its memory.
 *
 *     soak server|client HOST:PORT MESSAGES
 *
 * Each side sends so many messages, of sizes that follow from their numbers, and checks those of the other:
 * each once, in order within its channel, every byte right. The client tries to reach the server anew now and
 * then, which may lose nothing. The server prints READY, each prints a line of JSON at its end; exit code 1
 * when something was wrong. bench/soak_peer.py is the same in Python.
 */
#include <poll.h>
#include <srmudp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "a passphrase for the soak"
#define CHANNELS 4
#define LARGEST ((size_t)1 << 20)
#define BUFFER ((uint64_t)4 << 20)
#define BURST 64      /* messages sent before events are looked at */
#define RECONNECTS 20 /* in a client's life */
#define STALLED 60000 /* ms without any event */

static srmudp_endpoint *endpoint;
static srmudp_connection *connection;
static uint64_t total, sent, received, bytes, expected[CHANNELS];
static bool is_client, full, closed;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "soak: %s: %s (%llu sent, %llu received)\n", what, why, (unsigned long long)sent,
            (unsigned long long)received);
    exit(1);
}

static void check(const char *what, srmudp_error error) {
    if (error != SRMUDP_OK)
        fail(what, srmudp_error_text(error));
}

/* Mostly small, some that fill packets, few large ones; bench/soak_peer.py has the same. */
static size_t size_of(uint64_t number) {
    static const size_t sizes[] = {8, 100, 100, 100, 300, 1000, 4000, 16000};
    if (number % 10000 == 9999)
        return LARGEST;
    if (number % 500 == 499)
        return 65536;
    return sizes[number * 2654435761u / 128 % (sizeof sizes / sizeof *sizes)];
}

/* The number, and bytes that follow from it. */
static void fill(uint8_t *data, size_t size, uint64_t number) {
    for (int i = 7; i >= 0; i--)
        *data++ = (uint8_t)(number >> (8 * i));
    memset(data, (int)(number % 251), size - 8);
}

static void verify(srmudp_message *message) {
    static uint8_t right[LARGEST];
    uint8_t channel = srmudp_message_channel(message);
    if (channel >= CHANNELS)
        fail("a message", "on a channel that nobody uses");
    uint64_t number = expected[channel];
    size_t size = size_of(number);
    fill(right, size, number);
    if (srmudp_message_size(message) != size || memcmp(srmudp_message_data(message), right, size) != 0)
        fail("a message", "isn't the one that is due on its channel");
    expected[channel] += CHANNELS;
    received++;
    bytes += size;
}

/* ---- Sending ---- */

static bool send_next(void) {
    size_t size = size_of(sent);
    srmudp_message *message = srmudp_message_new(size, (uint8_t)(sent % CHANNELS), 0);
    if (message == NULL)
        fail("a message", "no memory");
    fill(srmudp_message_data(message), size, sent);
    srmudp_error error = srmudp_connection_send(connection, message, NULL);
    if (error == SRMUDP_AGAIN) {
        srmudp_message_free(message);
        full = true;
        return false;
    }
    check("send", error);
    sent++;
    if (is_client && sent % (total / RECONNECTS + 1) == 0)
        srmudp_connection_reconnect(connection);
    return true;
}

static void send_some(void) {
    for (int i = 0; i < BURST && connection != NULL && !full && sent < total; i++)
        if (!send_next())
            return;
}

/* ---- Events ---- */

static void take(srmudp_event *event) {
    if (event->kind == SRMUDP_EVENT_ACCEPTED)
        connection = event->connection;
    else if (event->kind == SRMUDP_EVENT_WRITABLE)
        full = false;
    else if (event->kind == SRMUDP_EVENT_UNDELIVERED)
        fail("the end", "messages were not delivered");
    else if (event->kind == SRMUDP_EVENT_CLOSED)
        closed = true;
    else if (event->kind == SRMUDP_EVENT_MESSAGE) {
        verify(event->message);
        srmudp_message_consume(event->message);
    }
}

/* All events that wait; waits for one when there is nothing to send. */
static void take_all(void) {
    srmudp_event event;
    bool busy = connection != NULL && !full && sent < total;
    struct pollfd fd = {.fd = srmudp_endpoint_fd(endpoint), .events = POLLIN};
    if (!busy && poll(&fd, 1, STALLED) == 0)
        fail("the exchange", "nothing happened for a minute");
    while (srmudp_endpoint_next_event(endpoint, &event))
        take(&event);
}

/* ---- The program ---- */

static void bind_to(const char *host, uint16_t port) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.max_message_size = LARGEST;
    config.send_buffer = config.receive_buffer = BUFFER; /* full at once: what grows later is a leak */
    check("bind", srmudp_endpoint_bind(host, port, &config, &endpoint));
}

static void listen_for_one(void) {
    srmudp_listener *listener;
    check("listen", srmudp_endpoint_listen(endpoint, KEY, sizeof KEY - 1, NULL, NULL, &listener));
    puts("READY");
    fflush(stdout);
}

static void dial(const char *host, uint16_t port) {
    srmudp_target target = {.host = host, .port = port, .key = KEY, .key_size = sizeof KEY - 1};
    check("open", srmudp_endpoint_open(endpoint, &target, &connection));
}

int main(int argc, char **argv) {
    const char *colon = argc == 4 ? strrchr(argv[2], ':') : NULL;
    char host[64] = {0};
    if (colon == NULL || (size_t)(colon - argv[2]) >= sizeof host) {
        fprintf(stderr, "usage: %s server|client HOST:PORT MESSAGES\n", argv[0]);
        return 2;
    }
    memcpy(host, argv[2], (size_t)(colon - argv[2]));
    uint16_t port = (uint16_t)strtoul(colon + 1, NULL, 10);
    total = strtoull(argv[3], NULL, 10);
    is_client = strcmp(argv[1], "client") == 0;
    for (uint64_t i = 0; i < CHANNELS; i++)
        expected[i] = i;
    bind_to(is_client ? "127.0.0.1" : host, is_client ? 0 : port);
    if (is_client)
        dial(host, port);
    else
        listen_for_one();
    while (!closed && (sent < total || received < total)) {
        send_some();
        take_all();
    }
    if (sent < total || received < total)
        fail("the connection", "ended too early");
    if (is_client)
        srmudp_connection_close(connection, 30000);
    while (!closed)
        take_all();
    printf("{\"role\":\"%s\",\"sent\":%llu,\"received\":%llu,\"bytes\":%llu}\n", argv[1],
           (unsigned long long)sent, (unsigned long long)received, (unsigned long long)bytes);
    fflush(stdout);
    srmudp_connection_release(connection);
    srmudp_endpoint_close(endpoint);
    return 0;
}
