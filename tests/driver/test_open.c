/* Ways to find each other, and what is refused before any packet. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>

#include "check.h"

/* ---- Refused ---- */

static srmudp_error open_to(srmudp_endpoint *endpoint, const char *address, uint16_t port) {
    srmudp_target target = {.host = address, .port = port, .key = "k", .key_size = 1};
    srmudp_connection *connection;
    srmudp_error error = srmudp_endpoint_open(endpoint, &target, &connection);
    if (error == SRMUDP_OK)
        srmudp_connection_release(connection);
    return error;
}

TEST(addresses_that_cannot_be_are_refused) {
    host *both = host_new(NULL);
    const char *const bad[] = {
        "0.0.0.0", "::",       "224.0.0.1", "ff02::1%1", "255.255.255.255", "",
        "1.2.3",   "fe80::1",  "a b",       "[::1]",     "127.1",           "::ffff:0.0.0.0",
        "a..b",    "1.2.3.4 ", "::1%nosuch"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(open_to(both->endpoint, bad[i], 9), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(open_to(both->endpoint, "127.0.0.1", 0), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(open_to(both->endpoint, NULL, 9), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(open_to(both->endpoint, "127.0.0.1", 9), SRMUDP_OK);
    CHECK_EQ(open_to(both->endpoint, "::ffff:127.0.0.1", 9), SRMUDP_OK);
    CHECK_EQ(open_to(both->endpoint, "::1", 9), SRMUDP_OK);
    host_free(both);
}

TEST(the_other_family_is_refused) {
    host *v4 = host_bound("127.0.0.1", 0, NULL), *v6 = host_bound("::1", 0, NULL);
    CHECK_EQ(open_to(v4->endpoint, "::1", 9), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(open_to(v6->endpoint, "127.0.0.1", 9), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(open_to(v6->endpoint, "::ffff:127.0.0.1", 9), SRMUDP_INVALID_ADDRESS);
    host_free(v4);
    host_free(v6);
}

TEST(keys_and_labels_have_limits) {
    host *h = host_new(NULL);
    static char key[4098], label[257];
    memset(key, 'k', sizeof key);
    memset(label, 'l', sizeof label);
    srmudp_connection *connection;
    srmudp_listener *listener;
    srmudp_target target = {.host = "127.0.0.1", .port = 9, .key = key, .key_size = 4096, .label = label + 1};
    label[256] = '\0';
    CHECK_EQ(srmudp_endpoint_open(h->endpoint, &target, &connection), SRMUDP_OK);
    srmudp_connection_release(connection);
    target.label = label;
    CHECK_EQ(srmudp_endpoint_open(h->endpoint, &target, &connection), SRMUDP_INVALID_ARGUMENT);
    target.label = NULL;
    target.key_size = 4097;
    CHECK_EQ(srmudp_endpoint_open(h->endpoint, &target, &connection), SRMUDP_INVALID_KEY);
    target.key_size = 0;
    CHECK_EQ(srmudp_endpoint_open(h->endpoint, &target, &connection), SRMUDP_INVALID_KEY);
    CHECK_EQ(srmudp_endpoint_listen(h->endpoint, key, 0, NULL, NULL, &listener), SRMUDP_INVALID_KEY);
    CHECK_EQ(srmudp_endpoint_listen(h->endpoint, key, 4097, NULL, NULL, &listener), SRMUDP_INVALID_KEY);
    CHECK_EQ(srmudp_endpoint_listen(h->endpoint, key, 1, label, NULL, &listener), SRMUDP_INVALID_ARGUMENT);
    host_free(h);
}

TEST(nine_of_one_label_to_one_address_are_one_too_many) {
    host *h = host_new(NULL);
    for (int i = 0; i < 8; i++)
        host_open_port(h, "127.0.0.1", 9, "key", "label");
    srmudp_target target = {.host = "127.0.0.1", .port = 9, .key = "k", .key_size = 1, .label = "label"};
    srmudp_connection *connection;
    CHECK_EQ(srmudp_endpoint_open(h->endpoint, &target, &connection), SRMUDP_ADDRESS_BUSY);
    host_release(&h->peers[0]);
    CHECK_EQ(srmudp_endpoint_open(h->endpoint, &target, &connection), SRMUDP_OK);
    host_free(h);
}

TEST(connections_have_a_limit) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.max_connections = 2;
    host *h = host_new(&config);
    CHECK_EQ(open_to(h->endpoint, "127.0.0.1", 9), SRMUDP_OK);
    host_open_port(h, "127.0.0.1", 10, "key", NULL);
    host_open_port(h, "127.0.0.1", 11, "key", NULL);
    CHECK_EQ(open_to(h->endpoint, "127.0.0.1", 12), SRMUDP_TOO_MANY);
    host_free(h);
}

static bool deny_8(void *context, const char *address, uint16_t port) {
    (void)port;
    ++*(int *)context;
    return address[0] != '8';
}

TEST(an_address_that_is_not_allowed_is_denied) {
    srmudp_config config;
    int asked = 0;
    srmudp_config_init(&config);
    config.allow = deny_8;
    config.allow_context = &asked;
    host *h = host_new(&config);
    CHECK_EQ(open_to(h->endpoint, "8.8.8.8", 9), SRMUDP_POLICY_DENIED);
    CHECK_EQ(open_to(h->endpoint, "127.0.0.1", 9), SRMUDP_OK);
    CHECK_EQ(asked, 2);
    srmudp_endpoint_stats stats;
    srmudp_endpoint_get_stats(h->endpoint, &stats);
    host_free(h);
}

TEST(binding_says_what_is_wrong) {
    srmudp_config config;
    srmudp_endpoint *endpoint = NULL;
    srmudp_config_init(&config);
    config.liveness = 1;
    CHECK_EQ(srmudp_endpoint_bind("", 0, &config, &endpoint), SRMUDP_INVALID_ARGUMENT);
    CHECK_EQ(srmudp_endpoint_bind("localhost", 0, NULL, &endpoint), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(srmudp_endpoint_bind("203.0.113.99", 0, NULL, &endpoint), SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(srmudp_endpoint_bind(NULL, 0, NULL, &endpoint), SRMUDP_INVALID_ARGUMENT);
    host *h = host_new(NULL);
    CHECK_EQ(srmudp_endpoint_bind("", h->port, NULL, &endpoint), SRMUDP_PORT_IN_USE);
    CHECK_EQ(srmudp_endpoint_bind("127.0.0.1", h->port, NULL, &endpoint), SRMUDP_PORT_IN_USE);
    CHECK(endpoint == NULL);
    host_free(h);
}

TEST(the_bound_addresses_are_told) {
    host *h = host_new(NULL);
    srmudp_address addresses[2];
    char text[64];
    CHECK_EQ(srmudp_endpoint_addresses(h->endpoint, addresses), 2);
    srmudp_address_host(&addresses[0], text);
    CHECK(strcmp(text, "0.0.0.0") == 0);
    srmudp_address_host(&addresses[1], text);
    CHECK(strcmp(text, "::") == 0);
    CHECK(addresses[0].port != 0 && addresses[0].port == addresses[1].port);
    host_free(h);
}

/* ---- Found ---- */

static void to_a_listener(const char *address) {
    host *a = host_new(NULL), *b = host_bound(address, 0, NULL);
    host_listen(b, "key");
    peer *x = host_open(a, address, b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && b->accepted == 1 && host_last(b)->status == SRMUDP_ESTABLISHED);
    peer *y = host_last(b);
    CHECK_EQ(y->remote.port, a->port);
    CHECK_EQ(x->remote.port, b->port);
    host_send(x, 100, 0, 1);
    host_send(y, 100, 0, 2);
    UNTIL(x->messages == 1 && y->messages == 1);
    host_free(a);
    host_free(b);
}

TEST(a_listener_is_found_over_ipv4) {
    to_a_listener("127.0.0.1");
}

TEST(a_listener_is_found_over_ipv6) {
    to_a_listener("::1");
}

TEST(two_that_open_to_each_other_meet) {
    for (int i = 0; i < 10; i++) {
        host *a = host_new(NULL), *b = host_new(NULL);
        peer *x = host_open(a, "127.0.0.1", b, "key"), *y = host_open(b, "127.0.0.1", a, "key");
        host_send(x, 10, 0, 1);
        host_send(y, 10, 0, 2);
        UNTIL(x->messages == 1 && y->messages == 1);
        UNTIL(x->consumed[0] == 1 && y->consumed[0] == 1);
        CHECK(x->restarted == 0 && y->restarted == 0);
        host_free(a);
        host_free(b);
    }
}

TEST(who_comes_first_waits_for_the_other) {
    host *a = host_new(NULL), *b = host_new(NULL);
    uint16_t port = b->port;
    host_free(b);
    peer *x = host_open_port(a, "127.0.0.1", port, "key", NULL);
    for (uint64_t i = 0; i < 10; i++)
        host_send(x, 10, 0, i);
    host_settle(300);
    CHECK_EQ(x->status, SRMUDP_WAITING);
    b = host_bound("", port, NULL);
    host_listen(b, "key");
    UNTIL(b->accepted == 1 && host_last(b)->messages == 10);
    host_free(a);
    host_free(b);
}

TEST(a_wrong_key_is_told_on_both_sides_and_the_attempt_goes_on) {
    host *a = host_new(NULL), *b = host_new(NULL);
    peer *x = host_open(a, "127.0.0.1", b, "one key"), *y = host_open(b, "127.0.0.1", a, "another key");
    UNTIL_WITHIN(x->wrong_keys > 0 && y->wrong_keys > 0, 3000);
    CHECK(x->status == SRMUDP_WAITING && y->status == SRMUDP_WAITING);
    host_release(y);
    y = host_open(b, "127.0.0.1", a, "one key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && y->status == SRMUDP_ESTABLISHED);
    host_free(a);
    host_free(b);
}

TEST(a_stranger_does_not_trouble_a_listener) {
    host *a = host_new(NULL), *b = host_new(NULL), *c = host_new(NULL);
    host_listen(b, "key");
    peer *stranger = host_open(c, "127.0.0.1", b, "guess");
    UNTIL(stranger->wrong_keys > 0);
    peer *x = host_open(a, "127.0.0.1", b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED && b->accepted == 1);
    host_free(a);
    host_free(b);
    host_free(c);
}

TEST(a_closed_listener_accepts_nobody) {
    host *a = host_new(NULL), *b = host_new(NULL);
    host_listen(b, "key");
    peer *x = host_open(a, "127.0.0.1", b, "key");
    UNTIL(b->accepted == 1);
    srmudp_listener_close(b->listener);
    peer *y = host_open_port(a, "127.0.0.1", b->port, "key", "late");
    host_send(x, 1, 0, 0);
    UNTIL(host_last(b)->messages == 1); /* the accepted one lives on */
    host_settle(300);
    CHECK_EQ(b->accepted, 1);
    CHECK_EQ(y->status, SRMUDP_WAITING);
    host_free(a);
    host_free(b);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
