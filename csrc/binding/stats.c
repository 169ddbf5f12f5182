#include "binding.h"

#include <stddef.h>

/* Figures by their name in C; Python words (addresses, names, milliseconds) are added by hand. */
typedef struct srm_figure {
    const char *name;
    size_t offset;
} srm_figure;

static bool set_owned(PyObject *dict, const char *name, PyObject *value) {
    bool set = value != NULL && PyDict_SetItemString(dict, name, value) == 0;
    Py_XDECREF(value);
    return set;
}

static bool set_figures(PyObject *dict, const void *stats, const srm_figure *figures, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t *value = (const uint64_t *)(const void *)((const char *)stats + figures[i].offset);
        if (!set_owned(dict, figures[i].name, PyLong_FromUnsignedLongLong(*value)))
            return false;
    }
    return true;
}

/* Milliseconds, or None as long as it is not known. */
static PyObject *milliseconds(uint64_t microseconds) {
    if (microseconds == 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)microseconds / 1000.0);
}

static PyObject *aead_name(uint32_t aead) {
    static const char *const names[] = {NULL, "AEGIS-128L", "AES-256-GCM", "ChaCha20-Poly1305"};
    if (aead == 0 || aead >= sizeof names / sizeof *names)
        Py_RETURN_NONE;
    return PyUnicode_FromString(names[aead]);
}

PyObject *srm_py_connection_stats(const srmudp_stats *stats) {
#define FIGURE(name)                                                                                         \
    { #name, offsetof(srmudp_stats, name) }
    static const srm_figure figures[] = {
        FIGURE(messages_sent),    FIGURE(messages_received),   FIGURE(bytes_sent),
        FIGURE(bytes_received),   FIGURE(messages_unconsumed), FIGURE(bytes_unconsumed),
        FIGURE(packets_sent),     FIGURE(packets_received),    FIGURE(packets_lost),
        FIGURE(packets_spurious), FIGURE(udp_bytes_sent),      FIGURE(udp_bytes_received),
        FIGURE(bytes_in_flight),  FIGURE(congestion_window),   FIGURE(pacing_rate),
        FIGURE(dropped_forged),   FIGURE(dropped_replayed),    FIGURE(dropped_malformed),
        FIGURE(duplicates),       FIGURE(wrong_keys),          FIGURE(guesses_left),
    };
#undef FIGURE
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    bool set = set_owned(dict, "remote_address", srm_py_address(&stats->remote)) &&
               set_owned(dict, "attempt", PyLong_FromUnsignedLong(stats->attempt)) &&
               set_figures(dict, stats, figures, sizeof figures / sizeof *figures) &&
               set_owned(dict, "rtt_ms", milliseconds(stats->rtt_us)) &&
               set_owned(dict, "rtt_min_ms", milliseconds(stats->rtt_min_us)) &&
               set_owned(dict, "rtt_var_ms", milliseconds(stats->rtt_var_us)) &&
               set_owned(dict, "mtu", PyLong_FromUnsignedLong(stats->mtu)) &&
               set_owned(dict, "aead", aead_name(stats->aead));
    if (!set)
        Py_CLEAR(dict);
    return dict;
}

PyObject *srm_py_endpoint_stats(const srmudp_endpoint_stats *stats) {
#define FIGURE(name)                                                                                         \
    { #name, offsetof(srmudp_endpoint_stats, name) }
    static const srm_figure figures[] = {
        FIGURE(datagrams_received), FIGURE(datagrams_sent),  FIGURE(send_errors),
        FIGURE(dropped_malformed),  FIGURE(dropped_version), FIGURE(dropped_unknown),
        FIGURE(dropped_own),        FIGURE(dropped_budget),  FIGURE(dropped_cookie),
        FIGURE(dropped_replayed),   FIGURE(dropped_forged),  FIGURE(handshakes_completed),
        FIGURE(handshakes_failed),
    };
#undef FIGURE
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    if (!set_figures(dict, stats, figures, sizeof figures / sizeof *figures) ||
        !set_owned(dict, "connections", PyLong_FromUnsignedLong(stats->connections)))
        Py_CLEAR(dict);
    return dict;
}
