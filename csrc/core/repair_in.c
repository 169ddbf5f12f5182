#include "repair_in.h"

#include "gf256.h"

#include <stdlib.h>

#define PLACES SRM_REPAIR_IN_MESSAGES
#define NOWHERE PLACES

_Static_assert(SRM_REPAIR_IN_ROOM % 8 == 0 && SRM_REPAIR_IN_ROOM >= SRM_REPAIR_SYMBOL_MAX, "whole words");
_Static_assert(PLACES >= 2 * SRM_REPAIR_SPAN && PLACES <= UINT8_MAX,
               "what one frame covers never evicts itself");

srm_repair_in *srm_repair_in_new(srm_time now) {
    srm_repair_in *in = calloc(1, sizeof *in);
    if (in != NULL)
        in->used = now;
    return in;
}

void srm_repair_in_free(srm_repair_in *in) {
    free(in);
}

bool srm_repair_in_idle(const srm_repair_in *in, srm_time now) {
    return now - in->used > SRM_REPAIR_IN_KEEP;
}

/* ---- Messages and their places ---- */

static size_t find(const srm_repair_in *in, uint8_t channel, uint64_t number) {
    for (size_t i = 1; i <= PLACES; i++) { /* the newest first: mostly it is one of those */
        size_t at = (in->next + PLACES - i) % PLACES;
        if (in->number[at] == number && in->channel[at] == channel && in->state[at] != SRM_REPAIR_EMPTY)
            return at;
    }
    return NOWHERE;
}

static bool is_known(const srm_repair_in *in, size_t at) {
    return at != NOWHERE && in->state[at] >= SRM_REPAIR_RECOVERED;
}

/* A row about something that is forgotten can't be solved any more. */
static void drop_rows_with(srm_repair_in *in, size_t at) {
    for (size_t i = 0; i < SRM_REPAIR_IN_ROWS; i++)
        if (in->rows[i].size > 0 && in->rows[i].factor[at] != 0)
            in->rows[i].size = 0;
}

/* The oldest message makes room. */
static size_t take_place(srm_repair_in *in, uint8_t channel, uint64_t number) {
    size_t at = in->next;
    in->next = (in->next + 1) % PLACES;
    if (in->state[at] == SRM_REPAIR_MISSING)
        drop_rows_with(in, at);
    in->recovered -= in->state[at] == SRM_REPAIR_RECOVERED;
    in->number[at] = number;
    in->channel[at] = channel;
    in->state[at] = SRM_REPAIR_MISSING;
    return at;
}

static void set_known(srm_repair_in *in, size_t at, srm_repair_state state, uint8_t flags, srm_span data) {
    in->state[at] = (uint8_t)state;
    in->flags[at] = flags;
    in->size[at] = (uint16_t)data.size;
    if (data.size > 0)
        memcpy(in->data[at], data.data, data.size);
}

/* ---- Rows ---- */

static void scale_row(srm_repair_row *row, uint8_t factor) {
    srm_gf256_scale(row->factor, sizeof row->factor, factor);
    srm_gf256_scale(row->symbol, row->size, factor);
}

static void add_row(srm_repair_row *to, const srm_repair_row *from, uint8_t factor) {
    srm_gf256_add_scaled(to->factor, from->factor, sizeof to->factor, factor);
    srm_gf256_add_scaled(to->symbol, from->symbol, from->size, factor);
    to->size = (uint16_t)srm_size_max(to->size, from->size);
}

static srm_repair_part part_of(const srm_repair_in *in, size_t at, uint8_t factor) {
    return (srm_repair_part){
        .data = srm_span_of(in->data[at], in->size[at]), .flags = in->flags[at], .factor = factor};
}

/* Takes messages that are known out of a row. False: one is longer than the row says, so the peer lied. */
static bool subtract(srm_repair_row *row, const srm_repair_part *parts, size_t count) {
    uint8_t sum[SRM_REPAIR_IN_ROOM] = {0};
    for (size_t i = 0; i < count; i++)
        if (parts[i].data.size + SRM_REPAIR_HEAD > row->size)
            return false;
    srm_repair_combine(sum, row->size, parts, count);
    srm_gf256_add(row->symbol, sum, row->size);
    return true;
}

/* A row that is about one message only is that message. */
static void try_solve(srm_repair_in *in, srm_repair_row *row) {
    uint8_t flags;
    srm_span data;
    for (size_t at = 0; at < PLACES; at++)
        if (at != row->own && row->factor[at] != 0)
            return;
    if (srm_repair_split(srm_span_of(row->symbol, row->size), &flags, &data)) {
        set_known(in, row->own, SRM_REPAIR_RECOVERED, flags, data);
        in->recovered++;
    } else {
        in->state[row->own] = SRM_REPAIR_EMPTY;
    }
    row->size = 0;
}

