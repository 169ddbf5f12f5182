#include "direct.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "handles.h"

/* The two ends of the commands' mailbox share this file because both must agree on when nobody is woken. */

#if SRM_UDP_LINUX

#include <sys/epoll.h>
#include <unistd.h>

/* ---- Whose the sockets are ---- */

static bool control(int epoll, int operation, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.fd = fd}};
    return epoll_ctl(epoll, operation, fd, &event) == 0;
}

/* libuv keeps the socket in its set and doesn't know that the kernel says nothing of it for a while. */
static bool set_polled_by_loop(srm_engine *engine, size_t index, bool polled) {
    int loop = uv_backend_fd(&engine->loop), fd = engine->udp.sockets[index].fd;
    uint32_t wanted = EPOLLIN | (engine->asked == &engine->udp.sockets[index] ? EPOLLOUT : 0);
    return control(loop, EPOLL_CTL_MOD, fd, polled ? wanted : 0);
}

static bool set_polled_by_application(srm_engine *engine, size_t index, bool polled) {
    int fd = engine->udp.sockets[index].fd;
    return control(engine->direct.poll, polled ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, EPOLLIN);
}

static bool lend_socket(srm_engine *engine, size_t index) {
    if (!set_polled_by_application(engine, index, true))
        return false;
    if (set_polled_by_loop(engine, index, false))
        return true;
    (void)set_polled_by_application(engine, index, false); /* the loop gave it up for a while: see on_poll */
    return false;
}

static void take_socket(srm_engine *engine, size_t index) {
    SRM_ASSERT(set_polled_by_loop(engine, index, true));
    SRM_ASSERT(set_polled_by_application(engine, index, false));
}

static bool lend_sockets(srm_engine *engine) {
    for (size_t i = 0; i < engine->udp.count; i++) {
        if (lend_socket(engine, i))
            continue;
        while (i-- > 0)
            take_socket(engine, i);
        return false;
    }
    return true;
}

/* ---- Starting ---- */

static int new_poll(srmudp_endpoint *endpoint) {
    int poll = epoll_create1(EPOLL_CLOEXEC);
    if (poll >= 0 && !control(poll, EPOLL_CTL_ADD, endpoint->ready.read, EPOLLIN)) {
        close(poll);
        return -1;
    }
    return poll;
}

void srm_direct_init(srm_engine *engine) {
    srm_direct *direct = &engine->direct;
    pthread_mutex_init(&direct->lock, NULL);
    atomic_init(&direct->lent, false);
    direct->poll = engine->endpoint->config.on_ready == NULL ? new_poll(engine->endpoint) : -1;
    direct->possible = direct->poll >= 0;
}

void srm_direct_fini(srm_engine *engine) {
    if (engine->direct.poll >= 0)
        close(engine->direct.poll);
    engine->direct.poll = -1;
    engine->direct.possible = false;
}

#else

static bool lend_sockets(srm_engine *engine) {
    (void)engine;
    return false;
}

static void take_socket(srm_engine *engine, size_t index) {
    (void)engine, (void)index;
}

void srm_direct_init(srm_engine *engine) {
    pthread_mutex_init(&engine->direct.lock, NULL);
    atomic_init(&engine->direct.lent, false);
    engine->direct.poll = -1;
}

void srm_direct_fini(srm_engine *engine) {
    (void)engine;
}

#endif

/* ---- The loan ---- */

/* Whoever reads `lent` without the lock knows that it may be old, and nothing else hangs on it. */
static bool is_lent(srm_direct *direct) {
    return atomic_load_explicit(&direct->lent, memory_order_relaxed);
}

static void set_lent(srm_direct *direct, bool lent) {
    atomic_store_explicit(&direct->lent, lent, memory_order_relaxed);
}

/* What was for nothing once more is tried half as often. */
static unsigned more_doubt(unsigned doubt) {
    return doubt < SRM_DIRECT_DOUBT / 2 ? 2 * doubt + 1 : SRM_DIRECT_DOUBT;
}

/* A loan during which nothing came lets more messages go without one. */
static void judge(srm_direct *direct) {
    direct->doubt = direct->wait = direct->answered ? 0 : more_doubt(direct->doubt);
}

void srm_direct_take_back(srm_engine *engine) {
    if (!is_lent(&engine->direct))
        return;
    for (size_t i = 0; i < engine->udp.count; i++)
        take_socket(engine, i);
    set_lent(&engine->direct, false);
    judge(&engine->direct);
}

static void lend(srm_engine *engine, srm_time now) {
    srm_direct *direct = &engine->direct;
    if (is_lent(direct) || engine->blocked)
        return;
    if (direct->wait > 0) {
        direct->wait--;
        return;
    }
    if (!lend_sockets(engine))
        return;
    set_lent(direct, true);
    direct->answered = false;
    direct->looked = true;
    direct->look_at = now + SRM_DIRECT_WATCH;
}

srm_time srm_direct_watch(srm_engine *engine, srm_time now) {
    srm_direct *direct = &engine->direct;
    if (is_lent(direct) && direct->look_at <= now) {
        if (!direct->looked)
            srm_direct_take_back(engine);
        direct->looked = false;
        direct->look_at = now + SRM_DIRECT_WATCH;
    }
    return is_lent(direct) ? direct->look_at : SRM_TIME_NEVER;
}

/* ---- The lock ---- */

void srm_direct_hold(srm_engine *engine) {
    if (engine->direct.held)
        return;
    pthread_mutex_lock(&engine->direct.lock);
    engine->direct.held = true;
}

void srm_direct_let_go(srm_engine *engine) {
    engine->direct.held = false;
    pthread_mutex_unlock(&engine->direct.lock);
}

