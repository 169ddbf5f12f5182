#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request. */
static int allocations_left = -1; /* -1: no end */
static bool refused(void) {
    return allocations_left == 0 || (allocations_left > 0 && allocations_left-- == 0);
}
static void *scarce_malloc(size_t size) {
    return refused() ? NULL : malloc(size);
}
static void *scarce_calloc(size_t count, size_t size) {
    return refused() ? NULL : calloc(count, size);
}
#define malloc scarce_malloc
#define calloc scarce_calloc
#include "link.c"
#undef malloc
#undef calloc

#include "check.h"

#define NOW SRM_SECOND
#define HEADER (1 + SRM_CID_SIZE)

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- Two ends of one run ---- */

typedef struct pair {
    srm_run_keys keys;
    srm_path paths[2];
    srm_link *ends[2]; /* by role */
} pair;

static srm_link *end_of(pair *p, srm_role role, srm_aead_kind kind) {
    static const uint8_t confirm[] = "confirm";
    srmudp_config config;
    srmudp_config_init(&config);
    srm_path *path = &p->paths[role];
    srm_confirmed run = {.role = role,
                         .keys = &p->keys,
                         .aead = kind,
                         .peer = {.cid = UINT64_C(0xa0a1a2a3a4a5a600) + role,
                                  .max_ack_delay_us = 5000,
                                  .max_datagram = SRM_DATAGRAM_MAX_MTU},
                         .cid_local = UINT64_C(0xa0a1a2a3a4a5a600) + (uint64_t)(1 - role)};
    if (role == SRM_ROLE_INITIATOR)
        run.confirm = srm_span_of(confirm, sizeof confirm);
    srm_path_init(path, NOW, &run.remote, &config, SRM_DATAGRAM_MAX_MTU);
    return srm_link_new(NULL, path, NOW, &run);
}

static void start(pair *p, srm_aead_kind kind) {
    uint64_t seed = 60 + kind;
    CHECK(sodium_init() >= 0);
    for (size_t i = 0; i < sizeof p->keys; i++)
        ((uint8_t *)&p->keys)[i] = (uint8_t)random_next(&seed);
    p->ends[0] = end_of(p, SRM_ROLE_INITIATOR, kind);
    p->ends[1] = end_of(p, SRM_ROLE_RESPONDER, kind);
    CHECK(p->ends[0] != NULL && p->ends[1] != NULL);
}

static void finish(pair *p) {
    srm_link_free(p->ends[0]);
    srm_link_free(p->ends[1]);
}

/* ---- Packets ---- */

typedef struct packet {
    uint8_t bytes[SRM_DATAGRAM_MAX_MTU];
    size_t size;
    uint64_t number;
    srm_time sent;
} packet;

static uint8_t content(uint64_t number, size_t i) {
    return (uint8_t)(number * 7 + i * 13 + 1);
}

static packet seal(srm_link *link, srm_time now, size_t payload) {
    packet p = {.sent = now};
    srm_packet_out out;
    srm_link_packet_begin(link, p.bytes, sizeof p.bytes, &out);
    p.number = out.number;
    for (size_t i = 0; i < payload; i++)
        srm_write_u8(&out.w, content(out.number, i));
    p.size = srm_link_packet_finish(link, &out);
    CHECK(srm_sent_begin(&link->sent));
    srm_sent_commit(&link->sent, now, p.size, SRM_SENT_ELICITING);
    return p;
}

/* On the heap, exactly as long as it is. */
static srm_open_result open_bytes(srm_link *link, srm_time now, const uint8_t *bytes, size_t size,
                                  uint64_t *number, size_t payload) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    srm_span frames = {NULL, 0};
    CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    srm_open_result result = srm_link_packet_open(link, now, copy, size, number, &frames);
    if (result == SRM_OPEN_FINE) {
        CHECK(frames.size >= payload);
        for (size_t i = 0; i < frames.size; i++)
            CHECK_EQ(frames.data[i], i < payload ? content(*number, i) : 0); /* padded with PADDING */
    }
    free(copy);
    return result;
}

static srm_open_result open_at(srm_link *link, srm_time now, const packet *p, size_t payload) {
    uint64_t number = 0;
    srm_open_result result = open_bytes(link, now, p->bytes, p->size, &number, payload);
    if (result == SRM_OPEN_FINE)
        CHECK_EQ(number, p->number);
    return result;
}

