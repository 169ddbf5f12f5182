#include "fuzz.h"

#include <sodium.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#endif

#ifdef HAS_ASAN
size_t __sanitizer_get_current_allocated_bytes(void); /* its header doesn't come with gcc */
#endif

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    FUZZ_CHECK(sodium_init() >= 0, "libsodium starts");
    return 0;
}

uint64_t fuzz_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

size_t fuzz_allocated(void) {
#ifdef HAS_ASAN
    return __sanitizer_get_current_allocated_bytes();
#else
    return 0;
#endif
}
