#include "lobby.h"

#include "check.h"
#include "hello.h"

#define NOW (50 * SRM_SECOND)

static srm_lobby lobby;
static uint8_t bytes[SRM_LOBBY_GUEST_MAX + 1];

static bool enter(srm_time now, uint64_t source, uint64_t name) {
    const srmudp_address from = {.ip = {1, 2, 3, 4}, .port = (uint16_t)name, .family = 4};
    bytes[0] = (uint8_t)name;
    return srm_lobby_enter(&lobby, now, source, name, &from, srm_span_of(bytes, SRM_HELLO_MIN_SIZE));
}

static uint64_t first(srm_time now, uint64_t source) {
    const srm_lobby_guest *guest = srm_lobby_first(&lobby, now, source);
    return guest != NULL ? guest->name : 0;
}

static uint64_t next(srm_time now) {
    const srm_lobby_guest *guest = srm_lobby_next(&lobby, now);
    return guest != NULL ? guest->name : 0;
}

TEST(an_empty_one_has_nobody) {
    srm_lobby_init(&lobby);
    CHECK_EQ(first(NOW, 1), 0);
    CHECK_EQ(next(NOW), 0);
    srm_lobby_leave(&lobby, 1);
    srm_lobby_expire(&lobby, NOW);
    CHECK_EQ(lobby.count, 0);
    srm_lobby_fini(&lobby);
}

TEST(who_came_first_is_first_of_its_source) {
    srm_lobby_init(&lobby);
    for (uint64_t name = 1; name <= 4; name++)
        CHECK(enter(NOW, name % 2, name));
    CHECK_EQ(first(NOW, 1), 1);
    CHECK_EQ(first(NOW, 0), 2);
    srm_lobby_leave(&lobby, 1);
    CHECK_EQ(first(NOW, 1), 3);
    srm_lobby_leave(&lobby, 3);
    CHECK_EQ(first(NOW, 1), 0);
    CHECK(enter(NOW, 1, 5));
    CHECK_EQ(first(NOW, 1), 5);
    CHECK_EQ(lobby.count, 3);
    srm_lobby_fini(&lobby);
    CHECK_EQ(lobby.count, 0);
}

TEST(the_middle_and_the_last_may_leave) {
    srm_lobby_init(&lobby);
    for (uint64_t name = 1; name <= 4; name++)
        CHECK(enter(NOW, 7, name));
    srm_lobby_leave(&lobby, 2);
    srm_lobby_leave(&lobby, 4);
    CHECK(enter(NOW, 7, 9));
    const uint64_t left[] = {1, 3, 9};
    for (size_t i = 0; i < SRM_COUNT_OF(left); i++) {
        CHECK_EQ(first(NOW, 7), left[i]);
        srm_lobby_leave(&lobby, left[i]);
    }
    CHECK_EQ(lobby.count, 0);
    srm_lobby_fini(&lobby);
}

TEST(sources_take_turns) {
    srm_lobby_init(&lobby);
    for (uint64_t name = 1; name <= 6; name++)
        CHECK(enter(NOW, name <= 4 ? 100 : name, name)); /* 100 has four, 5 and 6 one each */
    unsigned of_100 = 0;
    for (int i = 0; i < 30; i++)
        of_100 += next(NOW) <= 4;
    CHECK_EQ(of_100, 10);
    srm_lobby_fini(&lobby);
}

TEST(a_repetition_keeps_its_place_with_its_new_bytes) {
    srm_lobby_init(&lobby);
    CHECK(enter(NOW, 1, 1));
    CHECK(enter(NOW, 1, 2));
    const srmudp_address moved = {.ip = {1, 2, 3, 4}, .port = 999, .family = 4};
    bytes[0] = 77;
    CHECK(srm_lobby_enter(&lobby, NOW + SRM_SECOND, 1, 1, &moved, srm_span_of(bytes, SRM_HELLO_MIN_SIZE)));
    CHECK_EQ(lobby.count, 2);
    const srm_lobby_guest *guest = srm_lobby_first(&lobby, NOW + SRM_SECOND, 1);
    CHECK_EQ(guest->name, 1);
    CHECK_EQ(guest->data[0], 77);
    CHECK_EQ(guest->from.port, 999);
    CHECK_EQ(first(NOW + 2 * SRM_SECOND, 1), 1); /* and its patience begins anew */
    srm_lobby_fini(&lobby);
}

