#include "entry_parts.h"

#include "state.h"

#include <sodium.h>
#include <stdlib.h>

enum { BUCKET_KEY = 1, BUCKET_ADDRESS = 2 };

/* ---- Life ---- */

bool srm_entry_init(srm_entry *entry, srm_endpoint *endpoint, const srm_entry_owner *owner, srm_span key,
                    srm_span label, srm_time now) {
    memset(entry, 0, sizeof *entry);
    entry->endpoint = endpoint;
    entry->owner = owner;
    entry->key = malloc(key.size + label.size);
    entry->key_bucket = srm_endpoint_bucket(endpoint, BUCKET_KEY, key);
    if (entry->key == NULL || entry->key_bucket == NULL) {
        srm_entry_fini(entry);
        return false;
    }
    memcpy(entry->key, key.data, key.size);
    entry->key_size = (uint16_t)key.size;
    entry->label = entry->key + key.size;
    if (label.size > 0)
        memcpy(entry->label, label.data, label.size);
    entry->label_size = (uint8_t)label.size;
    srm_label_hash(label, entry->label_hash);
    srm_endpoint_random(endpoint, entry->connection_id, sizeof entry->connection_id);
    entry->init_after = entry->yield_after = now;
    return true;
}

static void drop_addresses(srm_entry *entry) {
    srm_endpoint *endpoint = entry->endpoint;
    for (size_t i = 0; i < entry->address_count; i++) {
        srm_entry_address *slot = &entry->addresses[i];
        srm_table_remove(&endpoint->addresses, srm_address_hash(endpoint, &slot->address, true), slot);
        srm_table_remove(&endpoint->ips, srm_address_hash(endpoint, &slot->address, false), slot);
        srm_endpoint_bucket_release(endpoint, slot->bucket);
    }
    free(entry->addresses);
    entry->addresses = NULL;
    entry->address_count = 0;
}

void srm_entry_fini(srm_entry *entry) {
    srm_entry_stop(entry);
    srm_entry_forget_attempts(entry, SRM_TIME_NEVER);
    drop_addresses(entry);
    if (entry->key_bucket != NULL)
        srm_endpoint_bucket_release(entry->endpoint, entry->key_bucket);
    if (entry->key != NULL)
        sodium_memzero(entry->key, entry->key_size);
    free(entry->key);
    entry->key = NULL;
    entry->key_bucket = NULL;
}

/* Of this passphrase: tries at another one tell nothing about it, and many bridges between two ports must not
 * use up each other's. */
static srm_shared_bucket *address_bucket(srm_entry *entry, const srmudp_address *address) {
    uint8_t name[26];
    memcpy(name, address->ip, 16);
    name[16] = (uint8_t)(address->port >> 8);
    name[17] = (uint8_t)address->port;
    memcpy(name + 18, &entry->key_bucket->id, 8);
    return srm_endpoint_bucket(entry->endpoint, BUCKET_ADDRESS, srm_span_of(name, sizeof name));
}

typedef struct address_list {
    srmudp_address at[SRM_ADDRESSES_MAX + SRM_ADDRESSES_LEARNED];
    size_t count;
} address_list;

static void list_address(address_list *list, const srmudp_address *address) {
    for (size_t i = 0; i < list->count; i++)
        if (srm_address_equal(&list->at[i], address))
            return;
    if (list->count < SRM_COUNT_OF(list->at))
        list->at[list->count++] = *address;
}

