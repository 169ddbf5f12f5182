/* A peer in a process of its own that is killed and started again:
 *
 *     this program (host a, x) ── 127.0.0.1 ── the same program as "--child PORT to PORT" or "--child PORT
 * listen"
 *
 * The child consumes what comes, or holds it ("hold"), until it is killed.
 */
#include "host.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"

extern char **environ;

static srmudp_config impatient(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.liveness = 1000;
    config.liveness_in_flight = 500;
    config.keepalive_interval = 500;
    config.reconnect_delay = 100;
    return config;
}

static _Noreturn void child_main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    srmudp_config config = impatient();
    host *h = host_bound("127.0.0.1", (uint16_t)atoi(argv[2]), &config);
    h->hold = argc > 5 || (argc > 4 && strcmp(argv[3], "listen") == 0);
    if (strcmp(argv[3], "listen") == 0)
        host_listen(h, "key");
    else
        host_open_port(h, "127.0.0.1", (uint16_t)atoi(argv[4]), "key", NULL)->hold = h->hold;
    for (;;)
        host_pump(host_now() + 1000);
}

static pid_t start(const char *const arguments[]) {
    char *argv[8] = {(char *)"child", (char *)"--child"};
    for (int i = 0; arguments[i] != NULL; i++)
        argv[i + 2] = (char *)(uintptr_t)arguments[i];
    pid_t child;
    CHECK_EQ(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    return child;
}

static void stop(pid_t child) {
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

static char *port_text(char *text, uint16_t port) {
    sprintf(text, "%u", port);
    return text;
}

/* A port that nobody has now. */
static uint16_t free_port(void) {
    host *h = host_bound("127.0.0.1", 0, NULL);
    uint16_t port = h->port;
    host_free(h);
    return port;
}

static host *a;
static peer *x;
static char own[8], theirs[8];
static uint16_t their_port;

static void begin(const srmudp_config *config) {
    a = host_bound("127.0.0.1", 0, config);
    their_port = free_port();
    port_text(own, a->port);
    port_text(theirs, their_port);
    x = host_open_port(a, "127.0.0.1", their_port, "key", NULL);
}

TEST(an_outage_ends_at_its_limit_and_gives_everything_back) {
    srmudp_config config = impatient();
    config.outage_limit = 500;
    begin(&config);
    pid_t child = start((const char *const[]){theirs, "listen", NULL});
    host_send(x, 10, 0, 0);
    UNTIL(x->consumed[0] == 1);
    stop(child);
    for (uint64_t i = 1; i < 4; i++)
        host_send(x, 10, 0, i);
    UNTIL(x->closed == 1);
    CHECK_EQ(x->status, SRMUDP_FAILED);
    CHECK_EQ(x->reason, SRMUDP_CONNECTION_LOST);
    CHECK_EQ(x->reconnecting, 1);
    CHECK_EQ(x->undelivered, 3);
    host_free(a);
}

/* Both dial: the session goes on with the new process, what the dead one had not consumed goes again. */
static void restarted(bool silence) {
    srmudp_config config = impatient();
    begin(&config);
    pid_t child = start((const char *const[]){theirs, "to", own, "hold", NULL});
    for (uint64_t i = 0; i < 5; i++)
        host_send(x, 1000, 0, i);
    UNTIL(x->status == SRMUDP_ESTABLISHED);
    srmudp_stats stats;
    do {
        host_pump(host_now() + 20);
        CHECK(srmudp_connection_stats(x->connection, &stats));
    } while (stats.packets_received > 0 && stats.bytes_in_flight > 0);
    host_settle(100);
    stop(child);
    if (silence)
        UNTIL(x->reconnecting == 1);
    for (uint64_t i = 5; i < 10; i++)
        host_send(x, 1000, 0, i);
    child = start((const char *const[]){theirs, "to", own, NULL});
    UNTIL(x->restarted == 1 && x->status == SRMUDP_ESTABLISHED);
    CHECK(x->resent >= 5);
    CHECK(x->unknown >= 5);
    UNTIL(x->consumed[0] == 10);
    CHECK_EQ(x->closed, 0);
    stop(child);
    host_free(a);
}

TEST(a_restarted_peer_is_noticed_at_once) {
    restarted(false);
}

TEST(a_restarted_peer_is_noticed_after_silence) {
    restarted(true);
}

/* We accepted it: the newcomer is another connection, and the old one ends. */
TEST(a_restarted_dialler_is_a_new_connection_to_its_listener) {
    srmudp_config config = impatient();
    a = host_bound("127.0.0.1", 0, &config);
    host_listen(a, "key");
    port_text(theirs, free_port());
    port_text(own, a->port);
    pid_t child = start((const char *const[]){theirs, "to", own, "hold", NULL});
    UNTIL(a->accepted == 1 && a->peers[0].established == 1);
    peer *old = &a->peers[0];
    host_send(old, 500, 0, 0);
    host_settle(100);
    stop(child);
    child = start((const char *const[]){theirs, "to", own, NULL});
    UNTIL(a->accepted == 2 && old->closed == 1);
    CHECK_EQ(old->status, SRMUDP_FAILED);
    CHECK_EQ(old->reason, SRMUDP_PEER_RESTARTED);
    CHECK_EQ(old->undelivered, 1);
    peer *new = &a->peers[1];
    host_send(new, 500, 0, 0);
    UNTIL(new->consumed[0] == 1);
    CHECK(old->after_closed == 0);
    stop(child);
    host_free(a);
}

TEST(a_stopped_peer_comes_back_with_nothing_lost) {
    srmudp_config config = impatient();
    begin(&config);
    pid_t child = start((const char *const[]){theirs, "listen", NULL});
    host_send(x, 10, 0, 0);
    UNTIL(x->consumed[0] == 1);
    kill(child, SIGSTOP);
    for (uint64_t i = 1; i < 100; i++)
        host_send(x, 1000, 0, i);
    UNTIL(x->reconnecting == 1);
    kill(child, SIGCONT);
    UNTIL(x->consumed[0] == 100);
    CHECK_EQ(x->status, SRMUDP_ESTABLISHED);
    CHECK_EQ(x->restarted, 0);
    stop(child);
    host_free(a);
}

int main(int argc, char **argv) {
    if (argc > 3 && strcmp(argv[1], "--child") == 0)
        child_main(argc, argv);
    return check_main(argc, argv);
}
