#include <stdbool.h>
#include <stdlib.h>

/* Memory that runs out on request, and how much was asked for. */
static bool no_memory;
static size_t asked;
static void *scarce_malloc(size_t size) {
    asked = size;
    return no_memory ? NULL : malloc(size);
}
#define malloc scarce_malloc
#include "message.c"
#undef malloc

#include "check.h"

/* The allocator's leftovers must not show: the fields are set, each of them. */
TEST(everything_but_the_bytes_is_set) {
    for (int round = 0; round < 2; round++) {
        srm_message *message = srm_message_new(100, 255, SRM_MESSAGE_TEXT);
        CHECK(message != NULL);
        CHECK(message->next == NULL && message->owner == NULL && message->ranges == NULL);
        CHECK_EQ(message->number, 0);
        CHECK_EQ(message->size, 100);
        CHECK_EQ(message->done, 0);
        CHECK_EQ(message->generation, 0);
        CHECK_EQ(message->channel, 255);
        CHECK_EQ(message->flags, SRM_MESSAGE_TEXT);
        CHECK_EQ(message->kind, 0);
        CHECK_EQ(message->state, 0);
        memset(message->data, 0xee, message->size);
        memset(message, 0xee, offsetof(srm_message, data));
        srm_message_free(message);
    }
}

TEST(bytes_are_aligned_and_there_are_as_many_as_asked_for) {
    static const uint32_t sizes[] = {0, 1, 7, 8, 9, 65535, 16u << 20};
    CHECK_EQ(offsetof(srm_message, data) % 8, 0);
    for (size_t i = 0; i < SRM_COUNT_OF(sizes); i++) {
        srm_message *message = srm_message_new(sizes[i], 0, 0);
        CHECK(message != NULL);
        CHECK_EQ((uintptr_t)message->data % 8, 0);
        CHECK(asked >= offsetof(srm_message, data) + sizes[i]);
        if (sizes[i] > 0)
            message->data[0] = message->data[sizes[i] - 1] = 1;
        srm_message_free(message);
    }
}

TEST(without_memory_there_is_no_message) {
    no_memory = true;
    CHECK(srm_message_new(1, 0, 0) == NULL);
    CHECK(srm_message_new(UINT32_MAX, 0, 0) == NULL);
    no_memory = false;
    CHECK(asked > UINT32_MAX); /* the sum does not wrap */
    srm_message_free(NULL);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
