/* srmudp.h - SRMUDP, secure reliable messages over UDP, with hole punching. The public C interface.
 *
 * An *endpoint* is one UDP port number (IPv4 and IPv6) with an engine thread of its own; it carries many
 * *connections*. Two programs that hold the same key and know each other's address (or one of them listens)
 * get a connection on which whole messages travel, encrypted, each exactly once, in order within a channel,
 * over outages and address changes alike.
 *
 *     srmudp_config config;
 *     srmudp_config_init(&config);
 *     srmudp_endpoint *endpoint;
 *     srmudp_endpoint_bind("", 0, &config, &endpoint);
 *     srmudp_target target = {.host = "203.0.113.5", .port = 40000, .key = "...", .key_size = 3};
 *     srmudp_connection *connection;
 *     srmudp_endpoint_open(endpoint, &target, &connection);
 *     srmudp_connection_send_bytes(connection, "hello", 5, 0, 0, NULL);     // accepted at once
 *     for (;;) { wait for srmudp_endpoint_fd(endpoint) to be readable;
 *                srmudp_event event; while (srmudp_endpoint_next_event(endpoint, &event)) ...; }
 *
 * Threads. The functions of one endpoint and of its connections may be called from one thread at a time (the
 * "application's thread"); `on_ready` is called on the engine's thread and may call them too if the
 * application's thread then doesn't. Nothing here blocks on the network; functions marked *asks the engine*
 * wait for the engine's thread to answer (microseconds, at most one batch of work).
 *
 * Ownership. 1. What a function gives through an `out` pointer is the caller's until it is released, closed
 * or freed with the function named. 2. A message is the caller's until `send` returned SRMUDP_OK (then the
 * engine's), and from the event that brought it until it is consumed or freed. 3. A connection given by
 * `open` or by an ACCEPTED event is valid until srmudp_connection_release; its last event is CLOSED. 4.
 * Strings and key bytes given are borrowed for the call.
 *
 * Times are milliseconds unless a name says otherwise. Sizes are bytes.
 */
#ifndef SRMUDP_H
#define SRMUDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SRMUDP_VERSION "0.1.0"

#if defined(SRMUDP_BUILD_SHARED)
#define SRMUDP_API __attribute__((visibility("default")))
#else
#define SRMUDP_API
#endif

/* ---- Errors and reasons: each once, in one table
 * ------------------------------------------------------------- X(NAME, python class or "", text). Functions
 * return them; a FAILED or RECONNECTING status carries one as its reason, in lower case ("wrong_key"). */
#define SRMUDP_ERROR_TABLE(X)                                                                                \
    X(OK, "", "no error")                                                                                    \
    X(AGAIN, "", "the send buffer is full; a WRITABLE event follows when there is room")                     \
    X(INVALID_ADDRESS, "InvalidAddress",                                                                     \
      "the address cannot be used; give an IPv4 or IPv6 address or a name that resolves, and a port from 1 " \
      "to 65535")                                                                                            \
    X(INVALID_KEY, "InvalidKey", "the key must have 1 to 4096 bytes")                                        \
    X(INVALID_ARGUMENT, "ValueError", "an argument is out of its range")                                     \
    X(PORT_IN_USE, "PortInUse",                                                                              \
      "the UDP port is in use by another program; choose another port or 0 for any")                         \
    X(ADDRESS_BUSY, "AddressBusy",                                                                           \
      "8 connections to this address with this label are waiting already; use another label")                \
    X(CONNECT_TIMEOUT, "ConnectTimeout",                                                                     \
      "no peer proved the key in time; check its address, that it is running, and that UDP gets through")    \
    X(WRONG_KEY, "WrongKey", "the peer answers but holds another key; give both sides the same key")         \
    X(CONNECTION_LOST, "ConnectionLost", "the peer was not heard of within the outage limit")                \
    X(PEER_RESTARTED, "ConnectionLost", "the peer's process was replaced by a new one")                      \
    X(PEER_BUSY, "ConnectionLost",                                                                           \
      "the peer has a living connection with somebody else on this key and label")                           \
    X(PEER_CLOSED, "Closed", "the peer closed the connection")                                               \
    X(UNDELIVERED, "Undelivered", "not everything sent was consumed by the peer's application")              \
    X(CLOSED, "Closed", "it is closed")                                                                      \
    X(MESSAGE_TOO_LARGE, "MessageTooLarge", "the message is larger than max_message_size")                   \
    X(PEER_MESSAGE_LIMIT, "MessageTooLarge", "the message is larger than the peer accepts")                  \
    X(POLICY_DENIED, "PolicyDenied", "the address is not one this endpoint may talk to")                     \
    X(PROTOCOL_VIOLATION, "ConnectionLost", "the authenticated peer broke the protocol")                     \
    X(VERSION_MISMATCH, "ConnectTimeout",                                                                    \
      "the peer speaks another version of SRMUDP; update the older side")                                    \
    X(LIVENESS, "", "nothing was heard from the peer for the liveness time")                                 \
    X(TOO_MANY, "Error", "a limit on connections or listeners is reached")                                   \
    X(NO_MEMORY, "MemoryError", "no memory")                                                                 \
    X(SYSTEM, "Error", "the operating system refused; errno tells")

