#include "message.h"

#include <stdlib.h>

srm_message *srm_message_new(uint32_t size, uint8_t channel, uint8_t flags) {
    srm_message *message = malloc(sizeof *message + size);
    if (message != NULL) {
        message->next = NULL;
        message->owner = NULL;
        message->number = 0;
        message->size = size;
        message->channel = channel;
        message->flags = flags;
        message->kind = 0;
    }
    return message;
}

void srm_message_free(srm_message *message) {
    free(message);
}
