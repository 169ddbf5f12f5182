/* resolver - turns names into addresses on threads of its own.
 *
 * getaddrinfo(3) can take half a minute and cannot be stopped. libuv's thread pool would make closing an
 * endpoint wait for it, and four slow names would hold up everybody's. So lookups run on up to
 * SRM_RESOLVER_THREADS detached threads that exist while there is something to look up; closing leaves them
 * behind: they find that nobody waits any more, and free what they hold.
 *
 * All functions are called by one thread, the owner's; `done` is called by a lookup's thread and only wakes
 * the owner, who then takes the results.
 */
#ifndef SRM_RESOLVER_H
#define SRM_RESOLVER_H

#include "../core/limits.h"
#include "address.h"

#define SRM_RESOLVER_THREADS 8
#define SRM_RESOLVER_NAME_MAX 254 /* bytes, with a final dot */

typedef struct srm_resolver srm_resolver;

typedef struct srm_lookup {
    struct srm_lookup *next;
    void *owner; /* NULL: cancelled */
    char name[SRM_RESOLVER_NAME_MAX + 1];
    /* The result, without doubles, in the resolver's order (RFC 6724); ports are 0. None: not found. */
    srmudp_address addresses[SRM_ADDRESSES_MAX];
    size_t count;
} srm_lookup;

/* How a name is looked up: fills `addresses` and `count`. On a lookup's thread; may block. */
typedef void srm_resolve(srm_lookup *lookup);
/* By getaddrinfo. */
srm_resolve srm_resolve_by_system;

/* NULL: no memory. */
srm_resolver *srm_resolver_new(void (*done)(void *context), void *context);
/* `done` is not called any more once this returned. */
void srm_resolver_close(srm_resolver *resolver);
/* For tests: names are looked up otherwise from now on. */
void srm_resolver_use(srm_resolver *resolver, srm_resolve *resolve);

/* Begins a lookup; the resolver's until it is taken. NULL: no memory, or no thread can be started. */
srm_lookup *srm_resolver_start(srm_resolver *resolver, const char *name, void *owner);
/* The owner doesn't wait for it any more; the pointer is invalid. */
void srm_resolver_cancel(srm_resolver *resolver, srm_lookup *lookup);
/* Lookups that are done, linked by `next`, the caller's to free(3). Cancelled ones are not among them. */
srm_lookup *srm_resolver_take(srm_resolver *resolver);

#endif
