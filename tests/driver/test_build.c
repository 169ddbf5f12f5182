#include "build.h"

#include <pthread.h>

#include "check.h"
#include "srmudp.h"

TEST(we_run_on_the_libuv_we_were_compiled_for) {
    CHECK(srm_build_check() == NULL);
}

TEST(libsodium_starts_as_often_as_asked) {
    CHECK(srm_build_start() && srm_build_start());
}

static void *read_info(void *out) {
    *(const char **)out = srmudp_build_info();
    return NULL;
}

TEST(the_build_is_told_in_words_to_any_thread) {
    pthread_t threads[4];
    const char *texts[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, read_info, &texts[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        CHECK(texts[i] == texts[0]);
    CHECK(strncmp(texts[0], "srmudp " SRMUDP_VERSION ", libuv 1.", 20) == 0);
    CHECK(strstr(texts[0], "libsodium") != NULL && strstr(texts[0], "ChaCha20-Poly1305") != NULL);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
