/* puppet - the other end of somebody's sessions, in the hands of a fuzz target: it holds the keys, proved by
 * a real handshake, and says under them whatever the target wants. Asked to, it also answers as a decent peer
 * does: it acknowledges what comes and answers CHALLENGEs.
 *
 *     victim (an endpoint of peers)  <── frames the target chose, sealed ──  puppet
 *                                    ── checked: every packet opens, ──>
 *                                       every frame is well formed, nothing acknowledged that was not sent
 */
#ifndef FUZZ_PUPPET_H
#define FUZZ_PUPPET_H

#include "conn.h"
#include "peers.h"

#define PUPPET_LINKS 4
#define PUPPET_PROBE_CHANNEL 250 /* nothing but the probe goes there */
#define PUPPET_PROBE_SIZE 5000
#define PUPPET_PROBE_BYTE 0x5a

/* One run of the handshake: keys, packet numbers. */
typedef struct puppet_link {
    srm_path path; /* `link`'s */
    srm_link *link;
    bool respond, acknowledge;
    uint8_t response[8];
} puppet_link;

typedef struct puppet {
    peers *world;
    peer *victim, *self;
    srmudp_address address; /* where its packets come from */
    puppet_link links[PUPPET_LINKS];
    int link_count;
    bool answers; /* like a decent peer */
    bool closed;  /* the victim said CLOSE on one of the links */
    bool probe_came[PUPPET_PROBE_SIZE];
    size_t probe_bytes; /* of the victim's message on the probe channel that came */
} puppet;

/* Takes over two peers of the world; sets its on_datagram and user. */
void puppet_init(puppet *p, peer *victim, peer *self);
void puppet_fini(puppet *p);

/* Another run of the handshake with the key: the puppet calls the victim, or the victim dials and the puppet
 * listens. `as` is the connection id it pretends to have; NULL: a new process. False: it got no link. */
bool puppet_meet(puppet *p, const srmudp_config *config, const char *key, bool victim_dials,
                 const uint8_t *as, uint64_t seed);

/* The victim's side of a link; NULL when it has forgotten it. */
srm_link *puppet_twin(const puppet *p, const puppet_link *l);
/* The connection whose current link this is; NULL: of none. */
srm_conn *puppet_current(const puppet *p, const puppet_link *l);

/* One packet with these frames, sealed under the link's keys. `first_bits` are added to the first byte before
 * it is sealed, `damage` to the last byte after it was. */
void puppet_send(puppet *p, puppet_link *l, srm_span frames, uint8_t first_bits, uint8_t damage);
/* Lets time pass, answering if it does. */
void puppet_pass(puppet *p, srm_time span);

/* What an independent look at the frames of a packet says. */
typedef enum puppet_verdict {
    PUPPET_HARMLESS, /* well-formed, and nothing that could be a lie */
    PUPPET_RISKY,    /* may be against the rules */
    PUPPET_MALFORMED /* what comes before the flaw is harmless */
} puppet_verdict;

typedef struct puppet_frames {
    puppet_verdict verdict;
    bool well_formed; /* to the end */
    bool eliciting, close;
    const uint8_t *challenge; /* 8 bytes, or NULL */
    bool channels[256];       /* MSG and REPAIR frames are for them */
} puppet_frames;

void puppet_look(srm_span frames, puppet_frames *out);

#endif
