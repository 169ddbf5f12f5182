/* check - what a C unit test needs and no more. A test file is one program:
 *
 *     TEST(rangeset_merges_neighbours) { CHECK(...); CHECK_EQ(a, b); }
 *     int main(int argc, char **argv) { return check_main(argc, argv); }
 *
 * Every TEST registers itself. Arguments select tests by a part of their name. A failed CHECK prints where
 * and what, and ends that test; the program then exits with 1. The last line is "N passed, M failed".
 */
#ifndef CHECK_H
#define CHECK_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
} check_test;

static check_test *check_first, **check_last = &check_first;
static jmp_buf check_escape;

#define TEST(test_name)                                                                                      \
    static void test_name(void);                                                                             \
    __attribute__((constructor)) static void check_register_##test_name(void) {                              \
        static check_test test = {#test_name, test_name, NULL};                                              \
        *check_last = &test;                                                                                 \
        check_last = &test.next;                                                                             \
    }                                                                                                        \
    static void test_name(void)

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                        \
            longjmp(check_escape, 1);                                                                        \
        }                                                                                                    \
    } while (0)

#define CHECK_EQ(actual, expected)                                                                           \
    do {                                                                                                     \
        long long check_a = (long long)(actual), check_e = (long long)(expected);                            \
        if (check_a != check_e) {                                                                            \
            fprintf(stderr, "%s:%d: %s is %lld, expected %s = %lld\n", __FILE__, __LINE__, #actual, check_a, \
                    #expected, check_e);                                                                     \
            longjmp(check_escape, 1);                                                                        \
        }                                                                                                    \
    } while (0)

#define CHECK_MEM(actual, expected, size)                                                                    \
    do {                                                                                                     \
        if (memcmp((actual), (expected), (size)) != 0) {                                                     \
            fprintf(stderr, "%s:%d: bytes of %s differ from %s\n", __FILE__, __LINE__, #actual, #expected);  \
            longjmp(check_escape, 1);                                                                        \
        }                                                                                                    \
    } while (0)

/* A function of its own: one that calls setjmp may find its variables changed. */
static inline int check_passes(const check_test *test) {
    if (setjmp(check_escape) != 0)
        return 0;
    test->run();
    return 1;
}

static inline int check_main(int argc, char **argv) {
    int passed = 0, failed = 0;
    for (check_test *test = check_first; test != NULL; test = test->next) {
        int wanted = argc < 2;
        for (int i = 1; i < argc; i++)
            wanted |= strstr(test->name, argv[i]) != NULL;
        if (!wanted)
            continue;
        if (check_passes(test)) {
            passed++;
        } else {
            fprintf(stderr, "FAILED %s\n", test->name);
            failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
