/* Two udp objects on loopback. The kernel's answers to sendmmsg can be replaced by those of kernels and
 * devices that this machine doesn't have. */
#include "udp.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "address.h"
#include "check.h"

/* ---- The kernel, sometimes a worse one ---- */

static struct {
    int error;        /* what batches are refused with; 0: they aren't */
    int single_error; /* what single datagrams are refused with */
    int ecn_error;    /* what ECN bits are refused with */
    int every_error;  /* what everything is refused with */
    int every_count;  /* so many times */
    unsigned at_most; /* messages taken in one call; 0: all */
    unsigned calls, batches, messages;
} kernel;

static bool has_control(const struct msghdr *header, int level, int type) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL;
         c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)header, c))
        if (c->cmsg_level == level && c->cmsg_type == type)
            return true;
    return false;
}

static int refusal(const struct msghdr *header) {
    bool batch = has_control(header, 17, 103), ecn = has_control(header, IPPROTO_IP, IP_TOS);
    if (kernel.every_count > 0) {
        kernel.every_count--;
        return kernel.every_error;
    }
    if (batch && kernel.error != 0)
        return kernel.error;
    if (!batch && kernel.single_error != 0)
        return kernel.single_error;
    return ecn ? kernel.ecn_error : 0;
}

/* Stands before the C library's: the driver's calls come here. */
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    kernel.calls++;
    if (kernel.at_most > 0 && count > kernel.at_most)
        count = kernel.at_most;
    for (unsigned i = 0; i < count; i++) {
        int error = refusal(&messages[i].msg_hdr);
        if (error == 0) {
            kernel.messages++;
            kernel.batches += has_control(&messages[i].msg_hdr, 17, 103);
            continue;
        }
        errno = error;
        return i == 0 ? -1 : (int)syscall(SYS_sendmmsg, fd, messages, i, flags);
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

/* ---- Helpers ---- */

static srm_udp a, b;

static void bind_pair(const char *host, bool gso) {
    memset(&kernel, 0, sizeof kernel);
    CHECK_EQ(srm_udp_bind(&a, host, 0, gso), SRMUDP_OK);
    CHECK_EQ(srm_udp_bind(&b, host, 0, gso), SRMUDP_OK);
}

static void free_pair(void) {
    srm_udp_fini(&a);
    srm_udp_fini(&b);
}

static srmudp_address address_of(const char *host, const srm_udp *udp) {
    srmudp_address address = {.family = 0};
    SRM_ASSERT(srm_address_parse(host, udp->sockets[0].address.port, &address));
    return address;
}

static uint8_t data[65536];

static srm_udp_row row_of(srmudp_address to, size_t size, size_t segment) {
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    return (srm_udp_row){.what = {.to = to, .size = size, .segment = segment}, .data = data};
}

static void wait_readable(const srm_udp *udp, size_t index) {
    struct pollfd fd = {.fd = udp->sockets[index].fd, .events = POLLIN};
    CHECK_EQ(poll(&fd, 1, 5000), 1);
}

/* Receives datagrams of `segment` bytes (the last may be shorter) that are `size` bytes of `data` in all. */
static void expect(srm_udp *udp, size_t index, size_t size, size_t segment, uint8_t ecn) {
    srm_datagram got[SRM_UDP_SLOTS];
    size_t at = 0;
    while (at < size) {
        wait_readable(udp, index);
        size_t count = srm_udp_receive(udp, index, got, SRM_UDP_SLOTS);
        for (size_t i = 0; i < count; i++) {
            CHECK_EQ(got[i].segment, srm_size_min(segment, got[i].size));
            CHECK_EQ(got[i].ecn, ecn);
            CHECK(at + got[i].size <= size);
            CHECK_MEM(got[i].data, data + at, got[i].size);
            CHECK(got[i].size % segment == 0 || at + got[i].size == size);
            at += got[i].size;
        }
    }
    CHECK_EQ(srm_udp_receive(udp, index, got, SRM_UDP_SLOTS), 0);
}

static srm_udp_result send_one(srm_udp *udp, srm_udp_row *row) {
    size_t done;
    srm_udp_result result = srm_udp_send(udp, row, 1, &done);
    CHECK_EQ(done, result == SRM_UDP_SENT);
    return result;
}

/* ---- Binding ---- */

TEST(any_address_is_both_families_on_one_port) {
    CHECK_EQ(srm_udp_bind(&a, "", 0, true), SRMUDP_OK);
    CHECK_EQ(a.count, 2);
    CHECK_EQ(a.sockets[0].address.family, 4);
    CHECK_EQ(a.sockets[1].address.family, 6);
    CHECK(a.sockets[0].address.port != 0);
    CHECK_EQ(a.sockets[0].address.port, a.sockets[1].address.port);
    CHECK(srm_udp_socket_for(&a, 6) == &a.sockets[1] && srm_udp_socket_for(&a, 5) == NULL);
    srm_udp_fini(&a);
    CHECK_EQ(a.count, 0);
    srm_udp_fini(&a);
}

TEST(a_taken_port_is_in_use) {
    CHECK_EQ(srm_udp_bind(&a, "", 0, true), SRMUDP_OK);
    uint16_t port = a.sockets[0].address.port;
    CHECK_EQ(srm_udp_bind(&b, "", port, true), SRMUDP_PORT_IN_USE);
    CHECK_EQ(srm_udp_bind(&b, "127.0.0.1", port, true), SRMUDP_PORT_IN_USE);
    CHECK_EQ(srm_udp_bind(&b, "::1", port, true), SRMUDP_PORT_IN_USE);
    srm_udp_fini(&a);
    CHECK_EQ(srm_udp_bind(&b, "127.0.0.1", port, true), SRMUDP_OK);
    /* Half of it is taken. */
    CHECK_EQ(srm_udp_bind(&a, "", port, true), SRMUDP_PORT_IN_USE);
    CHECK_EQ(a.count, 0);
    srm_udp_fini(&b);
}

TEST(one_address_is_one_socket) {
    CHECK_EQ(srm_udp_bind(&a, "::1", 0, true), SRMUDP_OK);
    CHECK_EQ(a.count, 1);
    CHECK_EQ(a.sockets[0].address.family, 6);
    srm_udp_fini(&a);
}

TEST(what_cannot_be_bound_is_an_invalid_address) {
    const char *const bad[] = {"localhost", "1.2.3",    "203.0.113.77", "224.0.0.1",   "255.255.255.255",
                               "ff02::1%1", "fe80::77", "fe80::77%1",   "2001:db8::77"};
    for (size_t i = 0; i < SRM_COUNT_OF(bad); i++)
        CHECK_EQ(srm_udp_bind(&a, bad[i], 0, true), SRMUDP_INVALID_ADDRESS);
}

/* ---- Moving datagrams ---- */

static void moves(const char *host, bool gso, size_t size, size_t segment) {
    bind_pair(host, gso);
    srm_udp_row row = row_of(address_of(host, &b), size, segment);
    CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
    expect(&b, 0, size, segment, 0);
    free_pair();
}

TEST(datagrams_and_rows_arrive_as_they_were) {
    const char *const hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 4; i++) {
        const char *host = hosts[i % 2];
        bool gso = i / 2 != 0;
        moves(host, gso, 1, 1);
        moves(host, gso, 1200, 1200);
        moves(host, gso, 1200 * 40, 1200);
        moves(host, gso, 1200 * 40 + 1, 1200);
        moves(host, gso, 64 * 1000, 1000);
        moves(host, gso, 65000, 1472);
    }
}