static void nothing(void *context, const srm_sent_frame *frame) {
    (void)context;
    (void)frame;
}

/* The packet's sender hears that it arrived. */
static void acknowledge(srm_link *link, srm_time now, const packet *p) {
    srm_sent_sink sink = {nothing, nothing, NULL};
    srm_sent_event event;
    srm_ack_frame ack = {.largest = p->number};
    CHECK_EQ(srm_sent_on_ack(&link->sent, &ack, now, &link->rtt, &sink, &event), SRM_SENT_OK);
}

static size_t kinds(srm_aead_kind out[SRM_AEAD_KINDS]) {
    uint8_t list[SRM_AEAD_KINDS];
    CHECK(sodium_init() >= 0);
    size_t count = srm_aead_list(list);
    for (size_t i = 0; i < count; i++)
        out[i] = (srm_aead_kind)list[i];
    return count;
}

TEST(packets_open_at_the_other_end_and_nowhere_else) {
    srm_aead_kind all[SRM_AEAD_KINDS];
    for (size_t k = kinds(all); k-- > 0;) {
        pair p;
        start(&p, all[k]);
        for (size_t payload = 0; payload <= 1400; payload += payload < 40 ? 1 : 170) {
            for (int from = 0; from < 2; from++) {
                packet one = seal(p.ends[from], NOW, payload);
                CHECK(one.size <= payload + srm_link_overhead(p.ends[from]) || payload < SRM_PACKET_BODY_MIN);
                CHECK(open_at(p.ends[from], NOW, &one, payload) != SRM_OPEN_FINE); /* reflected */
                CHECK_EQ(open_at(p.ends[1 - from], NOW, &one, payload), SRM_OPEN_FINE);
                CHECK_EQ(open_at(p.ends[1 - from], NOW, &one, payload), SRM_OPEN_REPLAYED);
            }
        }
        finish(&p);
    }
}

/* [R29], by hand: the header in clear, the mask, the nonce. */
TEST(a_packet_is_what_the_protocol_draws) {
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    for (uint64_t n = 0; n < 300; n++) {
        packet one = seal(p.ends[0], NOW, 50);
        CHECK_EQ(one.bytes[0] & 0xc0, 0x80);
        CHECK_MEM(one.bytes + 1, "\xa0\xa1\xa2\xa3\xa4\xa5\xa6\x00", SRM_CID_SIZE);
        uint8_t hp[SRM_KEYS_SECRET_SIZE], key[SRM_AEAD_KEY_SIZE], iv[SRM_AEAD_IV_SIZE], mask[8];
        srm_epoch_header_key(p.keys.ts[SRM_ROLE_INITIATOR], hp);
        CHECK(crypto_shorthash(mask, one.bytes + 13, 16, hp) == 0);
        one.bytes[0] ^= mask[0] & 0x1f;
        CHECK_EQ(one.bytes[0], 0x80 | 1 << 3); /* epoch 0, two bytes of packet number, nothing else */
        CHECK_EQ((one.bytes[9] ^ mask[1]) << 8 | (one.bytes[10] ^ mask[2]), n);
        one.bytes[9] ^= mask[1];
        one.bytes[10] ^= mask[2];
        srm_epoch_derive(p.keys.ts[SRM_ROLE_INITIATOR], key, iv);
        iv[11] ^= (uint8_t)n;
        iv[10] ^= (uint8_t)(n >> 8);
        uint8_t plain[50];
        unsigned long long size = 0;
        CHECK_EQ(one.size, 11 + 50 + 16);
        CHECK(crypto_aead_chacha20poly1305_ietf_decrypt(plain, &size, NULL, one.bytes + 11, one.size - 11,
                                                        one.bytes, 11, iv, key) == 0);
        CHECK(size == 50 && plain[49] == content(n, 49));
    }
    finish(&p);
}

