#include "link.h"

#include <sodium.h>
#include <stdlib.h>

enum { FIXED_BITS = 0x80, PHASE_BIT = 0x20, MASKED_BITS = 0x1f, RESERVED_BITS = 0x07 };

static void keys_init(srm_link_keys *keys, srm_aead_kind kind, const uint8_t ts[SRM_KEYS_HASH_SIZE],
                      srm_time now) {
    uint8_t hp[SRM_KEYS_SECRET_SIZE];
    memcpy(keys->ts, ts, sizeof keys->ts);
    srm_epoch_header_key(ts, hp);
    memcpy(keys->hp, hp, sizeof keys->hp);
    sodium_memzero(hp, sizeof hp);
    srm_epoch_init(&keys->aead, kind, ts);
    keys->since = now;
}

static void keys_fini(srm_link_keys *keys) {
    srm_aead_fini(&keys->aead);
    sodium_memzero(keys, sizeof *keys);
}

srm_link *srm_link_new(srm_conn *conn, srm_path *path, srm_time now, const srm_confirmed *run) {
    srm_link *link = calloc(1, sizeof *link);
    uint8_t *confirm = run->confirm.size > 0 ? malloc(run->confirm.size) : NULL;
    if (link == NULL || (run->confirm.size > 0 && confirm == NULL)) {
        free(link);
        free(confirm);
        return NULL;
    }
    link->conn = conn;
    link->role = run->role;
    link->aead_kind = run->aead;
    link->cid_local = run->cid_local;
    link->cid_remote = run->peer.cid;
    memcpy(link->peer_id, run->peer_id, sizeof link->peer_id);
    link->peer = run->peer;
    keys_init(&link->send, run->aead, run->keys->ts[run->role], now);
    keys_init(&link->receive, run->aead, run->keys->ts[1 - run->role], now);
    link->remote = run->remote;
    link->created = link->heard = now;
    srm_replay_init(&link->replay);
    srm_acks_init(&link->acks, SRM_MAX_ACK_DELAY);
    link->path = path;
    srm_sent_init(&link->sent, &path->flight);
    srm_rtt_init(&link->rtt, run->rtt > 0 ? run->rtt : SRM_RTT_INITIAL,
                 link->peer.max_ack_delay_us * SRM_MICROSECOND);
    if (run->rtt > 0) {
        srm_rtt_update(&link->rtt, now, run->rtt, 0);
        srm_acks_set_rtt(&link->acks, link->rtt.smoothed);
    }
    srm_repair_out_init(&link->repair_out, now);
    srm_marks_start(&link->marks, &link->sent);
    if (confirm != NULL) {
        memcpy(confirm, run->confirm.data, run->confirm.size);
        link->confirm = confirm;
        link->confirm_size = run->confirm.size;
        link->confirm_wait = srm_time_max(SRM_CONFIRM_FIRST, 2 * run->rtt);
        link->confirm_at = now;
    } else {
        link->confirm_at = SRM_TIME_NEVER;
    }
    return link;
}

void srm_link_free(srm_link *link) {
    if (link == NULL)
        return;
    keys_fini(&link->send);
    keys_fini(&link->receive);
    if (link->previous != NULL)
        srm_aead_fini(link->previous);
    free(link->previous);
    srm_replay_fini(&link->replay);
    srm_acks_fini(&link->acks);
    srm_sent_fini(&link->sent);
    srm_repair_out_fini(&link->repair_out);
    srm_repair_in_free(link->repair_in);
    free(link->confirm);
    sodium_memzero(link, sizeof *link);
    free(link);
}

void srm_link_set_path(srm_link *link, srm_time now, srm_path *path, bool copy, bool reset) {
    srm_sent_move(&link->sent, &path->flight, copy);
    link->path = path;
    if (!reset)
        return;
    srm_rtt_reset(&link->rtt);
    srm_repair_out_reset(&link->repair_out, now);
    srm_marks_start(&link->marks, &link->sent);
}

/* ---- Sending ---- */

/* RFC 9000 appendix A.2: twice as many numbers as may be under way must be told apart. Never one byte, so
 * that the length doesn't change within a burst of a young link. */
static size_t number_size(const srm_link *link) {
    uint64_t unacked = link->sent.next - link->sent.acked_end + 1;
    return unacked < (1 << 14) ? 2 : unacked < (1 << 22) ? 3 : 4;
}

size_t srm_link_overhead(const srm_link *link) {
    return 1 + SRM_CID_SIZE + number_size(link) + srm_aead_tag_size(link->aead_kind);
}

void srm_link_packet_begin(srm_link *link, uint8_t *buffer, size_t size, srm_packet_out *out) {
    out->start = buffer;
    out->number = link->sent.next;
    out->number_size = number_size(link);
    out->header_size = 1 + SRM_CID_SIZE + out->number_size;
    srm_writer w = srm_writer_of(buffer, out->header_size);
    srm_write_u8(
        &w, (uint8_t)(FIXED_BITS | (link->send.epoch & 1 ? PHASE_BIT : 0) | (out->number_size - 1) << 3));
    srm_write_u64(&w, link->cid_remote);
    srm_write_uint(&w, out->number, out->number_size);
    out->w = srm_writer_of(buffer + out->header_size,
                           size - out->header_size - srm_aead_tag_size(link->aead_kind));
}