typedef enum srmudp_error {
#define SRMUDP_X(name, python, text) SRMUDP_##name,
    SRMUDP_ERROR_TABLE(SRMUDP_X)
#undef SRMUDP_X
} srmudp_error;

/* The text of the table ("what happened; what to do"), the lower-case name, the Python class. Static strings.
 */
SRMUDP_API const char *srmudp_error_text(srmudp_error error);
SRMUDP_API const char *srmudp_error_name(srmudp_error error);
SRMUDP_API const char *srmudp_error_python(srmudp_error error);

/* ---- Configuration ----------------------------------------------------------------------------------------
 */

typedef enum srmudp_congestion { SRMUDP_CONGESTION_BBR = 0, SRMUDP_CONGESTION_CUBIC = 1 } srmudp_congestion;

#define SRMUDP_FOR_EVER UINT32_MAX

typedef struct srmudp_config {
    uint32_t liveness; /* silence after which an idle connection is RECONNECTING; 10000, range 1000..600000 */
    uint32_t liveness_in_flight; /* the same with unacknowledged data in flight; 3000, range 500..600000 */
    uint32_t keepalive_interval; /* silence after which a keep-alive is sent; 15000, range 500..3600000 */
    uint32_t outage_limit;     /* RECONNECTING longer than this ends in FAILED; 3600000, or SRMUDP_FOR_EVER */
    uint32_t reconnect_delay;  /* pause between tries while RECONNECTING; 1000, range 100..60000 */
    uint32_t close_timeout;    /* what close() may take by default; 5000 */
    uint32_t max_message_size; /* bytes; 16 MiB, range 1..1 GiB */
    uint64_t send_buffer; /* bytes accepted and not yet consumed by the peer, a connection; 64 MiB. The last
                             eighth, or 256 KiB, is for messages of up to 4 KiB */
    uint64_t receive_buffer; /* bytes received and not yet consumed, a connection; 64 MiB, >= max_message_size
                                + 64 */
    srmudp_congestion congestion_control;
    bool pmtu_discovery;             /* RFC 8899; true. Off: packets of 1200 bytes */
    bool gso;                        /* UDP_SEGMENT and UDP_GRO where the kernel has them; true */
    uint32_t max_connections;        /* an endpoint; 10000 */
    const uint8_t *identity_seed;    /* Ed25519 seed (32 bytes) of an identity shown to peers; NULL: none */
    void (*on_ready)(void *context); /* called on the engine's thread when events begin to wait, in place of
                                        the descriptor; NULL: the descriptor */
    void *on_ready_context;
    bool (*allow)(void *context, const char *host, uint16_t port); /* asked on the engine's thread for each
                                        resolved address before the first packet to it; NULL: every address */
    void *allow_context;
} srmudp_config;

SRMUDP_API void srmudp_config_init(srmudp_config *config);
/* SRMUDP_OK, or SRMUDP_INVALID_ARGUMENT with `*field` naming the first field out of range (static string). */
SRMUDP_API srmudp_error srmudp_config_check(const srmudp_config *config, const char **field);

/* ---- Endpoint
 * ----------------------------------------------------------------------------------------------- */

typedef struct srmudp_endpoint srmudp_endpoint;
typedef struct srmudp_connection srmudp_connection;
typedef struct srmudp_listener srmudp_listener;
typedef struct srm_message srmudp_message;