TEST(a_row_longer_than_the_kernel_takes_goes_out_all_the_same) {
    moves("127.0.0.1", true, 200 * 100, 100); /* more datagrams than one batch may have */
    moves("127.0.0.1", false, 200 * 100, 100);
}

TEST(many_rows_go_out_together_and_in_order) {
    bind_pair("127.0.0.1", true);
    srm_udp_row rows[100];
    size_t done;
    for (size_t i = 0; i < 100; i++) {
        rows[i] = row_of(address_of("127.0.0.1", &b), 10000, 100);
        rows[i].data = data + i * 100;
        rows[i].what.size = rows[i].what.segment = 100;
    }
    CHECK_EQ(srm_udp_send(&a, rows, 100, &done), SRM_UDP_SENT);
    CHECK_EQ(done, 100);
    CHECK(!SRM_UDP_LINUX || kernel.calls == 2);
    expect(&b, 0, 10000, 100, 0);
    free_pair();
}

TEST(both_families_in_one_send) {
    CHECK_EQ(srm_udp_bind(&a, "", 0, true), SRMUDP_OK);
    CHECK_EQ(srm_udp_bind(&b, "", 0, true), SRMUDP_OK);
    srm_udp_row rows[4];
    size_t done;
    for (int i = 0; i < 4; i++)
        rows[i] = row_of(address_of(i % 2 == 0 ? "127.0.0.1" : "::1", &b), 500, 500);
    CHECK_EQ(srm_udp_send(&a, rows, 4, &done), SRM_UDP_SENT);
    for (size_t index = 0; index < 2; index++)
        for (int i = 0; i < 2; i++) {
            srm_datagram got[1];
            wait_readable(&b, index);
            CHECK_EQ(srm_udp_receive(&b, index, got, 1), 1);
            CHECK_EQ(got[0].from.port, a.sockets[0].address.port);
        }
    free_pair();
}

