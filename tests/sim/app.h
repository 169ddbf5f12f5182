/* app - the application on a simulated host: opens, listens, sends numbered messages and checks what it gets:
 * each once, in order in its channel, every byte right. */
#ifndef SIM_APP_H
#define SIM_APP_H

#include "net.h"

#define APP_CHANNELS 8
#define APP_CONNS 64
#define APP_LATENCIES 65536

typedef struct sim_app sim_app;

typedef struct app_conn {
    sim_app *app;
    srm_conn *conn; /* NULL: not in use, or closed */
    srmudp_status status;
    srmudp_error reason;
    uint64_t sent[APP_CHANNELS];     /* messages given to the connection */
    uint64_t received[APP_CHANNELS]; /* messages got, in order */
    uint64_t consumed[APP_CHANNELS]; /* as CONSUMED events told */
    uint64_t bytes, maybe_duplicates, undelivered;
    uint64_t resent, unknown;
    unsigned wrong_keys, restarts, peer_closed, established, reconnecting, closed, path_changed;
    srm_time first_established, first_message, first_wrong_key;
    const struct app_conn *peer;     /* whose messages these are, for their latency; NULL: not measured */
    srm_time *sent_at[APP_CHANNELS]; /* of the last APP_LATENCIES messages, by number */
    srm_time *latencies;             /* of messages received from `peer`; APP_LATENCIES at most */
    size_t latency_count;
    uint8_t latency_channel;
    bool hold;          /* doesn't consume */
    bool duplicates_ok; /* the peer's process was replaced: numbers may repeat, flagged */
    srm_message *held, **held_last;
} app_conn;

struct sim_app {
    net_host *host;
    app_conn conns[APP_CONNS];
    int count;
    srm_listener *listener;
    bool duplicates_ok; /* of connections to come */
    bool echo;          /* accepted connections answer each message with itself */
};

extern const char *app_failure; /* the first thing that was wrong, or NULL */
#define APP_CHECK(condition, what)                                                                           \
    do {                                                                                                     \
        if (!(condition) && app_failure == NULL)                                                             \
            app_failure = what;                                                                              \
    } while (0)

sim_app *app_new(network *net, const srmudp_config *config);
app_conn *app_open(sim_app *app, const char *key, const char *label, const srmudp_address *to);
void app_listen(sim_app *app, const char *key, const char *label);
/* Sends the next message of the channel, of `size` bytes (at least 0; its content follows from channel and
 * number). */
void app_send(app_conn *conn, uint8_t channel, uint32_t size);
/* Measures how long messages of one channel take from one connection to the other. */
void app_measure(app_conn *from, app_conn *to, uint8_t channel);
/* The latency that `share` of the messages don't exceed. */
srm_time app_latency(app_conn *to, double share);
void app_release_held(app_conn *conn);
/* The process dies; a new one starts with the same address and nothing remembered. */
void app_crash(sim_app *app);
void app_free(sim_app *app);

/* The 8 bytes that stand for a label in a HELLO; valid until the next call. */
const uint8_t *app_label_hash(const char *label);

#endif