TEST(whatever_is_altered_is_not_opened_and_changes_nothing) {
    srm_aead_kind all[SRM_AEAD_KINDS];
    for (size_t k = kinds(all); k-- > 0;) {
        pair p;
        start(&p, all[k]);
        packet first = seal(p.ends[0], NOW, 100), one = seal(p.ends[0], NOW, 60);
        CHECK_EQ(open_at(p.ends[1], NOW, &first, 100), SRM_OPEN_FINE);
        for (size_t bit = 0; bit < one.size * 8; bit++) {
            uint64_t number;
            if (bit >= 8 && bit < HEADER * 8)
                continue; /* another CID: another link's packet */
            one.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(open_bytes(p.ends[1], NOW, one.bytes, one.size, &number, 0) != SRM_OPEN_FINE);
            one.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t size = 0; size < one.size; size++) {
            uint64_t number;
            CHECK(open_bytes(p.ends[1], NOW, one.bytes, size, &number, 0) != SRM_OPEN_FINE);
        }
        CHECK(p.ends[1]->forged > one.size * 6 && p.ends[1]->receive.epoch == 0);
        CHECK_EQ(open_at(p.ends[1], NOW, &one, 60), SRM_OPEN_FINE);
        finish(&p);
    }
}

TEST(random_datagrams_do_no_harm) {
    uint64_t seed = 112358, number;
    pair p;
    fprintf(stderr, "link: seed %llu\n", (unsigned long long)seed);
    start(&p, SRM_AEAD_CHACHA20);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[80];
        size_t size = random_next(&seed) % sizeof bytes;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)random_next(&seed);
        CHECK(open_bytes(p.ends[1], NOW, bytes, size, &number, 0) != SRM_OPEN_FINE);
    }
    packet one = seal(p.ends[0], NOW, 10);
    CHECK_EQ(open_at(p.ends[1], NOW, &one, 10), SRM_OPEN_FINE);
    finish(&p);
}

/* Reserved bits are authenticated: only a broken peer sets them. */
TEST(reserved_bits_are_malformed) {
    for (unsigned bit = 0; bit < 3; bit++) {
        pair p;
        packet one = {.size = 0};
        srm_packet_out out;
        start(&p, SRM_AEAD_CHACHA20);
        srm_link_packet_begin(p.ends[0], one.bytes, sizeof one.bytes, &out);
        one.bytes[0] |= (uint8_t)(1 << bit);
        srm_write_u64(&out.w, 0);
        one.size = srm_link_packet_finish(p.ends[0], &out);
        CHECK_EQ(open_at(p.ends[1], NOW, &one, 0), SRM_OPEN_MALFORMED);
        CHECK_EQ(p.ends[1]->forged, 0);
        finish(&p);
    }
}

/* ---- Packet numbers ---- */

TEST(numbers_of_the_rfc) {
    CHECK_EQ(full_number(0xa82f30eb, 0x9b32, 2), 0xa82f9b32); /* RFC 9000 A.3 */
    CHECK_EQ(full_number(0, 0, 1), 0);
    CHECK_EQ(full_number(1, 0xff, 1), 0xff); /* nothing lies below zero */
    CHECK_EQ(full_number(0x100, 0xff, 1), 0xff);
    CHECK_EQ(full_number((UINT64_C(1) << 62) - 1, 0, 1), (UINT64_C(1) << 62) - 256); /* nor above the last */
}

/* Whatever the receiver has seen of what was sent: the bytes that are sent are enough to know the number. */
TEST(a_shortened_number_is_never_mistaken) {
    uint64_t seed = 271828;
    srm_link link;
    memset(&link, 0, sizeof link);
    fprintf(stderr, "link: seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 200000; round++) {
        uint64_t acked_end = random_next(&seed) >> (3 + random_next(&seed) % 60);
        uint64_t under_way = random_next(&seed) >> (34 + random_next(&seed) % 30);
        link.sent.acked_end = acked_end;
        link.sent.next = acked_end + under_way;
        uint64_t expected = acked_end + (under_way > 0 ? random_next(&seed) % (under_way + 1) : 0);
        size_t size = number_size(&link);
        CHECK(size >= 1 && size <= 4);
        uint64_t sent =
            size == 4 ? link.sent.next & UINT32_MAX : link.sent.next & ((UINT64_C(1) << 8 * size) - 1);
        CHECK_EQ(full_number(expected, sent, size), link.sent.next);
    }
}

