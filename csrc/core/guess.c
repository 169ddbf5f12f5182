#include "guess.h"

#include <sodium.h>

#define SETS (SRM_GUESS_SOURCES / SRM_GUESS_WAYS)
_Static_assert((SETS & (SETS - 1)) == 0, "a set is found by the low bits of a hash");

/* ---- One bucket ---- */

uint32_t srm_bucket_level(const srm_bucket *bucket, srm_bucket_rate rate, srm_time now) {
    if (bucket->full_at <= now)
        return rate.burst;
    srm_time missing = (bucket->full_at - now + rate.every - 1) / rate.every; /* a token counts when whole */
    return missing >= rate.burst ? 0 : rate.burst - (uint32_t)missing;
}

/* Takes one even of an empty bucket: what is under way on credit is owed. */
static void owe(srm_bucket *bucket, srm_bucket_rate rate, srm_time now) {
    bucket->full_at = srm_time_max(bucket->full_at, now) + rate.every;
}

bool srm_bucket_take(srm_bucket *bucket, srm_bucket_rate rate, srm_time now) {
    if (srm_bucket_level(bucket, rate, now) == 0)
        return false;
    owe(bucket, rate, now);
    return true;
}

void srm_bucket_give(srm_bucket *bucket, srm_bucket_rate rate, srm_time now) {
    bucket->full_at = srm_time_max(now, bucket->full_at - rate.every);
}

uint32_t srm_bucket_credit(const srm_bucket *bucket, srm_time now) {
    if (bucket->credit_until <= now)
        return 0;
    return (uint32_t)((bucket->credit_until - now + SRM_GUESS_CREDIT_FADES - 1) / SRM_GUESS_CREDIT_FADES);
}

void srm_bucket_earn(srm_bucket *bucket, srm_time now) {
    bucket->credit_until = srm_time_min(srm_time_max(bucket->credit_until, now) + SRM_GUESS_CREDIT_FADES,
                                        now + SRM_GUESS_CREDIT * SRM_GUESS_CREDIT_FADES);
}

/* What may be taken with so much credit: a bucket that is deeper by it. */
static uint32_t left_with(const srm_bucket *bucket, srm_bucket_rate rate, uint32_t credit, srm_time now) {
    rate.burst += credit;
    return srm_bucket_level(bucket, rate, now);
}

/* ---- Debts of sources ---- */

void srm_guess_sources_init(srm_guess_sources *sources, const srm_entropy *entropy) {
    memset(sources, 0, sizeof *sources);
    entropy->fill(entropy->context, sources->hash_key, sizeof sources->hash_key);
}

static uint64_t big_endian(const uint8_t *bytes, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* IPv4 gets a value that no IPv6 source can have: ::/8 is no unicast prefix (RFC 4291 section 2.4). */
uint64_t srm_guess_source_id(const srmudp_address *from) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (from->family == 4)
        return UINT64_C(0xffff) << 32 | big_endian(from->ip, 4);
    if (memcmp(from->ip, mapped, sizeof mapped) == 0)
        return UINT64_C(0xffff) << 32 | big_endian(from->ip + 12, 4);
    return big_endian(from->ip, 8);
}

static size_t set_of(const srm_guess_sources *sources, uint64_t id) {
    uint8_t hash[crypto_shorthash_siphash24_BYTES];
    crypto_shorthash_siphash24(hash, (const uint8_t *)&id, sizeof id, sources->hash_key);
    return big_endian(hash, sizeof hash) % SETS * SRM_GUESS_WAYS;
}

/* The slot of a source, NULL when it owes nothing that we know of. */
static srm_guess_source *find(srm_guess_sources *sources, uint64_t id) {
    srm_guess_source *set = &sources->slots[set_of(sources, id)];
    for (size_t i = 0; i < SRM_GUESS_WAYS; i++) {
        if (set[i].id == id)
            return &set[i];
    }
    return NULL;
}

