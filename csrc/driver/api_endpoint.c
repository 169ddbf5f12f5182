#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../core/limits.h"
#include "build.h"
#include "handles.h"

/* ---- Binding ---- */

static srmudp_endpoint *new_endpoint(const srmudp_config *config) {
    srmudp_endpoint *endpoint = aligned_alloc(SRM_CACHE_LINE, sizeof *endpoint);
    if (endpoint == NULL)
        return NULL;
    memset(endpoint, 0, sizeof *endpoint);
    endpoint->config = *config;
    endpoint->forks = srm_build_forks();
    endpoint->ready = (srm_wakefd){.read = -1, .write = -1};
    srm_mailbox_init(&endpoint->commands);
    srm_mailbox_init(&endpoint->events);
    (void)srm_mailbox_sleep(&endpoint->events); /* the first event is to be told */
    endpoint->stop = srm_message_new(0, 0, 0);
    if (endpoint->stop == NULL || !srm_asker_init(&endpoint->asker)) {
        srm_message_free(endpoint->stop);
        free(endpoint);
        return NULL;
    }
    endpoint->stop->kind = SRM_NODE_STOP;
    return endpoint;
}

static void free_endpoint(srmudp_endpoint *endpoint) {
    srm_wakefd_fini(&endpoint->ready);
    srm_asker_fini(&endpoint->asker);
    srm_message_free(endpoint->stop);
    free(endpoint);
}

static srmudp_error start(srmudp_endpoint *endpoint, const char *host, uint16_t port) {
    if (endpoint->config.on_ready == NULL && !srm_wakefd_init(&endpoint->ready))
        return SRMUDP_SYSTEM;
    srmudp_error error = srm_engine_start(&endpoint->engine, endpoint, host, port);
    if (error != SRMUDP_OK)
        return error;
    endpoint->config.identity_seed = NULL; /* was borrowed for the call */
    endpoint->address_count = endpoint->engine.udp.count;
    for (size_t i = 0; i < endpoint->address_count; i++)
        endpoint->addresses[i] = endpoint->engine.udp.sockets[i].address;
    return SRMUDP_OK;
}

srmudp_error srmudp_endpoint_bind(const char *host, uint16_t port, const srmudp_config *config,
                                  srmudp_endpoint **out) {
    srmudp_config defaults;
    const char *field;
    srmudp_config_init(&defaults);
    if (config == NULL)
        config = &defaults;
    if (host == NULL || out == NULL || srmudp_config_check(config, &field) != SRMUDP_OK)
        return SRMUDP_INVALID_ARGUMENT;
    if (!srm_build_start())
        return SRMUDP_SYSTEM;
    srmudp_endpoint *endpoint = new_endpoint(config);
    if (endpoint == NULL)
        return SRMUDP_NO_MEMORY;
    srmudp_error error = start(endpoint, host, port);
    if (error != SRMUDP_OK) {
        int system_error = errno;
        free_endpoint(endpoint);
        errno = system_error;
        return error;
    }
    *out = endpoint;
    return SRMUDP_OK;
}

size_t srmudp_endpoint_addresses(const srmudp_endpoint *endpoint, srmudp_address out[2]) {
    memcpy(out, endpoint->addresses, endpoint->address_count * sizeof *out);
    return endpoint->address_count;
}

int srmudp_endpoint_fd(const srmudp_endpoint *endpoint) {
    return endpoint->engine.direct.possible ? endpoint->engine.direct.poll : endpoint->ready.read;
}

/* ---- Closing ---- */

static void discard_list(srm_message *list) {
    for (srm_message *next; list != NULL; list = next) {
        next = list->next;
        srm_node_discard(list);
    }
}

/* Messages that the application holds keep their connection's memory, which then says that it is closed. */
static void drop_handles(srmudp_endpoint *endpoint) {
    srm_engine *engine = &endpoint->engine;
    for (srmudp_connection *next, *c = engine->connections; c != NULL; c = next) {
        next = c->next;
        c->endpoint = NULL;
        c->released = true;
        srm_connection_drop(c);
    }
    for (srmudp_listener *next, *l = engine->listeners; l != NULL; l = next) {
        next = l->next;
        srm_listener_free(l);
    }
}

