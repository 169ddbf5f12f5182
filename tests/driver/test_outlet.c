/* From a core that is only made of this file's lists to sockets on loopback. */
#define srm_endpoint_transmit listed_transmit
#define srm_endpoint_send_failed listed_send_failed
#include "outlet.c"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

/* ---- The kernel, sometimes without room ---- */

static int calls_until_full; /* of sendmmsg; negative: never full */

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    if (calls_until_full == 0) {
        errno = EAGAIN;
        return -1;
    }
    calls_until_full -= calls_until_full > 0;
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

/* ---- The core ---- */

#define LIST_MAX 512

static struct {
    srm_transmit list[LIST_MAX];
    size_t count, next;
    uint64_t bytes; /* given out: the content goes on counting */
    size_t failed, failed_size;
    srm_send_failure failure;
    srmudp_address failed_to;
} core;

static uint8_t byte_at(uint64_t at) {
    return (uint8_t)(at * 7 + at / 251);
}

bool listed_transmit(srm_endpoint *endpoint, srm_time now, uint8_t *buffer, size_t capacity, bool batch,
                     srm_transmit *out) {
    (void)endpoint;
    CHECK(now > 0 && batch);
    if (core.next == core.count)
        return false;
    *out = core.list[core.next++];
    CHECK(out->size <= capacity);
    for (size_t i = 0; i < out->size; i++)
        buffer[i] = byte_at(core.bytes++);
    return true;
}

void listed_send_failed(srm_endpoint *endpoint, srm_time now, const srmudp_address *to, size_t size,
                        srm_send_failure failure) {
    (void)endpoint;
    (void)now;
    core.failed++;
    core.failed_to = *to;
    core.failed_size = size;
    core.failure = failure;
}

static void gives(srmudp_address to, size_t size, size_t segment, uint8_t ecn) {
    SRM_ASSERT(core.count < LIST_MAX);
    core.list[core.count++] = (srm_transmit){.to = to, .size = size, .segment = segment, .ecn = ecn};
}

/* ---- Sockets ---- */

static srm_udp from, b, c;
static srmudp_address to_b, to_c;
static srm_outlet outlet;

static srmudp_address address_of(const srm_udp *udp) {
    srmudp_address address = {.family = 0};
    SRM_ASSERT(srm_address_parse("127.0.0.1", udp->sockets[0].address.port, &address));
    return address;
}

static void start(void) {
    memset(&core, 0, sizeof core);
    calls_until_full = -1;
    CHECK_EQ(srm_udp_bind(&from, "127.0.0.1", 0, true), SRMUDP_OK);
    CHECK_EQ(srm_udp_bind(&b, "127.0.0.1", 0, true), SRMUDP_OK);
    CHECK_EQ(srm_udp_bind(&c, "127.0.0.1", 0, true), SRMUDP_OK);
    to_b = address_of(&b);
    to_c = address_of(&c);
    srm_outlet_init(&outlet);
}

static void stop(void) {
    srm_udp_fini(&from);
    srm_udp_fini(&b);
    srm_udp_fini(&c);
}

static void sends_all(void) {
    CHECK_EQ(srm_outlet_run(&outlet, &from, NULL), SRM_OUTLET_EMPTY);
    CHECK_EQ(core.next, core.count);
    CHECK(srm_outlet_blocked_by(&outlet, &from) == NULL);
}

static bool is_readable(const srm_udp *udp, int patience) {
    struct pollfd fd = {.fd = udp->sockets[0].fd, .events = POLLIN};
    return poll(&fd, 1, patience) == 1;
}

/* The next that the kernel hands over in one piece: bytes `at` and on, in datagrams of `segment`. */
static void comes(srm_udp *udp, uint64_t at, size_t size, size_t segment, uint8_t ecn) {
    srm_datagram got;
    CHECK(is_readable(udp, 5000));
    CHECK_EQ(srm_udp_receive(udp, 0, &got, 1), 1);
    if (from.gso && udp->sockets[0].gro) { /* without, each comes by itself */
        CHECK_EQ(got.size, size);
        CHECK_EQ(got.segment, segment);
    }
    CHECK_EQ(got.ecn, ecn);
    for (size_t done = 0;;) {
        for (size_t i = 0; i < got.size; i++)
            CHECK_EQ(got.data[i], byte_at(at + done + i));
        CHECK_EQ(got.segment, srm_size_min(segment, size - done));
        done += got.size;
        CHECK(done <= size);
        if (done == size)
            return;
        CHECK(is_readable(udp, 5000));
        CHECK_EQ(srm_udp_receive(udp, 0, &got, 1), 1);
    }
}

