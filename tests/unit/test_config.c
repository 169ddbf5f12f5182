#include "check.h"

#include "base.h"
#include "srmudp.h"

TEST(defaults_are_within_the_limits) {
    srmudp_config config;
    const char *field = NULL;
    srmudp_config_init(&config);
    CHECK_EQ(srmudp_config_check(&config, &field), SRMUDP_OK);
    CHECK(field == NULL);
    CHECK_EQ(config.max_message_size, 16 << 20);
    CHECK_EQ(config.outage_limit, 3600000);
    CHECK(config.pmtu_discovery && config.gso);
}

/* Writes a value into a field of 4 or 8 bytes and tells what the check says. */
static srmudp_error check_with(size_t offset, size_t size, uint64_t value, const char **field) {
    srmudp_config config;
    srmudp_config_init(&config);
    config.receive_buffer = (uint64_t)1 << 40; /* enough for any max_message_size */
    uint32_t narrow = (uint32_t)value;
    memcpy((uint8_t *)&config + offset, size == 4 ? (void *)&narrow : (void *)&value, size);
    *field = "";
    return srmudp_config_check(&config, field);
}

TEST(each_limit_is_where_it_is_said_to_be) {
    const struct {
        const char *name;
        size_t offset, size;
        uint64_t least, most;
    } limits[] = {
#define LIMIT(field, least, most)                                                                            \
    {#field, offsetof(srmudp_config, field), sizeof(((srmudp_config *)0)->field), least, most}
        LIMIT(liveness, 1000, 600000),
        LIMIT(liveness_in_flight, 500, 600000),
        LIMIT(keepalive_interval, 500, 3600000),
        LIMIT(reconnect_delay, 100, 60000),
        LIMIT(max_message_size, 1, 1 << 30),
        LIMIT(send_buffer, 1, (uint64_t)1 << 40),
        LIMIT(receive_buffer, (16 << 20) + 64, (uint64_t)1 << 40),
        LIMIT(max_connections, 1, UINT32_MAX),
#undef LIMIT
    };
    const char *field;
    for (size_t i = 0; i < SRM_COUNT_OF(limits); i++) {
        CHECK_EQ(check_with(limits[i].offset, limits[i].size, limits[i].least, &field), SRMUDP_OK);
        CHECK_EQ(check_with(limits[i].offset, limits[i].size, limits[i].most, &field), SRMUDP_OK);
        CHECK_EQ(check_with(limits[i].offset, limits[i].size, limits[i].least - 1, &field),
                 SRMUDP_INVALID_ARGUMENT);
        CHECK(strcmp(field, limits[i].name) == 0);
        if (limits[i].most == UINT32_MAX)
            continue;
        CHECK_EQ(check_with(limits[i].offset, limits[i].size, limits[i].most + 1, &field),
                 SRMUDP_INVALID_ARGUMENT);
        CHECK(strcmp(field, limits[i].name) == 0);
    }
}

TEST(an_outage_may_last_for_ever_or_not_at_all) {
    srmudp_config config;
    const char *field;
    srmudp_config_init(&config);
    config.outage_limit = SRMUDP_FOR_EVER;
    CHECK_EQ(srmudp_config_check(&config, &field), SRMUDP_OK);
    config.outage_limit = 0;
    CHECK_EQ(srmudp_config_check(&config, &field), SRMUDP_OK);
}

TEST(the_first_field_out_of_range_is_named) {
    srmudp_config config;
    const char *field = NULL;
    srmudp_config_init(&config);
    config.liveness = 1;
    config.max_connections = 0;
    CHECK_EQ(srmudp_config_check(&config, &field), SRMUDP_INVALID_ARGUMENT);
    CHECK(strcmp(field, "liveness") == 0);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
