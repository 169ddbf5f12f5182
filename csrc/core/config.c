#include "base.h"

#include "../include/srmudp.h"

#define MESSAGE_MAX ((uint32_t)1 << 30)
#define MESSAGE_OVERHEAD 64 /* what a message costs of a buffer besides its bytes */
/* Far beyond any machine, and far below where sums of sizes would overflow. */
#define BUFFER_MAX ((uint64_t)1 << 40)

void srmudp_config_init(srmudp_config *config) {
    *config = (srmudp_config){
        .liveness = 10000,
        .liveness_in_flight = 3000,
        .keepalive_interval = 15000,
        .outage_limit = 3600000,
        .reconnect_delay = 1000,
        .close_timeout = 5000,
        .max_message_size = (uint32_t)16 << 20,
        .send_buffer = (uint64_t)64 << 20,
        .receive_buffer = (uint64_t)64 << 20,
        .congestion_control = SRMUDP_CONGESTION_BBR,
        .pmtu_discovery = true,
        .gso = true,
        .max_connections = 10000,
    };
}

typedef struct limits {
    const char *field;
    uint64_t value, least, most;
} limits;

srmudp_error srmudp_config_check(const srmudp_config *config, const char **field) {
    const limits all[] = {
        {"liveness", config->liveness, 1000, 600000},
        {"liveness_in_flight", config->liveness_in_flight, 500, 600000},
        {"keepalive_interval", config->keepalive_interval, 500, 3600000},
        {"reconnect_delay", config->reconnect_delay, 100, 60000},
        {"max_message_size", config->max_message_size, 1, MESSAGE_MAX},
        {"send_buffer", config->send_buffer, 1, BUFFER_MAX},
        /* Less could never hold the largest message, whose sender would wait for ever. */
        {"receive_buffer", config->receive_buffer, (uint64_t)config->max_message_size + MESSAGE_OVERHEAD,
         BUFFER_MAX},
        {"congestion_control", (uint64_t)config->congestion_control, 0, SRMUDP_CONGESTION_CUBIC},
        {"max_connections", config->max_connections, 1, UINT32_MAX},
    };
    for (size_t i = 0; i < SRM_COUNT_OF(all); i++)
        if (all[i].value < all[i].least || all[i].value > all[i].most) {
            *field = all[i].field;
            return SRMUDP_INVALID_ARGUMENT;
        }
    return SRMUDP_OK;
}
