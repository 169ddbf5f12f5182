#include "address.h"

#include <arpa/inet.h>

#include "check.h"

static srmudp_address parsed(const char *host) {
    srmudp_address address = {.family = 0};
    if (!srm_address_parse(host, 7, &address))
        address.family = 0;
    return address;
}

static bool round_trips(const char *host) {
    char text[64];
    srmudp_address address = parsed(host);
    srmudp_address_host(&address, text);
    return address.family != 0 && strcmp(text, host) == 0;
}

TEST(literals_are_read_and_written) {
    CHECK(round_trips("203.0.113.5"));
    CHECK(round_trips("255.255.255.255"));
    CHECK(round_trips("2001:db8::1"));
    CHECK(round_trips("::1"));
    CHECK(round_trips("::"));
    CHECK(round_trips("fe80::1%1"));
    CHECK_EQ(parsed("1.2.3.4").port, 7);
    CHECK_EQ(parsed("1.2.3.4").ip[3], 4);
}

TEST(what_is_no_literal_is_refused) {
    const char *const bad[] = {"",           " 1.2.3.4",    "1.2.3.4 ",         "1.2.3",
                               "01.2.3.4",   "0x7f.0.0.1",  "1.2.3.256",        "[::1]",
                               ":::",        "::1%",        "::1%nosuch",       "fe80::1%-1",
                               "fe80::1% 2", "example.com", "::ffff:1.2.3.4%1", "2001:db8::1::2"};
    for (size_t i = 0; i < SRM_COUNT_OF(bad); i++)
        CHECK(parsed(bad[i]).family == 0);
}

TEST(a_mapped_address_is_the_ipv4_one) {
    srmudp_address mapped = parsed("::ffff:192.0.2.1"), plain = parsed("192.0.2.1");
    CHECK(srm_address_same(&mapped, &plain));
    struct sockaddr_in6 kernel = {.sin6_family = AF_INET6, .sin6_port = htons(7)};
    CHECK_EQ(inet_pton(AF_INET6, "::ffff:192.0.2.1", &kernel.sin6_addr), 1);
    srmudp_address read;
    CHECK(srm_address_from_sockaddr((struct sockaddr *)&kernel, &read));
    CHECK(srm_address_same(&read, &plain));
}

TEST(a_zone_stays_on_link_local_addresses_only) {
    CHECK_EQ(parsed("fe80::1%1").scope, 1);
    CHECK_EQ(parsed("fe80::1%lo").scope, 1);
    CHECK_EQ(parsed("2001:db8::1%1").scope, 0);
}

TEST(the_kernel_gets_what_was_given) {
    const char *const hosts[] = {"203.0.113.5", "2001:db8::7", "fe80::1%1"};
    for (size_t i = 0; i < SRM_COUNT_OF(hosts); i++) {
        srmudp_address address = parsed(hosts[i]), back;
        srm_sockaddr kernel;
        CHECK(srm_address_to_sockaddr(&address, &kernel) > 0);
        CHECK(srm_address_from_sockaddr(&kernel.any, &back));
        CHECK(srm_address_same(&address, &back));
    }
    srmudp_address none = {.family = 0};
    srm_sockaddr kernel;
    CHECK_EQ(srm_address_to_sockaddr(&none, &kernel), 0);
    struct sockaddr other = {.sa_family = AF_UNIX};
    CHECK(!srm_address_from_sockaddr(&other, &none));
}

TEST(addresses_nobody_can_send_to_are_known) {
    const srmudp_address any4 = parsed("0.0.0.0"), any6 = parsed("::"), host = parsed("0.0.0.1"),
                         one = parsed("::1");
    CHECK(srm_address_is_unspecified(&any4) && srm_address_is_unspecified(&any6));
    CHECK(!srm_address_is_unspecified(&host) && !srm_address_is_unspecified(&one));
    const srmudp_address group4 = parsed("224.0.0.1"), last4 = parsed("239.255.255.255"),
                         all = parsed("255.255.255.255"), group6 = parsed("ff02::1%1"),
                         below = parsed("223.255.255.255"), above = parsed("240.0.0.1");
    CHECK(srm_address_is_group(&group4) && srm_address_is_group(&last4) && srm_address_is_group(&all) &&
          srm_address_is_group(&group6));
    CHECK(!srm_address_is_group(&below) && !srm_address_is_group(&above) && !srm_address_is_group(&one));
    const srmudp_address link = parsed("fe80::1"), zoned = parsed("fe80::1%1"), site = parsed("fd00::1");
    CHECK(srm_address_lacks_zone(&link) && !srm_address_lacks_zone(&zoned) && !srm_address_lacks_zone(&site));
    CHECK(!srm_address_lacks_zone(&below));
}

TEST(names_are_told_from_mistyped_addresses) {
    const char *const names[] = {"localhost",
                                 "a",
                                 "example.com",
                                 "example.com.",
                                 "3com.example",
                                 "x-1.y_2.z",
                                 "\xc3\xbcrich.example",
                                 "1.example",
                                 "xn--bcher-kva.example",
                                 "0xabc.example"};
    for (size_t i = 0; i < SRM_COUNT_OF(names); i++)
        CHECK(srm_host_is_name(names[i]));
    const char *const others[] = {
        "",         ".",         "..",         "a..b",       ".a",    "a b",           "1.2.3",
        "1.2.3.4.", "127.1",     "2130706433", "0x7f000001", "a.0x1", "[::1]",         "fe80::1",
        "a/b",      "user@host", "host:80",    "a.1",        "a\n",   "example.com..", "%61"};
    for (size_t i = 0; i < SRM_COUNT_OF(others); i++)
        CHECK(!srm_host_is_name(others[i]));
}

TEST(names_have_the_limits_of_the_dns) {
    char label[66], name[300];
    memset(label, 'a', sizeof label);
    label[63] = '\0';
    CHECK(srm_host_is_name(label));
    label[63] = 'a';
    label[64] = '\0';
    CHECK(!srm_host_is_name(label));
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 == 0 ? 'a' : '.';
    name[253] = '\0';
    CHECK(srm_host_is_name(name));
    name[253] = '.';
    name[254] = '\0';
    CHECK(srm_host_is_name(name)); /* the final dot doesn't count */
    name[254] = 'a';
    name[255] = '\0';
    CHECK(!srm_host_is_name(name));
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