static void nothing_more_comes(void) {
    CHECK(!is_readable(&b, 0) && !is_readable(&c, 0));
    stop();
}

/* ---- Rows ---- */

TEST(nothing_to_send_is_nothing_sent) {
    start();
    sends_all();
    nothing_more_comes();
}

TEST(what_several_connections_send_to_one_address_is_one_row) {
    start();
    gives(to_b, 3000, 1000, 0);
    gives(to_b, 1000, 1000, 0);
    gives(to_b, 5000, 1000, 0);
    sends_all();
    comes(&b, 0, 9000, 1000, 0);
    nothing_more_comes();
}

TEST(a_shorter_one_ends_a_row) {
    start();
    gives(to_b, 2000, 1000, 0);
    gives(to_b, 400, 400, 0); /* goes along as the last */
    gives(to_b, 400, 400, 0);
    gives(to_b, 400, 400, 0);
    gives(to_b, 2300, 1000, 0); /* one with a shorter last of its own */
    gives(to_b, 1000, 1000, 0);
    sends_all();
    comes(&b, 0, 2400, 1000, 0);
    comes(&b, 2400, 800, 400, 0);
    comes(&b, 3200, 2300, 1000, 0);
    comes(&b, 5500, 1000, 1000, 0);
    nothing_more_comes();
}

TEST(a_larger_one_begins_a_row) {
    start();
    gives(to_b, 2000, 1000, 0);
    gives(to_b, 1001, 1001, 0);
    gives(to_b, 4004, 1001, 0);
    sends_all();
    comes(&b, 0, 2000, 1000, 0);
    comes(&b, 2000, 5005, 1001, 0);
    nothing_more_comes();
}

/* The kernel may refuse it, and what else is in its row. */
TEST(a_single_large_one_stays_alone) {
    start();
    gives(to_b, 1472, 1472, 0);
    gives(to_b, 1200, 1200, 0);
    gives(to_b, 1472, 1472, 0);
    gives(to_b, 1000, 1000, 0);
    sends_all();
    comes(&b, 0, 1472, 1472, 0);
    comes(&b, 1472, 1200, 1200, 0);
    comes(&b, 2672, 1472, 1472, 0);
    comes(&b, 4144, 1000, 1000, 0);
    nothing_more_comes();
}

TEST(another_address_begins_a_row) {
    start();
    gives(to_b, 2000, 1000, 0);
    gives(to_c, 2000, 1000, 0);
    gives(to_c, 1000, 1000, 0);
    gives(to_b, 1000, 1000, 0);
    sends_all();
    comes(&b, 0, 2000, 1000, 0);
    comes(&c, 2000, 3000, 1000, 0);
    comes(&b, 5000, 1000, 1000, 0);
    nothing_more_comes();
}

#if SRM_UDP_LINUX
TEST(another_mark_begins_a_row) {
    start();
    gives(to_b, 2000, 1000, 0);
    gives(to_b, 2000, 1000, 2);
    gives(to_b, 1000, 1000, 2);
    gives(to_b, 500, 500, 0);
    sends_all();
    comes(&b, 0, 2000, 1000, 0);
    comes(&b, 2000, 3000, 1000, 2);
    comes(&b, 5000, 500, 500, 0);
    nothing_more_comes();
}
#endif

TEST(many_rows_leave_in_order) {
    start();
    uint64_t at = 0;
    for (size_t i = 0; i < 200; i++)
        gives(to_b, 200 + i, 200 + i, 0);
    sends_all();
    for (size_t i = 0; i < 200; at += 200 + i, i++)
        comes(&b, at, 200 + i, 200 + i, 0);
    nothing_more_comes();
}