/* Binds a UDP port on `host` ("" = all IPv4 and IPv6 addresses; else an address literal) and starts the
 * engine's thread. `port` 0: any free one, the same number for both families. Errors: INVALID_ADDRESS,
 * PORT_IN_USE, INVALID_ARGUMENT, NO_MEMORY, SYSTEM. */
SRMUDP_API srmudp_error srmudp_endpoint_bind(const char *host, uint16_t port, const srmudp_config *config,
                                             srmudp_endpoint **out);

typedef struct srmudp_address {
    uint8_t ip[16]; /* IPv4: the first four */
    uint16_t port;  /* host order */
    uint8_t family; /* 4, 6, or 0 for none */
    uint32_t scope; /* IPv6 zone index, 0 without */
} srmudp_address;

/* "203.0.113.5", "fe80::1%2" into `out` (at least 64 bytes). */
SRMUDP_API void srmudp_address_host(const srmudp_address *address, char *out);

/* The bound addresses: up to 2 (IPv4 first). Returns how many. */
SRMUDP_API size_t srmudp_endpoint_addresses(const srmudp_endpoint *endpoint, srmudp_address out[2]);

/* A descriptor that is readable while events wait (level triggered; emptied by next_event returning false).
 * On Linux it may be readable for a datagram that makes no event: then next_event takes it and returns false.
 * -1 when the configuration has `on_ready`. */
SRMUDP_API int srmudp_endpoint_fd(const srmudp_endpoint *endpoint);

/* Waits until there may be something for next_event, at most `timeout` ms (-1: without limit). True: call it;
 * it may have nothing after all (a signal, or a datagram that made no event). False: time is over. For
 * applications that have nothing else to wait for; on Linux it is woken faster than a poll of the descriptor.
 * False at once when the configuration has `on_ready`. */
SRMUDP_API bool srmudp_endpoint_wait(srmudp_endpoint *endpoint, int timeout);

/* For a program in an event loop that has nothing to do but for an answer. Whether that may be here at once:
 * a small message went to a peer whose shortest round trip is below 1 ms, and lingering was not in vain
 * lately (a miss lets twice as many waits pass as the one before did, up to 31). */
SRMUDP_API bool srmudp_endpoint_expects(srmudp_endpoint *endpoint);
/* When it is expected: waits for it without sleeping, for up to 50 us, which is less than the loop would take
 * to sleep and wake up. True: call next_event, as after srmudp_endpoint_wait. */
SRMUDP_API bool srmudp_endpoint_linger(srmudp_endpoint *endpoint);

/* Ends the engine's thread and frees the endpoint. Connections that are open tell their peer once, best
 * effort, without waiting (close them first to deliver what was sent). All handles of the endpoint are
 * invalid afterwards except messages the caller owns. Not from on_ready. */
SRMUDP_API void srmudp_endpoint_close(srmudp_endpoint *endpoint);

/* After fork(), in the child: frees nothing, sends nothing, makes close() harmless. Call close() after it. */
SRMUDP_API void srmudp_endpoint_forget(srmudp_endpoint *endpoint);

/* ---- Opening
 * ------------------------------------------------------------------------------------------------ */

typedef struct srmudp_target {
    const char
        *host;     /* literal or name; all addresses of a name are tried, each again when it resolves anew */
    uint16_t port; /* 1..65535 */
    const void *key; /* the shared secret, 1..4096 bytes, any bytes; text: the UTF-8 of its NFC form */
    size_t key_size;
    const char *label; /* public name, at most 255 bytes; NULL = "" */
    void *user;        /* returned by srmudp_connection_user */
} srmudp_target;

/* Starts a connection; WAITING, and messages may be sent at once. *Asks the engine.* Errors: INVALID_ADDRESS
 * (a literal or port that cannot be), INVALID_KEY, INVALID_ARGUMENT (label), ADDRESS_BUSY, TOO_MANY,
 * POLICY_DENIED, CLOSED, NO_MEMORY. A name that does not resolve is tried again; its status tells. */
SRMUDP_API srmudp_error srmudp_endpoint_open(srmudp_endpoint *endpoint, const srmudp_target *target,
                                             srmudp_connection **out);

/* Accepts connections of anybody who proves the key: each comes as an ACCEPTED event. *Asks the engine.* */
SRMUDP_API srmudp_error srmudp_endpoint_listen(srmudp_endpoint *endpoint, const void *key, size_t key_size,
                                               const char *label, void *user, srmudp_listener **out);