/* The application's thread. False: the engine is awake, or about to be. */
static bool begin_visit(srm_engine *engine) {
    /* A forked child must not send: numbers of packets would be used twice. */
    return srm_endpoint_usable(engine->endpoint) && pthread_mutex_trylock(&engine->direct.lock) == 0;
}

/* Leaves the engine as its own thread would: asleep, with its timer set; or wakes it for what is left.
 * Returns the time. */
static srm_time end_visit(srm_engine *engine, bool more) {
    srm_direct *direct = &engine->direct;
    srm_time now = srm_clock_now(), at = srm_engine_next_time(engine, now);
    bool rests = !more && !engine->blocked && at > now &&
                 (is_lent(direct) || srm_mailbox_sleep(&engine->endpoint->commands));
    if (is_lent(direct))
        at = srm_time_min(at, direct->look_at);
    if (rests)
        srm_timer_set(&engine->timer, now, at);
    pthread_mutex_unlock(&direct->lock);
    if (!rests)
        srm_engine_wake(engine);
    return now;
}

/* ---- Sending ---- */

/* What the application hands over so close to what it handed over before is a stream. */
static bool follows_closely(srm_direct *direct, srm_time now) {
    if (now - direct->last > SRM_DIRECT_CLOSE)
        direct->row = 0;
    direct->last = now;
    return ++direct->row > SRM_DIRECT_ROW;
}

static bool is_near(const srm_conn *conn) {
    srm_time rtt = srm_conn_rtt_min(conn);
    return rtt != 0 && rtt < SRM_DIRECT_NEAR;
}

/* False: the engine must be woken. The node is in the mailbox, and its connection is the application's. */
static bool visit(srm_engine *engine, srmudp_connection *connection, bool message) {
    srm_time now = srm_clock_now();
    if (follows_closely(&engine->direct, now) || !begin_visit(engine))
        return false;
    /* Before it is sent: the answer may be here before we are done. */
    if (message && connection->core != NULL && is_near(connection->core))
        lend(engine, now);
    engine->direct.last = end_visit(engine, srm_engine_turn(engine, now));
    return true;
}

void srm_direct_post(srm_engine *engine, srm_message *node) {
    /* The node isn't ours any more once it is pushed. */
    srmudp_connection *connection = node->owner;
    bool message = node->kind == SRM_NODE_SEND && node->size <= SRM_DIRECT_MESSAGE;
    bool consumption = node->kind == SRM_NODE_CONSUME;
    bool asleep = srm_mailbox_push(&engine->endpoint->commands, node);
    if (!asleep && !is_lent(&engine->direct))
        return; /* it is awake */
    if (!asleep && consumption)
        return; /* taken by the next visit, or when the engine looks */
    if (!engine->direct.possible || !(message || consumption) || !visit(engine, connection, message))
        srm_engine_wake(engine);
}

/* ---- Receiving ---- */

void srm_direct_look(srm_engine *engine) {
    srm_direct *direct = &engine->direct;
    if (!is_lent(direct) || !begin_visit(engine))
        return;
    size_t bytes = 0;
    direct->looked = true;
    direct->look_at = srm_clock_now() + SRM_DIRECT_WATCH;
    for (size_t i = 0; is_lent(direct) && i < engine->udp.count; i++)
        (void)srm_engine_receive(engine, i, &bytes);
    direct->answered |= bytes > 0;
    if (bytes > SRM_DIRECT_ANSWER)
        srm_direct_take_back(engine);
    /* The application first: the rest of the turn is done when it answers, when it finds nothing more, or
     * when the engine looks. */
    if (bytes > 0 && is_lent(direct)) {
        srm_engine_tell(engine, srm_clock_now());
        pthread_mutex_unlock(&direct->lock);
    } else {
        end_visit(engine, srm_engine_turn(engine, srm_clock_now()));
    }
}

/* What wakes the application: events, and datagrams on lent sockets. */
typedef struct srm_watched {
    struct pollfd fds[3];
    nfds_t count;
} srm_watched;

static srm_watched watched_by(const srm_engine *engine, bool lent) {
    srm_watched w = {.fds = {{.fd = engine->endpoint->ready.read, .events = POLLIN}}, .count = 1};
    for (size_t i = 0; lent && i < engine->udp.count; i++)
        w.fds[w.count++] = (struct pollfd){.fd = engine->udp.sockets[i].fd, .events = POLLIN};
    return w;
}

/* Gives way to whoever needs the processor, the peer perhaps. True: something came. */
static bool spin(srm_direct *direct, srm_watched *w, srm_time limit) {
    srm_time until = srm_clock_now() + limit;
    do {
        if (poll(w->fds, w->count, 0) != 0) {
            direct->in_vain = 0;
            return true;
        }
        sched_yield();
    } while (srm_clock_now() < until);
    direct->in_vain = more_doubt(direct->in_vain);
    direct->asleep = direct->in_vain / 2; /* one is forgiven */
    return false;
}

bool srm_direct_expects(srm_engine *engine) {
    srm_direct *direct = &engine->direct;
    if (!is_lent(direct))
        return false;
    if (direct->asleep == 0)
        return true;
    direct->asleep--;
    return false;
}

bool srm_direct_linger(srm_engine *engine) {
    srm_watched w = watched_by(engine, true);
    return spin(&engine->direct, &w, SRM_DIRECT_LINGER);
}

bool srm_direct_wait(srm_engine *engine, int timeout) {
    srm_watched w = watched_by(engine, is_lent(&engine->direct));
    if (timeout != 0 && srm_direct_expects(engine) && spin(&engine->direct, &w, SRM_DIRECT_SPIN))
        return true;
    int ready = poll(w.fds, w.count, timeout);
    return ready > 0 || (ready < 0 && errno == EINTR);
}