static bool replace_addresses(srm_entry *entry, const address_list *list, size_t learned) {
    srm_endpoint *endpoint = entry->endpoint;
    srm_entry_address *slots = calloc(list->count + 1, sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < list->count; i++)
        slots[i] = (srm_entry_address){list->at[i], entry, address_bucket(entry, &list->at[i])};
    drop_addresses(entry);
    entry->addresses = slots;
    for (size_t i = 0; i < list->count; i++) {
        if (slots[i].bucket == NULL)
            break; /* without memory: the addresses so far */
        entry->address_count = i + 1;
        (void)srm_table_add(&endpoint->addresses, srm_address_hash(endpoint, &slots[i].address, true),
                            &slots[i]);
        if (!entry->accepted) /* a HELLO is never for it because of where it comes from */
            (void)srm_table_add(&endpoint->ips, srm_address_hash(endpoint, &slots[i].address, false),
                                &slots[i]);
    }
    entry->learned_count = srm_size_min(learned, entry->address_count);
    return true;
}

bool srm_entry_set_addresses(srm_entry *entry, const srmudp_address *addresses, size_t count) {
    address_list list = {.count = 0};
    for (size_t i = 0; i < entry->learned_count; i++)
        list_address(&list, &entry->addresses[i].address);
    size_t learned = list.count;
    for (size_t i = 0; i < count && i < SRM_ADDRESSES_MAX; i++)
        list_address(&list, &addresses[i]);
    return replace_addresses(entry, &list, learned);
}

void srm_entry_learn_address(srm_entry *entry, const srmudp_address *address) {
    for (size_t i = 0; i < entry->address_count; i++)
        if (srm_address_equal(&entry->addresses[i].address, address))
            return;
    address_list list = {.count = 0};
    list_address(&list, address);
    for (size_t i = 0; i < entry->learned_count && list.count < SRM_ADDRESSES_LEARNED; i++)
        list_address(&list, &entry->addresses[i].address);
    size_t learned = list.count;
    for (size_t i = entry->learned_count; i < entry->address_count; i++)
        list_address(&list, &entry->addresses[i].address);
    (void)replace_addresses(entry, &list, learned);
}

srm_guess_payer srm_entry_payer(srm_entry *entry, const srmudp_address *from) {
    srm_guess_payer payer = {
        .key = &entry->key_bucket->bucket, .sources = entry->endpoint->sources, .from = from};
    for (size_t i = 0; i < entry->address_count; i++)
        if (srm_address_equal(&entry->addresses[i].address, from))
            payer.dialled = &entry->addresses[i].bucket->bucket;
    return payer;
}

/* ---- Time ---- */

static bool wants_init(const srm_entry *entry) {
    return entry->running && !entry->closing && entry->address_count > 0 &&
           entry->owner->session(entry) != SRM_SESSION_ALIVE;
}

void srm_entry_timeout(srm_entry *entry, srm_time now) {
    srm_entry_forget_attempts(entry, now - SRM_ATTEMPT_LIFE);
    if (!wants_init(entry)) {
        if (!entry->running || entry->owner->session(entry) == SRM_SESSION_ALIVE)
            srm_entry_free_init(entry);
        return;
    }
    if (entry->init != NULL && srm_entry_wrong_key_time(entry) <= now)
        srm_entry_tell_wrong_key(entry, now);
    if (entry->init != NULL && srm_entry_renew_time(entry) <= now)
        srm_entry_free_init(entry);
    if (entry->init == NULL && entry->init_after <= now && !srm_entry_new_init(entry, now))
        entry->init_after = now + SRM_INIT_RENEW_EACH; /* no memory: later */
    if (entry->init != NULL && entry->init->next_send <= now)
        srm_entry_send_hello(entry, now);
}

srm_time srm_entry_deadline(const srm_entry *entry) {
    srm_time at = SRM_TIME_NEVER;
    for (const srm_attempt *attempt = entry->attempts; attempt != NULL; attempt = attempt->next)
        at = srm_time_min(at, attempt->created + SRM_ATTEMPT_LIFE + 1);
    if (!wants_init(entry))
        return at;
    if (entry->init == NULL)
        return srm_time_min(at, entry->init_after);
    at = srm_time_min(at, srm_time_min(entry->init->next_send, srm_entry_renew_time(entry)));
    return srm_time_min(at, srm_entry_wrong_key_time(entry));
}
