#include "hello.h"

#include "bytes.h"

enum { TLV_VERSIONS = 1, TLV_AEADS = 2, TLV_CAPABILITIES = 3 };
enum {
    PARAM_CID = 1,
    PARAM_MAX_MESSAGE = 2,
    PARAM_MAX_DATA = 3,
    PARAM_ACK_DELAY = 4,
    PARAM_MAX_DATAGRAM = 5,
    PARAM_KEEPALIVE = 6,
    PARAM_IDENTITY = 7,
};

static bool read_offer(srm_span bytes, srm_offer *offer) {
    srm_reader r = srm_reader_of(bytes);
    memset(offer, 0, sizeof *offer);
    while (srm_reader_left(&r) > 0 && !r.failed) {
        uint8_t type = srm_read_u8(&r);
        srm_span value = srm_read_bytes(&r, srm_read_u16(&r));
        if (r.failed)
            return false;
        if (type == TLV_VERSIONS)
            offer->versions = value;
        else if (type == TLV_AEADS)
            offer->aeads = value;
        else if (type == TLV_CAPABILITIES) {
            if (value.size != sizeof offer->capabilities)
                return false;
            memcpy(offer->capabilities, value.data, value.size);
        }
    }
    return !r.failed && offer->versions.size > 0 && offer->aeads.size > 0;
}

static void write_offer(srm_writer *w, const srm_offer *offer) {
    srm_write_u16(w, (uint16_t)(9 + offer->versions.size + offer->aeads.size + sizeof offer->capabilities));
    srm_write_u8(w, TLV_VERSIONS);
    srm_write_u16(w, (uint16_t)offer->versions.size);
    srm_write_bytes(w, offer->versions);
    srm_write_u8(w, TLV_AEADS);
    srm_write_u16(w, (uint16_t)offer->aeads.size);
    srm_write_bytes(w, offer->aeads);
    srm_write_u8(w, TLV_CAPABILITIES);
    srm_write_u16(w, sizeof offer->capabilities);
    srm_write_bytes(w, srm_span_of(offer->capabilities, sizeof offer->capabilities));
}

static bool read_body(srm_reader *r, size_t datagram_size, srm_hello_message *m) {
    switch (m->type) {
    case SRM_HELLO:
        m->mode = srm_read_u8(r);
        m->flags = srm_read_u8(r);
        srm_read_copy(r, m->share, sizeof m->share);
        srm_read_copy(r, m->connection_id, sizeof m->connection_id);
        srm_read_copy(r, m->cookie, sizeof m->cookie);
        srm_read_copy(r, m->label_hash, sizeof m->label_hash);
        return datagram_size >= SRM_HELLO_MIN_SIZE &&
               read_offer(srm_read_bytes(r, srm_read_u16(r)), &m->offer);
    case SRM_REPLY:
        m->mode = srm_read_u8(r);
        m->flags = srm_read_u8(r);
        srm_read_copy(r, m->share, sizeof m->share);
        srm_read_copy(r, m->connection_id, sizeof m->connection_id);
        srm_read_copy(r, m->tag, sizeof m->tag);
        if (!read_offer(srm_read_bytes(r, srm_read_u16(r)), &m->offer))
            return false;
        m->sealed = srm_read_bytes(r, srm_read_u16(r));
        return true;
    case SRM_CONFIRM:
        srm_read_copy(r, m->tag, sizeof m->tag);
        m->sealed = srm_read_bytes(r, srm_read_u16(r));
        m->rest = srm_read_bytes(r, srm_reader_left(r));
        return true;
    case SRM_RETRY:
        srm_read_copy(r, m->cookie, sizeof m->cookie);
        return true;
    case SRM_VERSION:
        m->versions = srm_read_bytes(r, srm_read_u8(r));
        return m->versions.size > 0;
    case SRM_REJECT:
        m->code = srm_read_u8(r);
        return true;
    }
    return false;
}

