#include "names.h"

#include <stdlib.h>

void srm_names_init(srm_names *names, srm_names_owner owner) {
    *names = (srm_names){.owner = owner};
    srm_deadlines_init(&names->deadlines);
}

void srm_names_fini(srm_names *names) {
    while (names->first != NULL)
        srm_names_remove(names, names->first);
    srm_resolver_close(names->resolver);
    srm_deadlines_fini(&names->deadlines);
    srm_names_init(names, names->owner); /* a second time does no harm */
}

static bool need_resolver(srm_names *names) {
    if (names->resolver == NULL)
        names->resolver = srm_resolver_new(names->owner.wake, names->owner.context);
    return names->resolver != NULL;
}

void srm_names_use(srm_names *names, srm_resolve *resolve) {
    SRM_ASSERT(need_resolver(names));
    srm_resolver_use(names->resolver, resolve);
}

srm_name *srm_names_add(srm_names *names, srmudp_connection *connection, const char *text, uint16_t port,
                        srm_time now) {
    size_t size = strlen(text);
    SRM_ASSERT(size <= SRM_RESOLVER_NAME_MAX);
    srm_name *name = need_resolver(names) ? calloc(1, sizeof *name) : NULL;
    if (name == NULL || !srm_deadlines_reserve(&names->deadlines, names->count + 1)) {
        free(name);
        return NULL;
    }
    names->count++;
    srm_deadline_init(&name->deadline);
    name->connection = connection;
    name->port = port;
    name->wait = SRM_NAME_RETRY_FIRST;
    memcpy(name->text, text, size + 1);
    name->next = names->first;
    name->previous = &names->first;
    if (name->next != NULL)
        name->next->previous = &name->next;
    names->first = name;
    srm_deadline_set(&names->deadlines, &name->deadline, now);
    return name;
}

void srm_names_remove(srm_names *names, srm_name *name) {
    if (name->lookup != NULL)
        srm_resolver_cancel(names->resolver, name->lookup);
    srm_deadline_set(&names->deadlines, &name->deadline, SRM_TIME_NEVER);
    *name->previous = name->next;
    if (name->next != NULL)
        name->next->previous = name->previous;
    names->count--;
    free(name);
}

void srm_names_status(srm_names *names, srm_name *name, srmudp_status status, srm_time now) {
    bool established = status == SRMUDP_ESTABLISHED;
    if (established == name->established)
        return;
    name->established = established;
    name->was_established |= established;
    /* A lookup under way sets the next time itself. */
    if (name->lookup == NULL)
        srm_deadline_set(&names->deadlines, &name->deadline, established ? SRM_TIME_NEVER : now);
}

srm_time srm_names_deadline(const srm_names *names) {
    return srm_deadlines_next(&names->deadlines);
}

/* ---- Results ---- */

static void look_again(srm_names *names, srm_name *name, srm_time at) {
    srm_deadline_set(&names->deadlines, &name->deadline, name->established ? SRM_TIME_NEVER : at);
}

/* Nothing of the name may be touched when it ended. */
static void failed(srm_names *names, srm_name *name, srm_time now, srmudp_error reason) {
    bool end = reason == SRMUDP_POLICY_DENIED && !name->was_established;
    bool news = name->told != reason;
    name->told = reason;
    name->failures++;
    look_again(names, name, now + name->wait);
    name->wait = srm_time_min(2 * name->wait, SRM_NAME_EACH);
    if (end || (news && !name->established))
        names->owner.failed(names->owner.context, name->connection, reason, name->failures, end);
}

static bool is_same(const srm_name *name, const srmudp_address *addresses, size_t count) {
    for (size_t i = 0; i < count && count == name->count; i++)
        if (!srm_address_same(&addresses[i], &name->addresses[i]))
            return false;
    return count == name->count;
}

/* An established connection keeps the address that works: one given now would only be tried when it is lost,
 * and then the name is looked up anyway. */
static srmudp_error give(srm_names *names, srm_name *name, const srmudp_address *addresses, size_t count) {
    if (name->established || is_same(name, addresses, count))
        return SRMUDP_OK;
    srmudp_error error = names->owner.found(names->owner.context, name->connection, addresses, count);
    if (error == SRMUDP_OK) {
        memcpy(name->addresses, addresses, count * sizeof *addresses);
        name->count = count;
    }
    return error;
}

/* Those of the looked-up addresses that may be used. `*denied`: some are usable, but none allowed. */
static size_t choose(srm_names *names, srm_name *name, const srm_lookup *lookup, srmudp_address *out,
                     bool *denied) {
    void *context = names->owner.context;
    size_t usable = 0, count = 0;
    for (size_t i = 0; i < lookup->count; i++) {
        srmudp_address address = lookup->addresses[i];
        address.port = name->port;
        if (!names->owner.usable(context, &address))
            continue;
        usable++;
        if (names->owner.allowed(context, &address))
            out[count++] = address;
    }
    *denied = usable > 0 && count == 0;
    return count;
}

static void resolved(srm_names *names, srm_name *name, const srm_lookup *lookup, srm_time now) {
    srmudp_address addresses[SRM_ADDRESSES_MAX];
    bool denied;
    size_t count = choose(names, name, lookup, addresses, &denied);
    srmudp_error error = denied ? SRMUDP_POLICY_DENIED : SRMUDP_INVALID_ADDRESS;
    if (count > 0)
        error = give(names, name, addresses, count);
    if (error != SRMUDP_OK) {
        failed(names, name, now, error);
        return;
    }
    name->told = SRMUDP_OK;
    name->failures = 0;
    name->wait = SRM_NAME_RETRY_FIRST;
    look_again(names, name, now + SRM_NAME_EACH);
}

void srm_names_run(srm_names *names, srm_time now) {
    if (names->first == NULL)
        return;
    for (srm_lookup *next, *lookup = srm_resolver_take(names->resolver); lookup != NULL; lookup = next) {
        next = lookup->next;
        srm_name *name = lookup->owner;
        if (name != NULL) {
            name->lookup = NULL;
            resolved(names, name, lookup, now);
        }
        free(lookup);
    }
    for (srm_deadline *due; (due = srm_deadlines_pop(&names->deadlines, now)) != NULL;) {
        srm_name *name = (srm_name *)due;
        name->lookup = srm_resolver_start(names->resolver, name->text, name);
        if (name->lookup == NULL)
            failed(names, name, now, SRMUDP_NO_MEMORY);
    }
}
