#include "build.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <uv.h>

#include "../core/aead.h"
#include "../include/srmudp.h"

/* ---- Forks ---- */

/* Written in a child before it has a second thread. */
static _Atomic unsigned forks;
static bool forks_counted;
static pthread_once_t forks_once = PTHREAD_ONCE_INIT;

static void in_child(void) {
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void count_forks(void) {
    forks_counted = pthread_atfork(NULL, NULL, in_child) == 0;
}

unsigned srm_build_forks(void) {
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

bool srm_build_start(void) {
    pthread_once(&forks_once, count_forks);
    return forks_counted && sodium_init() >= 0;
}

/* ---- Is it our libuv? ---- */

static bool version_fits(unsigned version) {
    return version >> 16 == UV_VERSION_MAJOR && version >= UV_VERSION_HEX;
}

static bool sizes_fit(void) {
    return uv_loop_size() == sizeof(uv_loop_t) && uv_handle_size(UV_POLL) == sizeof(uv_poll_t) &&
           uv_handle_size(UV_ASYNC) == sizeof(uv_async_t) && uv_handle_size(UV_IDLE) == sizeof(uv_idle_t) &&
           uv_handle_size(UV_PREPARE) == sizeof(uv_prepare_t) &&
           uv_handle_size(UV_TIMER) == sizeof(uv_timer_t);
}

typedef void (*function)(void);

/* Where the code of a function was loaded; NULL when the system can't tell. POSIX makes function pointers
 * and data pointers alike, ISO C does not. */
static const void *home_of(function f) {
    union {
        function f;
        const void *address;
    } pun = {.f = f};
    Dl_info info;
    return dladdr(pun.address, &info) != 0 ? info.dli_fbase : NULL;
}

static bool one_library(void) {
    const function used[] = {(function)uv_version,    (function)uv_loop_init,  (function)uv_loop_close,
                             (function)uv_run,        (function)uv_poll_init,  (function)uv_poll_start,
                             (function)uv_async_init, (function)uv_async_send, (function)uv_prepare_init,
                             (function)uv_idle_init,  (function)uv_close,      (function)uv_walk};
    for (size_t i = 1; i < SRM_COUNT_OF(used); i++)
        if (home_of(used[i]) != home_of(used[0]))
            return false;
    return true;
}

const char *srm_build_check(void) {
    if (!one_library())
        return "the process holds two copies of libuv and this library's calls reach both; load it before "
               "the other one, or don't load the other with RTLD_GLOBAL";
    if (!version_fits(uv_version()) || !sizes_fit())
        return "the libuv in this process is not the one this library was compiled for; another extension's "
               "copy hides it (RTLD_GLOBAL), or it must be compiled again";
    return NULL;
}

/* ---- In words ---- */

static char info[160];
static pthread_once_t info_once = PTHREAD_ONCE_INIT;

static const char *aead_names[] = {"", ", AEGIS-128L", ", AES-256-GCM", ", ChaCha20-Poly1305"};

static void write_info(void) {
    (void)srm_build_start(); /* it finds out what the processor can do */
    uint8_t kinds[SRM_AEAD_KINDS];
    size_t count = srm_aead_list(kinds);
    int size = snprintf(info, sizeof info, "srmudp %s, libuv %s, libsodium %s", SRMUDP_VERSION,
                        uv_version_string(), sodium_version_string());
    for (size_t i = 0; i < count && size > 0 && (size_t)size < sizeof info; i++)
        size += snprintf(info + size, sizeof info - (size_t)size, "%s", aead_names[kinds[i]]);
}

const char *srmudp_build_info(void) {
    pthread_once(&info_once, write_info);
    return info;
}