TEST(a_family_without_a_socket_fails) {
    bind_pair("127.0.0.1", true);
    srm_udp_row row = row_of(address_of("::1", &b), 10, 10);
    CHECK_EQ(send_one(&a, &row), SRM_UDP_FAILED);
    free_pair();
}

TEST(what_is_no_datagram_of_anybody_is_not_given_out) {
    bind_pair("127.0.0.1", false);
    srm_sockaddr to;
    srmudp_address address = address_of("127.0.0.1", &b);
    socklen_t size = srm_address_to_sockaddr(&address, &to);
    int fd = a.sockets[0].fd;
    CHECK_EQ(sendto(fd, data, 0, 0, &to.any, size), 0); /* empty */
    srm_udp_row row = row_of(address, 20, 20);
    CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
    srm_datagram got[SRM_UDP_SLOTS];
    size_t count = 0;
    for (int tries = 0; tries < 10 && count == 0; tries++) {
        wait_readable(&b, 0);
        count = srm_udp_receive(&b, 0, got, SRM_UDP_SLOTS);
    }
    CHECK_EQ(count, 1);
    CHECK_EQ(got[0].size, 20);
    free_pair();
}

TEST(the_largest_datagram_there_is_comes_whole) {
    static uint8_t large[65507];
    for (int gso = 0; gso < 2; gso++) {
        bind_pair("127.0.0.1", gso != 0);
        srm_udp_row row = row_of(address_of("127.0.0.1", &b), sizeof large, sizeof large);
        row.data = large;
        memset(large, 'x', sizeof large);
        CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
        srm_datagram got;
        wait_readable(&b, 0);
        CHECK_EQ(srm_udp_receive(&b, 0, &got, 1), 1);
        CHECK(got.size == sizeof large && got.segment == sizeof large);
        CHECK(memcmp(got.data, large, sizeof large) == 0);
        free_pair();
    }
}

TEST(too_large_a_datagram_is_told) {
    bind_pair("127.0.0.1", true);
    static uint8_t large[70000];
    srm_udp_row row = {.what = {.to = address_of("127.0.0.1", &b), .size = 66000, .segment = 66000},
                       .data = large};
    CHECK_EQ(send_one(&a, &row), SRM_UDP_TOO_LARGE);
    free_pair();
}

#if SRM_UDP_LINUX

TEST(ecn_bits_go_and_come) {
    const char *const hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 4; i++) {
        bind_pair(hosts[i % 2], i / 2 != 0);
        srm_udp_row row = row_of(address_of(hosts[i % 2], &b), 3000, 1000);
        row.what.ecn = 2;
        CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
        expect(&b, 0, 3000, 1000, 2);
        free_pair();
    }
}

/* ---- Kernels that refuse ---- */

TEST(a_refused_batch_goes_singly_at_once_and_is_not_tried_again_there) {
    const int errors[] = {EIO, EINVAL};
    for (size_t i = 0; i < SRM_COUNT_OF(errors); i++) {
        bind_pair("127.0.0.1", true);
        CHECK(a.gso);
        kernel.error = errors[i];
        srm_udp_row row = row_of(address_of("127.0.0.1", &b), 12000, 1200);
        CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
        CHECK_EQ(kernel.calls, 2);
        CHECK_EQ(kernel.messages, 10);
        expect(&b, 0, 12000, 1200, 0);
        /* The kernel got better, but this address is remembered; another is not. */
        kernel.error = 0;
        row = row_of(address_of("127.0.0.1", &b), 12000, 1200);
        CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
        CHECK_EQ(kernel.batches, 0);
        expect(&b, 0, 12000, 1200, 0);
        row = row_of(address_of("127.0.0.2", &b), 12000, 1200);
        CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
        CHECK_EQ(kernel.batches, 1);
        free_pair();
    }
}

