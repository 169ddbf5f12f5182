#include "host.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static host *all;

static void require(srmudp_error error, const char *what) {
    if (error == SRMUDP_OK)
        return;
    fprintf(stderr, "host: %s: %s\n", what, srmudp_error_text(error));
    abort();
}

int64_t host_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Bytes ---- */

static void fill(uint8_t *data, size_t size, uint64_t seed) {
    uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        data[i] = (uint8_t)(state >> (8 * (i % 8)));
    }
}

/* FNV-1a over words: fast enough for hundreds of megabytes under a sanitizer. */
uint64_t host_hash(uint64_t hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint64_t word;
    hash = (hash ^ size) * UINT64_C(0x100000001B3);
    for (; size >= 8; size -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * UINT64_C(0x100000001B3);
        hash ^= hash >> 29;
    }
    for (; size > 0; size--)
        hash = (hash ^ *bytes++) * UINT64_C(0x100000001B3);
    return hash;
}

uint64_t host_hash_message(uint64_t hash, size_t size, uint8_t channel, uint64_t seed) {
    uint8_t *data = malloc(size + 1);
    data[0] = 0;
    fill(data, size, seed + channel);
    hash = host_hash(hash, data, size);
    free(data);
    return hash;
}

/* ---- Events ---- */

static peer *new_peer(host *h, srmudp_connection *connection) {
    if (h->count == HOST_PEERS)
        abort();
    peer *p = &h->peers[h->count++];
    *p = (peer){.host = h, .connection = connection, .hold = h->hold};
    return p;
}

static void on_message(peer *p, srmudp_message *message) {
    uint8_t channel = srmudp_message_channel(message);
    /* A new process of the peer begins at 0 again; that is the tests' business. */
    p->received[channel] = srmudp_message_number(message) + 1;
    p->messages++;
    p->bytes += srmudp_message_size(message);
    p->hash = host_hash(p->hash, srmudp_message_data(message), srmudp_message_size(message));
    p->maybe_duplicates += (srmudp_message_flags(message) & SRMUDP_MAYBE_DUPLICATE) != 0;
    if (p->on_message != NULL) {
        p->on_message(p, message);
    } else if (p->hold && p->held_count < HOST_HELD) {
        p->held[p->held_count++] = message;
    } else {
        srmudp_message_consume(message);
    }
}

static void on_undelivered(peer *p, srmudp_message *list) {
    for (srmudp_message *next; list != NULL; list = next) {
        next = srmudp_message_next(list);
        p->undelivered++;
        p->undelivered_bytes += srmudp_message_size(list);
        srmudp_message_free(list);
    }
}

static void on_status(peer *p, const srmudp_event *event) {
    p->status = event->status;
    p->reason = event->reason;
    p->remote = event->remote;
    p->established += event->status == SRMUDP_ESTABLISHED;
    p->reconnecting += event->status == SRMUDP_RECONNECTING;
    p->told_invalid += event->reason == SRMUDP_INVALID_ADDRESS;
}

static void on_event(host *h, srmudp_event *event) {
    peer *p = srmudp_connection_user(event->connection);
    if (event->kind == SRMUDP_EVENT_ACCEPTED) {
        p = new_peer(h, event->connection);
        srmudp_connection_set_user(event->connection, p);
        h->accepted++;
        return;
    }
    p->after_closed += p->closed;
    switch (event->kind) {
    case SRMUDP_EVENT_STATUS:
        on_status(p, event);
        break;
    case SRMUDP_EVENT_MESSAGE:
        on_message(p, event->message);
        break;
    case SRMUDP_EVENT_WRITABLE:
        p->writable++;
        break;
    case SRMUDP_EVENT_CONSUMED:
        p->consumed[event->channel] = event->count;
        break;
    case SRMUDP_EVENT_WRONG_KEY:
        p->wrong_keys++;
        break;
    case SRMUDP_EVENT_PEER_RESTARTED:
        p->restarted++;
        p->resent += event->count;
        p->unknown += event->unknown;
        break;
    case SRMUDP_EVENT_PEER_CLOSED:
        p->peer_closed++;
        break;
    case SRMUDP_EVENT_UNDELIVERED:
        on_undelivered(p, event->message);
        break;
    case SRMUDP_EVENT_CLOSED:
        p->closed++;
        p->reason = event->reason;
        break;
    case SRMUDP_EVENT_PATH_CHANGED:
    case SRMUDP_EVENT_ACCEPTED:
        break;
    }
}

