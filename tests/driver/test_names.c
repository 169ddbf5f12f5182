/* Names: first in virtual time with a resolver of our own, then through an endpoint. */
#include "names.h"

#include <pthread.h>
#include <stdlib.h>

#include "check.h"
#include "handles.h"
#include "host.h"

/* ---- A resolver that says what it is told to ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static const char *answers[4]; /* literals; the rest NULL */
static bool hang;
static int lookups, woken;

static void answer_with(const char *first, const char *second) {
    pthread_mutex_lock(&mutex);
    answers[0] = first;
    answers[1] = first != NULL ? second : NULL;
    pthread_mutex_unlock(&mutex);
}

static void set_hang(bool value) {
    pthread_mutex_lock(&mutex);
    hang = value;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
}

static int lookups_so_far(void) {
    pthread_mutex_lock(&mutex);
    int count = lookups;
    pthread_mutex_unlock(&mutex);
    return count;
}

static void resolve(srm_lookup *lookup) {
    pthread_mutex_lock(&mutex);
    lookups++;
    pthread_cond_broadcast(&condition);
    while (hang)
        pthread_cond_wait(&condition, &mutex);
    for (int i = 0; answers[i] != NULL; i++)
        SRM_ASSERT(srm_address_parse(answers[i], 0, &lookup->addresses[lookup->count++]));
    pthread_mutex_unlock(&mutex);
}

static void wait_for(const int *counter, int value) {
    pthread_mutex_lock(&mutex);
    while (*counter < value)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
}

/* ---- An owner that notes what happens ---- */

static struct {
    srm_names names;
    srm_name *name;
    srm_time now;
    int found, failed, ended;
    srmudp_error reason, refuse;
    uint32_t failures;
    size_t count;
    srmudp_address addresses[SRM_ADDRESSES_MAX];
} it;

static void wake(void *context) {
    (void)context;
    pthread_mutex_lock(&mutex);
    woken++;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
}

static bool usable(void *context, const srmudp_address *address) {
    (void)context;
    return !srm_address_is_group(address);
}

static bool allowed(void *context, const srmudp_address *address) {
    (void)context;
    return address->ip[0] != 10;
}

static srmudp_error found(void *context, srmudp_connection *connection, const srmudp_address *addresses,
                          size_t count) {
    (void)context, (void)connection;
    if (it.refuse != SRMUDP_OK)
        return it.refuse;
    it.found++;
    it.count = count;
    memcpy(it.addresses, addresses, count * sizeof *addresses);
    return SRMUDP_OK;
}

static void failed(void *context, srmudp_connection *connection, srmudp_error reason, uint32_t failures,
                   bool end) {
    (void)context, (void)connection;
    it.failed++;
    it.ended += end;
    it.reason = reason;
    it.failures = failures;
}

static void begin(void) {
    srm_names_owner owner = {
        .wake = wake, .usable = usable, .allowed = allowed, .found = found, .failed = failed};
    memset(&it, 0, sizeof it);
    set_hang(false);
    pthread_mutex_lock(&mutex);
    lookups = woken = 0;
    pthread_mutex_unlock(&mutex);
    it.now = SRM_SECOND;
    srm_names_init(&it.names, owner);
    srm_names_use(&it.names, resolve);
    CHECK_EQ(srm_names_deadline(&it.names), SRM_TIME_NEVER);
    it.name = srm_names_add(&it.names, NULL, "name.example", 77, it.now);
    CHECK(it.name != NULL);
}

static void end(void) {
    srm_names_fini(&it.names);
    srm_names_fini(&it.names);
}

/* Goes to the next lookup, lets it be done, and takes its result. How long that was from now. */
static srm_time next_lookup(void) {
    srm_time at = srm_names_deadline(&it.names), waited = at - it.now;
    int before = woken;
    CHECK(at != SRM_TIME_NEVER);
    it.now = srm_time_max(it.now, at);
    srm_names_run(&it.names, it.now);
    wait_for(&woken, before + 1);
    srm_names_run(&it.names, it.now);
    return waited;
}

TEST(a_name_is_looked_up_again_each_30_s) {
    begin();
    answer_with("192.0.2.1", "2001:db8::1");
    CHECK_EQ(next_lookup(), 0);
    CHECK_EQ(it.found, 1);
    CHECK_EQ(it.count, 2);
    CHECK_EQ(it.addresses[0].port, 77);
    CHECK_EQ(it.addresses[1].family, 6);
    CHECK_EQ(next_lookup(), 30 * SRM_SECOND);
    CHECK_EQ(it.found, 1); /* no news */
    answer_with("192.0.2.2", NULL);
    CHECK_EQ(next_lookup(), 30 * SRM_SECOND);
    CHECK_EQ(it.found, 2);
    CHECK_EQ(it.count, 1);
    CHECK_EQ(it.failed, 0);
    end();
}

