#include "ask.h"

#include "handles.h"

bool srm_asker_init(srm_asker *asker) {
    asker->answered = false;
    asker->node = srm_message_new(0, 0, 0);
    if (asker->node == NULL)
        return false;
    pthread_mutex_init(&asker->mutex, NULL);
    pthread_cond_init(&asker->condition, NULL);
    return true;
}

void srm_asker_fini(srm_asker *asker) {
    pthread_mutex_destroy(&asker->mutex);
    pthread_cond_destroy(&asker->condition);
    srm_message_free(asker->node);
}

void srm_ask(srmudp_endpoint *endpoint, srm_request *request) {
    srm_asker *asker = &endpoint->asker;
    if (srm_engine_is_here(&endpoint->engine)) {
        srm_engine_answer(&endpoint->engine, request);
        return;
    }
    asker->node->kind = SRM_NODE_ASK;
    asker->node->owner = request;
    srm_endpoint_post(endpoint, asker->node);
    srm_asker_wait(asker);
}

void srm_asker_wait(srm_asker *asker) {
    pthread_mutex_lock(&asker->mutex);
    while (!asker->answered)
        pthread_cond_wait(&asker->condition, &asker->mutex);
    asker->answered = false;
    pthread_mutex_unlock(&asker->mutex);
}

void srm_ask_answered(srm_asker *asker) {
    pthread_mutex_lock(&asker->mutex);
    asker->answered = true;
    pthread_cond_signal(&asker->condition);
    pthread_mutex_unlock(&asker->mutex);
}