srm_hello_result srm_hello_read(srm_span datagram, srm_hello_message *out) {
    srm_reader r = srm_reader_of(datagram);
    memset(out, 0, sizeof *out);
    uint8_t first = srm_read_u8(&r);
    out->type = (srm_hello_type)(first & 0x3f);
    out->version = srm_read_u8(&r);
    srm_read_copy(&r, out->src_nonce, sizeof out->src_nonce);
    srm_read_copy(&r, out->dst_nonce, sizeof out->dst_nonce);
    out->tx_seq = srm_read_u8(&r);
    out->echo_seq = srm_read_u8(&r);
    if (r.failed || (first & 0xc0) != 0xc0)
        return SRM_HELLO_MALFORMED;
    if (out->version != SRM_PROTOCOL_VERSION && out->type != SRM_VERSION)
        return SRM_HELLO_OTHER_VERSION;
    return read_body(&r, datagram.size, out) && !r.failed ? SRM_HELLO_FINE : SRM_HELLO_MALFORMED;
}

static void write_shared(srm_writer *w, const srm_hello_message *m) {
    srm_write_u8(w, m->mode);
    srm_write_u8(w, m->flags);
    srm_write_bytes(w, srm_span_of(m->share, sizeof m->share));
    srm_write_bytes(w, srm_span_of(m->connection_id, sizeof m->connection_id));
}

static void write_body(srm_writer *w, const srm_hello_message *m) {
    switch (m->type) {
    case SRM_HELLO:
        write_shared(w, m);
        srm_write_bytes(w, srm_span_of(m->cookie, sizeof m->cookie));
        srm_write_bytes(w, srm_span_of(m->label_hash, sizeof m->label_hash));
        write_offer(w, &m->offer);
        if (srm_writer_used(w) < SRM_HELLO_MIN_SIZE)
            srm_write_zeros(w, SRM_HELLO_MIN_SIZE - srm_writer_used(w));
        return;
    case SRM_REPLY:
        write_shared(w, m);
        srm_write_bytes(w, srm_span_of(m->tag, sizeof m->tag));
        write_offer(w, &m->offer);
        srm_write_u16(w, (uint16_t)m->sealed.size);
        srm_write_bytes(w, m->sealed);
        return;
    case SRM_CONFIRM:
        srm_write_bytes(w, srm_span_of(m->tag, sizeof m->tag));
        srm_write_u16(w, (uint16_t)m->sealed.size);
        srm_write_bytes(w, m->sealed);
        return;
    case SRM_RETRY:
        srm_write_bytes(w, srm_span_of(m->cookie, sizeof m->cookie));
        return;
    case SRM_VERSION:
        srm_write_u8(w, (uint8_t)m->versions.size);
        srm_write_bytes(w, m->versions);
        return;
    case SRM_REJECT:
        srm_write_u8(w, m->code);
        return;
    }
}

size_t srm_hello_write(const srm_hello_message *message, uint8_t *out, size_t capacity) {
    srm_writer w = srm_writer_of(out, capacity);
    srm_write_u8(&w, (uint8_t)(0xc0 | message->type));
    srm_write_u8(&w, message->version);
    srm_write_bytes(&w, srm_span_of(message->src_nonce, sizeof message->src_nonce));
    srm_write_bytes(&w, srm_span_of(message->dst_nonce, sizeof message->dst_nonce));
    srm_write_u8(&w, message->tx_seq);
    srm_write_u8(&w, message->echo_seq);
    write_body(&w, message);
    return w.failed ? 0 : srm_writer_used(&w);
}

void srm_hello_patch_seq(uint8_t *datagram, uint8_t tx_seq, uint8_t echo_seq) {
    datagram[34] = tx_seq;
    datagram[35] = echo_seq;
}

