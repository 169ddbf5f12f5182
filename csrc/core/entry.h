/* entry - one passphrase towards some addresses, or one that listens: the handshake's state machine
 * (docs/protocol.md section 4). An entry lies inside an srm_conn or an srm_listener.
 *
 *     init      our own HELLO out: nonce nI, scalar y, the responder nonces tried        (initiator)
 *     attempts  HELLOs we answered with a REPLY and that may still be confirmed          (responder)
 *
 * Both end in an srm_confirmed, handed to srm_entry_owner.confirmed. What happens to a confirmed run
 * (current, candidate) is the connection's business: conn_handshake.c.
 */
#ifndef SRM_ENTRY_H
#define SRM_ENTRY_H

#include "endpoint.h"
#include "guess.h"
#include "hello.h"
#include "keys.h"

typedef struct srm_entry srm_entry;

/* Whether a session stands behind the entry and how it is. */
typedef enum srm_entry_session { SRM_SESSION_NONE, SRM_SESSION_ALIVE, SRM_SESSION_DEAD } srm_entry_session;

/* A budget several entries share: all of one passphrase, or all that dial one address. */
typedef struct srm_shared_bucket {
    uint64_t id;
    uint32_t references;
    srm_bucket bucket;
} srm_shared_bucket;

/* A run both sides' tags of which are good (initiator: the peer's was; it learns ours by CONFIRM). */
typedef struct srm_confirmed {
    srm_role role;
    srm_run_keys *keys; /* borrowed for the call */
    srm_aead_kind aead;
    srm_params peer;
    uint64_t cid_local; /* under which the peer's packets reach this run */
    uint8_t own_id[SRM_CONNECTION_ID_SIZE];
    uint8_t peer_id[SRM_CONNECTION_ID_SIZE];
    srmudp_address remote;
    srm_time created; /* of the attempt, or of our HELLO */
    srm_time rtt;     /* 0: unknown */
    srm_span confirm; /* initiator: the CONFIRM to repeat until an answer; borrowed */
} srm_confirmed;

/* Our HELLO on its way; on the heap while it is. */
typedef struct srm_init {
    uint8_t nonce[SRM_NONCE_SIZE];
    uint8_t scalar[SRM_SHARE_SIZE];
    uint8_t cookie[SRM_COOKIE_SIZE];
    uint8_t hello[SRM_HELLO_MIN_SIZE];
    uint8_t tried[SRM_TRIED_MAX][SRM_NONCE_SIZE];
    uint8_t tried_count;
    uint8_t tx_seq;
    uint8_t sends;
    srm_time sent_at[8]; /* by tx_seq & 7 */
    srm_time started, next_send, at_once;
    uint64_t cid_local; /* promised in no message yet: goes into CONFIRM */
    bool bad;           /* the newest completed try had a bad tag */
    bool bad_told;
    bool bad_shared; /* another entry, here or there, may be meant: wait longer before saying so */
    srm_time bad_since;
    uint8_t bad_nonce[SRM_NONCE_SIZE];
    srmudp_address bad_from;
} srm_init;

typedef struct srm_attempt {
    struct srm_attempt *next;
    srm_entry *entry;
    uint8_t nonce_i[SRM_NONCE_SIZE], nonce_r[SRM_NONCE_SIZE];
    uint8_t pair[16]; /* keyed hash of nI, Y_I, AD_I */
    uint8_t own_id[SRM_CONNECTION_ID_SIZE], peer_id[SRM_CONNECTION_ID_SIZE];
    srm_run_keys keys;
    srm_aead_kind aead;
    uint64_t cid_local;
    srmudp_address from;
    srm_time created, replied;
    srm_time sent_at[4]; /* REPLYs, by tx_seq & 3 */
    uint8_t tx_seq;
    bool stranger, confirmed, charged, rejected;
    size_t reply_size;
    uint8_t reply[SRM_HELLO_MIN_SIZE];
} srm_attempt;

/* What the entry asks of the connection or listener it lies in. */
typedef struct srm_entry_owner {
    srm_entry_session (*session)(const srm_entry *entry);
    void (*confirmed)(srm_entry *entry, srm_time now, const srm_confirmed *run, srm_span session_packets);
    /* A try ended at another key; `count` so far. */
    void (*wrong_key)(srm_entry *entry, srm_time now, uint64_t count);
    /* The peer speaks only other versions (a hint, unauthenticated). */
    void (*version)(srm_entry *entry, srm_time now);
    /* A new nonce and scalar go out: one more try. */
    void (*tried)(srm_entry *entry, srm_time now);
    void (*touched)(srm_entry *entry, srm_time now); /* its deadline may have changed */
} srm_entry_owner;

