/* host - endpoints on real sockets for the driver's tests, and what happened to their connections.
 *
 *     host *a = host_new(NULL), *b = host_new(NULL);
 *     peer *x = host_open(a, "127.0.0.1", b, "key");
 *     ...
 *     UNTIL(x->status == SRMUDP_ESTABLISHED);
 *     host_free(a); host_free(b);
 *
 * UNTIL waits on the descriptors of all hosts and takes their events as they come; nothing sleeps. A
 * condition that isn't true within 20 s fails the test with its text.
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>

#include "srmudp.h"

#define HOST_PEERS 512
#define HOST_WAIT 20000 /* ms */
#define HOST_CHANNELS 256
#define HOST_HELD 64

struct host;

typedef struct peer {
    struct host *host;
    srmudp_connection *connection; /* NULL: released */
    srmudp_status status;
    srmudp_error reason;
    int established, reconnecting, wrong_keys, restarted, peer_closed, closed, writable, told_invalid;
    int after_closed; /* events that came after CLOSED: there must be none */
    uint64_t undelivered, undelivered_bytes;
    uint64_t consumed[HOST_CHANNELS], received[HOST_CHANNELS], messages, bytes, maybe_duplicates;
    uint64_t resent, unknown;
    uint64_t hash; /* of all messages in order, see host_hash */
    srmudp_address remote;
    srmudp_message *held[HOST_HELD]; /* not consumed: `hold` */
    int held_count;
    bool hold;
    void (*on_message)(struct peer *peer, srmudp_message *message); /* takes it; in place of the above */
} peer;

typedef struct host {
    struct host *next;
    srmudp_endpoint *endpoint;
    srmudp_listener *listener;
    uint16_t port;
    peer peers[HOST_PEERS];
    int count, accepted;
    bool hold; /* for new peers */
} host;

/* Bound to all addresses and a free port, with a configuration or the defaults. */
host *host_new(const srmudp_config *config);
host *host_bound(const char *address, uint16_t port, const srmudp_config *config);
/* Its events are taken by somebody else from now on. */
void host_hide(host *h);
void host_free(host *h);

peer *host_open(host *h, const char *address, const host *to, const char *key);
peer *host_open_port(host *h, const char *address, uint16_t port, const char *key, const char *label);
void host_listen(host *h, const char *key);
/* The latest accepted peer. */
peer *host_last(host *h);
void host_release(peer *p);
void host_consume_held(peer *p);

/* Sends until the buffer takes it (waiting for WRITABLE), with bytes made from `seed`. */
void host_send(peer *p, size_t size, uint8_t channel, uint64_t seed);
uint64_t host_hash(uint64_t hash, const void *data, size_t size);
/* What the receiver's hash becomes. */
uint64_t host_hash_message(uint64_t hash, size_t size, uint8_t channel, uint64_t seed);

/* Waits for events until `deadline` (host_now's) and takes them; false: time is over. */
bool host_pump(int64_t deadline);
/* Takes events until none came for so many ms: for what must not happen. */
void host_settle(int quiet);
int64_t host_now(void); /* ms */

#define UNTIL_WITHIN(condition, ms)                                                                          \
    do {                                                                                                     \
        int64_t host_deadline = host_now() + (ms);                                                           \
        while (!(condition) && host_pump(host_deadline))                                                     \
            ;                                                                                                \
        CHECK(condition);                                                                                    \
    } while (0)
#define UNTIL(condition) UNTIL_WITHIN(condition, HOST_WAIT)

#endif
