#include "udp.h"

#if !SRM_UDP_LINUX

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "address.h"

typedef union control_buffer {
    struct cmsghdr align;
    uint8_t bytes[64]; /* one int, and room for what the system adds */
} control_buffer;

struct srm_udp_inbox {
    uint8_t data[SRM_UDP_SLOTS][SRM_UDP_SLOT_SIZE];
};

bool srm_udp_start(srm_udp *udp, bool gso) {
    (void)gso;
    udp->inbox = malloc(sizeof *udp->inbox);
    return udp->inbox != NULL;
}

/* IPv4 gives the TOS as one byte, IPv6 as an int. */
static uint8_t ecn_of(struct msghdr *header) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS;
#ifdef IP_RECVTOS
        v4 |= c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVTOS;
#endif
        if (v4)
            return *CMSG_DATA(c) & 3;
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int value;
            memcpy(&value, CMSG_DATA(c), sizeof value);
            return value & 3;
        }
    }
    return 0;
}

typedef enum receipt { RECEIVED, SKIPPED, NOTHING } receipt;

static receipt receive_one(int fd, uint8_t *slot, srm_datagram *out) {
    srm_sockaddr from;
    control_buffer control;
    struct iovec iov = {.iov_base = slot, .iov_len = SRM_UDP_SLOT_SIZE};
    struct msghdr header = {.msg_name = &from,
                            .msg_namelen = sizeof from,
                            .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control};
    ssize_t size = recvmsg(fd, &header, MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? NOTHING : SKIPPED;
    if ((header.msg_flags & MSG_TRUNC) != 0 || size == 0)
        return SKIPPED;
    *out =
        (srm_datagram){.data = slot, .size = (size_t)size, .segment = (size_t)size, .ecn = ecn_of(&header)};
    return srm_address_from_sockaddr(&from.any, &out->from) && out->from.port != 0 ? RECEIVED : SKIPPED;
}

size_t srm_udp_receive(srm_udp *udp, size_t index, srm_datagram *out, size_t max) {
    SRM_ASSERT(index < udp->count && max > 0);
    size_t given = 0;
    for (size_t tries = 0; tries < SRM_UDP_SLOTS && given < max; tries++) {
        receipt what = receive_one(udp->sockets[index].fd, udp->inbox->data[given], &out[given]);
        if (what == NOTHING)
            break;
        given += what == RECEIVED;
    }
    return given;
}

/* ECN bits are not sent here: what sets them for one datagram differs from system to system. */
static srm_udp_result send_row(const srm_udp_socket *s, srm_udp_row *row) {
    srm_sockaddr to;
    socklen_t to_size = srm_address_to_sockaddr(&row->what.to, &to);
    while (row->sent < row->what.size) {
        size_t size = srm_size_min(row->what.segment, row->what.size - row->sent);
        ssize_t sent = sendto(s->fd, row->data + row->sent, size, MSG_DONTWAIT, &to.any, to_size);
        if (sent < 0 && errno != EINTR)
            return srm_udp_result_of(errno);
        row->sent += sent < 0 ? 0 : size;
    }
    return SRM_UDP_SENT;
}

srm_udp_result srm_udp_send(srm_udp *udp, srm_udp_row *rows, size_t count, size_t *done) {
    for (*done = 0; *done < count; ++*done) {
        const srm_udp_socket *s = srm_udp_socket_for(udp, rows[*done].what.to.family);
        srm_udp_result result = s != NULL ? send_row(s, &rows[*done]) : SRM_UDP_FAILED;
        if (result != SRM_UDP_SENT)
            return result;
    }
    return SRM_UDP_SENT;
}

#else
typedef int srm_udp_posix_is_empty;
#endif
