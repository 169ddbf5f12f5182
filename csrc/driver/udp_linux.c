#include "udp.h"

#if SRM_UDP_LINUX

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "address.h"

/* Since Linux 4.18 and 5.0; the C library's headers may be older than the kernel. */
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* The most bytes the kernel takes as one batch over IPv4, and datagrams (its UDP_MAX_SEGMENTS). */
#define BATCH_MAX_BYTES 65507
#define BATCH_MAX_SEGMENTS 64

/* At most two control messages go with a packet: the ECN bits, and the segment size. */
typedef union control_buffer {
    struct cmsghdr align;
    uint8_t bytes[2 * CMSG_SPACE(sizeof(int))];
} control_buffer;

struct srm_udp_inbox {
    size_t slots;
    struct mmsghdr headers[SRM_UDP_SLOTS];
    struct iovec iov[SRM_UDP_SLOTS];
    srm_sockaddr from[SRM_UDP_SLOTS];
    control_buffer control[SRM_UDP_SLOTS];
    uint8_t data[];
};

/* ---- Starting ---- */

static void enable_batches(srm_udp *udp) {
    udp->gso = true;
    for (size_t i = 0; i < udp->count; i++) {
        srm_udp_socket *s = &udp->sockets[i];
        s->gro = srm_udp_set_option(s->fd, SOL_UDP, UDP_GRO, 1);
        /* 0 asks for no segments: it only tells whether the kernel knows the option. */
        udp->gso &= srm_udp_set_option(s->fd, SOL_UDP, UDP_SEGMENT, 0);
    }
}

bool srm_udp_start(srm_udp *udp, bool gso) {
    if (gso)
        enable_batches(udp);
    bool gro = udp->sockets[0].gro || udp->sockets[1].gro;
    size_t slots = gro ? SRM_UDP_GRO_SLOTS : SRM_UDP_SLOTS;
    struct srm_udp_inbox *inbox = malloc(sizeof *inbox + slots * SRM_UDP_SLOT_SIZE);
    if (inbox == NULL)
        return false;
    memset(inbox, 0, sizeof *inbox);
    inbox->slots = slots;
    for (size_t i = 0; i < slots; i++)
        inbox->iov[i] =
            (struct iovec){.iov_base = inbox->data + i * SRM_UDP_SLOT_SIZE, .iov_len = SRM_UDP_SLOT_SIZE};
    udp->inbox = inbox;
    return true;
}

/* ---- Receiving ---- */

/* The kernel overwrites sizes and flags with each call. */
static void prepare_slot(struct srm_udp_inbox *inbox, size_t i) {
    inbox->headers[i].msg_hdr = (struct msghdr){
        .msg_name = &inbox->from[i],
        .msg_namelen = sizeof inbox->from[i],
        .msg_iov = &inbox->iov[i],
        .msg_iovlen = 1,
        .msg_control = &inbox->control[i],
        .msg_controllen = sizeof inbox->control[i],
    };
}

/* IPv4 gives the TOS as one byte, the others are an int: copy what is there. */
static int control_int(const struct cmsghdr *c) {
    uint8_t byte;
    int value;
    if (c->cmsg_len < CMSG_LEN(sizeof value)) {
        memcpy(&byte, CMSG_DATA(c), sizeof byte);
        return byte;
    }
    memcpy(&value, CMSG_DATA(c), sizeof value);
    return value;
}

static void read_control(struct msghdr *header, srm_datagram *out) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        int value = control_int(c);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
            out->ecn = value & 3;
        else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
            out->ecn = value & 3;
        else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO && value > 0)
            out->segment = srm_size_min((size_t)value, out->size);
    }
}

