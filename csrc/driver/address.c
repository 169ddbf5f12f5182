#include "address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

static bool zone_matters(const struct in6_addr *ip) {
    return IN6_IS_ADDR_LINKLOCAL(ip) || IN6_IS_ADDR_MC_LINKLOCAL(ip);
}

static srmudp_address of_v4(const void *ip, uint16_t port) {
    srmudp_address address = {.family = 4, .port = port};
    memcpy(address.ip, ip, 4);
    return address;
}

static srmudp_address of_v6(const struct in6_addr *ip, uint16_t port, uint32_t scope) {
    if (IN6_IS_ADDR_V4MAPPED(ip))
        return of_v4(ip->s6_addr + 12, port);
    srmudp_address address = {.family = 6, .port = port, .scope = zone_matters(ip) ? scope : 0};
    memcpy(address.ip, ip, 16);
    return address;
}

/* Decimal digits only: strtoul would take signs and spaces too. 0 for anything else, which no zone is. */
static uint32_t zone_number(const char *text) {
    uint64_t number = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        number = number * 10 + (uint64_t)(*text - '0');
        if (number > UINT32_MAX)
            return 0;
    }
    return (uint32_t)number;
}

static uint32_t zone_of(const char *text) {
    uint32_t number = zone_number(text);
    return number != 0 ? number : if_nametoindex(text);
}

static bool parse_v6(const char *host, uint16_t port, srmudp_address *out) {
    char literal[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    if (length >= sizeof literal)
        return false;
    memcpy(literal, host, length);
    literal[length] = '\0';

    struct in6_addr ip;
    if (inet_pton(AF_INET6, literal, &ip) != 1)
        return false;
    uint32_t scope = 0;
    if (host[length] == '%') {
        scope = zone_of(host + length + 1);
        if (scope == 0 || IN6_IS_ADDR_V4MAPPED(&ip))
            return false;
    }
    *out = of_v6(&ip, port, scope);
    return true;
}

bool srm_address_parse(const char *host, uint16_t port, srmudp_address *out) {
    struct in_addr ip;
    if (inet_pton(AF_INET, host, &ip) != 1)
        return parse_v6(host, port, out);
    *out = of_v4(&ip, port);
    return true;
}

bool srm_address_same(const srmudp_address *a, const srmudp_address *b) {
    return a->family == b->family && a->port == b->port && a->scope == b->scope &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static struct in6_addr v6_of(const srmudp_address *address) {
    struct in6_addr ip;
    memcpy(&ip, address->ip, sizeof ip);
    return ip;
}

bool srm_address_is_unspecified(const srmudp_address *address) {
    static const uint8_t zeros[16];
    return memcmp(address->ip, zeros, address->family == 4 ? 4 : 16) == 0;
}

bool srm_address_is_group(const srmudp_address *address) {
    static const uint8_t broadcast[4] = {255, 255, 255, 255};
    if (address->family == 6)
        return address->ip[0] == 0xff;
    return (address->ip[0] & 0xf0) == 0xe0 || memcmp(address->ip, broadcast, 4) == 0;
}

bool srm_address_lacks_zone(const srmudp_address *address) {
    if (address->family != 6 || address->scope != 0)
        return false;
    struct in6_addr ip = v6_of(address);
    return IN6_IS_ADDR_LINKLOCAL(&ip);
}

/* ---- Names ---- */

static bool is_label_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || (unsigned char)c >= 0x80;
}

/* As inet_aton(3) sees numbers. */
static bool is_number(const char *label, size_t size) {
    bool hex = size >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X');
    return hex || strspn(label, "0123456789") >= size;
}

bool srm_host_is_name(const char *host) {
    size_t left = strnlen(host, 255);
    if (left > 1 && host[left - 1] == '.')
        left--;
    if (left == 0 || left > 253)
        return false;
    for (const char *label = host;; label++) {
        size_t size = 0;
        while (size < left && is_label_byte(label[size]))
            size++;
        if (size == 0 || size > 63)
            return false;
        if (size == left)
            return !is_number(label, size);
        if (label[size] != '.')
            return false;
        left -= size + 1;
        label += size;
        if (left == 0)
            return false;
    }
}

/* ---- The kernel's form ---- */

socklen_t srm_address_to_sockaddr(const srmudp_address *address, srm_sockaddr *out) {
    memset(out, 0, sizeof *out);
    if (address->family == 4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(address->port);
        memcpy(&out->v4.sin_addr, address->ip, 4);
        return sizeof out->v4;
    }
    if (address->family == 6) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(address->port);
        out->v6.sin6_scope_id = address->scope;
        memcpy(&out->v6.sin6_addr, address->ip, 16);
        return sizeof out->v6;
    }
    return 0;
}

bool srm_address_from_sockaddr(const struct sockaddr *address, srmudp_address *out) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        *out = of_v4(&v4.sin_addr, ntohs(v4.sin_port));
        return true;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        *out = of_v6(&v6.sin6_addr, ntohs(v6.sin6_port), v6.sin6_scope_id);
        return true;
    }
    return false;
}

/* The longest is 45 bytes of IPv6, '%' and 10 digits: well within the 64 that the caller has. */
void srmudp_address_host(const srmudp_address *address, char *out) {
    out[0] = '\0';
    if (address->family == 4)
        inet_ntop(AF_INET, address->ip, out, 64);
    if (address->family != 6)
        return;
    inet_ntop(AF_INET6, address->ip, out, 64);
    if (address->scope != 0) {
        size_t length = strlen(out);
        (void)snprintf(out + length, 64 - length, "%%%u", (unsigned)address->scope);
    }
}
