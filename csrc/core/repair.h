/* repair - the REPAIR frame: a combination of several small messages of one channel, from which the receiver
 * computes the one it misses (docs/protocol.md [R43], [R45]).
 *
 *     type 0x0b   channel (1)   first (varint)   mask (2)   index (1)   length (varint)   symbol
 *
 * It covers message first + i where bit i of the mask is set; bit 0 is. A message as a symbol:
 *
 *     0 0 0 0 F F S S S S S S S S S S   F: flags, S: size    its bytes    zeros, up to the longest of those
 * covered
 *
 * The frame's symbol is the sum of theirs in GF(256), each times srm_repair_factor of the frame's index and
 * the message's number: the entries of a Cauchy matrix, so that as many frames as there are unknown messages,
 * over the same messages, give all of them.
 */
#ifndef SRM_REPAIR_H
#define SRM_REPAIR_H

#include "bytes.h"
#include "message.h"

#define SRM_REPAIR_SPAN 16      /* numbers, from the first on, that one frame can cover */
#define SRM_REPAIR_SIZE_MAX 512 /* bytes; a larger message isn't covered */
#define SRM_REPAIR_HEAD 2       /* bytes of a symbol before the message's own */
#define SRM_REPAIR_SYMBOL_MAX (SRM_REPAIR_HEAD + SRM_REPAIR_SIZE_MAX)
#define SRM_REPAIR_INDEXES                                                                                   \
    128 /* a frame's index is below; each frame of a link has the next one, in turn                          \
         */

typedef struct srm_repair {
    uint64_t first;
    srm_span symbol; /* borrowed: as read, from the packet */
    uint16_t mask;
    uint8_t channel;
    uint8_t index;
} srm_repair;

/* What the message of that number is multiplied by in the frame of that index; never 0. */
uint8_t srm_repair_factor(uint8_t index, uint64_t number);

/* Bytes that the frame takes; of `symbol` only the size counts. */
size_t srm_repair_frame_size(const srm_repair *repair);
/* Writes the frame and returns where its symbol is to be made, all zeros. The writer must have room. */
uint8_t *srm_repair_frame_write(srm_writer *w, const srm_repair *repair);
/* Reads the frame behind its type byte. False: malformed. */
bool srm_repair_frame_read(srm_reader *r, srm_repair *out);

/* A message in a combination; borrowed. */
typedef struct srm_repair_part {
    srm_span data;
    uint8_t flags;
    uint8_t factor;
} srm_repair_part;

/* Makes `symbol`, of `size` bytes that are zero, the sum of the messages' symbols, each times its factor. It
 * must have room for the longest. */
void srm_repair_combine(uint8_t *symbol, size_t size, const srm_repair_part *parts, size_t count);
/* A symbol that is one message: its flags and bytes, borrowed. False: it is none. */
bool srm_repair_split(srm_span symbol, uint8_t *flags, srm_span *data);

#endif
