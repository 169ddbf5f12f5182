/* udp - the UDP sockets of one endpoint: one or two (IPv4, IPv6) on the same port number.
 *
 *     bind ──> receive / send, as often as poll(2) says readable / writable ──> fini
 *
 * Knows the kernel and nothing of the protocol. Calls come one at a time, from whichever thread has the
 * engine's lock; none blocks. What it asks of each socket, and what happens where the kernel doesn't have it:
 *
 * - IPV6_V6ONLY: the IPv6 socket never sees IPv4; required
 * - IP_MTU_DISCOVER: PROBE, "don't fragment" set and the kernel's own path MTU cache ignored, so that
 *   the core can search by itself (RFC 8899); without: large packets may be fragmented
 * - IP_RECVTOS: each datagram's ECN bits (RFC 3168); without: reported as 0, Not-ECT
 * - SO_RCVBUF: SRM_UDP_RECEIVE_BUFFER, which bridges a pause of the engine's thread. With CAP_NET_ADMIN by
 *   SO_RCVBUFFORCE, else the kernel cuts it to net.core.rmem_max (212,992 by default: raise it for
 *   fast links)
 * - SO_SNDBUF: SRM_UDP_SEND_BUFFER, likewise with net.core.wmem_max
 * - UDP_SEGMENT: many datagrams in one call (Linux 4.18); without: sendmmsg
 * - UDP_GRO: likewise received (Linux 5.0); without: recvmmsg
 *
 * udp.c binds; udp_linux.c moves datagrams in batches; udp_posix.c moves them one by one where there is no
 * Linux, or where SRM_UDP_PORTABLE is defined, which lets Linux test it.
 */
#ifndef SRM_UDP_H
#define SRM_UDP_H

#include "../core/base.h"
#include "../core/endpoint.h"
#include "../include/srmudp.h"

#if defined(__linux__) && !defined(SRM_UDP_PORTABLE)
#define SRM_UDP_LINUX 1
#else
#define SRM_UDP_LINUX 0
#endif

/* Bytes asked for of each socket. The send buffer is smaller: what waits there is queueing delay that the
 * congestion controller didn't ask for. */
#define SRM_UDP_RECEIVE_BUFFER (4 << 20)
#define SRM_UDP_SEND_BUFFER (1 << 20)

/* Where receive puts datagrams: few slots when the kernel may hand over many datagrams as one, else many. A
 * slot holds any datagram there is; pages of it that no datagram reached take no memory. */
#define SRM_UDP_GRO_SLOTS 8
#define SRM_UDP_SLOTS 64
#define SRM_UDP_SLOT_SIZE 65536

/* How often port 0 tries another number when the one IPv4 got is taken on IPv6. */
#define SRM_UDP_PORT_TRIES 32
/* Addresses remembered as ones to which batches can't be sent; more, and batches end altogether. */
#define SRM_UDP_REFUSED_MAX 64

typedef struct srm_udp_socket {
    int fd;
    srmudp_address address; /* as bound: the real port */
    bool ecn;               /* ECN bits may be set for each send */
    bool gro;
} srm_udp_socket;

/* The caller's storage; read through the functions below. */
typedef struct srm_udp {
    srm_udp_socket sockets[2];
    size_t count;
    bool gso;
    srmudp_address refused[SRM_UDP_REFUSED_MAX];
    size_t refused_count;
    struct srm_udp_inbox *inbox; /* of udp_linux.c or udp_posix.c */
} srm_udp;

/* Binds. `host` "": any IPv4 and any IPv6 address, on the same port number (a family the system doesn't have
 * is left out); else an address literal, with %zone for IPv6: that address only. `port` 0: a free one. `gso`:
 * use UDP_SEGMENT and UDP_GRO where the kernel has them.
 *
 * SRMUDP_OK: srm_udp_fini is due. Else nothing is open, and srm_udp_fini does no harm: INVALID_ADDRESS (not a
 * literal, multicast or broadcast, or not an address of this system), PORT_IN_USE, NO_MEMORY, SYSTEM (errno
 * tells; EACCES for a privileged port). */
srmudp_error srm_udp_bind(srm_udp *udp, const char *host, uint16_t port, bool gso);

/* Closes the sockets and frees the buffers. Twice does no harm. */
void srm_udp_fini(srm_udp *udp);

/* The socket that can reach addresses of a family; NULL: none. */
srm_udp_socket *srm_udp_socket_for(srm_udp *udp, uint8_t family);

/* Takes up to `max` received entries from one socket, each one datagram or a row of them (srm_datagram), in
 * the order the kernel has them, by one system call on Linux. The bytes lie in udp's buffers, may be written
 * to, and are valid until the next receive on either socket, or fini. Returns how many; more may wait
 * whatever it says: poll level-triggered. Not given out: truncated and empty datagrams, ones from port 0,
 * which nobody can answer, and errors that ICMP reported on the socket. `max` is at least 1. */
size_t srm_udp_receive(srm_udp *udp, size_t index, srm_datagram *out, size_t max);

/* Datagrams to send: what srm_endpoint_transmit wrote to `data`, which is borrowed until they are done with.
 * Zeroed but for those two; the rest is how far it got. */
typedef struct srm_udp_row {
    srm_transmit what; /* `size` and `segment` at least 1 */
    const uint8_t *data;
    size_t sent; /* bytes */
    bool single; /* the kernel refused it as a batch: one by one */
    bool plain;  /* likewise with ECN bits */
} srm_udp_row;

typedef enum srm_udp_result {
    SRM_UDP_SENT,
    SRM_UDP_BLOCKED,   /* no room: offer the same again when the row's socket is writable */
    SRM_UDP_TOO_LARGE, /* EMSGSIZE: a datagram is larger than the interface's MTU or UDP allows */
    SRM_UDP_FAILED,    /* the network said no, or there is no socket of the address' family */
} srm_udp_result;

/* Sends rows in order and says in `*done` how many are done with. Not SENT: rows[*done] is the one in
 * question; after TOO_LARGE and FAILED what was left of it is given up, and the caller goes on with the next.
 *
 * A batch that the kernel refuses as a batch is sent one by one in the same call; when that works, that
 * address gets no more batches. Likewise ECN bits are left away for good on a socket that refuses them. */
srm_udp_result srm_udp_send(srm_udp *udp, srm_udp_row *rows, size_t count, size_t *done);

/* ---- Between the files named udp ---- */

bool srm_udp_set_option(int fd, int level, int option, int value);
/* Allocates the inbox, with batches switched on if wanted and possible. False: no memory. */
bool srm_udp_start(srm_udp *udp, bool gso);
/* What a failed send means for the datagram. */
srm_udp_result srm_udp_result_of(int error);

#endif
