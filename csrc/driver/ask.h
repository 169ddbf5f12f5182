/* ask - a question of the application's thread to the engine's, and waiting for the answer: for the few
 * functions that are marked so in srmudp.h. One question at a time, since those come from one thread at a
 * time. Asked on the engine's own thread (from on_ready) it is answered on the spot. */
#ifndef SRM_ASK_H
#define SRM_ASK_H

#include <pthread.h>

#include "../core/message.h"
#include "../include/srmudp.h"

typedef enum srm_question {
    SRM_ASK_OPEN,
    SRM_ASK_LISTEN,
    SRM_ASK_STATS,
    SRM_ASK_ENDPOINT_STATS,
} srm_question;

/* Borrowed by the engine until it is answered. */
typedef struct srm_request {
    srm_question question;
    srmudp_connection *connection; /* OPEN, STATS */
    srmudp_listener *listener;     /* LISTEN */
    srm_span key, label;           /* OPEN, LISTEN */
    const char *name;              /* OPEN: to be resolved, or NULL: */
    srmudp_address address;        /* the literal; `port` is set in both cases */
    srmudp_stats *stats;
    srmudp_endpoint_stats *endpoint_stats;
    srmudp_error error; /* the answer */
} srm_request;

typedef struct srm_asker {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool answered;     /* under the mutex */
    srm_message *node; /* carries the question */
} srm_asker;

/* False: no memory. */
bool srm_asker_init(srm_asker *asker);
void srm_asker_fini(srm_asker *asker);

/* Asks and waits. The endpoint must be usable. */
void srm_ask(srmudp_endpoint *endpoint, srm_request *request);
/* Waits for srm_ask_answered; also how the engine's thread says that it has begun. */
void srm_asker_wait(srm_asker *asker);
/* The engine: the request is answered and not touched any more. */
void srm_ask_answered(srm_asker *asker);

#endif