/* Stops accepting; connections accepted live on. The handle is gone. */
SRMUDP_API void srmudp_listener_close(srmudp_listener *listener);

/* ---- Messages
 * ----------------------------------------------------------------------------------------------- */

#define SRMUDP_TEXT 0x01 /* text, not binary */
#define SRMUDP_MAYBE_DUPLICATE                                                                               \
    0x02 /* received only: a process that died may have consumed this message already */

/* A message with room for `size` bytes, to be filled through srmudp_message_data; NULL: no memory. `flags`: 0
 * or SRMUDP_TEXT. */
SRMUDP_API srmudp_message *srmudp_message_new(size_t size, uint8_t channel, uint8_t flags);
SRMUDP_API uint8_t *srmudp_message_data(srmudp_message *message);
SRMUDP_API size_t srmudp_message_size(const srmudp_message *message);
SRMUDP_API uint8_t srmudp_message_channel(const srmudp_message *message);
SRMUDP_API uint8_t srmudp_message_flags(const srmudp_message *message);
SRMUDP_API uint64_t srmudp_message_number(const srmudp_message *message); /* within its channel, from 0 */
SRMUDP_API void srmudp_message_free(srmudp_message *message);

/* Tells the engine that the application consumed this received message (credit, and the sender's drain,
 * follow), and frees it. Messages of a channel must be consumed in the order they came. Also after the
 * connection ended. */
SRMUDP_API void srmudp_message_consume(srmudp_message *message);

/* Hands a message over; channels 0..255, a lower one goes first, order holds within one. SRMUDP_OK takes the
 * message and gives its `sequence` in its channel of this connection (from 1; NULL allowed), which CONSUMED
 * events count. Else the message stays the caller's: AGAIN (buffer full: a WRITABLE event follows),
 * MESSAGE_TOO_LARGE, CLOSED (after close, CLOSED or FAILED), NO_MEMORY. An empty send buffer takes one
 * message of any legal size. */
SRMUDP_API srmudp_error srmudp_connection_send(srmudp_connection *connection, srmudp_message *message,
                                               uint64_t *sequence);
/* The same for bytes, which are copied. Also NO_MEMORY. */
SRMUDP_API srmudp_error srmudp_connection_send_bytes(srmudp_connection *connection, const void *data,
                                                     size_t size, uint8_t channel, uint8_t flags,
                                                     uint64_t *sequence);

/* ---- Connection
 * --------------------------------------------------------------------------------------------- */

typedef enum srmudp_status {
    SRMUDP_WAITING,      /* no peer has proved the key yet */
    SRMUDP_ESTABLISHED,  /* keys confirmed by both sides; data flows */
    SRMUDP_RECONNECTING, /* was established; nothing authenticated for the liveness time, or the peer was
                            replaced */
    SRMUDP_STATUS_CLOSED,
    SRMUDP_FAILED, /* will not go on by itself; `reason` */
} srmudp_status;

SRMUDP_API void *srmudp_connection_user(const srmudp_connection *connection);
SRMUDP_API void srmudp_connection_set_user(srmudp_connection *connection, void *user);

/* Closes: sends what is left, waits until the peer's application consumed it or `timeout` ms passed, says
 * goodbye; CLOSED follows (before it UNDELIVERED if something was not consumed). `timeout` 0: at once. */
SRMUDP_API void srmudp_connection_close(srmudp_connection *connection, uint32_t timeout);
/* Tries at once to reach the peer anew: a fresh handshake, without losing anything. */
SRMUDP_API void srmudp_connection_reconnect(srmudp_connection *connection);
/* The caller will not use the handle again; no event names it any more. Closes it with timeout 0 if it is
 * open. */
SRMUDP_API void srmudp_connection_release(srmudp_connection *connection);