/* True: there were events. */
static bool take_events(host *h) {
    srmudp_event event;
    bool any = false;
    for (; srmudp_endpoint_next_event(h->endpoint, &event); any = true)
        on_event(h, &event);
    return any;
}

/* Takes what waits; else waits for more. How many events were taken or descriptors are readable. */
static int pump(int timeout) {
    struct pollfd fds[64];
    nfds_t count = 0;
    bool any = false;
    for (host *h = all; h != NULL; h = h->next) {
        any |= take_events(h);
        fds[count++] = (struct pollfd){.fd = srmudp_endpoint_fd(h->endpoint), .events = POLLIN};
    }
    return any ? 1 : poll(fds, count, timeout);
}

bool host_pump(int64_t deadline) {
    int64_t left = deadline - host_now();
    return pump(left > 0 ? (int)left : 0) > 0 || left > 0;
}

void host_settle(int quiet) {
    while (pump(quiet) > 0)
        ;
}

/* ---- Hosts ---- */

host *host_bound(const char *address, uint16_t port, const srmudp_config *config) {
    host *h = calloc(1, sizeof *h);
    require(srmudp_endpoint_bind(address, port, config, &h->endpoint), "bind");
    srmudp_address addresses[2];
    srmudp_endpoint_addresses(h->endpoint, addresses);
    h->port = addresses[0].port;
    h->next = all;
    all = h;
    return h;
}

host *host_new(const srmudp_config *config) {
    return host_bound("", 0, config);
}

void host_hide(host *h) {
    host **link = &all;
    while (*link != NULL && *link != h)
        link = &(*link)->next;
    if (*link == h)
        *link = h->next;
}

void host_free(host *h) {
    host_hide(h);
    srmudp_endpoint_close(h->endpoint);
    for (int i = 0; i < h->count; i++)
        host_consume_held(&h->peers[i]);
    free(h);
}

peer *host_open_port(host *h, const char *address, uint16_t port, const char *key, const char *label) {
    peer *p = new_peer(h, NULL);
    srmudp_target target = {
        .host = address, .port = port, .key = key, .key_size = strlen(key), .label = label, .user = p};
    require(srmudp_endpoint_open(h->endpoint, &target, &p->connection), "open");
    return p;
}

peer *host_open(host *h, const char *address, const host *to, const char *key) {
    return host_open_port(h, address, to->port, key, NULL);
}

void host_listen(host *h, const char *key) {
    require(srmudp_endpoint_listen(h->endpoint, key, strlen(key), NULL, NULL, &h->listener), "listen");
}

peer *host_last(host *h) {
    return &h->peers[h->count - 1];
}

void host_release(peer *p) {
    srmudp_connection_release(p->connection);
    p->connection = NULL;
}

void host_consume_held(peer *p) {
    for (int i = 0; i < p->held_count; i++)
        srmudp_message_consume(p->held[i]);
    p->held_count = 0;
}

void host_send(peer *p, size_t size, uint8_t channel, uint64_t seed) {
    srmudp_message *message = srmudp_message_new(size, channel, 0);
    fill(srmudp_message_data(message), size, seed + channel);
    for (;;) {
        int before = p->writable;
        srmudp_error error = srmudp_connection_send(p->connection, message, NULL);
        if (error == SRMUDP_OK)
            return;
        if (error != SRMUDP_AGAIN)
            require(error, "send");
        for (int64_t deadline = host_now() + HOST_WAIT; p->writable == before;)
            if (!host_pump(deadline))
                require(SRMUDP_AGAIN, "no WRITABLE in time");
    }
}
