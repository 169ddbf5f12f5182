/* guess - how often anybody may try a passphrase. Each run gives the other side one guess; these buckets make
 * guesses slow without letting a stranger lock the right peer out.
 *
 *     who tries                             pays from                     burst   refilled 1 per
 *     a stranger (we listen, or wait)       the key's bucket  and         16      15 s    (5,760 a day)
 *                                           its source's bucket           4       60 s
 *     an address we dial with that key,     a bucket of that pair         64      5 s     (17,280 a day)
 *     either role
 *
 * A source is an IPv4 address or an IPv6 /64. The buckets of dialled addresses are apart so that strangers
 * can't touch them; they exist because whoever sits on such an address could guess as fast as it likes.
 *
 * When it is charged: as responder when a REPLY goes out (its tag is the guess), given back when a good
 * CONFIRM of that run comes; as initiator when a REPLY with a bad tag was computed. Resumption, repeated
 * messages and RETRY are free. When the budget is empty: PAKE HELLOs are dropped, REPLYs aren't computed.
 * When half of it is gone, strangers are asked for a cookie first, so HELLOs with forged sources spend at
 * most half.
 *
 * A try under way can't be told from a guess, so a thousand peers that come at once would wait for each
 * other. Credit lets them in: each good CONFIRM earns its buckets one, up to SRM_GUESS_CREDIT, and one fades
 * each SRM_GUESS_CREDIT_FADES. So many tries more may be under way than the bucket has tokens: as in a slow
 * start, each success makes room for two. Credit is no gift: a try that stays unanswered is owed like any
 * other and paid off at the bucket's own rate. Whatever happens, a bucket gives at most burst +
 * SRM_GUESS_CREDIT unanswered tries and one each `every` after that. A stranger has the smaller credit of its
 * key and its source, so that proving one key buys no guess at another.
 *
 * The sources' table is bounded (1,024 debts, 24 KiB). A stranger can't wash off its debt by filling it: the
 * table is made of sets of 8, chosen by a keyed hash that nobody outside can aim at; a newcomer to a full set
 * replaces the smallest debt there *and inherits it* (the "space-saving" counting of Metwally et al. 2005),
 * so debts are never forgotten before they are paid off, at worst laid on a newcomer, and every such shift
 * costs a charge of some key's bucket.
 */
#ifndef SRM_GUESS_H
#define SRM_GUESS_H

#include "../include/srmudp.h"
#include "base.h"

/* ---- One bucket ---- */

typedef struct srm_bucket_rate {
    uint32_t burst; /* tokens when full */
    srm_time every; /* one token comes back each so much time */
} srm_bucket_rate;

#define SRM_GUESS_KEY ((srm_bucket_rate){16, 15 * SRM_SECOND})
#define SRM_GUESS_SOURCE ((srm_bucket_rate){4, 60 * SRM_SECOND})
#define SRM_GUESS_DIALLED ((srm_bucket_rate){64, 5 * SRM_SECOND})

#define SRM_GUESS_CREDIT 64                            /* most tries under way beyond the tokens */
#define SRM_GUESS_CREDIT_FADES (100 * SRM_MILLISECOND) /* one less each so much time */

/* A token bucket in one number: the time at which it will be full again; and its credit in another: the time
 * at which there will be none. A struct of zeros is full, and has no credit. */
typedef struct srm_bucket {
    srm_time full_at;
    srm_time credit_until;
} srm_bucket;

/* Whole tokens in the bucket. */
uint32_t srm_bucket_level(const srm_bucket *bucket, srm_bucket_rate rate, srm_time now);
/* Takes one token; false and nothing changed when there is none. */
bool srm_bucket_take(srm_bucket *bucket, srm_bucket_rate rate, srm_time now);
/* Puts one back; a full bucket stays full. */
void srm_bucket_give(srm_bucket *bucket, srm_bucket_rate rate, srm_time now);
/* Its credit: 0 to SRM_GUESS_CREDIT. */
uint32_t srm_bucket_credit(const srm_bucket *bucket, srm_time now);
/* One more. */
void srm_bucket_earn(srm_bucket *bucket, srm_time now);

/* ---- Debts of sources ---- */

#define SRM_GUESS_SOURCES 1024 /* slots in the table */
#define SRM_GUESS_WAYS 8       /* slots in a set */

typedef struct srm_guess_source {
    uint64_t id; /* IPv4 address or /64 prefix; any value when the bucket is full */
    srm_bucket bucket;
} srm_guess_source;

/* One for each endpoint, over all its keys. All fields are private. */
typedef struct srm_guess_sources {
    uint8_t hash_key[16];
    srm_guess_source slots[SRM_GUESS_SOURCES];
} srm_guess_sources;

/* Nobody owes anything; the table's hash key is drawn from `entropy`. Needs no fini. */
void srm_guess_sources_init(srm_guess_sources *sources, const srm_entropy *entropy);

/* ---- Who pays ---- */

/* The payer of one try. Make it anew for each question: it only borrows.
 * A try by an address we dial: `dialled` is that address's bucket, the rest is not looked at.
 * Else `dialled` is NULL; `key` is the bucket of that passphrase (entries with the same passphrase must share
 * one, or it would be worth more guesses), `from` the address it came from (an IPv4-mapped IPv6 address
 * counts as IPv4). */
typedef struct srm_guess_payer {
    srm_bucket *dialled;
    srm_bucket *key;
    srm_guess_sources *sources;
    const srmudp_address *from;
} srm_guess_payer;

/* How many guesses are left to it: the smallest of the buckets it pays from, credit included. */
uint32_t srm_guess_left(const srm_guess_payer *payer, srm_time now);

/* Charges one guess to all buckets it pays from, or to none and returns false when one of them is empty. */
bool srm_guess_charge(const srm_guess_payer *payer, srm_time now);

/* The guess turned out to be the right passphrase: gives back what one charge took, and earns credit. */
void srm_guess_give_back(const srm_guess_payer *payer, srm_time now);

/* Whether a peer proved a key from this source in the last seconds: it has credit. */
bool srm_guess_proved(srm_guess_sources *sources, const srmudp_address *from, srm_time now);

/* What sources are told apart by: the IPv4 address or the IPv6 /64, as a number. */
uint64_t srm_guess_source_id(const srmudp_address *from);

/* Whether a cookie must be shown before this payer is charged: half of a bucket it would pay from, or more,
 * is gone. So whoever forges source addresses spends at most half of a key's budget, and can't lock a source
 * out by spending its four in its name. */
bool srm_guess_wants_cookie(const srm_guess_payer *payer, srm_time now);

#endif
