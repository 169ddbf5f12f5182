#include "repair.h"

#include "gf256.h"

enum { TYPE = 0x0b, SIZE_BITS = 10, FLAGS_MAX = SRM_MESSAGE_TEXT | SRM_MESSAGE_MAYBE_DUPLICATE };

_Static_assert(SRM_REPAIR_SIZE_MAX < 1 << SIZE_BITS, "the size fits its bits");

/* 1 / (x + y) with x below 128 and y not: a Cauchy matrix. */
uint8_t srm_repair_factor(uint8_t index, uint64_t number) {
    return srm_gf256_invert(
        (uint8_t)((index & (SRM_REPAIR_INDEXES - 1)) ^ (SRM_REPAIR_INDEXES | (number & 127))));
}

size_t srm_repair_frame_size(const srm_repair *repair) {
    return 1 + 1 + srm_varint_size(repair->first) + 2 + 1 + srm_varint_size(repair->symbol.size) +
           repair->symbol.size;
}

uint8_t *srm_repair_frame_write(srm_writer *w, const srm_repair *repair) {
    srm_write_u8(w, TYPE);
    srm_write_u8(w, repair->channel);
    srm_write_varint(w, repair->first);
    srm_write_u16(w, repair->mask);
    srm_write_u8(w, repair->index);
    srm_write_varint(w, repair->symbol.size);
    uint8_t *symbol = srm_write_reserve(w, repair->symbol.size);
    SRM_ASSERT(symbol != NULL);
    memset(symbol, 0, repair->symbol.size);
    return symbol;
}

bool srm_repair_frame_read(srm_reader *r, srm_repair *out) {
    out->channel = srm_read_u8(r);
    out->first = srm_read_varint(r);
    out->mask = srm_read_u16(r);
    out->index = srm_read_u8(r);
    out->symbol = srm_read_bytes(r, srm_read_varint(r));
    return !r->failed && (out->mask & 1) != 0 && out->index < SRM_REPAIR_INDEXES &&
           out->first <= SRM_VARINT_MAX - SRM_REPAIR_SPAN && out->symbol.size >= SRM_REPAIR_HEAD &&
           out->symbol.size <= SRM_REPAIR_SYMBOL_MAX;
}

static void add(uint8_t *symbol, const srm_repair_part *part) {
    unsigned value = (unsigned)(part->flags & FLAGS_MAX) << SIZE_BITS | (unsigned)part->data.size;
    symbol[0] ^= (uint8_t)(value >> 8);
    symbol[1] ^= (uint8_t)value;
    srm_gf256_add(symbol + SRM_REPAIR_HEAD, part->data.data, part->data.size);
}

/* By Horner's rule over the bits of the factors: the costly doubling is done for all parts at once. */
void srm_repair_combine(uint8_t *symbol, size_t size, const srm_repair_part *parts, size_t count) {
    for (unsigned bit = 8; bit-- > 0;) {
        if (bit < 7)
            srm_gf256_double(symbol, size);
        for (size_t i = 0; i < count; i++)
            if ((parts[i].factor >> bit & 1) != 0)
                add(symbol, &parts[i]);
    }
}

bool srm_repair_split(srm_span symbol, uint8_t *flags, srm_span *data) {
    srm_reader r = srm_reader_of(symbol);
    unsigned head = srm_read_u16(&r);
    *flags = (uint8_t)(head >> SIZE_BITS);
    *data = srm_read_bytes(&r, head & ((1 << SIZE_BITS) - 1));
    if (r.failed || *flags > FLAGS_MAX || data->size > SRM_REPAIR_SIZE_MAX)
        return false;
    while (srm_reader_left(&r) > 0)
        if (srm_read_u8(&r) != 0)
            return false;
    return true;
}
