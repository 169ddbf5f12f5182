/* link - a link for benchmarks on one machine, in real time: it forwards UDP between clients and a server,
 * and has a delay, a rate with a queue that drops at its end, and random loss, the same in both directions.
 *
 *     link delay=25 rate=100 queue=50 loss=5 seed=1 LISTEN-HOST:PORT SERVER-HOST:PORT
 *
 *     delay   ms, one way          queue   ms of the rate that may wait
 *     rate    Mbit/s, with UDP and IP headers; 0: no limit
 *     loss    per cent, each way, independent
 *
 * Prints READY when it forwards, and at its end (SIGTERM) a line of JSON: datagrams and bytes that were
 * offered, lost and dropped, towards the server (`up`) and back (`down`). Linux only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 256
#define MAX_DATAGRAM 65536
#define RING 65536 /* datagrams under way in one direction; a power of two */
#define HEADERS 28 /* of IPv4 and UDP, which the rate counts too */
#define SOCKET_BUFFER (4 << 20)

typedef struct datagram {
    uint64_t due; /* ns */
    int client;   /* whose it is */
    size_t size;
    uint8_t *data;
} datagram;

typedef struct direction {
    datagram ring[RING];
    size_t first, count;
    uint64_t free_at; /* ns: when the last byte that waits has left */
    uint64_t packets, bytes, lost, dropped;
} direction;

typedef struct client {
    struct sockaddr_in address;
    int fd; /* towards the server */
} client;

static struct { double delay, rate, queue, loss, seed; } setting = {25, 100, 50, 0, 1};

static direction up, down;
static client clients[MAX_CLIENTS];
static int client_count, listener;
static struct sockaddr_in server;
static uint64_t random_state;
static volatile sig_atomic_t over;