void srmudp_endpoint_close(srmudp_endpoint *endpoint) {
    if (endpoint == NULL)
        return;
    if (!srm_endpoint_usable(endpoint)) {
        srmudp_endpoint_forget(endpoint); /* what the parent's thread was busy with when we were made */
        return;                           /* can't be taken apart: it stays */
    }
    srm_engine_stop(&endpoint->engine);
    discard_list(endpoint->fetched);
    discard_list(srm_mailbox_take(&endpoint->events));
    discard_list(endpoint->engine.events);
    drop_handles(endpoint);
    free_endpoint(endpoint);
}

void srmudp_endpoint_forget(srmudp_endpoint *endpoint) {
    if (endpoint->forgotten)
        return;
    endpoint->forgotten = true;
    srm_engine_forget(&endpoint->engine);
    srm_wakefd_fini(&endpoint->ready);
}

/* ---- Opening and listening ---- */

static srmudp_error check_secret(const void *key, size_t key_size, const char *label) {
    if (key == NULL || key_size < 1 || key_size > SRM_KEY_MAX_SIZE)
        return SRMUDP_INVALID_KEY;
    bool fits = label == NULL || strnlen(label, SRM_LABEL_MAX_SIZE + 1) <= SRM_LABEL_MAX_SIZE;
    return fits ? SRMUDP_OK : SRMUDP_INVALID_ARGUMENT;
}

static srm_span label_span(const char *label) {
    return label != NULL ? srm_span_of(label, strlen(label)) : srm_span_of("", 0);
}

/* A literal or a name goes into the request. */
static srmudp_error set_host(srm_request *request, const srmudp_target *target) {
    request->address.port = target->port;
    if (target->host == NULL || target->port == 0)
        return SRMUDP_INVALID_ADDRESS;
    if (srm_address_parse(target->host, target->port, &request->address))
        return SRMUDP_OK;
    request->name = target->host;
    return srm_host_is_name(target->host) ? SRMUDP_OK : SRMUDP_INVALID_ADDRESS;
}

srmudp_error srmudp_endpoint_open(srmudp_endpoint *endpoint, const srmudp_target *target,
                                  srmudp_connection **out) {
    srm_request request = {.question = SRM_ASK_OPEN};
    if (!srm_endpoint_usable(endpoint))
        return SRMUDP_CLOSED;
    srmudp_error error = set_host(&request, target);
    if (error == SRMUDP_OK)
        error = check_secret(target->key, target->key_size, target->label);
    if (error != SRMUDP_OK)
        return error;
    request.key = srm_span_of(target->key, target->key_size);
    request.label = label_span(target->label);
    request.connection = srm_connection_new(endpoint, target->user);
    if (request.connection == NULL)
        return SRMUDP_NO_MEMORY;
    srm_ask(endpoint, &request);
    if (request.error == SRMUDP_OK)
        *out = request.connection;
    else
        srm_connection_drop(request.connection);
    return request.error;
}

srmudp_error srmudp_endpoint_listen(srmudp_endpoint *endpoint, const void *key, size_t key_size,
                                    const char *label, void *user, srmudp_listener **out) {
    if (!srm_endpoint_usable(endpoint))
        return SRMUDP_CLOSED;
    srmudp_error error = check_secret(key, key_size, label);
    if (error != SRMUDP_OK)
        return error;
    srm_request request = {.question = SRM_ASK_LISTEN,
                           .listener = srm_listener_new(endpoint, user),
                           .key = srm_span_of(key, key_size),
                           .label = label_span(label)};
    if (request.listener == NULL)
        return SRMUDP_NO_MEMORY;
    srm_ask(endpoint, &request);
    if (request.error == SRMUDP_OK)
        *out = request.listener;
    else
        srm_listener_free(request.listener);
    return request.error;
}

void srmudp_listener_close(srmudp_listener *listener) {
    if (listener == NULL || listener->closed || listener->endpoint->forgotten)
        return;
    listener->closed = true;
    listener->own->kind = SRM_NODE_LISTENER_CLOSE;
    srm_endpoint_post(listener->endpoint, listener->own);
}

void srmudp_endpoint_get_stats(srmudp_endpoint *endpoint, srmudp_endpoint_stats *out) {
    srm_request request = {.question = SRM_ASK_ENDPOINT_STATS, .endpoint_stats = out};
    memset(out, 0, sizeof *out);
    if (srm_endpoint_usable(endpoint))
        srm_ask(endpoint, &request);
}