/* Gives the row a message of its own, takes that out of all others, and sees what is solved now. */
static void settle(srm_repair_in *in, srm_repair_row *row) {
    size_t own = 0;
    while (own < PLACES && row->factor[own] == 0)
        own++;
    if (own == PLACES) { /* it says nothing new */
        row->size = 0;
        return;
    }
    row->own = (uint8_t)own;
    scale_row(row, srm_gf256_invert(row->factor[own]));
    for (size_t i = 0; i < SRM_REPAIR_IN_ROWS; i++) {
        srm_repair_row *other = &in->rows[i];
        if (other != row && other->size > 0 && other->factor[own] != 0)
            add_row(other, row, other->factor[own]);
    }
    for (size_t i = 0; i < SRM_REPAIR_IN_ROWS; i++)
        if (in->rows[i].size > 0)
            try_solve(in, &in->rows[i]);
}

static srm_repair_row *free_row(srm_repair_in *in) {
    for (size_t i = 0; i < SRM_REPAIR_IN_ROWS; i++)
        if (in->rows[i].size == 0)
            return &in->rows[i];
    srm_repair_row *row = &in->rows[in->next_row];
    in->next_row = (in->next_row + 1) % SRM_REPAIR_IN_ROWS;
    return row;
}

/* ---- What comes ---- */

void srm_repair_in_on_message(srm_repair_in *in, const srm_fragment_in *message) {
    if (message->data.size != message->total || message->total > SRM_REPAIR_SIZE_MAX)
        return;
    size_t at = find(in, message->channel, message->number);
    if (is_known(in, at))
        return;
    bool missed = at != NOWHERE;
    if (!missed)
        at = take_place(in, message->channel, message->number);
    set_known(in, at, SRM_REPAIR_KNOWN, message->flags, message->data);
    for (size_t i = 0; missed && i < SRM_REPAIR_IN_ROWS; i++) {
        srm_repair_row *row = &in->rows[i];
        if (row->size == 0 || row->factor[at] == 0)
            continue;
        srm_repair_part part = part_of(in, at, row->factor[at]);
        row->factor[at] = 0;
        if (subtract(row, &part, 1))
            settle(in, row);
        else
            row->size = 0;
    }
}

uint16_t srm_repair_in_unknown(const srm_repair_in *in, const srm_repair *repair) {
    uint16_t unknown = 0;
    for (unsigned i = 0; i < SRM_REPAIR_SPAN; i++)
        if ((repair->mask >> i & 1) != 0 && !is_known(in, find(in, repair->channel, repair->first + i)))
            unknown |= (uint16_t)(1u << i);
    return unknown;
}

/* The frame as a row, without what is known. False: it is no use, or the peer lied. */
static bool make_row(const srm_repair_in *in, srm_repair_row *row, const srm_repair *repair) {
    srm_repair_part known[SRM_REPAIR_SPAN];
    size_t count = 0;
    *row = (srm_repair_row){.size = (uint16_t)repair->symbol.size};
    memcpy(row->symbol, repair->symbol.data, repair->symbol.size);
    for (unsigned i = 0; i < SRM_REPAIR_SPAN; i++) {
        if ((repair->mask >> i & 1) == 0)
            continue;
        size_t at = find(in, repair->channel, repair->first + i);
        uint8_t factor = srm_repair_factor(repair->index, repair->first + i);
        if (at == NOWHERE) /* it was known until the missing ones took its place */
            return false;
        if (is_known(in, at))
            known[count++] = part_of(in, at, factor);
        else
            row->factor[at] = factor;
    }
    return subtract(row, known, count);
}

void srm_repair_in_on_repair(srm_repair_in *in, const srm_repair *repair) {
    uint16_t unknown = srm_repair_in_unknown(in, repair);
    if (unknown == 0)
        return;
    for (unsigned i = 0; i < SRM_REPAIR_SPAN; i++)
        if ((unknown >> i & 1) != 0 && find(in, repair->channel, repair->first + i) == NOWHERE)
            (void)take_place(in, repair->channel, repair->first + i);
    srm_repair_row *row = free_row(in);
    if (!make_row(in, row, repair)) {
        row->size = 0;
        return;
    }
    for (size_t i = 0; i < SRM_REPAIR_IN_ROWS; i++) {
        const srm_repair_row *other = &in->rows[i];
        if (other != row && other->size > 0 && row->factor[other->own] != 0)
            add_row(row, other, row->factor[other->own]);
    }
    settle(in, row);
}

bool srm_repair_in_take(srm_repair_in *in, srm_fragment_in *out) {
    for (size_t i = 0; in->recovered > 0 && i < PLACES; i++) {
        size_t at = (in->next + i) % PLACES;
        if (in->state[at] != SRM_REPAIR_RECOVERED)
            continue;
        in->state[at] = SRM_REPAIR_KNOWN;
        in->recovered--;
        *out = (srm_fragment_in){.number = in->number[at],
                                 .total = in->size[at],
                                 .data = srm_span_of(in->data[at], in->size[at]),
                                 .channel = in->channel[at],
                                 .flags = in->flags[at]};
        return true;
    }
    return false;
}
