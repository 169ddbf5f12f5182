#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build.h"
#include "handles.h"

static void fill_random(void *context, uint8_t *out, size_t size) {
    (void)context;
    randombytes_buf(out, size);
}

/* The loop's sleep is over. */
static void wake_up(srm_engine *engine) {
    srm_direct_hold(engine);
    srm_mailbox_awake(&engine->endpoint->commands);
}

/* ---- Sockets ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static size_t index_of(const srm_engine *engine, const uv_poll_t *poll) {
    return (size_t)(poll - engine->polls);
}

static void poll_socket(srm_engine *engine, size_t index, int events) {
    SRM_ASSERT(uv_poll_start(&engine->polls[index], events, on_poll) == 0);
}

size_t srm_engine_receive(srm_engine *engine, size_t index, size_t *bytes) {
    srm_datagram datagrams[SRM_UDP_SLOTS];
    size_t count = srm_udp_receive(&engine->udp, index, datagrams, SRM_UDP_SLOTS);
    srm_time now = srm_clock_now();
    for (size_t i = 0; i < count; i++) {
        *bytes += datagrams[i].size;
        srm_endpoint_receive(engine->core, now, &datagrams[i]);
    }
    return count;
}

/* Mostly one system call's worth: the turn that follows acknowledges it, and the loop comes back for the
 * rest. Packets of many connections come in shorter rows, so that they fill a call sooner; without some more
 * of those each turn, the socket's buffer would hold what is late and drop what is new. */
