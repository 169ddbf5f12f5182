/* address - between srmudp_address, text, and the kernel's sockaddr.
 *
 * IPv4-mapped IPv6 addresses (::ffff:a.b.c.d, RFC 4291 2.5.5.2) never come out of here: they become the IPv4
 * address they stand for, so that one peer has one address. A zone is kept on link-local addresses only
 * (fe80::/10, ff02::/16; RFC 4007), as the kernel does, so that what was parsed equals what is received.
 */
#ifndef SRM_ADDRESS_H
#define SRM_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "../core/base.h"
#include "../include/srmudp.h"

/* Room for an address of either family as system calls take it. */
typedef union srm_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} srm_sockaddr;

/* Parses an address literal as inet_pton(3) takes it: "203.0.113.5", "2001:db8::1", and for IPv6 with a zone
 * by interface name or number, "fe80::1%eth0", "fe80::1%2" (RFC 4007 section 11). No names, no brackets, no
 * spaces, no octal or shortened IPv4. False: not a literal, or no interface has the name; `out` is then
 * unchanged. `port`, in host order, is stored as it is (0 too). */
bool srm_address_parse(const char *host, uint16_t port, srmudp_address *out);

/* Same family, IP, port and zone. */
bool srm_address_same(const srmudp_address *a, const srmudp_address *b);

/* What an address cannot be used for: nobody (0.0.0.0, ::), more than one host (multicast, 255.255.255.255),
 * or an IPv6 link-local address that doesn't say on which link. */
bool srm_address_is_unspecified(const srmudp_address *address);
bool srm_address_is_group(const srmudp_address *address);
bool srm_address_lacks_zone(const srmudp_address *address);

/* Whether a text that srm_address_parse refused may be a name for the resolver: at most 253 bytes in labels
 * of 1 to 63, of ASCII letters, digits, '-' and '_' or of non-ASCII bytes (the resolver knows IDNA), a dot at
 * the end allowed. The last label must not be a number: the resolver would take "127.1" or "0x7f000001" for
 * an address that nobody sees in it. */
bool srm_host_is_name(const char *host);

/* Writes the address for the kernel and returns its size; 0 when the address' family is neither 4 nor 6. */
socklen_t srm_address_to_sockaddr(const srmudp_address *address, srm_sockaddr *out);

/* Reads a kernel's or resolver's address, which must be as long as its family says. False: neither IPv4 nor
 * IPv6; `out` is then unchanged. */
bool srm_address_from_sockaddr(const struct sockaddr *address, srmudp_address *out);

#endif