TEST(a_row_longer_than_the_kernel_takes_comes_whole) {
    start();
    for (size_t i = 0; i < 3; i++)
        gives(to_b, 40000, 1000, 0);
    sends_all();
    uint64_t at = 0;
    while (at < 120000) {
        srm_datagram got;
        CHECK(is_readable(&b, 5000));
        CHECK_EQ(srm_udp_receive(&b, 0, &got, 1), 1);
        CHECK_EQ(got.segment, 1000);
        for (size_t i = 0; i < got.size; i++)
            CHECK_EQ(got.data[i], byte_at(at + i));
        at += got.size;
    }
    CHECK_EQ(at, 120000);
    nothing_more_comes();
}

TEST(received_datagrams_get_their_turn) {
    start();
    for (size_t i = 0; i < (SRM_OUTLET_ROUNDS + 1) * SRM_OUTLET_ROWS; i++)
        gives(i % 2 == 0 ? to_b : to_c, 10, 10, 0);
    CHECK_EQ(srm_outlet_run(&outlet, &from, NULL), SRM_OUTLET_MORE);
    CHECK_EQ(core.next, SRM_OUTLET_ROUNDS * SRM_OUTLET_ROWS);
    sends_all();
    for (size_t i = 0; i < core.count; i++)
        comes(i % 2 == 0 ? &b : &c, 10 * i, 10, 10, 0);
    nothing_more_comes();
}

/* ---- Refusals ---- */

static void check_failure(srmudp_address to, size_t size, srm_send_failure failure) {
    CHECK_EQ(core.failed, 1);
    CHECK_EQ(core.failed_size, size);
    CHECK_EQ(core.failure, failure);
    CHECK(srm_address_same(&core.failed_to, &to));
}

TEST(a_row_that_is_too_large_is_told_and_the_others_go) {
    start();
    gives(to_c, 3000, 1000, 0);
    gives(to_b, 65520, 65520, 0); /* UDP has 65,507 */
    gives(to_b, 2000, 1000, 0);
    gives(to_c, 1000, 1000, 0);
    sends_all();
    check_failure(to_b, 65520, SRM_SEND_TOO_LARGE);
    comes(&c, 0, 3000, 1000, 0);
    comes(&b, 68520, 2000, 1000, 0);
    comes(&c, 70520, 1000, 1000, 0);
    nothing_more_comes();
}

TEST(what_cannot_be_reached_is_told_and_the_others_go) {
    start();
    srmudp_address v6 = {.family = 6, .ip = {[15] = 1}, .port = 4000};
    gives(to_b, 2000, 1000, 0);
    gives(v6, 2500, 1000, 0);
    gives(to_b, 1000, 1000, 0);
    sends_all();
    check_failure(v6, 1000, SRM_SEND_UNREACHABLE);
    comes(&b, 0, 2000, 1000, 0);
    comes(&b, 4500, 1000, 1000, 0);
    nothing_more_comes();
}

TEST(what_a_full_socket_leaves_goes_later) {
    start();
    for (size_t i = 0; i < SRM_OUTLET_ROWS + 8; i++)
        gives(to_b, 100 + i, 100 + i, 0);
    calls_until_full = 1;
    CHECK_EQ(srm_outlet_run(&outlet, &from, NULL), SRM_OUTLET_BLOCKED);
    CHECK(srm_outlet_blocked_by(&outlet, &from) == &from.sockets[0]);
    size_t taken = core.next;
    CHECK_EQ(srm_outlet_run(&outlet, &from, NULL), SRM_OUTLET_BLOCKED);
    CHECK_EQ(core.next, taken); /* nothing more is taken while that waits */
    calls_until_full = -1;
    sends_all();
    uint64_t at = 0;
    for (size_t i = 0; i < core.count; at += 100 + i, i++)
        comes(&b, at, 100 + i, 100 + i, 0);
    CHECK_EQ(core.failed, 0);
    nothing_more_comes();
}

TEST(a_row_of_shorter_ones_stays_a_row) {
    start();
    gives(to_b, 3 * 8972, 8972, 0);
    gives(to_b, 2400, 1200, 0);
    sends_all();
    comes(&b, 0, 3 * 8972, 8972, 0);
    comes(&b, 3 * 8972, 2400, 1200, 0);
    nothing_more_comes();
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