void srm_hello_patch(uint8_t *datagram, const uint8_t dst_nonce[SRM_NONCE_SIZE], uint8_t tx_seq,
                     uint8_t echo_seq, const uint8_t cookie[SRM_COOKIE_SIZE]) {
    memcpy(datagram + 18, dst_nonce, SRM_NONCE_SIZE);
    srm_hello_patch_seq(datagram, tx_seq, echo_seq);
    memcpy(datagram + 86, cookie, SRM_COOKIE_SIZE);
}

static void write_param(srm_writer *w, uint8_t type, uint64_t value, size_t size) {
    srm_write_u8(w, type);
    srm_write_u16(w, (uint16_t)size);
    srm_write_uint(w, value, size);
}

size_t srm_params_write(const srm_params *params, uint8_t *out, size_t capacity) {
    srm_writer w = srm_writer_of(out, capacity);
    write_param(&w, PARAM_CID, params->cid, 8);
    write_param(&w, PARAM_MAX_MESSAGE, params->max_message_size, 4);
    write_param(&w, PARAM_MAX_DATA, params->max_data, 8);
    write_param(&w, PARAM_ACK_DELAY, params->max_ack_delay_us, 4);
    write_param(&w, PARAM_MAX_DATAGRAM, params->max_datagram, 2);
    write_param(&w, PARAM_KEEPALIVE, params->keepalive_ms, 4);
    if (params->has_identity) {
        srm_write_u8(&w, PARAM_IDENTITY);
        srm_write_u16(&w, sizeof params->identity + sizeof params->signature);
        srm_write_bytes(&w, srm_span_of(params->identity, sizeof params->identity));
        srm_write_bytes(&w, srm_span_of(params->signature, sizeof params->signature));
    }
    return w.failed ? 0 : srm_writer_used(&w);
}

static bool read_param(uint8_t type, srm_span value, srm_params *out, unsigned *seen) {
    static const uint8_t sizes[] = {0, 8, 4, 8, 4, 2, 4, 96};
    if (type == 0 || type >= sizeof sizes)
        return true; /* a later version's: skipped */
    if (value.size != sizes[type] || (*seen & 1u << type) != 0)
        return false;
    *seen |= 1u << type;
    srm_reader r = srm_reader_of(value);
    switch (type) {
    case PARAM_CID:
        out->cid = srm_read_u64(&r);
        break;
    case PARAM_MAX_MESSAGE:
        out->max_message_size = srm_read_u32(&r);
        break;
    case PARAM_MAX_DATA:
        out->max_data = srm_read_u64(&r);
        break;
    case PARAM_ACK_DELAY:
        out->max_ack_delay_us = srm_read_u32(&r);
        break;
    case PARAM_MAX_DATAGRAM:
        out->max_datagram = srm_read_u16(&r);
        break;
    case PARAM_KEEPALIVE:
        out->keepalive_ms = srm_read_u32(&r);
        break;
    default:
        out->has_identity = true;
        srm_read_copy(&r, out->identity, sizeof out->identity);
        srm_read_copy(&r, out->signature, sizeof out->signature);
    }
    return true;
}

bool srm_params_read(srm_span bytes, srm_params *out) {
    srm_reader r = srm_reader_of(bytes);
    unsigned seen = 0;
    memset(out, 0, sizeof *out);
    while (srm_reader_left(&r) > 0) {
        uint8_t type = srm_read_u8(&r);
        srm_span value = srm_read_bytes(&r, srm_read_u16(&r));
        if (r.failed || !read_param(type, value, out, &seen))
            return false;
    }
    unsigned needed = 1u << PARAM_CID | 1u << PARAM_MAX_MESSAGE | 1u << PARAM_MAX_DATA |
                      1u << PARAM_ACK_DELAY | 1u << PARAM_MAX_DATAGRAM | 1u << PARAM_KEEPALIVE;
    return (seen & needed) == needed && out->max_datagram >= SRM_DATAGRAM_MIN_MTU &&
           out->max_ack_delay_us <= 1000000 && out->max_data <= (UINT64_C(1) << 62) - 1;
}