static void mask_header(const uint8_t hp[SRM_HEADER_KEY_SIZE], uint8_t *packet, size_t pn_size, bool hide) {
    uint8_t mask[SRM_HEADER_MASK_SIZE];
    srm_header_mask(hp, packet + 1 + SRM_CID_SIZE + 4, mask);
    uint8_t first = (uint8_t)(packet[0] ^ (mask[0] & MASKED_BITS));
    if (!hide)
        pn_size = (size_t)(first >> 3 & 3) + 1;
    packet[0] = first;
    for (size_t i = 0; i < pn_size; i++)
        packet[1 + SRM_CID_SIZE + i] ^= mask[1 + i];
}

size_t srm_link_packet_finish(srm_link *link, srm_packet_out *out) {
    SRM_ASSERT(!out->w.failed);
    while (srm_writer_used(&out->w) + out->number_size < SRM_PACKET_BODY_MIN)
        srm_write_u8(&out->w, 0);
    size_t size = srm_writer_used(&out->w);
    srm_aead_seal(&link->send.aead, out->number, srm_span_of(out->start, out->header_size), out->w.start,
                  size);
    mask_header(link->send.hp, out->start, out->number_size, true);
    return out->header_size + size + srm_aead_tag_size(link->aead_kind);
}

void srm_link_update_keys(srm_link *link, srm_time now) {
    srm_link_keys *keys = &link->send;
    bool old =
        link->sent.next - keys->epoch_first >= SRM_EPOCH_PACKETS || now - keys->since >= SRM_EPOCH_LIFE;
    if (!old || link->sent.acked_end <= keys->epoch_first)
        return;
    srm_epoch_next(keys->ts);
    srm_aead_fini(&keys->aead);
    srm_epoch_init(&keys->aead, link->aead_kind, keys->ts);
    keys->epoch++;
    keys->epoch_first = link->sent.next;
    keys->since = now;
}

/* ---- Receiving ---- */

/* RFC 9000 appendix A.3. */
static uint64_t full_number(uint64_t expected, uint64_t truncated, size_t size) {
    uint64_t window = UINT64_C(1) << (size * 8), half = window / 2;
    uint64_t candidate = (expected & ~(window - 1)) | truncated;
    if (candidate + half <= expected && candidate < (UINT64_C(1) << 62) - window)
        return candidate + window;
    if (candidate > expected + half && candidate >= window)
        return candidate - window;
    return candidate;
}

/* The peer went on to its next epoch. */
static bool open_next_epoch(srm_link *link, srm_time now, uint64_t number, srm_span ad, uint8_t *data,
                            size_t size) {
    srm_link_keys *keys = &link->receive;
    uint8_t ts[SRM_KEYS_HASH_SIZE];
    srm_aead next;
    memcpy(ts, keys->ts, sizeof ts);
    srm_epoch_next(ts);
    srm_epoch_init(&next, link->aead_kind, ts);
    bool good = srm_aead_open(&next, number, ad, data, size);
    if (!good) {
        srm_aead_fini(&next);
    } else {
        if (link->previous == NULL)
            link->previous = malloc(sizeof *link->previous);
        else
            srm_aead_fini(link->previous);
        if (link->previous != NULL)
            *link->previous = keys->aead;
        else
            srm_aead_fini(&keys->aead);
        keys->aead = next;
        memcpy(keys->ts, ts, sizeof ts);
        keys->epoch++;
        keys->epoch_first = number;
        keys->since = now;
    }
    sodium_memzero(ts, sizeof ts);
    return good;
}

static bool open_payload(srm_link *link, srm_time now, uint64_t number, bool phase, srm_span ad,
                         uint8_t *data, size_t size) {
    srm_link_keys *keys = &link->receive;
    if (phase == (keys->epoch & 1))
        return srm_aead_open(&keys->aead, number, ad, data, size);
    if (number < keys->epoch_first)
        return link->previous != NULL && srm_aead_open(link->previous, number, ad, data, size);
    return open_next_epoch(link, now, number, ad, data, size);
}

srm_open_result srm_link_packet_open(srm_link *link, srm_time now, uint8_t *data, size_t size,
                                     uint64_t *number, srm_span *frames) {
    size_t tag = srm_aead_tag_size(link->aead_kind);
    if (size < SRM_PACKET_MIN_SIZE)
        return SRM_OPEN_MALFORMED;
    mask_header(link->receive.hp, data, 0, false);
    size_t pn_size = (size_t)(data[0] >> 3 & 3) + 1, header = 1 + SRM_CID_SIZE + pn_size;
    if (size < header + tag)
        return SRM_OPEN_MALFORMED;
    srm_reader r = srm_reader_of(srm_span_of(data + 1 + SRM_CID_SIZE, pn_size));
    *number = full_number(link->replay.next, srm_read_uint(&r, pn_size), pn_size);
    if (srm_replay_check(&link->replay, *number) != SRM_REPLAY_NEW)
        return SRM_OPEN_REPLAYED;
    if (!open_payload(link, now, *number, (data[0] & PHASE_BIT) != 0, srm_span_of(data, header),
                      data + header, size - header)) {
        link->forged++;
        return SRM_OPEN_FORGED;
    }
    if ((data[0] & RESERVED_BITS) != 0)
        return SRM_OPEN_MALFORMED;
    (void)srm_replay_mark(&link->replay, *number);
    *frames = srm_span_of(data + header, size - header - tag);
    return SRM_OPEN_FINE;
}