/* False: not to be given out. */
static bool read_slot(struct srm_udp_inbox *inbox, size_t i, srm_datagram *out) {
    struct msghdr *header = &inbox->headers[i].msg_hdr;
    size_t size = inbox->headers[i].msg_len;
    if ((header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || size == 0)
        return false;
    *out = (srm_datagram){.data = inbox->iov[i].iov_base, .size = size, .segment = size};
    if (!srm_address_from_sockaddr(&inbox->from[i].any, &out->from) || out->from.port == 0)
        return false;
    read_control(header, out);
    return true;
}

size_t srm_udp_receive(srm_udp *udp, size_t index, srm_datagram *out, size_t max) {
    SRM_ASSERT(index < udp->count && max > 0);
    struct srm_udp_inbox *inbox = udp->inbox;
    size_t slots = srm_size_min(max, inbox->slots);
    for (size_t i = 0; i < slots; i++)
        prepare_slot(inbox, i);
    int filled = recvmmsg(udp->sockets[index].fd, inbox->headers, (unsigned)slots, MSG_DONTWAIT, NULL);
    size_t given = 0;
    for (int i = 0; i < filled; i++)
        given += read_slot(inbox, (size_t)i, &out[given]);
    return given;
}

/* ---- Sending ---- */

/* One system call's worth: messages for one socket, each a batch or a datagram, and the row each comes from.
 */
typedef struct volley {
    size_t count;
    struct mmsghdr headers[SRM_UDP_SLOTS];
    struct iovec iov[SRM_UDP_SLOTS];
    srm_sockaddr to[SRM_UDP_SLOTS];
    control_buffer control[SRM_UDP_SLOTS];
    srm_udp_row *row[SRM_UDP_SLOTS];
} volley;

static bool same_ip(const srmudp_address *a, const srmudp_address *b) {
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static bool is_refused(const srm_udp *udp, const srmudp_address *to) {
    for (size_t i = 0; i < udp->refused_count; i++)
        if (same_ip(&udp->refused[i], to))
            return true;
    return false;
}

static void remember_refused(srm_udp *udp, const srmudp_address *to) {
    if (is_refused(udp, to))
        return;
    if (udp->refused_count < SRM_UDP_REFUSED_MAX)
        udp->refused[udp->refused_count++] = *to;
    else
        udp->gso = false;
}

/* How many bytes of the row go out as its next message: at least one datagram. */
static size_t next_size(const srm_udp *udp, const srm_udp_row *row, size_t from) {
    size_t segment = row->what.segment, segments = 1;
    if (!row->single && udp->gso && !is_refused(udp, &row->what.to))
        segments = srm_size_max(srm_size_min(BATCH_MAX_BYTES / segment, BATCH_MAX_SEGMENTS), 1);
    return srm_size_min(row->what.size - from, segments * segment);
}

static void add_control(struct msghdr *header, int level, int type, const void *value, size_t size) {
    struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)header->msg_control + header->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    header->msg_controllen += CMSG_SPACE(size);
}

static void add_controls(struct msghdr *header, const srm_udp_socket *s, const srm_udp_row *row,
                         size_t size) {
    int ecn = row->what.ecn & 3;
    uint16_t segment = (uint16_t)row->what.segment;
    if (ecn != 0 && s->ecn && !row->plain && s->address.family == 4)
        add_control(header, IPPROTO_IP, IP_TOS, &ecn, sizeof ecn);
    else if (ecn != 0 && s->ecn && !row->plain)
        add_control(header, IPPROTO_IPV6, IPV6_TCLASS, &ecn, sizeof ecn);
    if (size > row->what.segment)
        add_control(header, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    if (header->msg_controllen == 0)
        header->msg_control = NULL;
}

static void add_message(volley *v, const srm_udp_socket *s, srm_udp_row *row, size_t from, size_t size) {
    size_t i = v->count++;
    v->row[i] = row;
    /* iovec serves reading and writing and has no const. */
    v->iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)(row->data + from), .iov_len = size};
    memset(&v->control[i], 0, sizeof v->control[i]);
    v->headers[i].msg_hdr = (struct msghdr){.msg_name = &v->to[i],
                                            .msg_namelen = srm_address_to_sockaddr(&row->what.to, &v->to[i]),
                                            .msg_iov = &v->iov[i],
                                            .msg_iovlen = 1,
                                            .msg_control = &v->control[i]};
    add_controls(&v->headers[i].msg_hdr, s, row, size);
}

/* As much of the rows, up to the first for another socket, as one call takes. */
static void load(volley *v, const srm_udp *udp, const srm_udp_socket *s, srm_udp_row *rows, size_t count) {
    v->count = 0;
    for (size_t i = 0; i < count && rows[i].what.to.family == s->address.family; i++)
        for (size_t from = rows[i].sent; from < rows[i].what.size; from += v->iov[v->count - 1].iov_len) {
            if (v->count == SRM_UDP_SLOTS)
                return;
            add_message(v, s, &rows[i], from, next_size(udp, &rows[i], from));
        }
}

/* Only when it went out is it known that what was left away was at fault, and not the datagram. */
static void note_sent(srm_udp *udp, srm_udp_socket *s, srm_udp_row *row, size_t size) {
    row->sent += size;
    if (row->single)
        remember_refused(udp, &row->what.to);
    if (row->plain)
        s->ecn = false;
}

/* Errors by which kernels refuse what is asked along with the datagram: EIO is a device that can't compute
 * checksums, or IPsec; EINVAL anything else about the control messages. */
static bool is_refusal(int error) {
    return error == EIO || error == EINVAL || error == EOPNOTSUPP || error == ENOPROTOOPT;
}

/* What to leave away at the next try; false: it was a bare datagram already. */
static bool give_in(const srm_udp_socket *s, srm_udp_row *row, bool was_batch) {
    if (was_batch)
        row->single = true;
    else if (row->what.ecn != 0 && s->ecn && !row->plain)
        row->plain = true;
    else
        return false;
    return true;
}

/* One system call. SENT: something went out, or will at another try. */
static srm_udp_result fire(srm_udp *udp, srm_udp_socket *s, volley *v) {
    int sent = sendmmsg(s->fd, v->headers, (unsigned)v->count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
        return SRM_UDP_SENT;
    if (sent < 0) {
        bool was_batch = v->iov[0].iov_len > v->row[0]->what.segment;
        return is_refusal(errno) && give_in(s, v->row[0], was_batch) ? SRM_UDP_SENT
                                                                     : srm_udp_result_of(errno);
    }
    for (int i = 0; i < sent; i++)
        note_sent(udp, s, v->row[i], v->iov[i].iov_len);
    return SRM_UDP_SENT;
}

srm_udp_result srm_udp_send(srm_udp *udp, srm_udp_row *rows, size_t count, size_t *done) {
    volley v;
    *done = 0;
    while (*done < count) {
        srm_udp_row *row = &rows[*done];
        srm_udp_socket *s = srm_udp_socket_for(udp, row->what.to.family);
        if (s == NULL)
            return SRM_UDP_FAILED;
        load(&v, udp, s, row, count - *done);
        srm_udp_result result = fire(udp, s, &v);
        while (*done < count && rows[*done].sent == rows[*done].what.size)
            ++*done;
        if (result != SRM_UDP_SENT)
            return result;
    }
    return SRM_UDP_SENT;
}

#else
typedef int srm_udp_linux_is_empty;
#endif
