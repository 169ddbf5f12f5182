/* names - connections that were opened to a name, and the addresses that the name has.
 *
 * While no peer is there (WAITING, RECONNECTING) a name is looked up again every SRM_NAME_EACH, since the
 * peer may have moved, and after a failure sooner: after SRM_NAME_RETRY_FIRST, doubling. An established
 * connection follows its peer by itself and asks nobody; when it is lost its name is looked up at once.
 *
 *   what the resolver says          what happens
 *   addresses                       those that are usable and allowed are given to the core, if they changed
 *   none, or none usable            STATUS with INVALID_ADDRESS, once in a row of failures; looked up again
 *   none allowed, never connected   the connection ends with POLICY_DENIED
 *   none allowed, but it was        STATUS with POLICY_DENIED, looked up again: a captive portal answers
 * every question for a while, and must not end what outlives everything else
 *
 * Everything runs on the engine's thread, except the lookups.
 */
#ifndef SRM_NAMES_H
#define SRM_NAMES_H

#include "../core/deadline.h"
#include "resolver.h"

#define SRM_NAME_EACH (30 * SRM_SECOND)
#define SRM_NAME_RETRY_FIRST SRM_SECOND

/* Whoever owns the names; each function gets `context` and is called on the engine's thread but for `wake`.
 */
typedef struct srm_names_owner {
    void *context;
    void (*wake)(void *context); /* any thread: call srm_names_run soon */
    bool (*usable)(void *context, const srmudp_address *address);
    bool (*allowed)(void *context, const srmudp_address *address);
    srmudp_error (*found)(void *context, srmudp_connection *connection, const srmudp_address *addresses,
                          size_t count);
    /* `end`: it will not be looked up again, and the connection ends; the name is gone afterwards. */
    void (*failed)(void *context, srmudp_connection *connection, srmudp_error reason, uint32_t failures,
                   bool end);
} srm_names_owner;

typedef struct srm_name {
    srm_deadline deadline; /* of the next lookup; first, the heap finds us by it */
    srmudp_connection *connection;
    struct srm_name *next, **previous;
    srm_lookup *lookup; /* under way; NULL: none */
    srm_time wait;      /* until the next try after a failure */
    uint32_t failures;  /* in a row */
    srmudp_error told;  /* why the last lookup failed, OK: it didn't */
    bool established, was_established;
    size_t count; /* addresses as last given to the core */
    srmudp_address addresses[SRM_ADDRESSES_MAX];
    uint16_t port;
    char text[SRM_RESOLVER_NAME_MAX + 1];
} srm_name;

typedef struct srm_names {
    srm_names_owner owner;
    srm_resolver *resolver; /* NULL before the first name */
    srm_deadlines deadlines;
    srm_name *first;
    size_t count;
} srm_names;

void srm_names_init(srm_names *names, srm_names_owner owner);
/* Forgets all; lookups under way are left to themselves. */
void srm_names_fini(srm_names *names);

/* Looks up a name from now on, until srm_names_remove. `text` is one by srm_host_is_name. NULL: no memory. */
srm_name *srm_names_add(srm_names *names, srmudp_connection *connection, const char *text, uint16_t port,
                        srm_time now);
void srm_names_remove(srm_names *names, srm_name *name);

/* The connection's status changed. */
void srm_names_status(srm_names *names, srm_name *name, srmudp_status status, srm_time now);
/* Takes results and begins lookups that are due. */
void srm_names_run(srm_names *names, srm_time now);
/* When srm_names_run wants to be called. */
srm_time srm_names_deadline(const srm_names *names);
/* For tests: how names are looked up from now on. */
void srm_names_use(srm_names *names, srm_resolve *resolve);

#endif
