/* hello - both sides in one program: one listens, the other opens, a message goes across and is consumed.
 *
 *     cc hello.c $(pkg-config --cflags --libs srmudp) -o hello
 */
#include <poll.h>
#include <srmudp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char key[] = "correct horse battery staple";

static void check(srmudp_error error) {
    if (error == SRMUDP_OK)
        return;
    fprintf(stderr, "%s\n", srmudp_error_text(error));
    exit(1);
}

/* Handles one event; true when the message has come. Whatever an event brings is ours to release. */
static bool handle(const srmudp_event *event) {
    switch (event->kind) {
    case SRMUDP_EVENT_ACCEPTED:
        printf("somebody proved the key\n");
        return false;
    case SRMUDP_EVENT_MESSAGE:
        printf("%.*s\n", (int)srmudp_message_size(event->message),
               (char *)srmudp_message_data(event->message));
        srmudp_message_consume(event->message); /* gives credit back to the sender, and frees it */
        return true;
    default:
        return false;
    }
}

/* Waits for events of either endpoint for at most `timeout` ms; true when the message has come. */
static bool wait_for_events(srmudp_endpoint *ends[2], int timeout) {
    struct pollfd fds[2];
    for (int i = 0; i < 2; i++)
        fds[i] = (struct pollfd){.fd = srmudp_endpoint_fd(ends[i]), .events = POLLIN};
    bool came = false;
    if (poll(fds, 2, timeout) <= 0)
        return false;
    for (int i = 0; i < 2; i++)
        for (srmudp_event event; srmudp_endpoint_next_event(ends[i], &event);)
            came |= handle(&event);
    return came;
}

int main(void) {
    srmudp_config config;
    srmudp_config_init(&config);
    srmudp_endpoint *ends[2];
    for (int i = 0; i < 2; i++)
        check(srmudp_endpoint_bind("127.0.0.1", 0, &config, &ends[i]));
    srmudp_listener *listener;
    check(srmudp_endpoint_listen(ends[1], key, sizeof key - 1, NULL, NULL, &listener));

    srmudp_address address[2];
    srmudp_endpoint_addresses(ends[1], address);
    srmudp_target target = {
        .host = "127.0.0.1", .port = address[0].port, .key = key, .key_size = sizeof key - 1};
    srmudp_connection *connection;
    check(srmudp_endpoint_open(ends[0], &target, &connection));
    check(srmudp_connection_send_bytes(connection, "hello", 5, 0, SRMUDP_TEXT,
                                       NULL)); /* before anybody is there */

    bool came = false;
    for (int tries = 0; tries < 100 && !came; tries++)
        came = wait_for_events(ends, 100);
    for (int i = 0; i < 2; i++)
        srmudp_endpoint_close(ends[i]); /* says goodbye; handles are invalid from here on */
    return came ? 0 : 1;
}
