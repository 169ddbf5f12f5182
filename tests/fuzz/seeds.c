/* seeds - writes the inputs that fuzzing begins with: seeds FOLDER makes FOLDER/<target>/<number>. What
 * crosses the wire in real runs of the protocol (handshakes that succeed, cross or fail, messages with and
 * without loss, a close) becomes inputs for those who read it; the others get short scripts of records that
 * reach what they are about. */
#include "conn.h"
#include "hello.h"
#include "peers.h"

#include "msgframe.h"

#include <errno.h>
#include <sys/stat.h>

static const char *folder;

/* ---- Files ---- */

typedef struct seed {
    uint8_t bytes[16384];
    size_t size;
} seed;

static void make_folder(const char *path) {
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        perror(path);
        exit(1);
    }
}

static void save(const char *target, const void *bytes, size_t size) {
    static int number;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    make_folder(path);
    snprintf(path, sizeof path, "%s/%s/%04d", folder, target, number++);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void save_seed(const char *target, const seed *s) {
    save(target, s->bytes, s->size);
}

static void add(seed *s, const void *bytes, size_t size) {
    FUZZ_CHECK(s->size + size <= sizeof s->bytes, "a seed is small");
    memcpy(s->bytes + s->size, bytes, size);
    s->size += size;
}

static void add_u8(seed *s, unsigned value) {
    uint8_t byte = (uint8_t)value;
    add(s, &byte, 1);
}

static void add_record(seed *s, unsigned kind, const void *body, size_t size) {
    add_u8(s, kind);
    add_u8(s, (unsigned)size >> 8);
    add_u8(s, (unsigned)size & 255);
    add(s, body, size);
}

/* A record whose body is given as text, as "\1\2". */
#define ADD(s, kind, text) add_record((s), (kind), (text), sizeof(text) - 1)

/* ---- What crosses the wire ---- */

static seed frames_run;  /* all that was said under the keys, one record a packet */
static seed inbox_run;   /* its MSG frames */
static seed acks_run;    /* its ACK frames */
static unsigned to_lose; /* every so many datagrams one is lost; 0: none */
static uint64_t datagrams;

static void split_frames(srm_span frames) {
    srm_reader r = srm_reader_of(frames);
    while (srm_reader_left(&r) > 0) {
        const uint8_t *start = r.at;
        uint8_t type = srm_read_u8(&r);
        srm_ack_frame ack;
        srm_fragment_in fragment;
        srm_repair repair;
        if (type == SRM_ACK_TYPE && srm_ack_read(&r, type, &ack))
            add_record(&acks_run, 3, start, (size_t)(r.at - start));
        else if ((type & 0xf0) == SRM_MSG_TYPE && srm_msg_frame_read(&r, type, &fragment))
            add_record(&inbox_run, 3, start, (size_t)(r.at - start));
        else if (type != SRM_FRAME_PADDING &&
                 (type != SRM_FRAME_REPAIR || !srm_repair_frame_read(&r, &repair)))
            return; /* the others are short: what follows them is not missed */
    }
}

/* The core opens packets in place: what it was given is then readable. */
static void note_packet(peer *to, const srmudp_address *from, const uint8_t *data, size_t size) {
    uint8_t copy[2048];
    FUZZ_CHECK(size <= sizeof copy, "a datagram");
    memcpy(copy, data, size);
    srm_link *link = srm_table_find(&to->endpoint->links, srm_prefix64(data + 1));
    srm_conn *conn = link != NULL ? link->conn : NULL;
    size_t tag = link != NULL ? srm_aead_tag_size(link->aead_kind) : 0;
    uint64_t before = conn != NULL ? conn->totals.packets_received : 0;
    peers_deliver(to->world, to, from, copy, size);
    if (conn == NULL || conn->totals.packets_received == before)
        return;
    size_t header = 1 + SRM_CID_SIZE + (size_t)(copy[0] >> 3 & 3) + 1;
    srm_span frames = srm_span_of(copy + header, size - header - tag);
    if (frames_run.size + frames.size < 6000) {
        add_record(&frames_run, 0, frames.data, frames.size);
        ADD(&frames_run, 7, "\1\1");
        split_frames(frames);
    }
}

static bool on_datagram(peers *world, peer *from, const srmudp_address *to, uint8_t *data, size_t size) {
    if ((data[0] & 0xc0) == 0xc0)
        save("hello", data, size);
    if (to_lose > 0 && ++datagrams % to_lose == 0)
        return false;
    for (int i = 0; i < world->count && (data[0] & 0xc0) == 0x80; i++)
        if (srm_address_equal(&world->at[i].address, to)) {
            note_packet(&world->at[i], &from->address, data, size);
            return false;
        }
    return true;
}

static void begin(peers *world, srmudp_config *config) {
    peers_init(world);
    world->on_datagram = on_datagram;
    srmudp_config_init(config);
    for (uint64_t i = 1; i <= 2; i++)
        peers_add(world, config, i);
}

/* Messages in both directions; the frames of the run become seeds. */
static void run_session(bool listens, unsigned lose) {
    static peers world;
    srmudp_config config;
    begin(&world, &config);
    to_lose = lose;
    frames_run.size = inbox_run.size = acks_run.size = 0;
    add_u8(&frames_run, listens);
    peer_conn *one = peers_open(&world.at[0], "key", &world.at[1].address), *two = NULL;
    if (listens)
        peers_listen(&world.at[1], "key");
    else
        two = peers_open(&world.at[1], "key", &world.at[0].address);
    peers_run(&world, 2 * SRM_SECOND);
    two = listens ? peers_accepted(&world, &world.at[1]) : two;
    for (unsigned i = 0; i < 12; i++) {
        peers_send(one, i % 3 == 0 ? 0 : 7, i % 4 == 0 ? 3000 : i * 10, (uint8_t)i);
        peers_send(two, 1, i % 5 == 0 ? 2000 : 1, (uint8_t)i);
        peers_run(&world, 20 * SRM_MILLISECOND);
    }
    peers_run(&world, 20 * SRM_SECOND);
    srm_conn_close(one->conn, world.now, SRM_SECOND);
    peers_run(&world, 5 * SRM_SECOND);
    save_seed("frames", &frames_run);
    save_seed("inbox", &inbox_run);
    save_seed("acks", &acks_run);
    peers_fini(&world);
}

/* HELLOs with the wrong key until a cookie is demanded, and one of another version. */
static void run_strangers(void) {
    static peers world;
    srmudp_config config;
    begin(&world, &config);
    to_lose = 0;
    peers_listen(&world.at[1], "key");
    for (uint64_t i = 0; i < 4; i++) {
        peers_kill(&world.at[0]);
        peers_start(&world.at[0], &config, 10 + i);
        peers_open(&world.at[0], "wrong", &world.at[1].address);
        peers_run(&world, SRM_SECOND);
    }
    uint8_t other[SRM_HELLO_MIN_SIZE] = {0xc0 | SRM_HELLO, 2};
    peers_deliver(&world, &world.at[1], &world.at[0].address, other, sizeof other);
    peers_run(&world, SRM_SECOND);
    peers_fini(&world);
}

/* ---- Scripts ---- */

static void params(void) {
    uint8_t bytes[SRM_SEALED_MAX_SIZE];
    srm_params p = {.cid = 1,
                    .max_message_size = 16 << 20,
                    .max_data = 1 << 20,
                    .max_ack_delay_us = 5000,
                    .max_datagram = SRM_DATAGRAM_MAX_MTU,
                    .keepalive_ms = 15000};
    save("params", bytes, srm_params_write(&p, bytes, sizeof bytes));
    p.has_identity = true;
    save("params", bytes, srm_params_write(&p, bytes, sizeof bytes));
}

/* In order, with gaps, late ones, and frames in between. */
static void acks(void) {
    seed s = {.size = 0};
    for (int i = 0; i < 8; i++) {
        ADD(&s, 0, "\10\1\0\100");
        ADD(&s, 0, "\12\1\0\100");
        ADD(&s, 0, "\7\3\0\1");
        ADD(&s, 1, "\4\0");
        if (i % 3 == 2)
            ADD(&s, 2, "\0\100\0");
    }
    save_seed("acks", &s);
}

/* Losses by count, by time, a spurious one, a new path, probes. */
static void sent(void) {
    seed s = {.size = 0};
    ADD(&s, 0, "\20\0\4\260");
    ADD(&s, 5, "\1\24");
    ADD(&s, 2, "\0\1\3\2\1");
    ADD(&s, 2, "\0\0\17");
    ADD(&s, 0, "\10\1\4\260");
    ADD(&s, 5, "\2\12");
    ADD(&s, 2, "\0\0\1");
    ADD(&s, 5, "\3\2");
    ADD(&s, 5, "\3\4");
    ADD(&s, 6, "");
    ADD(&s, 0, "\4\3\5\300");
    ADD(&s, 0, "\4\4\0\100");
    ADD(&s, 4, "\0\37\0\1\1\5\1");
    ADD(&s, 7, "");
    save_seed("sent", &s);
}

/* Whole messages, pieces in any order, credit, consumption, a new process. */
static void inbox(void) {
    seed s = {.size = 0};
    ADD(&s, 0, "\0\0\4\0");
    ADD(&s, 0, "\0\1\4\0\1\0");
    ADD(&s, 0, "\0\1\5\0\0\0");
    ADD(&s, 0, "\0\0\5\1");
    ADD(&s, 0, "\0\0\4\2");
    ADD(&s, 0, "\0\340\4\13\270\0");
    ADD(&s, 1, "\7\1\6\1\2\1");
    ADD(&s, 4, "\3");
    ADD(&s, 6, "\0\0");
    ADD(&s, 5, "\5\40\0");
    ADD(&s, 6, "\3\0");
    ADD(&s, 7, "");
    ADD(&s, 0, "\0\0\4\0");
    save_seed("inbox", &s);
}

/* One that is missing, several, one that comes late, other channels, forgotten ones, a lie. */
static void repair(void) {
    seed s = {.size = 0};
    for (unsigned channel = 0; channel < 2; channel++) {
        uint8_t frame[] = {(uint8_t)channel, 10, 0, 15}, late[] = {(uint8_t)channel, 12};
        uint8_t come[] = {(uint8_t)channel, 11};
        add_record(&s, 0, come, sizeof come);
        for (int i = 0; i < 3; i++)
            add_record(&s, 2, frame, sizeof frame);
        frame[1] = 14;
        add_record(&s, 2, frame, sizeof frame);
        late[1] = 15;
        add_record(&s, 1, late, sizeof late);
        add_record(&s, 9, come, sizeof come);
    }
    for (unsigned number = 40; number < 80; number++) {
        uint8_t come[] = {2, (uint8_t)number};
        add_record(&s, 0, come, sizeof come);
    }
    ADD(&s, 2, "\2\106\377\377");
    ADD(&s, 2, "\0\106\377\377");
    save_seed("repair", &s);
    ADD(&s, 3, "\2\100\106\0\7\5\4\0\2ab");
    ADD(&s, 3, "\2\100\106\377\377\6\2\0\0");
    save_seed("repair", &s);
}

/* Each kind of step once, for a victim that listens and for one that dials. */
static void frames(void) {
    for (unsigned options = 0; options < 16; options += 5) {
        seed s = {.size = 0};
        add_u8(&s, options);
        ADD(&s, 8, "\3\20\0");
        ADD(&s, 11, "\5\0\0\144\0\0");
        ADD(&s, 11, "\5\0\20\0\4\0");
        ADD(&s, 12, "\1\0\2");
        ADD(&s, 0, "\4\200\4\0\0\5\100\0\1\12\10abcdefgh");
        ADD(&s, 6, "\1\0\1\0\0\0");
        ADD(&s, 0, "\13\5\0\0\3\1\4\1\2ab");
        ADD(&s, 0, "\13\5\1\0\1\2\5\0\3xyz");
        ADD(&s, 7, "\3\4");
        ADD(&s, 14, "");
        ADD(&s, 0, "\1\0\0\0");
        ADD(&s, 15, "\0\1abcd");
        ADD(&s, 15, "\1abcd");
        ADD(&s, 13, "\1");
        ADD(&s, 16, "\1\0\0\0");
        ADD(&s, 7, "\4\2");
        ADD(&s, 13, "\0");
        ADD(&s, 7, "\4\2");
        ADD(&s, 10, "\0");
        ADD(&s, 7, "\5\10");
        ADD(&s, 9, "\2\0");
        ADD(&s, 7, "\3\10");
        ADD(&s, 10, "\1");
        save_seed("frames", &s);
        ADD(&s, 9, "\4\350");
        ADD(&s, 9, "\5\0");
        ADD(&s, 9, "\3\10");
        save_seed("frames", &s);
        ADD(&s, 0, "\7\0\0\0");
        save_seed("frames", &s);
    }
}

/* What was seen comes again, from everywhere; made-up messages of each type; authentic packets held back. */
static void endpoint(void) {
    for (unsigned options = 0; options < 4; options++) {
        seed s = {.size = 0};
        add_u8(&s, options);
        ADD(&s, 4, "\1\1");
        for (unsigned i = 0; i < 24; i++) {
            uint8_t again[] = {(uint8_t)(i % 8), (uint8_t)i, 0};
            add_record(&s, (i & 1) != 0 ? 2 : 34, again, sizeof again);
        }
        for (unsigned type = 0; type < 6; type++) {
            uint8_t message[] = {(uint8_t)(type % 5), (uint8_t)type, 77, 9, 1, 5};
            add_record(&s, 1, message, sizeof message);
        }
        ADD(&s, 3, "\0\40garbage that does not open");
        ADD(&s, 7, "\1\2\0\1\2\3\4");
        ADD(&s, 0, "\0\1\2\3");
        save_seed("endpoint", &s);
        ADD(&s, 6, "\2");
        ADD(&s, 37, "\0\144");
        ADD(&s, 2, "\0\0\0");
        ADD(&s, 6, "\15");
        ADD(&s, 4, "\2\3");
        ADD(&s, 2, "\5\1\0");
        ADD(&s, 2, "\0\2\0");
        ADD(&s, 6, "\0");
        ADD(&s, 5, "\10\0");
        save_seed("endpoint", &s);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    make_folder(folder);
    LLVMFuzzerInitialize(&argc, &argv);
    run_session(true, 0);
    run_session(false, 0);
    run_session(true, 7);
    run_strangers();
    params();
    acks();
    sent();
    inbox();
    repair();
    frames();
    endpoint();
    return 0;
}