typedef struct srm_entry_address {
    srmudp_address address;
    srm_entry *entry;
    srm_shared_bucket *bucket;
} srm_entry_address;

struct srm_entry {
    srm_endpoint *endpoint;
    const srm_entry_owner *owner;
    bool listener;
    bool accepted; /* belongs to a connection a listener accepted: only its own peer reaches it */
    bool closing;  /* doesn't count any more */
    bool running;  /* keeps an init out while there is no living session */
    uint8_t *key;
    uint16_t key_size;
    uint8_t label_size;
    uint8_t *label;
    uint8_t label_hash[SRM_LABEL_HASH_SIZE];
    uint8_t connection_id[SRM_CONNECTION_ID_SIZE];
    srm_shared_bucket *key_bucket;
    srm_entry_address *addresses; /* first where the peer was last, then what the application gave */
    size_t address_count, learned_count;
    uint8_t heard_nonce[SRM_NONCE_SIZE]; /* of the newest HELLO heard: echoed in ours */
    uint8_t heard_seq;
    srm_init *init;
    srm_time init_after;  /* no new init before */
    srm_time yield_after; /* no yielding before */
    srm_attempt *attempts;
    size_t attempt_count;
    srm_time answered_at; /* when it last answered a HELLO that it had not seen; 0: never */
    uint64_t wrong_keys;
    srm_time rtt; /* of the last run; 0 unknown */
};

/* Sets up an entry; key and label are copied. False without memory. */
bool srm_entry_init(srm_entry *entry, srm_endpoint *endpoint, const srm_entry_owner *owner, srm_span key,
                    srm_span label, srm_time now);
void srm_entry_fini(srm_entry *entry);
/* Replaces the addresses that the application gave. False without memory (nothing changed). */
bool srm_entry_set_addresses(srm_entry *entry, const srmudp_address *addresses, size_t count);
/* The peer is at this address. Goes in front; of those the application didn't give the oldest is forgotten.
 */
void srm_entry_learn_address(srm_entry *entry, const srmudp_address *address);

/* Sends HELLOs until stopped, as far as it has addresses; a running init goes on unless `fresh`. */
void srm_entry_start(srm_entry *entry, srm_time now, bool fresh);
void srm_entry_stop(srm_entry *entry);

/* Messages for this entry. `from` is where they came from. */
typedef enum srm_entry_answer {
    SRM_ENTRY_TAKEN,
    SRM_ENTRY_NO_BUDGET,
    SRM_ENTRY_NO_MEMORY,
    SRM_ENTRY_BAD,
} srm_entry_answer;

/* Whether a new HELLO would get a REPLY of this entry now; else ours crosses it and stands. */
bool srm_entry_would_answer(const srm_entry *entry, srm_time now, const srm_hello_message *hello);
srm_entry_answer srm_entry_on_hello(srm_entry *entry, srm_time now, const srm_hello_message *hello,
                                    size_t hello_size, const srmudp_address *from, const uint8_t pair[16],
                                    bool more);
srm_entry_answer srm_entry_on_reply(srm_entry *entry, srm_time now, const srm_hello_message *reply,
                                    srm_span datagram, const srmudp_address *from);
srm_entry_answer srm_attempt_on_confirm(srm_attempt *attempt, srm_time now, const srm_hello_message *confirm,
                                        srm_span datagram, const srmudp_address *from);
void srm_entry_on_retry(srm_entry *entry, srm_time now, const srm_hello_message *retry,
                        const srmudp_address *from);
void srm_entry_on_version(srm_entry *entry, srm_time now, const srm_hello_message *version);
void srm_attempt_on_reject(srm_attempt *attempt, srm_time now);

/* The attempt of this entry for (nI, Y_I, AD_I), or NULL. */
srm_attempt *srm_entry_find_attempt(const srm_entry *entry, const uint8_t pair[16]);
void srm_attempt_repeat_reply(srm_attempt *attempt, srm_time now, const srm_hello_message *hello,
                              const srmudp_address *from);
/* The attempts of that peer process (its connection id) pass from a listener to the connection it accepted:
 * their CONFIRMs are for that session. */
void srm_entry_take_attempts(srm_entry *entry, srm_entry *listener,
                             const uint8_t peer_id[SRM_CONNECTION_ID_SIZE]);
/* Forgets attempts: all, or those created before `before`. */
void srm_entry_forget_attempts(srm_entry *entry, srm_time before);

void srm_entry_timeout(srm_entry *entry, srm_time now);
srm_time srm_entry_deadline(const srm_entry *entry);

/* Who pays for a guess that comes from `from`. */
srm_guess_payer srm_entry_payer(srm_entry *entry, const srmudp_address *from);

#endif
