/* Endpoints on a kernel that behaves as this machine's doesn't: sockets without room, devices without
 * batches, interfaces with a small MTU, networks that say no for a while, and a machine that slept. The C
 * library's calls are replaced by ones that do so.
 */
#include "host.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "handles.h"

/* ---- The kernel ---- */

static _Atomic int no_room;     /* each n-th call and what is behind its third message finds none; 0: never */
static _Atomic int batch_error; /* what a batch gets */
static _Atomic size_t mtu;      /* EMSGSIZE beyond; 0: none */
static _Atomic unsigned loss;   /* per cent of datagrams that vanish */
static _Atomic int every_error; /* what everything gets */
static _Atomic unsigned calls, refused;
static _Atomic long long slept; /* seconds */

static bool vanishes(void) {
    static _Thread_local uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % 100 < loss;
}

static int error_of(size_t size, bool batch, unsigned index, unsigned call) {
    if (every_error != 0)
        return every_error;
    if (no_room != 0 && (call % (unsigned)no_room == 0 || index >= 3))
        return EAGAIN;
    if (batch)
        return batch_error;
    return mtu != 0 && size > mtu ? EMSGSIZE : 0;
}

#if SRM_UDP_LINUX

static bool is_batch(const struct msghdr *header) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL;
         c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)header, c))
        if (c->cmsg_level == 17 && c->cmsg_type == 103)
            return true;
    return false;
}

/* Takes them all, and loses some. */
static int send_lossy(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    for (unsigned i = 0; i < count; i++)
        if (!vanishes() && syscall(SYS_sendmmsg, fd, messages + i, 1, flags) != 1)
            return i > 0 ? (int)i : -1;
    return (int)count;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    unsigned call = ++calls, good = 0;
    int error = 0;
    if (loss != 0)
        return send_lossy(fd, messages, count, flags);
    for (; good < count; good++) {
        const struct msghdr *header = &messages[good].msg_hdr;
        if ((error = error_of(header->msg_iov[0].iov_len, is_batch(header), good, call)) != 0)
            break;
    }
    refused += good < count;
    if (good > 0)
        return (int)syscall(SYS_sendmmsg, fd, messages, good, flags);
    errno = error;
    return -1;
}

#else

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t to_size) {
    if (vanishes())
        return (ssize_t)size;
    errno = error_of(size, false, 0, ++calls);
    refused += errno != 0;
    return errno != 0 ? -1 : (ssize_t)syscall(SYS_sendto, fd, data, size, flags, to, to_size);
}

#endif

int clock_gettime(clockid_t id, struct timespec *out) {
    int result = (int)syscall(SYS_clock_gettime, id, out);
    if (id == CLOCK_BOOTTIME)
        out->tv_sec += (time_t)slept;
    return result;
}

static void mend(void) {
    no_room = batch_error = every_error = 0;
    loss = 0;
    mtu = 0;
    calls = refused = 0;
}

/* ---- Two hosts ---- */

static host *a, *b;
static peer *x, *y;

static void connect_pair(const srmudp_config *config) {
    a = host_new(config);
    b = host_new(config);
    host_listen(b, "key");
    x = host_open(a, "127.0.0.1", b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && b->accepted == 1);
    y = host_last(b);
}

static void transfer(void) {
    uint64_t to_y = y->hash, to_x = x->hash, x_before = x->messages, y_before = y->messages;
    for (uint64_t i = 0; i < 40; i++) {
        host_send(x, 100000 + i, 0, i);
        host_send(y, 50000 + i, 0, i);
        to_y = host_hash_message(to_y, 100000 + i, 0, i);
        to_x = host_hash_message(to_x, 50000 + i, 0, i);
    }
    UNTIL(x->messages == x_before + 40 && y->messages == y_before + 40);
    CHECK(x->hash == to_x && y->hash == to_y);
    UNTIL(x->consumed[0] == y_before + 40 && y->consumed[0] == x_before + 40);
    /* What was accepted was freed, to the byte. */
    CHECK_EQ(atomic_load(&x->connection->buffered), 0);
    CHECK_EQ(atomic_load(&y->connection->buffered), 0);
}

static void free_pair(void) {
    mend();
    host_free(a);
    host_free(b);
}

TEST(a_socket_without_room_loses_nothing) {
    for (int gso = 0; gso < 2; gso++) {
        srmudp_config config;
        srmudp_config_init(&config);
        config.gso = gso != 0;
        mend();
        no_room = 2;
        connect_pair(&config);
        transfer();
        CHECK(refused > 10);
        srmudp_stats stats;
        CHECK(srmudp_connection_stats(x->connection, &stats));
        CHECK(stats.packets_sent > 20);
        free_pair();
    }
}

TEST(a_device_without_batches_gets_single_datagrams) {
    mend();
    batch_error = EIO;
    connect_pair(NULL);
    transfer();
    /* On each side once, or for each batch of the one system call that finds out. */
    CHECK(!SRM_UDP_LINUX || (refused >= 2 && refused < 20));
    free_pair();
}

TEST(what_the_network_loses_is_sent_again) {
    mend();
    srmudp_config config;
    srmudp_config_init(&config);
    config.gso = false;
    loss = 5;
    connect_pair(&config);
    transfer();
    transfer();
    srmudp_stats stats;
    CHECK(srmudp_connection_stats(x->connection, &stats));
    CHECK(stats.packets_lost > 0);
    free_pair();
}

TEST(the_packets_fit_the_interface) {
    mend();
    srmudp_config config;
    srmudp_config_init(&config);
    config.gso = false;
    mtu = 1300;
    connect_pair(&config);
    transfer();
    srmudp_stats stats;
    CHECK(srmudp_connection_stats(x->connection, &stats));
    CHECK(stats.mtu >= 1200 && stats.mtu <= 1300);
    free_pair();
}

TEST(a_network_that_says_no_ends_nothing) {
    static const int errors[] = {ENETUNREACH, EHOSTUNREACH, ECONNREFUSED, EPERM, ENOBUFS, ENETDOWN};
    srmudp_config config;
    srmudp_config_init(&config);
    config.liveness = 1000;
    config.liveness_in_flight = 500;
    mend();
    connect_pair(&config);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        every_error = errors[i];
        host_send(x, 1000, 1, i);
        if (i == 0)
            UNTIL(x->reconnecting == 1);
        else
            host_settle(100);
        every_error = 0;
        UNTIL(x->consumed[1] == i + 1);
    }
    CHECK(x->status == SRMUDP_ESTABLISHED && x->closed == 0);
    srmudp_endpoint_stats stats;
    srmudp_endpoint_get_stats(a->endpoint, &stats);
    CHECK(!SRM_UDP_LINUX || stats.send_errors > 0);
    free_pair();
}

TEST(after_the_machine_slept_connections_are_made_anew) {
    mend();
    connect_pair(NULL);
    int before = x->established;
    slept = 3600;
    host_send(x, 10, 0, 1); /* something wakes the engine, as its timers will */
    UNTIL(x->reconnecting == 1 && x->established == before + 1);
    transfer();
    CHECK_EQ(x->restarted, 0);
    CHECK_EQ(y->messages, 41);
    free_pair();
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
