/* build - what we run on: the libraries, started, named, and proved to be the ones we were compiled for; and
 * whether the process is still the one it was. */
#ifndef SRM_BUILD_H
#define SRM_BUILD_H

#include "../core/base.h"

/* Starts libsodium and counting forks; any thread, again does no harm. False: it can't (no entropy device, no
 * memory). */
bool srm_build_start(void);
/* How many forks lie between this process and the one that started: another count than before, and threads,
 * and whatever they held, stayed with the parent. Costs no system call, as getpid would. */
unsigned srm_build_forks(void);

/* NULL: fine. Else one sentence for an error message (static string): the libuv our calls reach is not the
 * one we were compiled for. That happens when another extension in the process exports its own copy of libuv
 * with RTLD_GLOBAL (uvloop does) and the dynamic linker binds ours to it. A newer libuv of the same major
 * version is fine, libuv keeps its ABI within one, so a system update does not break us; a mixture of two
 * copies, an older one, or one whose structures have other sizes is not. */
const char *srm_build_check(void);

#endif