typedef struct srmudp_stats {
    srmudp_status status;
    srmudp_address remote;                     /* where packets go now; family 0 before */
    uint32_t attempt;                          /* tries to reach the peer since it was last there */
    uint64_t messages_sent, messages_received; /* whole messages: accepted from us; given to us */
    uint64_t bytes_sent, bytes_received;       /* their bytes */
    uint64_t messages_unconsumed;              /* accepted, not yet consumed by the peer */
    uint64_t bytes_unconsumed;
    uint64_t packets_sent, packets_received, packets_lost,
        packets_spurious; /* of this link and former ones */
    uint64_t udp_bytes_sent, udp_bytes_received;
    uint64_t bytes_in_flight, congestion_window, pacing_rate; /* bytes; bytes a second */
    uint64_t rtt_us, rtt_min_us, rtt_var_us;                  /* 0: unknown */
    uint32_t mtu;                                             /* UDP payload */
    uint32_t aead; /* 1 AEGIS-128L, 2 AES-256-GCM, 3 ChaCha20-Poly1305; 0: none yet */
    uint64_t dropped_forged, dropped_replayed, dropped_malformed; /* packets for this connection */
    uint64_t duplicates;                                          /* message fragments that had come before */
    uint64_t wrong_keys;                                          /* completed tries with another key */
    uint64_t guesses_left;                                        /* of the key's budget */
} srmudp_stats;

/* *Asks the engine.* False when the connection is gone (the last known figures are given). */
SRMUDP_API bool srmudp_connection_stats(srmudp_connection *connection, srmudp_stats *out);

typedef struct srmudp_endpoint_stats {
    uint64_t datagrams_received, datagrams_sent, send_errors;
    uint64_t dropped_malformed, dropped_version, dropped_unknown, dropped_own, dropped_budget, dropped_cookie,
        dropped_replayed, dropped_forged;
    uint64_t handshakes_completed, handshakes_failed;
    uint32_t connections;
} srmudp_endpoint_stats;

/* *Asks the engine.* */
SRMUDP_API void srmudp_endpoint_get_stats(srmudp_endpoint *endpoint, srmudp_endpoint_stats *out);

/* ---- Events
 * ------------------------------------------------------------------------------------------------- */

typedef enum srmudp_event_kind {
    SRMUDP_EVENT_STATUS = 1, /* status, reason, attempt, remote */
    SRMUDP_EVENT_MESSAGE,    /* message: the receiver's to consume or free */
    SRMUDP_EVENT_WRITABLE,   /* send() may be tried again */
    SRMUDP_EVENT_CONSUMED,   /* channel, count: the sequence (srmudp_connection_send) up to which the peer's
                                application consumed what was sent on it */
    SRMUDP_EVENT_ACCEPTED,   /* connection is a new one of `listener`, ESTABLISHED */
    SRMUDP_EVENT_WRONG_KEY,  /* count: completed tries with another key so far */
    SRMUDP_EVENT_PEER_RESTARTED, /* count: messages sent again; unknown: of them, possibly consumed by the
                                    dead process */
    SRMUDP_EVENT_PEER_CLOSED,
    SRMUDP_EVENT_PATH_CHANGED, /* remote */
    SRMUDP_EVENT_UNDELIVERED, /* messages: a list linked by srmudp_message_next, the receiver's to free; count
                               */
    SRMUDP_EVENT_CLOSED,      /* the last one: reason SRMUDP_OK after close(), else why it ended */
} srmudp_event_kind;

typedef struct srmudp_event {
    srmudp_event_kind kind;
    srmudp_connection *connection; /* borrowed */
    srmudp_listener *listener;     /* ACCEPTED only; NULL when it was closed meanwhile */
    srmudp_status status;
    srmudp_error reason;
    uint32_t attempt;
    uint8_t channel;
    uint64_t count, unknown;
    srmudp_address remote;
    uint8_t fingerprint[32]; /* STATUS ESTABLISHED: the peer's Ed25519 key, zeros without identity */
    srmudp_message *message; /* MESSAGE: one; UNDELIVERED: the first of a list */
} srmudp_event;

SRMUDP_API srmudp_message *
srmudp_message_next(const srmudp_message *message); /* in a list; NULL at its end */

/* Takes the oldest waiting event; false when none waits. Events of one connection come in the order things
 * happened: CLOSED is last. */
SRMUDP_API bool srmudp_endpoint_next_event(srmudp_endpoint *endpoint, srmudp_event *out);

/* libsodium and libuv in use, AEADs available: "srmudp 0.1.0, libuv 1.44.2, libsodium 1.0.18, AES-256-GCM".
 */
SRMUDP_API const char *srmudp_build_info(void);

#ifdef __cplusplus
}
#endif
#endif