TEST(too_many_refusing_addresses_end_batches) {
    bind_pair("127.0.0.1", true);
    kernel.error = EIO;
    for (unsigned i = 0; i <= SRM_UDP_REFUSED_MAX; i++) {
        srmudp_address to = address_of("127.0.0.1", &b);
        to.ip[3] = (uint8_t)(i + 1);
        srm_udp_row row = row_of(to, 200, 100);
        CHECK(a.gso);
        CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
    }
    CHECK(!a.gso);
    free_pair();
}

/* EINVAL is also what some kernels say of segments beyond the MTU: then it isn't the batch that is at fault,
 * as its datagrams show. */
TEST(a_batch_of_too_large_datagrams_is_not_held_against_batches) {
    bind_pair("127.0.0.1", true);
    srm_udp_row row = row_of(address_of("127.0.0.1", &b), 12000, 1200);
    kernel.error = EINVAL;
    kernel.single_error = EMSGSIZE;
    CHECK_EQ(send_one(&a, &row), SRM_UDP_TOO_LARGE);
    CHECK_EQ(kernel.calls, 2);
    CHECK_EQ(a.refused_count, 0);
    free_pair();
}

TEST(refused_ecn_bits_are_left_away_for_good) {
    bind_pair("127.0.0.1", true);
    kernel.ecn_error = EINVAL;
    srm_udp_row row = row_of(address_of("127.0.0.1", &b), 1000, 1000);
    row.what.ecn = 2;
    CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
    CHECK_EQ(kernel.calls, 2);
    CHECK(!a.sockets[0].ecn && a.gso);
    expect(&b, 0, 1000, 1000, 0);
    kernel.ecn_error = 0;
    row = row_of(address_of("127.0.0.1", &b), 1000, 1000);
    row.what.ecn = 2;
    CHECK_EQ(send_one(&a, &row), SRM_UDP_SENT);
    expect(&b, 0, 1000, 1000, 0);
    free_pair();
}

TEST(a_full_socket_keeps_what_is_left_to_the_byte) {
    bind_pair("127.0.0.1", false);
    srm_udp_row rows[3];
    size_t done;
    for (size_t i = 0; i < 3; i++) {
        rows[i] = row_of(address_of("127.0.0.1", &b), 3000, 100);
        rows[i].data = data + i * 1000;
        rows[i].what.size = 1000;
    }
    kernel.at_most = 7;
    for (int calls = 0;; calls++) {
        CHECK(calls < 1000);
        kernel.every_error = EAGAIN;
        kernel.every_count = 0;
        /* Each second call finds no room. */
        if (calls % 2 == 0)
            kernel.every_count = 1;
        srm_udp_result result = srm_udp_send(&a, rows, 3, &done);
        if (result == SRM_UDP_SENT)
            break;
        CHECK_EQ(result, SRM_UDP_BLOCKED);
    }
    CHECK_EQ(done, 3);
    CHECK_EQ(kernel.messages, 30);
    expect(&b, 0, 3000, 100, 0);
    free_pair();
}

TEST(a_network_that_says_no_fails_one_row_and_not_the_next) {
    const int errors[] = {ENETUNREACH, EHOSTUNREACH, ECONNREFUSED, EPERM, EACCES, ENOBUFS, ENETDOWN, EINVAL};
    for (size_t i = 0; i < SRM_COUNT_OF(errors); i++) {
        bind_pair("127.0.0.1", true);
        srm_udp_row rows[2];
        size_t done;
        rows[0] = row_of(address_of("127.0.0.1", &b), 100, 100);
        rows[1] = row_of(address_of("127.0.0.1", &b), 100, 100);
        kernel.every_error = errors[i];
        kernel.every_count = 1;
        CHECK_EQ(srm_udp_send(&a, rows, 2, &done), SRM_UDP_FAILED);
        CHECK_EQ(done, 0);
        CHECK_EQ(srm_udp_send(&a, rows + 1, 1, &done), SRM_UDP_SENT);
        expect(&b, 0, 100, 100, 0);
        free_pair();
    }
}

#endif

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