static void receive_some(srm_engine *engine, size_t index) {
    size_t bytes = 0;
    for (int calls = 0; calls < SRM_ENGINE_RECEIVES; calls++)
        if (srm_engine_receive(engine, index, &bytes) < SRM_UDP_GRO_SLOTS)
            return;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    srm_engine *engine = poll->data;
    wake_up(engine);
    if (status < 0) {
        /* libuv stopped polling for an error that the kernel keeps on the socket. Reading it clears it. */
        int error;
        socklen_t size = sizeof error;
        getsockopt(engine->udp.sockets[index_of(engine, poll)].fd, SOL_SOCKET, SO_ERROR, &error, &size);
        engine->repoll_at = srm_clock_now() + SRM_ENGINE_REPOLL;
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        engine->blocked = false;
    if ((events & UV_READABLE) != 0)
        receive_some(engine, index_of(engine, poll));
}

static void repoll(srm_engine *engine, srm_time now) {
    if (engine->repoll_at > now)
        return;
    engine->repoll_at = SRM_TIME_NEVER;
    engine->blocked = false; /* if it was, nobody waited for room on that socket */
    engine->asked = NULL;
    for (size_t i = 0; i < engine->udp.count; i++)
        if (!uv_is_active((uv_handle_t *)&engine->polls[i]))
            poll_socket(engine, i, UV_READABLE);
}

/* Waits for room on the socket that has none, or for none any more. */
static void ask_for_room(srm_engine *engine) {
    const srm_udp_socket *by = engine->blocked ? srm_outlet_blocked_by(engine->outlet, &engine->udp) : NULL;
    if (by == engine->asked)
        return;
    for (size_t i = 0; i < engine->udp.count; i++)
        if (uv_is_active((uv_handle_t *)&engine->polls[i]))
            poll_socket(engine, i, UV_READABLE | (by == &engine->udp.sockets[i] ? UV_WRITABLE : 0));
    engine->asked = by;
}

/* True: there may be more to send at once. */
static bool send_out(srm_engine *engine) {
    if (engine->blocked)
        return false;
    srm_outlet_state state = srm_outlet_run(engine->outlet, &engine->udp, engine->core);
    engine->blocked = state == SRM_OUTLET_BLOCKED;
    return state == SRM_OUTLET_MORE;
}

/* ---- The turn ---- */

/* NATs and peers forgot us while the machine slept, and no timer of ours ran. */
static void check_sleep(srm_engine *engine, srm_time now) {
    if (srm_sleep_check(&engine->sleep, now, srm_clock_boot()) < SRM_ENGINE_SLEPT)
        return;
    for (srmudp_connection *c = engine->connections; c != NULL; c = c->next)
        if (c->status == SRMUDP_ESTABLISHED)
            srm_conn_reconnect(c->core, now);
}

static void check_deadline(srm_engine *engine, srm_time now) {
    if (srm_endpoint_deadline(engine->core) <= now)
        srm_endpoint_timeout(engine->core, now);
}

/* While a socket is blocked the core's pacing deadline is past, but nothing can be done about it: others are
 * looked at each millisecond. */
srm_time srm_engine_next_time(const srm_engine *engine, srm_time now) {
    srm_time at = srm_endpoint_deadline(engine->core);
    if (engine->blocked)
        at = srm_time_max(at, now + SRM_MILLISECOND);
    return srm_time_min(srm_time_min(at, engine->repoll_at), srm_names_deadline(&engine->names));
}

/* That the loop goes round again is all. */
static void on_busy(uv_idle_t *busy) {
    (void)busy;
}
static void on_timer(void *engine) {
    srm_direct_hold(engine);
}
/* There is more to do than the application's thread does by itself. */
static void on_wake(uv_async_t *wake) {
    srm_engine *engine = wake->data;
    wake_up(engine);
    srm_direct_take_back(engine);
}

/* Sleeps until the next deadline, or not at all. */
static void rest(srm_engine *engine, bool more) {
    srm_time now = srm_clock_now(), at = srm_engine_next_time(engine, now);
    if (more || at <= now)
        srm_direct_take_back(engine);
    srm_time watch = srm_direct_watch(engine, now);
    bool lent = watch != SRM_TIME_NEVER;
    if (more || at <= now || (!lent && !srm_mailbox_sleep(&engine->endpoint->commands))) {
        if (!uv_is_active((uv_handle_t *)&engine->busy))
            uv_idle_start(&engine->busy, on_busy);
        return;
    }
    if (uv_is_active((uv_handle_t *)&engine->busy))
        uv_idle_stop(&engine->busy);
    srm_timer_set(&engine->timer, now, srm_time_min(at, watch));
    srm_direct_let_go(engine);
}

static void close_handle(uv_handle_t *handle, void *timer) {
    if (handle == &((srm_timer *)timer)->uv.handle)
        srm_timer_close(timer);
    else if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Once, and without waiting for room: a peer that misses it finds out by itself. */
static void say_goodbye(srm_engine *engine) {
    srm_endpoint_goodbye(engine->core, srm_clock_now());
    while (srm_outlet_run(engine->outlet, &engine->udp, engine->core) == SRM_OUTLET_MORE)
        ;
}

/* Nothing may wake the loop any more once its handles are closed: names go first. */
static void stop(srm_engine *engine) {
    say_goodbye(engine);
    for (srmudp_connection *c = engine->connections; c != NULL; c = c->next)
        srm_engine_forget_name(engine, c);
    srm_names_fini(&engine->names);
    uv_walk(&engine->loop, close_handle, &engine->timer);
}

void srm_engine_tell(srm_engine *engine, srm_time now) {
    srm_engine_collect(engine, now);
    srm_engine_publish(engine);
}

bool srm_engine_turn(srm_engine *engine, srm_time now) {
    bool more = srm_engine_commands(engine, now, SRM_ENGINE_COMMANDS);
    if (engine->stopping)
        return true;
    check_deadline(engine, now);
    /* The application first: it works on another processor while this one encrypts. */
    srm_engine_tell(engine, now);
    more |= send_out(engine);
    srm_engine_tell(engine, now);
    return more;
}

static void on_prepare(uv_prepare_t *prepare) {
    srm_engine *engine = prepare->data;
    wake_up(engine);
    srm_time now = srm_clock_now();
    check_sleep(engine, now);
    repoll(engine, now);
    srm_names_run(&engine->names, now);
    bool more = srm_engine_turn(engine, now);
    if (engine->stopping) {
        stop(engine);
        return;
    }
    ask_for_room(engine);
    rest(engine, more);
}

static void *run(void *context) {
    srm_engine *engine = context;
#ifdef __linux__
    pthread_setname_np(pthread_self(), "srmudp"); /* for whoever looks at the process' threads */
#endif
    engine->self = pthread_self();
    srm_ask_answered(&engine->endpoint->asker);
    uv_run(&engine->loop, UV_RUN_DEFAULT);
    srm_direct_let_go(engine);
    return NULL;
}

/* ---- Starting ---- */

static void wake_for_names(void *engine) {
    srm_engine_wake(engine);
}

static bool init_core(srm_engine *engine) {
    srm_entropy entropy = {.fill = fill_random};
    srm_hooks hooks = {.context = engine, .accepted = srm_engine_accepted, .freed = srm_engine_freed};
    srm_names_owner owner = {.context = engine,
                             .wake = wake_for_names,
                             .usable = srm_engine_usable,
                             .allowed = srm_engine_allowed,
                             .found = srm_engine_found,
                             .failed = srm_engine_not_found};
    srm_names_init(&engine->names, owner);
    engine->outlet = malloc(sizeof *engine->outlet);
    if (engine->outlet == NULL)
        return false;
    srm_outlet_init(engine->outlet);
    srm_time now = srm_clock_now();
    srm_sleep_init(&engine->sleep, now, srm_clock_boot());
    engine->core = srm_endpoint_new(&engine->endpoint->config, entropy, hooks, now);
    return engine->core != NULL;
}

static void fini_core(srm_engine *engine) {
    srm_endpoint_free(engine->core);
    free(engine->outlet);
    srm_names_fini(&engine->names);
}

/* 0, or an errno. */
static int init_polls(srm_engine *engine) {
    for (size_t i = 0; i < engine->udp.count; i++) {
        int error = uv_poll_init(&engine->loop, &engine->polls[i], engine->udp.sockets[i].fd);
        if (error != 0)
            return -error;
        engine->polls[i].data = engine;
        poll_socket(engine, i, UV_READABLE);
    }
    return 0;
}

/* 0, or an errno. The first two need nothing of the system. */
static int init_handles(srm_engine *engine) {
    SRM_ASSERT(uv_prepare_init(&engine->loop, &engine->prepare) == 0);
    SRM_ASSERT(uv_prepare_start(&engine->prepare, on_prepare) == 0);
    SRM_ASSERT(uv_idle_init(&engine->loop, &engine->busy) == 0);
    engine->prepare.data = engine;
    int error = uv_async_init(&engine->loop, &engine->wake, on_wake);
    if (error != 0)
        return -error;
    engine->wake.data = engine;
    if (!srm_timer_init(&engine->timer, &engine->loop, on_timer, engine))
        return errno;
    return init_polls(engine);
}

static void fini_loop(srm_engine *engine) {
    uv_walk(&engine->loop, close_handle, &engine->timer);
    uv_run(&engine->loop, UV_RUN_DEFAULT);
    SRM_ASSERT(uv_loop_close(&engine->loop) == 0);
}

/* Signals are the application's: this thread takes none. 0, or an errno. */
static int start_thread(srm_engine *engine) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&engine->thread, NULL, run, engine);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        srm_asker_wait(&engine->endpoint->asker);
    return error;
}