TEST(packets_may_come_in_any_order_within_the_window) {
    enum { COUNT = 300 };
    static packet packets[COUNT];
    uint64_t seed = 16180;
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    for (size_t i = 0; i < COUNT; i++)
        packets[i] = seal(p.ends[1], NOW, 20);
    for (size_t i = COUNT; i-- > 0;) {
        size_t at = random_next(&seed) % (i + 1);
        CHECK_EQ(open_at(p.ends[0], NOW, &packets[at], 20), SRM_OPEN_FINE);
        CHECK_EQ(open_at(p.ends[0], NOW, &packets[at], 20), SRM_OPEN_REPLAYED);
        packets[at] = packets[i];
    }
    finish(&p);
}

/* ---- Epochs ---- */

/* [R31] */
TEST(a_new_epoch_waits_for_its_age_and_for_an_answer) {
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    srm_link *link = p.ends[0];
    packet one = seal(link, NOW, 10);
    srm_link_update_keys(link, NOW + SRM_EPOCH_LIFE); /* old, but nobody answered under it */
    CHECK_EQ(link->send.epoch, 0);
    acknowledge(link, NOW + 1, &one);
    srm_link_update_keys(link, NOW + SRM_EPOCH_LIFE - 1);
    CHECK_EQ(link->send.epoch, 0);
    srm_link_update_keys(link, NOW + SRM_EPOCH_LIFE);
    CHECK_EQ(link->send.epoch, 1);
    srm_link_update_keys(link, NOW + 3 * SRM_EPOCH_LIFE);
    CHECK_EQ(link->send.epoch, 1); /* again nobody has answered */
    one = seal(link, NOW + 3 * SRM_EPOCH_LIFE, 10);
    acknowledge(link, NOW + 3 * SRM_EPOCH_LIFE + 1, &one);
    uint64_t first = link->send.epoch_first;
    link->send.since = NOW + 3 * SRM_EPOCH_LIFE;
    link->sent.next = first + SRM_EPOCH_PACKETS - 1;
    srm_link_update_keys(link, NOW + 3 * SRM_EPOCH_LIFE);
    CHECK_EQ(link->send.epoch, 1);
    link->sent.next++;
    srm_link_update_keys(link, NOW + 3 * SRM_EPOCH_LIFE);
    CHECK_EQ(link->send.epoch, 2);
    CHECK_EQ(link->send.epoch_first, first + SRM_EPOCH_PACKETS);
    link->sent.next = 2;
    finish(&p);
}

/* One epoch after another; each time packets of two epochs arrive mixed up. */
TEST(packets_open_across_a_change_of_epoch) {
    srm_aead_kind all[SRM_AEAD_KINDS];
    for (size_t k = kinds(all); k-- > 0;) {
        pair p;
        start(&p, all[k]);
        srm_time now = NOW;
        packet oldest = seal(p.ends[0], now, 10), stale = oldest;
        for (uint64_t epoch = 0; epoch < 6; epoch++) {
            packet a = seal(p.ends[0], now, 30), late = seal(p.ends[0], now, 31);
            CHECK_EQ(open_at(p.ends[1], now, &a, 30), SRM_OPEN_FINE);
            acknowledge(p.ends[0], now + 1, &a);
            now += SRM_EPOCH_LIFE;
            srm_link_update_keys(p.ends[0], now);
            packet b = seal(p.ends[0], now, 32), c = seal(p.ends[0], now, 33);
            CHECK_EQ(p.ends[0]->send.epoch, epoch + 1);
            CHECK_EQ(open_at(p.ends[1], now, &c, 33), SRM_OPEN_FINE); /* the second of the new epoch first */
            CHECK_EQ(open_at(p.ends[1], now, &b, 32), SRM_OPEN_FINE);
            CHECK_EQ(open_at(p.ends[1], now, &late, 31), SRM_OPEN_FINE);
            CHECK_EQ(open_at(p.ends[1], now, &late, 31), SRM_OPEN_REPLAYED);
            CHECK_EQ(p.ends[1]->receive.epoch, epoch + 1);
            if (epoch >= 1)
                CHECK(open_at(p.ends[1], now, &stale, 10) != SRM_OPEN_FINE); /* its keys are gone */
            stale = oldest;
        }
        CHECK(memcmp(p.keys.ts[0], p.ends[0]->send.ts, sizeof p.keys.ts[0]) != 0);
        CHECK_MEM(p.ends[0]->send.ts, p.ends[1]->receive.ts, sizeof p.keys.ts[0]);
        CHECK_EQ(p.ends[1]->send.epoch, 0); /* the other direction has its own */
        finish(&p);
    }
}

