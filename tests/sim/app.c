#include "app.h"

#include "../../csrc/core/keys.h"

#include <stdio.h>
#include <stdlib.h>

const char *app_failure;

/* Its number, then bytes that follow from number and channel, eight at a time: simulated seconds cost little
 * that way. */
static void fill_message(uint8_t *data, uint32_t size, uint8_t channel, uint64_t number) {
    uint64_t word = number, state = (number + 1) * UINT64_C(0x9E3779B97F4A7C15) + channel;
    for (uint32_t at = 0; at < size; at += 8) {
        for (uint32_t i = 0; i < 8 && at + i < size; i++)
            data[at + i] = (uint8_t)(word >> (8 * i));
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        word = state ^ state >> 32;
    }
}

void app_send(app_conn *conn, uint8_t channel, uint32_t size) {
    srm_message *message = srm_message_new(size, channel, 0);
    fill_message(message->data, size, channel, conn->sent[channel]++);
    message->sequence = conn->sent[channel];
    if (conn->sent_at[channel] != NULL)
        conn->sent_at[channel][message->sequence % APP_LATENCIES] = conn->app->host->net->now;
    srm_conn_send(conn->conn, conn->app->host->net->now, message);
}

static void check_message(app_conn *conn, const srm_message *message) {
    uint8_t channel = message->channel;
    uint64_t number = conn->received[channel];
    if (conn->duplicates_ok && message->size >= 8) {
        number = 0;
        for (int i = 7; i >= 0; i--)
            number = number << 8 | message->data[i];
        APP_CHECK(number >= conn->received[channel] || (message->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0,
                  "a duplicate without its mark");
    }
    uint8_t *expected = malloc(message->size + 1);
    fill_message(expected, message->size, channel, number);
    APP_CHECK(memcmp(expected, message->data, message->size) == 0,
              "a message is not the next one of its channel, or altered");
    free(expected);
    if (number >= conn->received[channel])
        conn->received[channel] = number + 1;
    conn->bytes += message->size;
    conn->maybe_duplicates += (message->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0;
}

static void on_message(app_conn *conn, srm_message *message) {
    srm_time now = conn->app->host->net->now;
    if (conn->first_message == 0)
        conn->first_message = now;
    check_message(conn, message);
    if (conn->peer != NULL && message->channel == conn->latency_channel &&
        conn->latency_count < APP_LATENCIES)
        conn->latencies[conn->latency_count++] =
            now - conn->peer->sent_at[message->channel][(message->number + 1) % APP_LATENCIES];
    if (conn->app->echo && conn->conn != NULL)
        app_send(conn, message->channel, message->size);
    if (conn->hold || conn->conn == NULL) {
        message->next = NULL;
        *conn->held_last = message;
        conn->held_last = &message->next;
    } else {
        srm_conn_consume(conn->conn, now, message);
    }
}

void app_measure(app_conn *from, app_conn *to, uint8_t channel) {
    from->sent_at[channel] = calloc(APP_LATENCIES, sizeof(srm_time));
    to->latencies = calloc(APP_LATENCIES, sizeof(srm_time));
    to->peer = from;
    to->latency_channel = channel;
}

static int compare_times(const void *a, const void *b) {
    srm_time x = *(const srm_time *)a, y = *(const srm_time *)b;
    return x < y ? -1 : x > y;
}

srm_time app_latency(app_conn *to, double share) {
    if (to->latency_count == 0)
        return SRM_TIME_NEVER;
    qsort(to->latencies, to->latency_count, sizeof(srm_time), compare_times);
    return to->latencies[(size_t)(share * (double)(to->latency_count - 1))];
}

void app_release_held(app_conn *conn) {
    for (srm_message *next; conn->held != NULL; conn->held = next) {
        next = conn->held->next;
        if (conn->conn != NULL)
            srm_conn_consume(conn->conn, conn->app->host->net->now, conn->held);
        else
            srm_message_free(conn->held);
    }
    conn->held_last = &conn->held;
}

static void on_undelivered(app_conn *conn, srm_message *list) {
    for (srm_message *next; list != NULL; list = next) {
        next = list->next;
        conn->undelivered++;
        srm_message_free(list);
    }
}

static void on_status(app_conn *conn, const srmudp_event *event) {
    conn->status = event->status;
    conn->reason = event->reason;
    conn->established += event->status == SRMUDP_ESTABLISHED;
    conn->reconnecting += event->status == SRMUDP_RECONNECTING;
    if (event->status == SRMUDP_ESTABLISHED && conn->first_established == 0)
        conn->first_established = conn->app->host->net->now;
}

static void on_event(net_host *host, srm_message *node) {
    app_conn *conn = node->owner;
    srmudp_event event;
    if (node->kind == SRMUDP_EVENT_MESSAGE) {
        on_message(conn, node);
        return;
    }
    memcpy(&event, node->data, sizeof event);
    srm_message_free(node);
    switch (event.kind) {
    case SRMUDP_EVENT_STATUS:
        on_status(conn, &event);
        break;
    case SRMUDP_EVENT_CONSUMED:
        conn->consumed[event.channel % APP_CHANNELS] = event.count;
        break;
    case SRMUDP_EVENT_WRONG_KEY:
        conn->wrong_keys++;
        if (conn->first_wrong_key == 0)
            conn->first_wrong_key = host->net->now;
        break;
    case SRMUDP_EVENT_PEER_RESTARTED:
        conn->restarts++;
        conn->resent += event.count;
        conn->unknown += event.unknown;
        break;
    case SRMUDP_EVENT_PEER_CLOSED:
        conn->peer_closed++;
        break;
    case SRMUDP_EVENT_PATH_CHANGED:
        conn->path_changed++;
        break;
    case SRMUDP_EVENT_UNDELIVERED:
        on_undelivered(conn, event.message);
        break;
    case SRMUDP_EVENT_CLOSED:
        conn->closed++;
        srm_conn_release(conn->conn, host->net->now);
        conn->conn = NULL;
        break;
    case SRMUDP_EVENT_MESSAGE:
    case SRMUDP_EVENT_WRITABLE:
    case SRMUDP_EVENT_ACCEPTED:
        break;
    }
}

static app_conn *new_conn(sim_app *app) {
    app_conn *conn = &app->conns[app->count++];
    *conn = (app_conn){.app = app, .duplicates_ok = app->duplicates_ok};
    conn->held_last = &conn->held;
    return conn;
}

/* The hook wants the new connection's user pointer at once. */
static void *accepted(void *context, void *listener_user, srm_conn *conn) {
    (void)context;
    app_conn *mine = new_conn(listener_user);
    mine->conn = conn;
    return mine;
}

sim_app *app_new(network *net, const srmudp_config *config) {
    sim_app *app = calloc(1, sizeof *app);
    app->host = net_add_host(net, config, on_event, app);
    app->host->accepted = accepted;
    return app;
}

app_conn *app_open(sim_app *app, const char *key, const char *label, const srmudp_address *to) {
    app_conn *conn = new_conn(app);
    srmudp_error error =
        srm_endpoint_open(app->host->endpoint, app->host->net->now, srm_span_of(key, strlen(key)),
                          srm_span_of(label, strlen(label)), to, to != NULL, conn, &conn->conn);
    APP_CHECK(error == SRMUDP_OK, "open() failed");
    return conn;
}

void app_listen(sim_app *app, const char *key, const char *label) {
    srmudp_error error =
        srm_endpoint_listen(app->host->endpoint, app->host->net->now, srm_span_of(key, strlen(key)),
                            srm_span_of(label, strlen(label)), app, &app->listener);
    APP_CHECK(error == SRMUDP_OK, "listen() failed");
}

void app_crash(sim_app *app) {
    net_kill(app->host);
    for (int i = 0; i < app->count; i++) {
        app->conns[i].conn = NULL;
        app_release_held(&app->conns[i]);
    }
    app->count = 0;
    net_restart(app->host);
}

void app_free(sim_app *app) {
    for (int i = 0; i < app->count; i++) {
        app->conns[i].conn = NULL;
        app_release_held(&app->conns[i]);
        for (int channel = 0; channel < APP_CHANNELS; channel++)
            free(app->conns[i].sent_at[channel]);
        free(app->conns[i].latencies);
    }
    free(app);
}

const uint8_t *app_label_hash(const char *label) {
    static uint8_t hash[SRM_LABEL_HASH_SIZE];
    srm_label_hash(srm_span_of(label, strlen(label)), hash);
    return hash;
}