/* 0, or an errno. */
static int start_loop(srm_engine *engine) {
    int error = uv_loop_init(&engine->loop);
    if (error != 0)
        return -error;
    error = init_handles(engine);
    if (error == 0)
        error = start_thread(engine);
    if (error != 0)
        fini_loop(engine);
    return error;
}

srmudp_error srm_engine_start(srm_engine *engine, srmudp_endpoint *endpoint, const char *host,
                              uint16_t port) {
    memset(engine, 0, sizeof *engine);
    engine->endpoint = endpoint;
    engine->events_last = &engine->events;
    engine->repoll_at = SRM_TIME_NEVER;
    srmudp_error error = srm_udp_bind(&engine->udp, host, port, endpoint->config.gso);
    if (error != SRMUDP_OK)
        return error;
    int system_error = 0;
    srm_direct_init(engine);
    if (!init_core(engine))
        error = SRMUDP_NO_MEMORY;
    else if ((system_error = start_loop(engine)) != 0)
        error = SRMUDP_SYSTEM;
    if (error != SRMUDP_OK) {
        fini_core(engine);
        srm_direct_fini(engine);
        srm_udp_fini(&engine->udp);
        errno = system_error;
    }
    return error;
}

void srm_engine_stop(srm_engine *engine) {
    srm_endpoint_post(engine->endpoint, engine->endpoint->stop);
    SRM_ASSERT(pthread_join(engine->thread, NULL) == 0);
    SRM_ASSERT(uv_loop_close(&engine->loop) == 0);
    srm_engine_collect(engine, srm_clock_now());
    fini_core(engine);
    srm_direct_fini(engine);
    srm_udp_fini(&engine->udp);
}

void srm_engine_forget(srm_engine *engine) {
    for (size_t i = 0; i < engine->udp.count; i++)
        close(engine->udp.sockets[i].fd);
    engine->udp.count = 0;
    srm_direct_fini(engine);
    srm_timer_forget(&engine->timer);
    close(uv_backend_fd(&engine->loop));
}

void srm_engine_wake(srm_engine *engine) {
    uv_async_send(&engine->wake);
}

bool srm_engine_is_here(const srm_engine *engine) {
    return pthread_equal(pthread_self(), engine->self) != 0;
}

void srm_engine_answer(srm_engine *engine, srm_request *request) {
    srm_time now = srm_clock_now();
    while (srm_engine_commands(engine, now, SRM_ENGINE_COMMANDS))
        ;
    srm_engine_run_request(engine, now, request);
}
