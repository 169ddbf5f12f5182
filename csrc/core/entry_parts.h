/* entry_parts - what the files of an entry share, and nobody else may use:
 *
 *     entry.c            its life, its addresses, its timers
 *     entry_initiator.c  our HELLO, and the REPLYs to it
 *     entry_responder.c  HELLOs that we answer
 *     entry_run.c        what both roles write, and read, of a run
 */
#ifndef SRM_ENTRY_PARTS_H
#define SRM_ENTRY_PARTS_H

#include "aead.h"
#include "entry.h"

#define SRM_ENTRY_AD_MAX 400 /* 256 versions and AEADs a message can name, and the rest */

typedef struct srm_own_offer {
    uint8_t aeads[SRM_AEAD_KINDS];
    srm_offer offer;
} srm_own_offer;

/* entry_run.c */
srm_span srm_entry_key(const srm_entry *entry);
srm_span srm_entry_label(const srm_entry *entry);
/* Our clear lists: the same in each message. */
void srm_own_offer_make(srm_own_offer *own);
/* AD_I or AD_R of docs/protocol.md section 3.1 (`last`: the resume id, or nR); 0: it cannot be. */
size_t srm_entry_write_ad(uint8_t *out, const srm_offer *offer, const uint8_t *id, const uint8_t *nonce_i,
                          srm_span last);
/* Our parameters, sealed under the run's keys; `header` is the first SRM_KEYS_SEALED_AAD_SIZE bytes of the
 * message. Their size. */
size_t srm_entry_seal_params(srm_entry *entry, srm_role role, const srm_run_keys *keys, uint64_t cid,
                             const uint8_t *header, uint8_t *out, size_t capacity);
/* The peer's, with its identity checked; false counts as a bad tag. */
bool srm_entry_open_params(const srm_run_keys *keys, srm_role sender, srm_span datagram, srm_span sealed,
                           srm_params *out);

/* entry_initiator.c */
bool srm_entry_new_init(srm_entry *entry, srm_time now);
void srm_entry_free_init(srm_entry *entry);
void srm_entry_send_hello(srm_entry *entry, srm_time now); /* to all addresses */
/* At once, not too often, and only to an IP that the entry dials. */
void srm_entry_repeat_hello(srm_entry *entry, srm_time now, const srmudp_address *to);
void srm_entry_tell_wrong_key(srm_entry *entry, srm_time now);
srm_time srm_entry_wrong_key_time(const srm_entry *entry); /* when to tell */
srm_time srm_entry_renew_time(const srm_entry *entry);     /* when the HELLO gets a new nonce and scalar */

#endif
