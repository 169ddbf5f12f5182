#include "lobby.h"

#include <stdlib.h>

void srm_lobby_init(srm_lobby *lobby) {
    memset(lobby, 0, sizeof *lobby);
    srm_table_init(&lobby->names);
}

static srm_lobby_queue *queue_of(srm_lobby *lobby, uint64_t source) {
    for (size_t i = 0; i < SRM_LOBBY_SOURCES; i++)
        if (lobby->queues[i].count > 0 && lobby->queues[i].source == source)
            return &lobby->queues[i];
    return NULL;
}

/* The queue of a source, new if need be; NULL: too many sources wait. */
static srm_lobby_queue *queue_for(srm_lobby *lobby, uint64_t source) {
    srm_lobby_queue *queue = queue_of(lobby, source);
    for (size_t i = 0; queue == NULL && i < SRM_LOBBY_SOURCES; i++)
        if (lobby->queues[i].count == 0) {
            queue = &lobby->queues[i];
            *queue = (srm_lobby_queue){.source = source, .last = &queue->first};
        }
    return queue;
}

static void remove_at(srm_lobby *lobby, srm_lobby_queue *queue, srm_lobby_guest **link) {
    srm_lobby_guest *guest = *link;
    *link = guest->next;
    if (*link == NULL)
        queue->last = link;
    queue->count--;
    lobby->count--;
    srm_table_remove(&lobby->names, guest->name, guest);
    free(guest);
}

void srm_lobby_fini(srm_lobby *lobby) {
    srm_lobby_expire(lobby, SRM_TIME_NEVER);
    srm_table_fini(&lobby->names);
}

static bool add(srm_lobby *lobby, srm_time now, uint64_t source, uint64_t name, const srmudp_address *from,
                srm_span datagram) {
    srm_lobby_queue *queue = lobby->count < SRM_LOBBY_GUESTS ? queue_for(lobby, source) : NULL;
    srm_lobby_guest *guest = queue != NULL ? malloc(sizeof *guest + datagram.size) : NULL;
    if (guest == NULL)
        return false;
    *guest =
        (srm_lobby_guest){.source = source, .name = name, .heard = now, .from = *from, .size = datagram.size};
    memcpy(guest->data, datagram.data, datagram.size);
    if (!srm_table_add(&lobby->names, name, guest)) {
        free(guest);
        return false;
    }
    *queue->last = guest;
    queue->last = &guest->next;
    queue->count++;
    lobby->count++;
    return true;
}

bool srm_lobby_enter(srm_lobby *lobby, srm_time now, uint64_t source, uint64_t name,
                     const srmudp_address *from, srm_span datagram) {
    if (datagram.size > SRM_LOBBY_GUEST_MAX)
        return false;
    srm_lobby_guest *guest = srm_table_find(&lobby->names, name);
    if (guest == NULL)
        return add(lobby, now, source, name, from, datagram);
    guest->heard = now;
    if (guest->size == datagram.size && guest->source == source) {
        memcpy(guest->data, datagram.data, datagram.size);
        guest->from = *from;
    }
    return true;
}

void srm_lobby_leave(srm_lobby *lobby, uint64_t name) {
    const srm_lobby_guest *guest = lobby->count > 0 ? srm_table_find(&lobby->names, name) : NULL;
    srm_lobby_queue *queue = guest != NULL ? queue_of(lobby, guest->source) : NULL;
    if (queue == NULL)
        return;
    for (srm_lobby_guest **link = &queue->first; *link != NULL; link = &(*link)->next)
        if (*link == guest) {
            remove_at(lobby, queue, link);
            return;
        }
}

static bool is_over(const srm_lobby_guest *guest, srm_time now) {
    return now - guest->heard > SRM_LOBBY_PATIENCE;
}

static void send_away(srm_lobby *lobby, srm_lobby_queue *queue, srm_lobby_guest **link) {
    lobby->expired++;
    remove_at(lobby, queue, link);
}

static const srm_lobby_guest *first_of(srm_lobby *lobby, srm_lobby_queue *queue, srm_time now) {
    while (queue->count > 0 && is_over(queue->first, now))
        send_away(lobby, queue, &queue->first);
    return queue->count > 0 ? queue->first : NULL;
}

const srm_lobby_guest *srm_lobby_first(srm_lobby *lobby, srm_time now, uint64_t source) {
    srm_lobby_queue *queue = lobby->count > 0 ? queue_of(lobby, source) : NULL;
    return queue != NULL ? first_of(lobby, queue, now) : NULL;
}

const srm_lobby_guest *srm_lobby_next(srm_lobby *lobby, srm_time now) {
    for (size_t i = 0; i < SRM_LOBBY_SOURCES && lobby->count > 0; i++) {
        srm_lobby_queue *queue = &lobby->queues[lobby->turn];
        lobby->turn = (lobby->turn + 1) % SRM_LOBBY_SOURCES;
        const srm_lobby_guest *guest = first_of(lobby, queue, now);
        if (guest != NULL)
            return guest;
    }
    return NULL;
}

void srm_lobby_expire(srm_lobby *lobby, srm_time now) {
    for (size_t i = 0; i < SRM_LOBBY_SOURCES; i++) {
        srm_lobby_queue *queue = &lobby->queues[i];
        if (queue->count == 0)
            continue;
        for (srm_lobby_guest **link = &queue->first; *link != NULL;)
            if (is_over(*link, now))
                send_away(lobby, queue, link);
            else
                link = &(*link)->next;
    }
}
