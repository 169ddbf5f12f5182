/* state - the inside of an endpoint, for the files named endpoint_*, entry and conn_*: nobody else includes
 * it. */
#ifndef SRM_STATE_H
#define SRM_STATE_H

#include "cookie.h"
#include "deadline.h"
#include "endpoint.h"
#include "entry.h"
#include "lobby.h"
#include "table.h"

/* A handshake datagram waiting to be fetched. */
typedef struct srm_outgoing {
    struct srm_outgoing *next;
    srmudp_address to;
    size_t size;
    uint8_t data[];
} srm_outgoing;

#define SRM_OUTGOING_MAX 1024 /* waiting at once; more are dropped as the network would */

struct srm_listener {
    srm_timed timed;
    srm_entry entry;
    srm_endpoint *endpoint;
    srm_listener *next;
    void *user;
};

struct srm_endpoint {
    srmudp_config config;
    srm_entropy entropy;
    srm_hooks hooks;
    srm_time now;
    uint8_t secret[16]; /* hashes what strangers choose */
    uint8_t identity_public[32], identity_secret[64];

    srm_table links;     /* own CID -> srm_link */
    srm_table inits;     /* own nI -> srm_entry */
    srm_table attempts;  /* own nR -> srm_attempt */
    srm_table pairs;     /* hash of (nI, Y_I, AD_I) -> srm_attempt */
    srm_table own_ids;   /* own connection ids -> srm_entry */
    srm_table sessions;  /* peer's connection id -> srm_entry of the connection that holds its session */
    srm_table addresses; /* hash of an address -> srm_entry_address */
    srm_table ips;       /* hash of its IP alone -> srm_entry_address, none of an accepted connection */
    srm_table labels;    /* label hash -> srm_entry of a connection whose peer is not there */
    srm_table buckets;   /* srm_shared_bucket */
    srm_table paths;     /* hash of an address -> srm_path */
    srm_deadlines timers;
    size_t timer_count;

    srm_listener *listeners;
    size_t listener_count;
    struct srm_conn *conns;
    size_t conn_count;
    size_t busy_count; /* paths on which somebody waits for room */

    srm_cookie cookie;
    srm_guess_sources *sources;
    srm_bucket hints[SRM_HINT_SOURCES];
    srm_lobby lobby;
    srm_timed lobby_timer; /* set while somebody waits */
    size_t half_open, half_open_strangers;
    srm_time hello_second;
    uint32_t hellos_in_second;

    srm_outgoing *outgoing, **outgoing_last;
    size_t outgoing_count;
    struct srm_conn *sending_first, *sending_last; /* connections that may have something to send */
    srm_message *events, **events_last;
    srmudp_endpoint_stats stats;
};

/* Hash with the endpoint's secret, for keys that strangers choose. */
uint64_t srm_endpoint_hash(const srm_endpoint *endpoint, srm_span bytes);
uint64_t srm_address_hash(const srm_endpoint *endpoint, const srmudp_address *address, bool with_port);
bool srm_address_equal(const srmudp_address *a, const srmudp_address *b);
bool srm_address_same_ip(const srmudp_address *a, const srmudp_address *b);
/* The first 8 bytes of a nonce or id, as a key for the tables. */
uint64_t srm_prefix64(const uint8_t *bytes);

/* Queues a handshake datagram; dropped when too many wait or without memory. */
void srm_endpoint_queue(srm_endpoint *endpoint, const srmudp_address *to, srm_span datagram);
/* A budget shared by all entries with the same `name` bytes; NULL without memory. */
srm_shared_bucket *srm_endpoint_bucket(srm_endpoint *endpoint, uint8_t kind, srm_span name);
void srm_endpoint_bucket_release(srm_endpoint *endpoint, srm_shared_bucket *bucket);

/* A CID of ours that no link has. */
uint64_t srm_endpoint_new_cid(srm_endpoint *endpoint);
void srm_endpoint_random(srm_endpoint *endpoint, uint8_t *out, size_t size);

/* Registers (one place in the heap) and unregisters a timer's owner. */
bool srm_endpoint_timed_add(srm_endpoint *endpoint, srm_timed *timed, void (*fire)(srm_timed *, srm_time));
void srm_endpoint_timed_remove(srm_endpoint *endpoint, srm_timed *timed);
void srm_endpoint_timed_set(srm_endpoint *endpoint, srm_timed *timed, srm_time at);

/* Appends an event; `owner` NULL: nobody is listening, the node is freed. */
void srm_endpoint_emit_node(srm_endpoint *endpoint, void *owner, srm_message *node, uint8_t kind);
void srm_endpoint_emit(srm_endpoint *endpoint, void *owner, const srmudp_event *event);

/* endpoint_hello.c: handshake datagrams; the timer of those that wait. */
void srm_endpoint_lobby_fire(srm_timed *timed, srm_time now);
void srm_endpoint_on_handshake(srm_endpoint *endpoint, srm_time now, uint8_t *data, size_t size,
                               const srmudp_address *from, uint8_t ecn);

/* conn.c: a session packet for a link; an accepted connection for a listener's confirmed run. */
struct srm_link;
void srm_conn_on_packet(struct srm_link *link, srm_time now, uint8_t *data, size_t size,
                        const srmudp_address *from, uint8_t ecn);
void srm_conn_accept(srm_listener *listener, srm_time now, const srm_confirmed *run,
                     srm_span session_packets);
bool srm_conn_transmit(struct srm_conn *conn, srm_time now, uint8_t *buffer, size_t capacity, bool batch,
                       srm_transmit *out);
void srm_conn_free(struct srm_conn *conn);

/* Session packets that came behind a CONFIRM, in the same datagram. */
void srm_endpoint_on_session(srm_endpoint *endpoint, srm_time now, uint8_t *data, size_t size,
                             const srmudp_address *from, uint8_t ecn);

#endif
