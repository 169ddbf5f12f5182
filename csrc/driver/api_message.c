#include "handles.h"

srmudp_message *srmudp_message_new(size_t size, uint8_t channel, uint8_t flags) {
    return size <= UINT32_MAX ? srm_message_new((uint32_t)size, channel, flags & SRMUDP_TEXT) : NULL;
}

uint8_t *srmudp_message_data(srmudp_message *message) {
    return message->data;
}

size_t srmudp_message_size(const srmudp_message *message) {
    return message->size;
}

uint8_t srmudp_message_channel(const srmudp_message *message) {
    return message->channel;
}

uint8_t srmudp_message_flags(const srmudp_message *message) {
    return message->flags;
}

uint64_t srmudp_message_number(const srmudp_message *message) {
    return message->number;
}

srmudp_message *srmudp_message_next(const srmudp_message *message) {
    return message->next;
}

/* One that an event brought holds on to its connection (`owner`). */
void srmudp_message_free(srmudp_message *message) {
    if (message != NULL && message->owner != NULL)
        srm_connection_drop(message->owner);
    srm_message_free(message);
}

void srmudp_message_consume(srmudp_message *message) {
    srmudp_connection *connection = message->owner;
    if (connection == NULL || connection->endpoint == NULL || connection->released ||
        connection->endpoint->forgotten) {
        srmudp_message_free(message); /* nobody is left to give credit to */
        return;
    }
    message->kind = SRM_NODE_CONSUME;
    srm_endpoint_post(connection->endpoint, message);
    /* The engine has its own reference until a release, which would come after this in the mailbox. */
    srm_connection_drop(connection);
}