TEST(patience_ends) {
    srm_lobby_init(&lobby);
    CHECK(enter(NOW, 1, 1));
    CHECK(enter(NOW + SRM_MILLISECOND, 1, 2));
    CHECK(enter(NOW, 2, 3));
    CHECK_EQ(first(NOW + SRM_LOBBY_PATIENCE, 1), 1);
    CHECK_EQ(first(NOW + SRM_LOBBY_PATIENCE + 1, 1), 2);
    CHECK_EQ(lobby.count, 2);
    srm_lobby_expire(&lobby, NOW + SRM_LOBBY_PATIENCE + 1);
    CHECK_EQ(lobby.count, 1);
    CHECK_EQ(lobby.expired, 2);
    CHECK_EQ(next(NOW + SRM_LOBBY_PATIENCE + SRM_MILLISECOND + 1), 0);
    CHECK_EQ(lobby.expired, 3);
    srm_lobby_fini(&lobby);
}

TEST(guests_are_bounded) {
    srm_lobby_init(&lobby);
    for (uint64_t name = 1; name <= SRM_LOBBY_GUESTS; name++)
        CHECK(enter(NOW, name % 3, name));
    CHECK(!enter(NOW, 1, SRM_LOBBY_GUESTS + 1));
    CHECK(enter(NOW, 1, 1)); /* who is in stays in */
    srm_lobby_leave(&lobby, 1);
    CHECK(enter(NOW, 1, SRM_LOBBY_GUESTS + 1));
    CHECK_EQ(lobby.count, SRM_LOBBY_GUESTS);
    srm_lobby_fini(&lobby);
}

TEST(sources_are_bounded) {
    srm_lobby_init(&lobby);
    for (uint64_t source = 1; source <= SRM_LOBBY_SOURCES; source++)
        CHECK(enter(NOW, source, source));
    CHECK(!enter(NOW, 1000, 1000));
    srm_lobby_leave(&lobby, 5);
    CHECK(enter(NOW, 1000, 1000));
    CHECK_EQ(first(NOW, 1000), 1000);
    CHECK_EQ(first(NOW, 5), 0);
    srm_lobby_fini(&lobby);
}

TEST(a_long_hello_does_not_wait) {
    srm_lobby_init(&lobby);
    const srmudp_address from = {.port = 1, .family = 4};
    CHECK(!srm_lobby_enter(&lobby, NOW, 1, 1, &from, srm_span_of(bytes, SRM_LOBBY_GUEST_MAX + 1)));
    CHECK(srm_lobby_enter(&lobby, NOW, 1, 1, &from, srm_span_of(bytes, SRM_LOBBY_GUEST_MAX)));
    CHECK(enter(NOW, 1, 1)); /* of another length: the old bytes stay */
    CHECK_EQ(srm_lobby_first(&lobby, NOW, 1)->size, SRM_LOBBY_GUEST_MAX);
    srm_lobby_fini(&lobby);
}

/* The same HELLO from elsewhere, with a cookie of its own: it may not hide who is at the head of a queue. */
TEST(heard_from_another_source_it_stays_who_it_is) {
    static const srmudp_address elsewhere = {.ip = {9, 9, 9, 9}, .port = 9, .family = 4};
    srm_lobby_init(&lobby);
    CHECK(enter(NOW, 1, 77));
    CHECK(srm_lobby_enter(&lobby, NOW, 2, 77, &elsewhere, srm_span_of(bytes, SRM_HELLO_MIN_SIZE)));
    const srm_lobby_guest *guest = srm_lobby_first(&lobby, NOW, 1);
    CHECK(guest != NULL && guest->from.ip[0] == 1);
    srm_lobby_leave(&lobby, 77);
    CHECK_EQ(lobby.count, 0);
    CHECK_EQ(first(NOW, 1), 0);
    srm_lobby_fini(&lobby);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
