/* msgframe - the MSG frame: a whole message, or a piece of one (docs/protocol.md section 6).
 *
 *     type 0x20 | bits    1: channel present, else 0   2: fragment   4: text   8: maybe duplicate
 *     [channel (1)]  number (varint)  [offset (varint)  total (varint)]  length (varint)  bytes
 */
#ifndef SRM_MSGFRAME_H
#define SRM_MSGFRAME_H

#include "bytes.h"
#include "message.h"

#define SRM_MSG_TYPE 0x20 /* the high four bits */

/* A piece of a message to be sent. `whole`: all of it, offset 0. */
typedef struct srm_fragment {
    const srm_message *message; /* borrowed from the outbox */
    uint32_t offset;
    uint32_t length;
    bool whole;
    bool again; /* for the outbox: comes from its list of lost pieces */
} srm_fragment;

/* A piece as it came; `data` is borrowed from the packet. */
typedef struct srm_fragment_in {
    uint64_t number;
    uint64_t offset;
    uint64_t total;
    srm_span data;
    uint8_t channel;
    uint8_t flags; /* SRM_MESSAGE_* */
} srm_fragment_in;

/* Bytes the frame takes besides the message's own. */
size_t srm_msg_frame_overhead(const srm_fragment *fragment);
/* Writes it; the writer must have room. */
void srm_msg_frame_write(srm_writer *w, const srm_fragment *fragment);
/* Reads the frame behind its type byte. False: malformed (a piece beyond its message, or an empty piece). */
bool srm_msg_frame_read(srm_reader *r, uint8_t type, srm_fragment_in *out);

#endif