TEST(failures_are_tried_again_ever_later_and_told_once) {
    begin();
    answer_with(NULL, NULL);
    static const int waits[] = {0, 1, 2, 4, 8, 16, 30, 30};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++)
        CHECK_EQ(next_lookup(), waits[i] * SRM_SECOND);
    CHECK_EQ(it.failed, 1);
    CHECK_EQ(it.reason, SRMUDP_INVALID_ADDRESS);
    CHECK_EQ(it.failures, 1);
    answer_with("192.0.2.1", NULL);
    CHECK_EQ(next_lookup(), 30 * SRM_SECOND);
    CHECK_EQ(it.found, 1);
    answer_with("224.0.0.1", NULL); /* none usable is none */
    CHECK_EQ(next_lookup(), 30 * SRM_SECOND);
    CHECK_EQ(it.failed, 2);
    CHECK_EQ(next_lookup(), SRM_SECOND);
    it.refuse = SRMUDP_ADDRESS_BUSY;
    answer_with("192.0.2.3", NULL);
    CHECK_EQ(next_lookup(), 2 * SRM_SECOND);
    CHECK_EQ(it.reason, SRMUDP_ADDRESS_BUSY);
    CHECK_EQ(it.failed, 3);
    end();
}

TEST(an_established_connection_asks_nobody_until_it_is_lost) {
    begin();
    answer_with("192.0.2.1", NULL);
    next_lookup();
    srm_names_status(&it.names, it.name, SRMUDP_ESTABLISHED, it.now);
    CHECK_EQ(srm_names_deadline(&it.names), SRM_TIME_NEVER);
    it.now += 1000 * SRM_SECOND;
    srm_names_status(&it.names, it.name, SRMUDP_RECONNECTING, it.now);
    CHECK_EQ(srm_names_deadline(&it.names), it.now);
    answer_with("192.0.2.9", NULL);
    next_lookup();
    CHECK_EQ(it.found, 2);
    CHECK_EQ(it.addresses[0].ip[3], 9);
    end();
}

TEST(a_connection_made_meanwhile_keeps_its_address) {
    begin();
    answer_with("192.0.2.1", NULL);
    srm_names_run(&it.names, it.now);
    srm_names_status(&it.names, it.name, SRMUDP_ESTABLISHED, it.now);
    wait_for(&woken, 1);
    srm_names_run(&it.names, it.now);
    CHECK_EQ(it.found, 0);
    CHECK_EQ(srm_names_deadline(&it.names), SRM_TIME_NEVER);
    end();
}

TEST(addresses_that_are_not_allowed_are_left_out) {
    begin();
    answer_with("10.0.0.1", "192.0.2.1");
    next_lookup();
    CHECK_EQ(it.count, 1);
    CHECK_EQ(it.addresses[0].ip[0], 192);
    end();
}

TEST(a_name_of_denied_addresses_only_ends_what_never_was) {
    begin();
    answer_with("10.0.0.1", NULL);
    next_lookup();
    CHECK_EQ(it.ended, 1);
    CHECK_EQ(it.reason, SRMUDP_POLICY_DENIED);
    end();

    begin();
    answer_with("192.0.2.1", NULL);
    next_lookup();
    srm_names_status(&it.names, it.name, SRMUDP_ESTABLISHED, it.now);
    srm_names_status(&it.names, it.name, SRMUDP_RECONNECTING, it.now);
    answer_with("10.0.0.1", NULL);
    next_lookup();
    CHECK_EQ(it.ended, 0);
    CHECK_EQ(it.reason, SRMUDP_POLICY_DENIED);
    answer_with("192.0.2.2", NULL);
    CHECK_EQ(next_lookup(), SRM_SECOND);
    CHECK_EQ(it.found, 2);
    end();
}

TEST(what_was_removed_hears_nothing) {
    begin();
    set_hang(true);
    answer_with("192.0.2.1", NULL);
    srm_names_run(&it.names, it.now);
    wait_for(&lookups, 1);
    srm_names_remove(&it.names, it.name); /* its thread is busy */
    it.name = srm_names_add(&it.names, NULL, "other.example", 1, it.now);
    srm_names_run(&it.names, it.now);
    set_hang(false);
    wait_for(&woken, 1);
    srm_names_run(&it.names, it.now);
    CHECK_EQ(it.found, 1);
    CHECK_EQ(it.addresses[0].port, 1);
    end();
}

