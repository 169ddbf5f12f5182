/* hello - the handshake's messages as bytes (docs/protocol.md section 3). Nothing here decides anything.
 *
 *     0       0xC0 | type     1 HELLO  2 REPLY  3 CONFIRM  4 RETRY  5 VERSION  6 REJECT
 *     1       version
 *     2..17   src_nonce
 *     18..33  dst_nonce
 *     34      tx_seq
 *     35      echo_seq
 *     36..    by type
 */
#ifndef SRM_HELLO_H
#define SRM_HELLO_H

#include "base.h"
#include "limits.h"

typedef enum srm_hello_type {
    SRM_HELLO = 1,
    SRM_REPLY = 2,
    SRM_CONFIRM = 3,
    SRM_RETRY = 4,
    SRM_VERSION = 5,
    SRM_REJECT = 6,
} srm_hello_type;

#define SRM_PROTOCOL_VERSION 1
#define SRM_MODE_PAKE 0
#define SRM_MODE_RESUME 1
#define SRM_REPLY_MORE 0x01 /* other entries here could answer too */
#define SRM_REJECT_TAG 1
#define SRM_REJECT_RESUME 2

typedef struct srm_offer { /* the clear TLVs of HELLO and REPLY */
    srm_span versions;
    srm_span aeads;
    uint8_t capabilities[4];
} srm_offer;

typedef struct srm_hello_message {
    srm_hello_type type;
    uint8_t version;
    uint8_t src_nonce[SRM_NONCE_SIZE];
    uint8_t dst_nonce[SRM_NONCE_SIZE];
    uint8_t tx_seq, echo_seq;
    uint8_t mode, flags;                           /* HELLO, REPLY */
    uint8_t share[SRM_SHARE_SIZE];                 /* HELLO, REPLY */
    uint8_t connection_id[SRM_CONNECTION_ID_SIZE]; /* HELLO, REPLY */
    uint8_t cookie[SRM_COOKIE_SIZE];               /* HELLO, RETRY */
    uint8_t label_hash[SRM_LABEL_HASH_SIZE];       /* HELLO */
    srm_offer offer;                               /* HELLO, REPLY: borrowed from the datagram */
    uint8_t tag[SRM_TAG_SIZE];                     /* REPLY, CONFIRM */
    srm_span sealed;                               /* REPLY, CONFIRM: borrowed */
    srm_span rest;                                 /* CONFIRM: the session packets behind it */
    srm_span versions;                             /* VERSION: borrowed */
    uint8_t code;                                  /* REJECT */
} srm_hello_message;

typedef enum srm_hello_result {
    SRM_HELLO_FINE,
    SRM_HELLO_MALFORMED,
    SRM_HELLO_OTHER_VERSION, /* the header was read; nothing behind it */
} srm_hello_result;

/* Reads a datagram whose two top bits are 11. */
srm_hello_result srm_hello_read(srm_span datagram, srm_hello_message *out);

/* Writes a message with everything behind the header that its type has; `offer` spans, `sealed` are copied.
 * HELLO is padded to SRM_HELLO_MIN_SIZE. Returns the size, 0 when `capacity` is too small. */
size_t srm_hello_write(const srm_hello_message *message, uint8_t *out, size_t capacity);

/* The parts of a written HELLO that may differ from one transmission to the next. */
void srm_hello_patch(uint8_t *datagram, const uint8_t dst_nonce[SRM_NONCE_SIZE], uint8_t tx_seq,
                     uint8_t echo_seq, const uint8_t cookie[SRM_COOKIE_SIZE]);
/* tx_seq and echo_seq of any written message. */
void srm_hello_patch_seq(uint8_t *datagram, uint8_t tx_seq, uint8_t echo_seq);

/* The sealed parameters of REPLY and CONFIRM: TLVs of type(1) length(2) value. */
typedef struct srm_params {
    uint64_t cid;              /* 1: the 8-byte id packets to the sender of these parameters carry */
    uint32_t max_message_size; /* 2: largest message it accepts */
    uint64_t max_data;         /* 3: the session's first credit; only used when the session is new */
    uint32_t max_ack_delay_us; /* 4 */
    uint16_t max_datagram;     /* 5: largest UDP payload it takes */
    uint32_t keepalive_ms;     /* 6: silence after which it sends */
    bool has_identity;         /* 7: Ed25519 key and signature over ("srmudp1 identity", role, th) */
    uint8_t identity[32];
    uint8_t signature[64];
} srm_params;

size_t srm_params_write(const srm_params *params, uint8_t *out, size_t capacity); /* 0: no room */
bool srm_params_read(srm_span bytes, srm_params *out); /* false: malformed or a needed one is missing */

#endif
