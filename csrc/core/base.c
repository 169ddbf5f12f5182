#include "base.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void srm_assert_failed(const char *file, int line, const char *expression) {
    fprintf(stderr, "srmudp: broken invariant at %s:%d: %s\n", file, line, expression);
    abort();
}
