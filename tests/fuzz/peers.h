/* peers - a few endpoints in virtual time, for targets that need a session or a handshake: what one sends is
 * handed to the other at once, and a hop takes 50 microseconds. The target sees every datagram on its way and
 * may keep it, alter it or put others in.
 *
 * Whatever happens, peers.c checks: an endpoint that was asked everything has nothing due (a driver would
 * spin), it does not send without end, a connection that ended says so once and then nothing more.
 */
#ifndef FUZZ_PEERS_H
#define FUZZ_PEERS_H

#include "../../csrc/core/endpoint.h"
#include "fuzz.h"

#define PEERS_MAX 4
#define PEERS_CONNS 64 /* of all peers together; more aren't accepted */
#define PEERS_HOP (50 * SRM_MICROSECOND)

typedef struct peers peers;

typedef struct peer {
    peers *world;
    srm_endpoint *endpoint; /* NULL: the process is gone */
    srmudp_address address; /* 10.0.0.<index + 1>, port 4000 */
    srm_listener *listener;
    uint64_t random;
} peer;

/* What the application knows of a connection. */
typedef struct peer_conn {
    peer *at;
    srm_conn *conn; /* NULL: it ended, and was released */
    bool accepted;
    srmudp_status status;
    srmudp_error reason;
    unsigned established, closed, restarts, wrong_keys;
    uint64_t messages, undelivered;
    bool hold; /* what comes is kept and not consumed */
    srm_message *held, **held_last;
} peer_conn;

struct peers {
    srm_time now;
    peer at[PEERS_MAX];
    int count;
    peer_conn conns[PEERS_CONNS];
    int conn_count;
    /* Sees each datagram that leaves and may alter it in place; true: whoever has that address gets it. NULL:
     * all arrive. */
    bool (*on_datagram)(peers *world, peer *from, const srmudp_address *to, uint8_t *data, size_t size);
    /* Sees each message that comes, before it is consumed. NULL: nobody looks. */
    void (*on_message)(peers *world, peer_conn *conn, const srm_message *message);
    void *user;         /* of whoever set these */
    bool pause;         /* set by them: peers_run returns before its time is over */
    uint64_t datagrams; /* that left all peers */
};

/* An empty world at one second past zero. */
void peers_init(peers *world);
/* Frees endpoints and all messages held. */
void peers_fini(peers *world);

/* Another peer; its entropy follows from `seed`. */
peer *peers_add(peers *world, const srmudp_config *config, uint64_t seed);
/* Its process goes without a word; its connections are gone. A new one starts at the same address. */
void peers_kill(peer *at);
void peers_start(peer *at, const srmudp_config *config, uint64_t seed);
peer_conn *peers_open(peer *from, const char *key, const srmudp_address *to);
void peers_listen(peer *at, const char *key);

/* Hands a datagram to a peer as if it came from `from`; the bytes are decrypted in place. */
void peers_deliver(peers *world, peer *to, const srmudp_address *from, uint8_t *data, size_t size);
/* Lets that much time pass: datagrams, timers and events; less if `pause` is set meanwhile. */
void peers_run(peers *world, srm_time span);
/* The newest connection that a listener of this peer accepted; NULL: none. */
peer_conn *peers_accepted(peers *world, const peer *at);

/* Sends a message of `size` bytes, all of them `byte`. */
void peers_send(peer_conn *conn, uint8_t channel, uint32_t size, uint8_t byte);
/* Consumes what was held. */
void peers_release(peer_conn *conn);

#endif
