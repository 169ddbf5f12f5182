#include "resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* Shared by its owner and the threads that work for it; the last one frees it. */
struct srm_resolver {
    pthread_mutex_t mutex; /* for all below */
    unsigned references;
    unsigned threads;
    bool closed;
    srm_resolve *resolve;
    srm_lookup *queued, **queued_last;
    srm_lookup *finished, **finished_last;
    void (*done)(void *context);
    void *context;
};

/* ---- One name ---- */

static bool is_known(const srm_lookup *lookup, const srmudp_address *address) {
    for (size_t i = 0; i < lookup->count; i++)
        if (srm_address_same(&lookup->addresses[i], address))
            return true;
    return false;
}

static bool is_ascii(const char *name) {
    while (*name != '\0' && (unsigned char)*name < 0x80)
        name++;
    return *name == '\0';
}

void srm_resolve_by_system(srm_lookup *lookup) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM}, *list = NULL;
#ifdef AI_IDN
    if (!is_ascii(lookup->name))
        hints.ai_flags = AI_IDN;
#endif
    if (getaddrinfo(lookup->name, NULL, &hints, &list) != 0)
        return;
    for (const struct addrinfo *at = list; at != NULL && lookup->count < SRM_ADDRESSES_MAX;
         at = at->ai_next) {
        srmudp_address address;
        if (srm_address_from_sockaddr(at->ai_addr, &address) && !is_known(lookup, &address))
            lookup->addresses[lookup->count++] = address;
    }
    freeaddrinfo(list);
}

/* ---- Threads ---- */

static void free_list(srm_lookup *list) {
    for (srm_lookup *next; list != NULL; list = next) {
        next = list->next;
        free(list);
    }
}

/* Called with the mutex held, which it gives up. */
static void drop(srm_resolver *resolver) {
    bool last = --resolver->references == 0;
    pthread_mutex_unlock(&resolver->mutex);
    if (!last)
        return;
    pthread_mutex_destroy(&resolver->mutex);
    free_list(resolver->queued);
    free_list(resolver->finished);
    free(resolver);
}

static srm_lookup *next_queued(srm_resolver *resolver) {
    srm_lookup *lookup = resolver->closed ? NULL : resolver->queued;
    if (lookup == NULL)
        return NULL;
    resolver->queued = lookup->next;
    if (resolver->queued == NULL)
        resolver->queued_last = &resolver->queued;
    lookup->next = NULL;
    return lookup;
}

static void finish(srm_resolver *resolver, srm_lookup *lookup) {
    if (resolver->closed || lookup->owner == NULL) {
        free(lookup);
        return;
    }
    *resolver->finished_last = lookup;
    resolver->finished_last = &lookup->next;
    /* Under the mutex: close() can't return while it runs. */
    resolver->done(resolver->context);
}

static void *work(void *context) {
    srm_resolver *resolver = context;
    pthread_mutex_lock(&resolver->mutex);
    for (srm_lookup *lookup; (lookup = next_queued(resolver)) != NULL;) {
        srm_resolve *resolve = resolver->resolve;
        pthread_mutex_unlock(&resolver->mutex);
        resolve(lookup);
        pthread_mutex_lock(&resolver->mutex);
        finish(resolver, lookup);
    }
    resolver->threads--;
    drop(resolver);
    return NULL;
}

/* Signals are the application's: no thread of ours takes them. Called with the mutex held. */
static bool start_thread(srm_resolver *resolver) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, work, resolver) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started)
        return false;
    pthread_detach(thread);
    resolver->threads++;
    resolver->references++;
    return true;
}

/* ---- The owner ---- */

srm_resolver *srm_resolver_new(void (*done)(void *context), void *context) {
    srm_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        return NULL;
    pthread_mutex_init(&resolver->mutex, NULL);
    resolver->references = 1;
    resolver->resolve = srm_resolve_by_system;
    resolver->queued_last = &resolver->queued;
    resolver->finished_last = &resolver->finished;
    resolver->done = done;
    resolver->context = context;
    return resolver;
}

void srm_resolver_close(srm_resolver *resolver) {
    if (resolver == NULL)
        return;
    pthread_mutex_lock(&resolver->mutex);
    resolver->closed = true;
    drop(resolver);
}

void srm_resolver_use(srm_resolver *resolver, srm_resolve *resolve) {
    pthread_mutex_lock(&resolver->mutex);
    resolver->resolve = resolve;
    pthread_mutex_unlock(&resolver->mutex);
}

static srm_lookup *new_lookup(const char *name, void *owner) {
    size_t size = strlen(name);
    SRM_ASSERT(size <= SRM_RESOLVER_NAME_MAX);
    srm_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL)
        return NULL;
    memcpy(lookup->name, name, size + 1);
    lookup->owner = owner;
    return lookup;
}

/* Takes it out of a list and frees it; false: it isn't in there. */
static bool remove_from(srm_lookup **list, srm_lookup ***last, srm_lookup *lookup) {
    for (srm_lookup **link = list; *link != NULL; link = &(*link)->next)
        if (*link == lookup) {
            *link = lookup->next;
            if (*link == NULL)
                *last = link;
            free(lookup);
            return true;
        }
    return false;
}

srm_lookup *srm_resolver_start(srm_resolver *resolver, const char *name, void *owner) {
    srm_lookup *lookup = new_lookup(name, owner);
    if (lookup == NULL)
        return NULL;
    pthread_mutex_lock(&resolver->mutex);
    *resolver->queued_last = lookup;
    resolver->queued_last = &lookup->next;
    bool hopeless =
        resolver->threads < SRM_RESOLVER_THREADS && !start_thread(resolver) && resolver->threads == 0;
    if (hopeless)
        (void)remove_from(&resolver->queued, &resolver->queued_last, lookup);
    pthread_mutex_unlock(&resolver->mutex);
    return hopeless ? NULL : lookup;
}

void srm_resolver_cancel(srm_resolver *resolver, srm_lookup *lookup) {
    pthread_mutex_lock(&resolver->mutex);
    if (!remove_from(&resolver->queued, &resolver->queued_last, lookup) &&
        !remove_from(&resolver->finished, &resolver->finished_last, lookup))
        lookup->owner = NULL; /* a thread has it, and will free it */
    pthread_mutex_unlock(&resolver->mutex);
}

srm_lookup *srm_resolver_take(srm_resolver *resolver) {
    pthread_mutex_lock(&resolver->mutex);
    srm_lookup *list = resolver->finished;
    resolver->finished = NULL;
    resolver->finished_last = &resolver->finished;
    pthread_mutex_unlock(&resolver->mutex);
    return list;
}
