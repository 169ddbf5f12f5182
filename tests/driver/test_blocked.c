/* A socket that has no room for a while, at every point of a loan of the sockets: the endpoint goes on when
 * it has room again. The kernel is this file's: sendmmsg refuses, and epoll tells of room, when a test wants.
 */
#include "srmudp.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "host.h"

#define DESCRIPTORS 256
#define ROUNDS 60
#define EXPORTED __attribute__((visibility("default"))) /* libuv finds it before the system's */

/* ---- The kernel ---- */

/* What a descriptor is asked for in an epoll, besides what the kernel was told. */
typedef struct wish {
    int epoll, fd;
    struct epoll_event event;
} wish;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static wish wishes[DESCRIPTORS];
static int wish_count;
static bool watched[DESCRIPTORS]; /* sockets of the endpoint that is blocked */
static bool full;
static int refused;

static wish *find_wish(int epoll, int fd) {
    for (int i = 0; i < wish_count; i++)
        if (wishes[i].epoll == epoll && wishes[i].fd == fd)
            return &wishes[i];
    return NULL;
}

EXPORTED int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    pthread_mutex_lock(&lock);
    bool no_room = full && watched[fd];
    refused += no_room;
    pthread_mutex_unlock(&lock);
    if (no_room) {
        errno = EAGAIN;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

EXPORTED int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    pthread_mutex_lock(&lock);
    struct epoll_event told = event != NULL ? *event : (struct epoll_event){0};
    if (full && watched[fd])
        told.events &= ~(uint32_t)EPOLLOUT;
    long result = syscall(SYS_epoll_ctl, epoll, operation, fd, &told);
    wish *known = find_wish(epoll, fd);
    if (result == 0 && operation == EPOLL_CTL_DEL && known != NULL)
        *known = wishes[--wish_count];
    else if (result == 0 && known != NULL)
        known->event = *event;
    else if (result == 0 && operation == EPOLL_CTL_ADD)
        wishes[wish_count++] = (wish){epoll, fd, *event};
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return (int)result;
}

static void set_full(bool now_full) {
    pthread_mutex_lock(&lock);
    full = now_full;
    for (int i = 0; i < wish_count && !full; i++)
        if (watched[wishes[i].fd])
            syscall(SYS_epoll_ctl, wishes[i].epoll, EPOLL_CTL_MOD, wishes[i].fd, &wishes[i].event);
    pthread_mutex_unlock(&lock);
}

static int refusals(void) {
    pthread_mutex_lock(&lock);
    int count = refused;
    pthread_mutex_unlock(&lock);
    return count;
}

static bool is_udp(int fd) {
    int type;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

/* ---- The test ---- */

static int answers;

static void echo(peer *p, srmudp_message *message) {
    CHECK_EQ(srmudp_connection_send_bytes(p->connection, srmudp_message_data(message),
                                          srmudp_message_size(message), 0, 0, NULL),
             SRMUDP_OK);
    srmudp_message_consume(message);
}

static void count_answer(peer *p, srmudp_message *message) {
    (void)p;
    answers++;
    srmudp_message_consume(message);
}

static void ask(peer *p, size_t size) {
    static const char data[20000];
    int before = answers;
    CHECK_EQ(srmudp_connection_send_bytes(p->connection, data, size, 0, 0, NULL), SRMUDP_OK);
    UNTIL(answers > before);
}

/* Timers and pacing of the engine meet the full socket, and the application looks now and then. */
static void be_full_for(int64_t ms) {
    struct timespec pause = {.tv_nsec = 500 * 1000};
    set_full(true);
    for (int64_t until = host_now() + ms; host_now() < until;) {
        host_pump(host_now());
        nanosleep(&pause, NULL); /* it is time itself that has to pass */
    }
}

TEST(an_endpoint_goes_on_when_its_socket_has_room_again) {
    bool before[DESCRIPTORS];
    host *server = host_new(NULL);
    host_listen(server, "key");
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        before[fd] = is_udp(fd);
    host *client = host_new(NULL);
    pthread_mutex_lock(&lock);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        watched[fd] = is_udp(fd) && !before[fd];
    pthread_mutex_unlock(&lock);
    peer *p = host_open(client, "127.0.0.1", server, "key");
    UNTIL(p->status == SRMUDP_ESTABLISHED && server->accepted == 1 && host_last(server)->established == 1);
    host_last(server)->on_message = echo;
    p->on_message = count_answer;
    srand(5);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 6; i++) /* the sockets are lent */
            ask(p, 5);
        be_full_for(rand() % 12);
        static const char large[20000];
        int was = answers;
        CHECK_EQ(srmudp_connection_send_bytes(p->connection, large, sizeof large, 0, 0, NULL), SRMUDP_OK);
        be_full_for(rand() % 3);
        set_full(false);
        UNTIL(answers > was);
    }
    CHECK(refusals() > ROUNDS / 4);
    CHECK_EQ(p->status, SRMUDP_ESTABLISHED);
    host_free(client);
    host_free(server);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
