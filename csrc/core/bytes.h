/* bytes - the only way packets are read and written: two cursors that never leave their buffer.
 *
 * A reader or writer that runs out of room becomes `failed`, returns zeros or writes nothing from then on,
 * and is asked once at the end. Integers are big-endian. A varint is RFC 9000 section 16: the two top bits of
 * the first byte tell its length (1, 2, 4 or 8 bytes), values to 2^62-1.
 */
#ifndef SRM_BYTES_H
#define SRM_BYTES_H

#include "base.h"

#define SRM_VARINT_MAX ((UINT64_C(1) << 62) - 1)

typedef struct srm_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} srm_reader;

typedef struct srm_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool failed;
} srm_writer;

static inline srm_reader srm_reader_of(srm_span span) {
    /* No arithmetic on NULL, which stands for nothing. */
    return (srm_reader){.at = span.data, .end = span.size > 0 ? span.data + span.size : span.data};
}
static inline size_t srm_reader_left(const srm_reader *r) {
    return (size_t)(r->end - r->at);
}

/* The next `size` bytes, borrowed; an empty span and `failed` when fewer are left. */
static inline srm_span srm_read_bytes(srm_reader *r, uint64_t size) {
    if (r->failed || size > srm_reader_left(r)) {
        r->failed = true;
        return (srm_span){NULL, 0};
    }
    srm_span span = {r->at, (size_t)size};
    if (size > 0)
        r->at += size;
    return span;
}
/* Copies `size` bytes to `out`; zeros when too few are left. */
static inline void srm_read_copy(srm_reader *r, uint8_t *out, size_t size) {
    srm_span span = srm_read_bytes(r, size);
    if (span.size == size && size > 0)
        memcpy(out, span.data, size);
    else if (size > 0)
        memset(out, 0, size);
}
static inline uint64_t srm_read_uint(srm_reader *r, size_t size) { /* size 1..8 */
    srm_span span = srm_read_bytes(r, size);
    uint64_t value = 0;
    for (size_t i = 0; i < span.size; i++)
        value = value << 8 | span.data[i];
    return value;
}
static inline uint8_t srm_read_u8(srm_reader *r) {
    if (r->failed || r->at == r->end) {
        r->failed = true;
        return 0;
    }
    return *r->at++;
}
static inline uint16_t srm_read_u16(srm_reader *r) {
    return (uint16_t)srm_read_uint(r, 2);
}
static inline uint32_t srm_read_u32(srm_reader *r) {
    return (uint32_t)srm_read_uint(r, 4);
}
static inline uint64_t srm_read_u64(srm_reader *r) {
    return srm_read_uint(r, 8);
}
static inline uint64_t srm_read_varint(srm_reader *r) {
    if (r->failed || r->at == r->end) {
        r->failed = true;
        return 0;
    }
    size_t size = (size_t)1 << (*r->at >> 6);
    uint64_t value = srm_read_uint(r, size);
    return size == 1   ? value & 0x3f
           : size == 2 ? value & 0x3fff
           : size == 4 ? value & 0x3fffffff
                       : value & SRM_VARINT_MAX;
}

static inline srm_writer srm_writer_of(uint8_t *data, size_t size) {
    return (srm_writer){.start = data, .at = data, .end = size > 0 ? data + size : data};
}
static inline size_t srm_writer_left(const srm_writer *w) {
    return (size_t)(w->end - w->at);
}
static inline size_t srm_writer_used(const srm_writer *w) {
    return (size_t)(w->at - w->start);
}
static inline srm_span srm_writer_span(const srm_writer *w) {
    return srm_span_of(w->start, srm_writer_used(w));
}

/* Reserves the next `size` bytes and returns them, or NULL when there is no room. */
static inline uint8_t *srm_write_reserve(srm_writer *w, size_t size) {
    if (w->failed || size > srm_writer_left(w)) {
        w->failed = true;
        return NULL;
    }
    uint8_t *at = w->at;
    if (size > 0)
        w->at += size;
    return at;
}
static inline void srm_write_bytes(srm_writer *w, srm_span span) {
    uint8_t *at = srm_write_reserve(w, span.size);
    if (at != NULL && span.size > 0)
        memcpy(at, span.data, span.size);
}
static inline void srm_write_zeros(srm_writer *w, size_t size) {
    uint8_t *at = srm_write_reserve(w, size);
    if (at != NULL && size > 0)
        memset(at, 0, size);
}
static inline void srm_write_uint(srm_writer *w, uint64_t value, size_t size) { /* size 1..8 */
    uint8_t *at = srm_write_reserve(w, size);
    for (size_t i = size; at != NULL && i > 0; i--, value >>= 8)
        at[i - 1] = (uint8_t)value;
}
static inline void srm_write_u8(srm_writer *w, uint8_t value) {
    srm_write_uint(w, value, 1);
}
static inline void srm_write_u16(srm_writer *w, uint16_t value) {
    srm_write_uint(w, value, 2);
}
static inline void srm_write_u32(srm_writer *w, uint32_t value) {
    srm_write_uint(w, value, 4);
}
static inline void srm_write_u64(srm_writer *w, uint64_t value) {
    srm_write_uint(w, value, 8);
}

/* Bytes a varint takes: 1, 2, 4 or 8. `value` must be at most SRM_VARINT_MAX. */
static inline size_t srm_varint_size(uint64_t value) {
    return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x40000000 ? 4 : 8;
}
static inline void srm_write_varint(srm_writer *w, uint64_t value) {
    size_t size = srm_varint_size(value);
    uint64_t tag = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    srm_write_uint(w, value | tag << (size * 8 - 2), size);
}

#endif