TEST(more_names_than_threads_are_looked_up_in_turn) {
    begin();
    enum { COUNT = 50 };
    srm_name *names[COUNT];
    answer_with("192.0.2.1", NULL);
    set_hang(true);
    for (int i = 0; i < COUNT; i++)
        names[i] = srm_names_add(&it.names, NULL, "name.example", 5, it.now);
    srm_names_run(&it.names, it.now);
    wait_for(&lookups, SRM_RESOLVER_THREADS);
    CHECK_EQ(lookups_so_far(), SRM_RESOLVER_THREADS);
    for (int i = 0; i < COUNT; i += 5)
        srm_names_remove(&it.names, names[i]);
    set_hang(false);
    while (it.found < COUNT + 1 - COUNT / 5) {
        wait_for(&woken, it.found + 1);
        srm_names_run(&it.names, it.now);
    }
    end();
}

TEST(nobody_waits_for_a_lookup_that_hangs) {
    begin();
    set_hang(true);
    srm_names_run(&it.names, it.now);
    wait_for(&lookups, 1);
    end(); /* the thread is left behind */
    set_hang(false);
}

/* ---- Through an endpoint ---- */

TEST(localhost_is_found) {
    host *a = host_new(NULL), *b = host_new(NULL);
    host_listen(b, "key");
    peer *x = host_open(a, "localhost", b, "key");
    host_send(x, 10, 0, 1);
    UNTIL(b->accepted == 1 && host_last(b)->messages == 1);
    host_free(a);
    host_free(b);
}

static host *host_with_resolver(const srmudp_config *config) {
    host *h = host_new(config);
    set_hang(false);
    srm_names_use(&h->endpoint->engine.names, resolve);
    return h;
}

TEST(each_address_of_a_name_is_tried) {
    host *a = host_with_resolver(NULL), *b = host_bound("127.0.0.2", 0, NULL);
    answer_with("127.0.0.3", "127.0.0.2");
    host_listen(b, "key");
    peer *x = host_open(a, "name.example", b, "key");
    UNTIL(x->status == SRMUDP_ESTABLISHED);
    CHECK_EQ(x->remote.ip[3], 2);
    host_free(a);
    host_free(b);
}

TEST(a_name_that_does_not_resolve_is_told_and_tried_again) {
    host *a = host_with_resolver(NULL), *b = host_new(NULL);
    answer_with(NULL, NULL);
    host_listen(b, "key");
    peer *x = host_open(a, "name.example", b, "key");
    host_send(x, 10, 0, 1);
    UNTIL(x->told_invalid == 1);
    CHECK_EQ(x->status, SRMUDP_WAITING);
    answer_with("127.0.0.1", NULL);
    UNTIL(x->consumed[0] == 1);
    host_free(a);
    host_free(b);
}

static bool deny_all(void *context, const char *address, uint16_t port) {
    (void)context, (void)address, (void)port;
    return false;
}

TEST(a_denied_name_ends_with_what_was_sent) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.allow = deny_all;
    host *a = host_with_resolver(&config);
    answer_with("127.0.0.1", NULL);
    peer *x = host_open_port(a, "name.example", 9, "key", NULL);
    (void)srmudp_connection_send_bytes(x->connection, "x", 1, 0, 0, NULL);
    UNTIL(x->closed == 1);
    CHECK_EQ(x->reason, SRMUDP_POLICY_DENIED);
    CHECK_EQ(x->status, SRMUDP_FAILED);
    CHECK_EQ(x->undelivered, 1);
    CHECK_EQ(srmudp_connection_send_bytes(x->connection, "x", 1, 0, 0, NULL), SRMUDP_CLOSED);
    srmudp_endpoint_stats stats;
    srmudp_endpoint_get_stats(a->endpoint, &stats);
    CHECK_EQ(stats.datagrams_sent, 0);
    host_free(a);
}

TEST(closing_does_not_wait_for_a_name) {
    host *a = host_with_resolver(NULL);
    set_hang(true);
    peer *x = host_open_port(a, "name.example", 9, "key", NULL);
    host_open_port(a, "other.example", 9, "key", NULL);
    host_release(x);
    int64_t start = host_now();
    host_free(a);
    CHECK(host_now() - start < 2000);
    set_hang(false);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
