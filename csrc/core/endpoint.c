#include "state.h"

#include "bytes.h"
#include "conn.h"
#include "link.h"

#include <sodium.h>
#include <stdlib.h>

/* ---- Small things others call ---- */

uint64_t srm_endpoint_hash(const srm_endpoint *endpoint, srm_span bytes) {
    uint8_t out[8];
    crypto_shorthash(out, bytes.data, bytes.size, endpoint->secret);
    return srm_prefix64(out);
}

uint64_t srm_prefix64(const uint8_t *bytes) {
    srm_reader r = srm_reader_of(srm_span_of(bytes, 8));
    return srm_read_u64(&r);
}

uint64_t srm_address_hash(const srm_endpoint *endpoint, const srmudp_address *address, bool with_port) {
    uint8_t text[24] = {0};
    memcpy(text, address->ip, sizeof address->ip);
    text[16] = address->family;
    text[17] = with_port;
    text[18] = with_port ? (uint8_t)(address->port >> 8) : 0;
    text[19] = with_port ? (uint8_t)address->port : 0;
    return srm_endpoint_hash(endpoint, srm_span_of(text, sizeof text));
}

bool srm_address_same_ip(const srmudp_address *a, const srmudp_address *b) {
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool srm_address_equal(const srmudp_address *a, const srmudp_address *b) {
    return a->port == b->port && srm_address_same_ip(a, b);
}

void srm_endpoint_random(srm_endpoint *endpoint, uint8_t *out, size_t size) {
    endpoint->entropy.fill(endpoint->entropy.context, out, size);
}

uint64_t srm_endpoint_new_cid(srm_endpoint *endpoint) {
    uint8_t bytes[SRM_CID_SIZE];
    srm_endpoint_random(endpoint, bytes, sizeof bytes);
    while (srm_table_find(&endpoint->links, srm_prefix64(bytes)) != NULL)
        srm_endpoint_random(endpoint, bytes, sizeof bytes);
    return srm_prefix64(bytes);
}

srm_shared_bucket *srm_endpoint_bucket(srm_endpoint *endpoint, uint8_t kind, srm_span name) {
    uint8_t hash[16];
    uint8_t text[17];
    crypto_generichash(hash, sizeof hash, name.data, name.size, endpoint->secret, sizeof endpoint->secret);
    text[0] = kind;
    memcpy(text + 1, hash, sizeof hash);
    uint64_t id = srm_endpoint_hash(endpoint, srm_span_of(text, sizeof text));
    srm_shared_bucket *bucket = srm_table_find(&endpoint->buckets, id);
    if (bucket == NULL) {
        bucket = calloc(1, sizeof *bucket);
        if (bucket == NULL || !srm_table_add(&endpoint->buckets, id, bucket)) {
            free(bucket);
            return NULL;
        }
        bucket->id = id;
    }
    bucket->references++;
    return bucket;
}

/* A bucket that is not full stays for the next who names it: closing and opening must not buy new guesses.
 * There are as many as names were ever given here, by our own application. */
void srm_endpoint_bucket_release(srm_endpoint *endpoint, srm_shared_bucket *bucket) {
    if (bucket == NULL || --bucket->references > 0 || bucket->bucket.full_at > endpoint->now)
        return;
    srm_table_remove(&endpoint->buckets, bucket->id, bucket);
    free(bucket);
}

bool srm_endpoint_timed_add(srm_endpoint *endpoint, srm_timed *timed, void (*fire)(srm_timed *, srm_time)) {
    srm_deadline_init(&timed->deadline);
    timed->fire = fire;
    if (!srm_deadlines_reserve(&endpoint->timers, endpoint->timer_count + 1))
        return false;
    endpoint->timer_count++;
    return true;
}

void srm_endpoint_timed_remove(srm_endpoint *endpoint, srm_timed *timed) {
    srm_deadline_set(&endpoint->timers, &timed->deadline, SRM_TIME_NEVER);
    endpoint->timer_count--;
}

void srm_endpoint_timed_set(srm_endpoint *endpoint, srm_timed *timed, srm_time at) {
    srm_deadline_set(&endpoint->timers, &timed->deadline, at);
}

/* ---- Events ---- */

void srm_endpoint_emit_node(srm_endpoint *endpoint, void *owner, srm_message *node, uint8_t kind) {
    node->owner = owner;
    node->kind = kind;
    node->next = NULL;
    *endpoint->events_last = node;
    endpoint->events_last = &node->next;
}

void srm_endpoint_emit(srm_endpoint *endpoint, void *owner, const srmudp_event *event) {
    srm_message *node = srm_message_new(sizeof *event, 0, 0);
    if (node == NULL)
        return;
    memcpy(node->data, event, sizeof *event);
    srm_endpoint_emit_node(endpoint, owner, node, (uint8_t)event->kind);
}

srm_message *srm_endpoint_events(srm_endpoint *endpoint) {
    srm_message *events = endpoint->events;
    endpoint->events = NULL;
    endpoint->events_last = &endpoint->events;
    return events;
}

/* ---- Life ---- */

static void init_tables(srm_endpoint *endpoint) {
    srm_table *tables[] = {&endpoint->links,   &endpoint->inits,    &endpoint->attempts,  &endpoint->pairs,
                           &endpoint->own_ids, &endpoint->sessions, &endpoint->addresses, &endpoint->ips,
                           &endpoint->labels,  &endpoint->buckets,  &endpoint->paths};
    for (size_t i = 0; i < SRM_COUNT_OF(tables); i++)
        srm_table_init(tables[i]);
}

static void fini_tables(srm_endpoint *endpoint) {
    for (size_t i = 0; i < endpoint->buckets.capacity; i++) {
        srm_shared_bucket *bucket = endpoint->buckets.slots[i].value;
        if (bucket != NULL && srm_table_find(&endpoint->buckets, endpoint->buckets.slots[i].key) == bucket)
            free(bucket);
    }
    srm_table *tables[] = {&endpoint->links,   &endpoint->inits,    &endpoint->attempts,  &endpoint->pairs,
                           &endpoint->own_ids, &endpoint->sessions, &endpoint->addresses, &endpoint->ips,
                           &endpoint->labels,  &endpoint->buckets,  &endpoint->paths};
    for (size_t i = 0; i < SRM_COUNT_OF(tables); i++)
        srm_table_fini(tables[i]);
}

srm_endpoint *srm_endpoint_new(const srmudp_config *config, srm_entropy entropy, srm_hooks hooks,
                               srm_time now) {
    srm_endpoint *endpoint = calloc(1, sizeof *endpoint);
    srm_guess_sources *sources = calloc(1, sizeof *sources);
    if (endpoint == NULL || sources == NULL) {
        free(endpoint);
        free(sources);
        return NULL;
    }
    endpoint->config = *config;
    endpoint->entropy = entropy;
    endpoint->hooks = hooks;
    endpoint->now = now;
    endpoint->sources = sources;
    init_tables(endpoint);
    srm_deadlines_init(&endpoint->timers);
    srm_lobby_init(&endpoint->lobby);
    if (!srm_endpoint_timed_add(endpoint, &endpoint->lobby_timer, srm_endpoint_lobby_fire)) {
        free(sources);
        free(endpoint);
        return NULL;
    }
    srm_endpoint_random(endpoint, endpoint->secret, sizeof endpoint->secret);
    srm_cookie_init(&endpoint->cookie, &endpoint->entropy, now);
    srm_guess_sources_init(sources, &endpoint->entropy);
    if (config->identity_seed != NULL)
        crypto_sign_seed_keypair(endpoint->identity_public, endpoint->identity_secret, config->identity_seed);
    endpoint->outgoing_last = &endpoint->outgoing;
    endpoint->events_last = &endpoint->events;
    return endpoint;
}

void srm_endpoint_free(srm_endpoint *endpoint) {
    if (endpoint == NULL)
        return;
    while (endpoint->conns != NULL)
        srm_conn_free(endpoint->conns);
    for (srm_listener *next, *listener = endpoint->listeners; listener != NULL; listener = next) {
        next = listener->next;
        srm_listener_close(listener);
    }
    for (srm_outgoing *next; endpoint->outgoing != NULL; endpoint->outgoing = next) {
        next = endpoint->outgoing->next;
        free(endpoint->outgoing);
    }
    for (srm_message *next, *node = srm_endpoint_events(endpoint); node != NULL; node = next) {
        next = node->next;
        srm_event_node_free(node);
    }
    srm_lobby_fini(&endpoint->lobby);
    fini_tables(endpoint);
    srm_deadlines_fini(&endpoint->timers);
    srm_cookie_fini(&endpoint->cookie);
    free(endpoint->sources);
    sodium_memzero(endpoint, sizeof *endpoint);
    free(endpoint);
}

/* ---- Listeners ---- */

static srm_listener *listener_of(const srm_entry *entry) {
    return (srm_listener *)(uintptr_t)((const char *)entry - offsetof(srm_listener, entry));
}

static srm_entry_session listener_session(const srm_entry *entry) {
    (void)entry;
    return SRM_SESSION_NONE;
}
static void listener_confirmed(srm_entry *entry, srm_time now, const srm_confirmed *run, srm_span packets) {
    srm_conn_accept(listener_of(entry), now, run, packets);
}
static void listener_wrong_key(srm_entry *entry, srm_time now, uint64_t count) {
    (void)entry, (void)now,
        (void)count; /* a listener never fails because of a stranger; counted in the statistics */
}
static void listener_version(srm_entry *entry, srm_time now) {
    (void)entry, (void)now;
}
static void listener_tried(srm_entry *entry, srm_time now) {
    (void)entry, (void)now;
}
static void listener_touched(srm_entry *entry, srm_time now) {
    (void)now;
    srm_endpoint_timed_set(entry->endpoint, &listener_of(entry)->timed, srm_entry_deadline(entry));
}

static const srm_entry_owner listener_owner = {listener_session, listener_confirmed, listener_wrong_key,
                                               listener_version, listener_tried,     listener_touched};

static void listener_fire(srm_timed *timed, srm_time now) {
    srm_listener *listener = (srm_listener *)timed;
    srm_entry_timeout(&listener->entry, now);
    listener_touched(&listener->entry, now);
}

srmudp_error srm_endpoint_listen(srm_endpoint *endpoint, srm_time now, srm_span key, srm_span label,
                                 void *user, srm_listener **out) {
    if (key.size < 1 || key.size > SRM_KEY_MAX_SIZE)
        return SRMUDP_INVALID_KEY;
    if (label.size > SRM_LABEL_MAX_SIZE)
        return SRMUDP_INVALID_ARGUMENT;
    if (endpoint->listener_count >= SRM_LISTENERS_MAX)
        return SRMUDP_TOO_MANY;
    srm_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return SRMUDP_NO_MEMORY;
    if (!srm_endpoint_timed_add(endpoint, &listener->timed, listener_fire)) {
        free(listener);
        return SRMUDP_NO_MEMORY;
    }
    if (!srm_entry_init(&listener->entry, endpoint, &listener_owner, key, label, now)) {
        srm_endpoint_timed_remove(endpoint, &listener->timed);
        free(listener);
        return SRMUDP_NO_MEMORY;
    }
    listener->entry.listener = true;
    listener->endpoint = endpoint;
    listener->user = user;
    listener->next = endpoint->listeners;
    endpoint->listeners = listener;
    endpoint->listener_count++;
    *out = listener;
    return SRMUDP_OK;
}

void srm_listener_close(srm_listener *listener) {
    srm_endpoint *endpoint = listener->endpoint;
    srm_listener **link = &endpoint->listeners;
    while (*link != listener)
        link = &(*link)->next;
    *link = listener->next;
    endpoint->listener_count--;
    srm_entry_fini(&listener->entry);
    srm_endpoint_timed_remove(endpoint, &listener->timed);
    free(listener);
}

/* ---- Doors in ---- */

void srm_endpoint_on_session(srm_endpoint *endpoint, srm_time now, uint8_t *data, size_t size,
                             const srmudp_address *from, uint8_t ecn) {
    if (size < SRM_PACKET_MIN_SIZE) {
        endpoint->stats.dropped_malformed++;
        return;
    }
    srm_link *link = srm_table_find(&endpoint->links, srm_prefix64(data + 1));
    if (link == NULL)
        endpoint->stats.dropped_unknown++;
    else
        srm_conn_on_packet(link, now, data, size, from, ecn);
}

static void receive_one(srm_endpoint *endpoint, srm_time now, uint8_t *data, size_t size,
                        const srmudp_address *from, uint8_t ecn) {
    endpoint->stats.datagrams_received++;
    if (size > 0 && (data[0] & 0xc0) == 0x80)
        srm_endpoint_on_session(endpoint, now, data, size, from, ecn);
    else if (size > 0 && (data[0] & 0xc0) == 0xc0)
        srm_endpoint_on_handshake(endpoint, now, data, size, from, ecn);
    else
        endpoint->stats.dropped_malformed++;
}

void srm_endpoint_receive(srm_endpoint *endpoint, srm_time now, const srm_datagram *datagram) {
    endpoint->now = now;
    for (size_t at = 0; at < datagram->size; at += datagram->segment)
        receive_one(endpoint, now, datagram->data + at, srm_size_min(datagram->segment, datagram->size - at),
                    &datagram->from, datagram->ecn);
}

void srm_endpoint_timeout(srm_endpoint *endpoint, srm_time now) {
    endpoint->now = now;
    for (;;) {
        srm_deadline *deadline = srm_deadlines_pop(&endpoint->timers, now);
        if (deadline == NULL)
            return;
        srm_timed *timed = (srm_timed *)deadline;
        timed->fire(timed, now);
    }
}

srm_time srm_endpoint_deadline(const srm_endpoint *endpoint) {
    return srm_deadlines_next(&endpoint->timers);
}

void srm_endpoint_stats(const srm_endpoint *endpoint, srmudp_endpoint_stats *out) {
    *out = endpoint->stats;
    out->dropped_budget += endpoint->lobby.expired;
    out->connections = (uint32_t)endpoint->conn_count;
}

/* ---- Doors out ---- */

void srm_endpoint_queue(srm_endpoint *endpoint, const srmudp_address *to, srm_span datagram) {
    srm_outgoing *out =
        endpoint->outgoing_count < SRM_OUTGOING_MAX ? malloc(sizeof *out + datagram.size) : NULL;
    if (out == NULL)
        return;
    out->next = NULL;
    out->to = *to;
    out->size = datagram.size;
    memcpy(out->data, datagram.data, datagram.size);
    *endpoint->outgoing_last = out;
    endpoint->outgoing_last = &out->next;
    endpoint->outgoing_count++;
}

static void take_outgoing(srm_endpoint *endpoint, uint8_t *buffer, srm_transmit *out) {
    srm_outgoing *first = endpoint->outgoing;
    endpoint->outgoing = first->next;
    if (endpoint->outgoing == NULL)
        endpoint->outgoing_last = &endpoint->outgoing;
    endpoint->outgoing_count--;
    memcpy(buffer, first->data, first->size);
    *out = (srm_transmit){.to = first->to, .size = first->size, .segment = first->size};
    free(first);
}

bool srm_endpoint_transmit(srm_endpoint *endpoint, srm_time now, uint8_t *buffer, size_t capacity, bool batch,
                           srm_transmit *out) {
    SRM_ASSERT(capacity >= SRM_TRANSMIT_MIN_BUFFER);
    endpoint->now = now;
    if (endpoint->outgoing != NULL) {
        take_outgoing(endpoint, buffer, out);
        endpoint->stats.datagrams_sent++;
        return true;
    }
    while (endpoint->sending_first != NULL) {
        srm_conn *conn = endpoint->sending_first;
        if (srm_conn_transmit(conn, now, buffer, capacity, batch, out)) {
            endpoint->stats.datagrams_sent += (out->size + out->segment - 1) / out->segment;
            srm_conn_rotate(conn);
            return true;
        }
        srm_conn_sent_all(conn, now);
    }
    return false;
}

void srm_endpoint_send_failed(srm_endpoint *endpoint, srm_time now, const srmudp_address *to, size_t size,
                              srm_send_failure failure) {
    endpoint->now = now;
    endpoint->stats.send_errors++;
    if (failure == SRM_SEND_TOO_LARGE)
        srm_conn_too_large(endpoint, now, to, size);
}

void srm_endpoint_goodbye(srm_endpoint *endpoint, srm_time now) {
    for (srm_conn *conn = endpoint->conns, *next; conn != NULL; conn = next) {
        next = srm_conn_next(conn);
        srm_conn_close(conn, now, 0);
    }
}