/* The slot a source pays from: its own, else that of the smallest debt in the set, which it inherits. */
static srm_guess_source *slot_for(srm_guess_sources *sources, uint64_t id) {
    srm_guess_source *set = &sources->slots[set_of(sources, id)], *best = &set[0];
    for (size_t i = 0; i < SRM_GUESS_WAYS; i++) {
        if (set[i].id == id)
            return &set[i];
        if (set[i].bucket.full_at < best->bucket.full_at)
            best = &set[i];
    }
    return best;
}

bool srm_guess_proved(srm_guess_sources *sources, const srmudp_address *from, srm_time now) {
    const srm_guess_source *slot = find(sources, srm_guess_source_id(from));
    return slot != NULL && srm_bucket_credit(&slot->bucket, now) > 0;
}

/* ---- Who pays ---- */

/* The smaller credit of the two; a slot that belongs to another gives none. */
static uint32_t stranger_credit(const srm_guess_payer *payer, const srm_guess_source *slot, srm_time now) {
    if (slot->id != srm_guess_source_id(payer->from))
        return 0;
    uint32_t of_key = srm_bucket_credit(payer->key, now);
    uint32_t of_source = srm_bucket_credit(&slot->bucket, now);
    return of_key < of_source ? of_key : of_source;
}

uint32_t srm_guess_left(const srm_guess_payer *payer, srm_time now) {
    if (payer->dialled != NULL)
        return left_with(payer->dialled, SRM_GUESS_DIALLED, srm_bucket_credit(payer->dialled, now), now);
    const srm_guess_source *slot = slot_for(payer->sources, srm_guess_source_id(payer->from));
    uint32_t credit = stranger_credit(payer, slot, now);
    uint32_t of_key = left_with(payer->key, SRM_GUESS_KEY, credit, now);
    uint32_t of_source = left_with(&slot->bucket, SRM_GUESS_SOURCE, credit, now);
    return of_key < of_source ? of_key : of_source;
}

bool srm_guess_charge(const srm_guess_payer *payer, srm_time now) {
    if (srm_guess_left(payer, now) == 0)
        return false;
    if (payer->dialled != NULL) {
        owe(payer->dialled, SRM_GUESS_DIALLED, now);
        return true;
    }
    uint64_t id = srm_guess_source_id(payer->from);
    srm_guess_source *slot = slot_for(payer->sources, id);
    if (slot->id != id)
        slot->bucket.credit_until = 0; /* debts are inherited, credit isn't */
    slot->id = id;
    owe(&slot->bucket, SRM_GUESS_SOURCE, now);
    owe(payer->key, SRM_GUESS_KEY, now);
    return true;
}

static void prove(srm_bucket *bucket, srm_bucket_rate rate, srm_time now) {
    srm_bucket_give(bucket, rate, now);
    srm_bucket_earn(bucket, now);
}

void srm_guess_give_back(const srm_guess_payer *payer, srm_time now) {
    if (payer->dialled != NULL) {
        prove(payer->dialled, SRM_GUESS_DIALLED, now);
        return;
    }
    prove(payer->key, SRM_GUESS_KEY, now);
    srm_guess_source *slot = find(payer->sources, srm_guess_source_id(payer->from));
    if (slot != NULL)
        prove(&slot->bucket, SRM_GUESS_SOURCE, now);
}

bool srm_guess_wants_cookie(const srm_guess_payer *payer, srm_time now) {
    if (payer->dialled != NULL)
        return srm_bucket_level(payer->dialled, SRM_GUESS_DIALLED, now) <= SRM_GUESS_DIALLED.burst / 2;
    const srm_guess_source *slot = slot_for(payer->sources, srm_guess_source_id(payer->from));
    return srm_bucket_level(payer->key, SRM_GUESS_KEY, now) <= SRM_GUESS_KEY.burst / 2 ||
           srm_bucket_level(&slot->bucket, SRM_GUESS_SOURCE, now) <= SRM_GUESS_SOURCE.burst / 2;
}
