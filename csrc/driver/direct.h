/* direct - turns of the engine taken on the application's thread.
 *
 * Handing a message to another thread and being woken by one costs more than encrypting it: some 10 to 20 µs
 * each time. So where the engine sleeps, the application's thread does the engine's work itself:
 *
 *   visit   a small message, or a consumption, finds the engine asleep: the application's thread runs one
 *           turn (commands, deadlines, datagrams out) and leaves the rest to the engine as it was.
 *   loan    the peer is so near that its answer is expected at once (SRM_DIRECT_NEAR): the sockets are lent
 *           to the descriptor that the application polls, and next_event reads them. The engine looks each
 *           SRM_DIRECT_WATCH whether the application still comes; else it takes the sockets back.
 *
 * A stream of messages isn't for this: the engine packs many into one packet and one system call, on another
 * processor. It is woken for a message that follows others closely, for a large one, and when more comes in
 * than an answer. Who waits for replies of a far peer never lends anything, and an idle endpoint neither.
 *
 * One lock says who runs the engine. The engine's thread holds it from waking up until it sleeps, and may
 * wait for it; the application's only tries. All of the engine is under it; libuv's handles are the engine's
 * thread's alone.
 *
 *     state          sockets polled by   commands' mailbox   a push of a message
 *     awake          the engine          NULL or nodes       does nothing more
 *     asleep         the engine          ASLEEP              visits, or wakes the engine
 *     asleep, lent   the application     NULL or nodes       visits, or wakes the engine
 *
 * Needs epoll and timerfd; elsewhere, and with `on_ready`, which is called on the engine's thread, nothing of
 * it happens.
 */
#ifndef SRM_DIRECT_H
#define SRM_DIRECT_H

#include <pthread.h>
#include <stdatomic.h>

#include "../core/message.h"

typedef struct srm_engine srm_engine;

#define SRM_DIRECT_MESSAGE 4096                /* bytes; a larger message is for the engine */
#define SRM_DIRECT_NEAR SRM_MILLISECOND        /* shortest round trip: below it, sockets are lent */
#define SRM_DIRECT_WATCH (4 * SRM_MILLISECOND) /* nobody reads for once to twice that: the loan ends */
#define SRM_DIRECT_CLOSE (5 * SRM_MICROSECOND) /* a message follows another closely */
#define SRM_DIRECT_ROW 2                       /* more that follow each other closely are a stream */
#define SRM_DIRECT_ANSWER 8192                 /* bytes received in one visit; more is a stream */
#define SRM_DIRECT_DOUBT 64 /* at most so many messages without a loan after one that was for nothing */

#define SRM_DIRECT_SPIN (100 * SRM_MICROSECOND)  /* waited without sleeping for what comes to lent sockets */
#define SRM_DIRECT_LINGER (50 * SRM_MICROSECOND) /* the same in an event loop, which has other work */

typedef struct srm_direct {
    bool possible; /* never changes once the thread runs */
    int poll;      /* readable: events wait, or datagrams on lent sockets; -1: not possible */

    /* The engine's thread. */
    bool held; /* it holds the lock */

    /* The application's. */
    srm_time last;            /* visit ended, or was refused */
    unsigned in_vain, asleep; /* waits that should not have spun, and those still to sleep at once */
    unsigned row;             /* visits, or wishes for one, that followed each other closely until then */

    /* Under the lock; `lent` is also read without it, by the application, who alone sets it. */
    pthread_mutex_t lock;
    _Atomic bool lent;
    bool looked;          /* the application, for what came, since the engine looked last */
    bool answered;        /* something came in during this loan */
    unsigned doubt, wait; /* loans that were for nothing: messages to let pass, and those still to pass */
    srm_time look_at;
} srm_direct;

/* Before the thread starts, with the sockets bound. Never fails: without descriptors it isn't possible. */
void srm_direct_init(srm_engine *engine);
/* After the thread ended, and in a forked child. */
void srm_direct_fini(srm_engine *engine);

/* ---- The engine's thread ---- */

/* Awake, before it touches anything. More than once is as once. */
void srm_direct_hold(srm_engine *engine);
/* About to sleep. */
void srm_direct_let_go(srm_engine *engine);
/* The sockets are the engine's again, if they weren't. */
void srm_direct_take_back(srm_engine *engine);
/* Ends a loan that nobody uses. When to look again; SRM_TIME_NEVER: nothing is lent. */
srm_time srm_direct_watch(srm_engine *engine, srm_time now);

/* ---- The application's thread ---- */

/* Puts a node into the commands' mailbox and sees to it that it is run. */
void srm_direct_post(srm_engine *engine, srm_message *node);
/* No event waits: looks for datagrams on lent sockets. */
void srm_direct_look(srm_engine *engine);
/* Waits for what makes `poll` readable, for up to `timeout` ms; < 0: without limit. False: nothing came.
 * While sockets are lent, and as long as that was worth it, it doesn't sleep for the first SRM_DIRECT_SPIN:
 * waking a processor takes longer. Asks the sockets themselves, for a wake-up by way of an epoll costs more:
 * the scheduler isn't told that whoever wakes is about to sleep. */
bool srm_direct_wait(srm_engine *engine, int timeout);
/* Whether an answer may be here at once: sockets are lent, and waiting for that was not in vain lately. Each
 * call that is true, or for which it is only too soon, counts as one wait. */
bool srm_direct_expects(srm_engine *engine);
/* After that: waits for it, for up to SRM_DIRECT_LINGER, without sleeping. False: nothing came. */
bool srm_direct_linger(srm_engine *engine);

#endif