TEST(a_forged_change_of_epoch_changes_nothing) {
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    packet one = seal(p.ends[0], NOW, 40);
    packet forged = one;
    forged.bytes[0] ^= PHASE_BIT;
    CHECK_EQ(open_at(p.ends[1], NOW, &forged, 40), SRM_OPEN_FORGED);
    CHECK(p.ends[1]->receive.epoch == 0 && p.ends[1]->previous == NULL);
    CHECK_EQ(open_at(p.ends[1], NOW, &one, 40), SRM_OPEN_FINE);
    finish(&p);
}

/* Without memory for the old keys only packets that were reordered over the change are lost. */
TEST(a_change_of_epoch_needs_no_memory) {
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    packet a = seal(p.ends[0], NOW, 10), late = seal(p.ends[0], NOW, 10);
    CHECK_EQ(open_at(p.ends[1], NOW, &a, 10), SRM_OPEN_FINE);
    acknowledge(p.ends[0], NOW + 1, &a);
    srm_link_update_keys(p.ends[0], NOW + SRM_EPOCH_LIFE);
    packet b = seal(p.ends[0], NOW + SRM_EPOCH_LIFE, 10);
    srm_span frames;
    uint64_t number;
    allocations_left = 0;
    srm_open_result result = srm_link_packet_open(p.ends[1], NOW, b.bytes, b.size, &number, &frames);
    allocations_left = -1;
    CHECK_EQ(result, SRM_OPEN_FINE);
    CHECK_EQ(open_at(p.ends[1], NOW, &late, 10), SRM_OPEN_FORGED);
    packet c = seal(p.ends[0], NOW + SRM_EPOCH_LIFE, 10);
    CHECK_EQ(open_at(p.ends[1], NOW, &c, 10), SRM_OPEN_FINE);
    finish(&p);
}

/* ---- Life ---- */

TEST(without_memory_there_is_no_link) {
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    for (int allowed = 0; allowed < 2; allowed++) {
        allocations_left = allowed;
        srm_link *link = end_of(&p, SRM_ROLE_INITIATOR, SRM_AEAD_CHACHA20);
        allocations_left = -1;
        CHECK(link == NULL);
    }
    finish(&p);
    srm_link_free(NULL);
}

TEST(the_initiator_has_a_confirm_to_repeat) {
    pair p;
    start(&p, SRM_AEAD_CHACHA20);
    CHECK(p.ends[0]->confirm != NULL && p.ends[0]->confirm_at == NOW);
    CHECK_MEM(p.ends[0]->confirm, "confirm", 8);
    CHECK(p.ends[0]->confirm_wait >= SRM_CONFIRM_FIRST);
    CHECK(p.ends[1]->confirm == NULL && p.ends[1]->confirm_at == SRM_TIME_NEVER);
    CHECK(p.ends[0]->state == SRM_LINK_CANDIDATE && p.ends[0]->heard == NOW);
    finish(&p);
}

/* [R32] */
TEST(a_new_path_forgets_what_was_learned_and_keeps_the_numbers) {
    pair p;
    srmudp_config config;
    srmudp_config_init(&config);
    start(&p, SRM_AEAD_CHACHA20);
    srm_link *link = p.ends[0];
    packet one = seal(link, NOW, 1000);
    acknowledge(link, NOW + 300 * SRM_MILLISECOND, &one);
    packet two = seal(link, NOW + SRM_SECOND, 1000);
    CHECK(srm_rtt_has_sample(&link->rtt) && link->sent.in_flight > 0);
    srm_path next;
    srm_path_init(&next, NOW + SRM_SECOND, &link->remote, &config, SRM_DATAGRAM_MAX_MTU);
    srm_link_set_path(link, NOW + SRM_SECOND, &next, false, true);
    CHECK(!srm_rtt_has_sample(&link->rtt) && link->sent.in_flight == 0);
    CHECK(p.paths[0].flight.in_flight == 0 && link->path == &next);
    packet three = seal(link, NOW + SRM_SECOND, 10);
    CHECK_EQ(three.number, 2);
    acknowledge(link, NOW + SRM_SECOND + 1, &two); /* of the old path: no harm */
    CHECK_EQ(open_at(p.ends[1], NOW, &three, 10), SRM_OPEN_FINE);
    finish(&p);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
