#include "message.h"

#include <stdlib.h>

srm_message *srm_message_new(uint32_t size, uint8_t channel, uint8_t flags) {
    srm_message *message = malloc(sizeof *message + size);
    if (message != NULL) {
        message->next = NULL;
        message->owner = NULL;
        message->number = 0;
        message->sequence = 0;
        message->ranges = NULL;
        message->size = size;
        message->done = 0;
        message->generation = 0;
        message->channel = channel;
        message->flags = flags;
        message->kind = 0;
        message->state = 0;
    }
    return message;
}

void srm_message_free(srm_message *message) {
    free(message);
}

void srm_message_free_list(srm_message *list) {
    for (srm_message *next; list != NULL; list = next) {
        next = list->next;
        srm_message_free(list);
    }
}
