#include "../include/srmudp.h"

/* The three columns of SRMUDP_ERROR_TABLE; the enumeration numbers its rows from 0. */

static const char *const texts[] = {
#define SRMUDP_X(name, python, text) (text),
    SRMUDP_ERROR_TABLE(SRMUDP_X)
#undef SRMUDP_X
};

static const char *const classes[] = {
#define SRMUDP_X(name, python, text) python,
    SRMUDP_ERROR_TABLE(SRMUDP_X)
#undef SRMUDP_X
};

/* The preprocessor cannot write in lower case: these are checked against the table by the unit test. */
static const char *const names[] = {
    "ok",
    "again",
    "invalid_address",
    "invalid_key",
    "invalid_argument",
    "port_in_use",
    "address_busy",
    "connect_timeout",
    "wrong_key",
    "connection_lost",
    "peer_restarted",
    "peer_busy",
    "peer_closed",
    "undelivered",
    "closed",
    "message_too_large",
    "peer_message_limit",
    "policy_denied",
    "protocol_violation",
    "version_mismatch",
    "liveness",
    "too_many",
    "no_memory",
    "system",
};

#define ROWS (sizeof texts / sizeof texts[0])
_Static_assert(sizeof names / sizeof names[0] == ROWS, "a name for each error");

/* A number that is no error comes from a caller's mistake: it gets words too. */
static const char *lookup(const char *const column[], srmudp_error error, const char *otherwise) {
    return (unsigned)error < ROWS ? column[error] : otherwise;
}

const char *srmudp_error_text(srmudp_error error) {
    return lookup(texts, error, "no such error");
}

const char *srmudp_error_name(srmudp_error error) {
    return lookup(names, error, "unknown");
}

const char *srmudp_error_python(srmudp_error error) {
    return lookup(classes, error, "Error");
}