static void stop(int signal) {
    (void)signal;
    over = 1;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double uniform(void) { /* xorshift64*, 0 <= x < 1 */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (double)((random_state * 2685821657736338717u) >> 11) / 9007199254740992.0;
}

/* ---- The link ---- */

/* When it arrives, or 0: lost, or no room in the queue. */
static uint64_t pass(direction *d, size_t size) {
    uint64_t at = now();
    d->packets++;
    d->bytes += size;
    uint64_t from = d->free_at > at ? d->free_at : at;
    if (d->count == RING || (double)(from - at) > setting.queue * 1e6) {
        d->dropped++;
        return 0;
    }
    if (setting.rate > 0)
        d->free_at = from + (uint64_t)((double)(size + HEADERS) * 8000 / setting.rate);
    else
        d->free_at = from;
    if (uniform() * 100 < setting.loss) { /* behind the bottleneck: it took its time there */
        d->lost++;
        return 0;
    }
    return d->free_at + (uint64_t)(setting.delay * 1e6);
}

static void offer(direction *d, int of, const uint8_t *data, size_t size) {
    uint64_t due = pass(d, size);
    if (due == 0)
        return;
    datagram *slot = &d->ring[(d->first + d->count++) % RING];
    *slot = (datagram){.due = due, .client = of, .size = size, .data = malloc(size + 1)};
    if (slot->data == NULL)
        abort();
    memcpy(slot->data, data, size);
}

/* Sends what is due; when the next is, or UINT64_MAX. */
static uint64_t deliver(direction *d, bool upwards) {
    while (d->count > 0) {
        datagram *slot = &d->ring[d->first];
        if (slot->due > now())
            return slot->due;
        const client *to = &clients[slot->client];
        if (upwards)
            (void)send(to->fd, slot->data, slot->size, 0);
        else
            (void)sendto(listener, slot->data, slot->size, 0, (const struct sockaddr *)&to->address,
                         sizeof to->address);
        free(slot->data);
        d->first = (d->first + 1) % RING;
        d->count--;
    }
    return UINT64_MAX;
}

/* ---- Sockets ---- */

static int new_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = SOCKET_BUFFER;
    if (fd < 0)
        abort();
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

/* The client with that address, made when it is new; -1: too many. */
static int client_at(const struct sockaddr_in *address) {
    for (int i = 0; i < client_count; i++)
        if (clients[i].address.sin_port == address->sin_port &&
            clients[i].address.sin_addr.s_addr == address->sin_addr.s_addr)
            return i;
    if (client_count == MAX_CLIENTS)
        return -1;
    client *one = &clients[client_count];
    *one = (client){.address = *address, .fd = new_socket()};
    if (connect(one->fd, (const struct sockaddr *)&server, sizeof server) != 0)
        abort();
    return client_count++;
}

static void read_clients(uint8_t *buffer) {
    struct sockaddr_in from = {0};
    for (;;) {
        socklen_t length = sizeof from;
        ssize_t size = recvfrom(listener, buffer, MAX_DATAGRAM, 0, (struct sockaddr *)&from, &length);
        if (size < 0)
            return;
        int of = client_at(&from);
        if (of >= 0)
            offer(&up, of, buffer, (size_t)size);
    }
}

static void read_server(int of, uint8_t *buffer) {
    ssize_t size;
    while ((size = recv(clients[of].fd, buffer, MAX_DATAGRAM, 0)) >= 0)
        offer(&down, of, buffer, (size_t)size);
}

static void wait_until(uint64_t due) {
    struct pollfd fds[MAX_CLIENTS + 1] = {{.fd = listener, .events = POLLIN}};
    static uint8_t buffer[MAX_DATAGRAM];
    for (int i = 0; i < client_count; i++)
        fds[i + 1] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
    uint64_t at = now(), left = due > at ? due - at : 0;
    if (left > 100000000u)
        left = 100000000u; /* a signal may have come just before */
    struct timespec timeout = {.tv_sec = 0, .tv_nsec = (long)left};
    int known = client_count;
    if (ppoll(fds, (nfds_t)known + 1, &timeout, NULL) <= 0)
        return;
    for (int i = 0; i < known; i++)
        if (fds[i + 1].revents != 0)
            read_server(i, buffer);
    if (fds[0].revents != 0)
        read_clients(buffer);
}

/* ---- The program ---- */

static bool read_setting(const char *text) {
    const struct {
        const char *name;
        double *value;
    } all[] = {{"delay=", &setting.delay},
               {"rate=", &setting.rate},
               {"queue=", &setting.queue},
               {"loss=", &setting.loss},
               {"seed=", &setting.seed}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strncmp(text, all[i].name, strlen(all[i].name)) == 0) {
            *all[i].value = strtod(text + strlen(all[i].name), NULL);
            return true;
        }
    return false;
}

static struct sockaddr_in parse(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char name[64] = {0};
    const char *colon = strrchr(text, ':');
    if (colon != NULL && (size_t)(colon - text) < sizeof name) {
        memcpy(name, text, (size_t)(colon - text));
        address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    }
    if (inet_pton(AF_INET, name, &address.sin_addr) != 1) {
        fprintf(stderr, "link: not an IPv4 address and port: %s\n", text);
        exit(2);
    }
    return address;
}

static void print_direction(const char *name, const direction *d) {
    printf("\"%s\":{\"packets\":%llu,\"bytes\":%llu,\"lost\":%llu,\"dropped\":%llu}", name,
           (unsigned long long)d->packets, (unsigned long long)d->bytes, (unsigned long long)d->lost,
           (unsigned long long)d->dropped);
}

int main(int argc, char **argv) {
    int i = 1;
    while (i < argc && read_setting(argv[i]))
        i++;
    if (argc - i != 2) {
        fprintf(stderr, "usage: %s [NAME=VALUE ...] LISTEN-HOST:PORT SERVER-HOST:PORT\n", argv[0]);
        return 2;
    }
    struct sockaddr_in own = parse(argv[i]);
    server = parse(argv[i + 1]);
    random_state = (uint64_t)setting.seed * 0x9E3779B97F4A7C15u + 1;
    listener = new_socket();
    if (bind(listener, (const struct sockaddr *)&own, sizeof own) != 0) {
        perror("link: bind");
        return 1;
    }
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* ns: delays are kept to some µs */
    (void)signal(SIGTERM, stop);
    puts("READY");
    fflush(stdout);
    while (!over) {
        uint64_t next = deliver(&up, true), other = deliver(&down, false);
        wait_until(next < other ? next : other);
    }
    printf("{\"role\":\"link\",");
    print_direction("up", &up);
    printf(",");
    print_direction("down", &down);
    printf("}\n");
    return 0;
}
