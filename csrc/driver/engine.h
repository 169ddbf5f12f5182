/* engine - the thread behind an endpoint: a uv loop around the core.
 *
 *     loop ── sockets readable: datagrams into the core
 *          ── timer, wake: nothing by themselves, they end the loop's sleep
 *          ── before each sleep, one turn: commands, names, the core's deadline, datagrams out, events out,
 *             the next deadline; no sleep while there is more to do
 *
 * Idle, it sleeps until the core's next deadline and nothing else wakes it. Under load it is never woken by
 * anybody, because it looks into its mailbox at each turn: a push costs a system call only when it finds the
 * engine asleep, and for a small message the application's thread runs the turn instead (direct.h).
 */
#ifndef SRM_ENGINE_H
#define SRM_ENGINE_H

#include <pthread.h>
#include <uv.h>

#include "ask.h"
#include "clock.h"
#include "direct.h"
#include "mailbox.h"
#include "names.h"
#include "outlet.h"
#include "timer.h"
#include "udp.h"

/* Commands run in one turn; more wait for the next, so that datagrams get their turn too. */
#define SRM_ENGINE_COMMANDS 4096
/* System calls that receive in one turn, as long as each is filled. */
#define SRM_ENGINE_RECEIVES 4
/* A socket whose poll libuv gave up (an error condition without a name) is polled again after this. */
#define SRM_ENGINE_REPOLL (10 * SRM_MILLISECOND)
/* Asleep this long, and nobody waited for us: connections are set up anew. */
#define SRM_ENGINE_SLEPT (5 * SRM_SECOND)

struct srm_engine {
    srmudp_endpoint *endpoint;
    pthread_t thread; /* the application's, to join it */
    pthread_t self;   /* the engine's, which sets it before it answers anything */
    uv_loop_t loop;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_idle_t busy;
    uv_poll_t polls[2]; /* of udp.sockets */
    srm_timer timer;
    srm_udp udp;
    srm_outlet *outlet;
    srm_endpoint *core;
    srm_names names;
    srm_sleep sleep;
    srm_message *commands;              /* taken from the mailbox and not run yet, oldest first */
    srm_message *events, **events_last; /* for the application, in the order they go out */
    srmudp_connection *connections;     /* all that the core knows */
    srmudp_listener *listeners;
    srm_time repoll_at; /* SRM_TIME_NEVER: all sockets are polled */
    bool blocked;       /* a socket had no room for what the outlet holds: nothing is sent until it has */
    const srm_udp_socket *asked; /* the loop waits for room on it; NULL: on none */
    bool stopping;
    srm_direct direct; /* who runs it: all of the above but the threads' names is under its lock */
};

/* Binds and starts the thread; the endpoint's other fields are set. Errors: those of srmudp_endpoint_bind,
 * with nothing left behind. */
srmudp_error srm_engine_start(srm_engine *engine, srmudp_endpoint *endpoint, const char *host, uint16_t port);
/* Says goodbye to the peers, ends the thread and frees everything but the handles. */
void srm_engine_stop(srm_engine *engine);
/* In a forked child, where the thread isn't: lets go of the descriptors that would keep the port taken. */
void srm_engine_forget(srm_engine *engine);

/* Any thread: it sleeps and has something to do. */
void srm_engine_wake(srm_engine *engine);
/* Whether this is the engine's thread. */
bool srm_engine_is_here(const srm_engine *engine);
/* On the engine's thread, outside of the core: what was commanded before, then this. */
void srm_engine_answer(srm_engine *engine, srm_request *request);

/* ---- What a turn is made of, for direct.c; under the lock ---- */

/* Commands, the core's deadline, datagrams out, events out. True: there may be more to do at once. */
bool srm_engine_turn(srm_engine *engine, srm_time now);
/* Events out. */
void srm_engine_tell(srm_engine *engine, srm_time now);
/* Gives what one system call finds on a socket to the core. Returns how many entries (srm_udp_receive), and
 * adds their bytes to `*bytes`. */
size_t srm_engine_receive(srm_engine *engine, size_t index, size_t *bytes);
/* When the engine has something to do by itself. */
srm_time srm_engine_next_time(const srm_engine *engine, srm_time now);

/* ---- commands.c ---- */

/* Runs up to `max` waiting commands. True: more wait. */
bool srm_engine_commands(srm_engine *engine, srm_time now, size_t max);
/* Answers a question, on the engine's thread. */
void srm_engine_run_request(srm_engine *engine, srm_time now, srm_request *request);
/* The core's hook. */
void *srm_engine_accepted(void *context, void *listener_handle, srm_conn *conn);
/* Its name is not looked up any more. */
void srm_engine_forget_name(srm_engine *engine, srmudp_connection *connection);
/* Of srm_names_owner. */
bool srm_engine_usable(void *context, const srmudp_address *address);
bool srm_engine_allowed(void *context, const srmudp_address *address);
srmudp_error srm_engine_found(void *context, srmudp_connection *connection, const srmudp_address *addresses,
                              size_t count);
void srm_engine_not_found(void *context, srmudp_connection *connection, srmudp_error reason,
                          uint32_t failures, bool end);

/* ---- events.c ---- */

/* Takes the core's events over, in order, behind those that wait to go out. */
void srm_engine_collect(srm_engine *engine, srm_time now);
/* Adds one of the driver's own. */
void srm_engine_emit(srm_engine *engine, srm_message *node, uint8_t kind);
/* Gives all that was collected to the application, and wakes it if it sleeps. */
void srm_engine_publish(srm_engine *engine);
/* The core's hook. */
void srm_engine_freed(void *context, void *handle, uint64_t cost);
/* Up to which fill of the send buffer a message of this cost is taken. */
uint64_t srm_send_limit(const srmudp_config *config, uint64_t cost);
/* A message of this cost was refused: WRITABLE when it fits. */
void srm_engine_want_room(srm_engine *engine, srmudp_connection *connection, uint64_t cost);

#endif
