#include "msgframe.h"

enum { HAS_CHANNEL = 1, IS_FRAGMENT = 2, IS_TEXT = 4, IS_DUPLICATE = 8 };

size_t srm_msg_frame_overhead(const srm_fragment *fragment) {
    const srm_message *message = fragment->message;
    size_t size = (message->channel != 0 ? 2 : 1) + srm_varint_size(message->number) +
                  srm_varint_size(fragment->length);
    if (!fragment->whole)
        size += srm_varint_size(fragment->offset) + srm_varint_size(message->size);
    return size;
}

void srm_msg_frame_write(srm_writer *w, const srm_fragment *fragment) {
    const srm_message *message = fragment->message;
    unsigned type =
        SRM_MSG_TYPE | (message->channel != 0 ? HAS_CHANNEL : 0) | (fragment->whole ? 0 : IS_FRAGMENT);
    type |= (message->flags & SRM_MESSAGE_TEXT) != 0 ? IS_TEXT : 0;
    type |= (message->flags & SRM_MESSAGE_MAYBE_DUPLICATE) != 0 ? IS_DUPLICATE : 0;
    srm_write_u8(w, (uint8_t)type);
    if (message->channel != 0)
        srm_write_u8(w, message->channel);
    srm_write_varint(w, message->number);
    if (!fragment->whole) {
        srm_write_varint(w, fragment->offset);
        srm_write_varint(w, message->size);
    }
    srm_write_varint(w, fragment->length);
    srm_write_bytes(w, srm_span_of(message->data + fragment->offset, fragment->length));
}

bool srm_msg_frame_read(srm_reader *r, uint8_t type, srm_fragment_in *out) {
    bool fragment = (type & IS_FRAGMENT) != 0;
    out->channel = (type & HAS_CHANNEL) != 0 ? srm_read_u8(r) : 0;
    out->number = srm_read_varint(r);
    out->offset = fragment ? srm_read_varint(r) : 0;
    uint64_t total = fragment ? srm_read_varint(r) : 0;
    out->data = srm_read_bytes(r, srm_read_varint(r));
    out->total = fragment ? total : out->data.size;
    out->flags = (uint8_t)(((type & IS_TEXT) != 0 ? SRM_MESSAGE_TEXT : 0) |
                           ((type & IS_DUPLICATE) != 0 ? SRM_MESSAGE_MAYBE_DUPLICATE : 0));
    if (r->failed)
        return false;
    return !fragment ||
           (out->data.size > 0 && out->offset <= out->total && out->data.size <= out->total - out->offset);
}
