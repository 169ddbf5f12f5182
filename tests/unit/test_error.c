#include "check.h"

#include <stdbool.h>

#include "srmudp.h"

static const char *const table_names[] = {
#define SRMUDP_X(name, python, text) #name,
    SRMUDP_ERROR_TABLE(SRMUDP_X)
#undef SRMUDP_X
};
#define ROWS (sizeof table_names / sizeof table_names[0])

static bool is_lower_case_of(const char *lower, const char *upper) {
    for (; *upper != '\0'; lower++, upper++) {
        char expected = *upper >= 'A' && *upper <= 'Z' ? (char)(*upper - 'A' + 'a') : *upper;
        if (*lower != expected)
            return false;
    }
    return *lower == '\0';
}

TEST(names_are_those_of_the_table_in_lower_case) {
    for (unsigned i = 0; i < ROWS; i++)
        CHECK(is_lower_case_of(srmudp_error_name((srmudp_error)i), table_names[i]));
}

TEST(each_error_has_its_words_and_class) {
    for (unsigned i = 0; i < ROWS; i++) {
        CHECK(strlen(srmudp_error_text((srmudp_error)i)) > 3);
        CHECK(srmudp_error_python((srmudp_error)i) != NULL);
    }
    CHECK(strcmp(srmudp_error_python(SRMUDP_INVALID_KEY), "InvalidKey") == 0);
    CHECK(strcmp(srmudp_error_python(SRMUDP_AGAIN), "") == 0);
    CHECK(strcmp(srmudp_error_text(SRMUDP_OK), "no error") == 0);
}

TEST(a_number_that_is_no_error_gets_words_too) {
    CHECK(strcmp(srmudp_error_name((srmudp_error)ROWS), "unknown") == 0);
    CHECK(strcmp(srmudp_error_text((srmudp_error)-1), "no such error") == 0);
    CHECK(strcmp(srmudp_error_python((srmudp_error)1000), "Error") == 0);
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
