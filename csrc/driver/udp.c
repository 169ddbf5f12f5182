#include "udp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"

bool srm_udp_set_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* ---- Options ---- */

static void raise_buffer(int fd, int option, int force, int size) {
    if (force < 0 || !srm_udp_set_option(fd, SOL_SOCKET, force, size))
        srm_udp_set_option(fd, SOL_SOCKET, option, size);
}

static void raise_buffers(int fd) {
#ifdef __linux__
    raise_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE, SRM_UDP_RECEIVE_BUFFER);
    raise_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE, SRM_UDP_SEND_BUFFER);
#else
    raise_buffer(fd, SO_RCVBUF, -1, SRM_UDP_RECEIVE_BUFFER);
    raise_buffer(fd, SO_SNDBUF, -1, SRM_UDP_SEND_BUFFER);
#endif
}

static void dont_fragment(int fd, uint8_t family) {
#ifdef __linux__
    if (family == 4)
        srm_udp_set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    else
        srm_udp_set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
#else
#ifdef IP_DONTFRAG
    if (family == 4)
        srm_udp_set_option(fd, IPPROTO_IP, IP_DONTFRAG, 1);
#endif
#ifdef IPV6_DONTFRAG
    if (family == 6)
        srm_udp_set_option(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
#endif
#endif
}

static void tell_ecn(int fd, uint8_t family) {
#ifdef IP_RECVTOS
    if (family == 4)
        srm_udp_set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
#endif
#ifdef IPV6_RECVTCLASS
    if (family == 6)
        srm_udp_set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
#endif
}

static bool set_options(int fd, uint8_t family) {
    raise_buffers(fd);
    dont_fragment(fd, family);
    tell_ecn(fd, family);
    return family == 4 || srm_udp_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
}

/* ---- Binding ---- */

static int open_socket(uint8_t family) {
    int domain = family == 4 ? AF_INET : AF_INET6;
#ifdef SOCK_CLOEXEC
    return socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
#else
    int fd = socket(domain, SOCK_DGRAM, IPPROTO_UDP);
    if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
#endif
}

/* Binds and learns the port. 0, or an errno. */
static int bind_socket(int fd, srmudp_address *address) {
    srm_sockaddr name;
    socklen_t size = srm_address_to_sockaddr(address, &name);
    if (bind(fd, &name.any, size) != 0 || getsockname(fd, &name.any, &size) != 0)
        return errno;
    srm_address_from_sockaddr(&name.any, address);
    return 0;
}

/* Opens one socket behind those there are. 0, or an errno with nothing changed. */
static int add_socket(srm_udp *udp, srmudp_address address) {
    int fd = open_socket(address.family);
    if (fd < 0)
        return errno;
    int error = set_options(fd, address.family) ? bind_socket(fd, &address) : errno;
    if (error != 0) {
        close(fd);
        return error;
    }
    udp->sockets[udp->count++] = (srm_udp_socket){.fd = fd, .address = address, .ecn = true};
    return 0;
}

static void close_sockets(srm_udp *udp) {
    while (udp->count > 0)
        close(udp->sockets[--udp->count].fd);
}

/* The system lacks the family, as opposed to the port being taken. */
static bool is_family_missing(int error) {
    return error == EAFNOSUPPORT || error == EPROTONOSUPPORT || error == EADDRNOTAVAIL;
}

static int bind_both(srm_udp *udp, uint16_t port) {
    int error_v4 = add_socket(udp, (srmudp_address){.family = 4, .port = port});
    if (error_v4 != 0 && !is_family_missing(error_v4))
        return error_v4;
    if (udp->count > 0)
        port = udp->sockets[0].address.port;
    int error_v6 = add_socket(udp, (srmudp_address){.family = 6, .port = port});
    bool enough = udp->count > 0 && is_family_missing(error_v6);
    return error_v6 == 0 || enough ? 0 : error_v6;
}

static int bind_any(srm_udp *udp, uint16_t port) {
    int error = 0;
    int tries = port == 0 ? SRM_UDP_PORT_TRIES : 1;
    while (tries-- > 0) {
        error = bind_both(udp, port);
        if (error == 0)
            return 0;
        close_sockets(udp);
        if (error != EADDRINUSE)
            return error;
    }
    return error;
}

static int bind_host(srm_udp *udp, const char *host, uint16_t port) {
    if (host[0] == '\0')
        return bind_any(udp, port);
    srmudp_address address;
    /* Linux binds a socket to groups too, but nothing can be sent from them. */
    if (!srm_address_parse(host, port, &address) || srm_address_is_group(&address))
        return EADDRNOTAVAIL;
    int error = add_socket(udp, address);
    /* A link-local address without its zone, or with a zone that isn't. */
    bool no_zone = error == EINVAL || error == ENODEV;
    return no_zone || is_family_missing(error) ? EADDRNOTAVAIL : error;
}

static srmudp_error error_of_bind(int error) {
    if (error == EADDRNOTAVAIL)
        return SRMUDP_INVALID_ADDRESS;
    if (error == EADDRINUSE)
        return SRMUDP_PORT_IN_USE;
    errno = error;
    return SRMUDP_SYSTEM;
}

srmudp_error srm_udp_bind(srm_udp *udp, const char *host, uint16_t port, bool gso) {
    memset(udp, 0, sizeof *udp);
    int error = bind_host(udp, host, port);
    if (error != 0)
        return error_of_bind(error);
    if (!srm_udp_start(udp, gso)) {
        srm_udp_fini(udp);
        return SRMUDP_NO_MEMORY;
    }
    return SRMUDP_OK;
}

void srm_udp_fini(srm_udp *udp) {
    close_sockets(udp);
    free(udp->inbox);
    udp->inbox = NULL;
}

srm_udp_socket *srm_udp_socket_for(srm_udp *udp, uint8_t family) {
    for (size_t i = 0; i < udp->count; i++)
        if (udp->sockets[i].address.family == family)
            return &udp->sockets[i];
    return NULL;
}

/* ENOBUFS, a full device, is no reason to wait: some systems say "writable" all the while. The datagram is
 * lost as in any full queue on the way, and means the same. */
srm_udp_result srm_udp_result_of(int error) {
    if (error == EAGAIN || error == EWOULDBLOCK)
        return SRM_UDP_BLOCKED;
    return error == EMSGSIZE ? SRM_UDP_TOO_LARGE : SRM_UDP_FAILED;
}
