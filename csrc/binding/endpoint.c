#include "binding.h"

#include <string.h>
#include <structmember.h>

/* ---- Binding ---- */

static bool parse_identity(PyObject *object, srmudp_config *config) {
    if (object == Py_None)
        return true;
    if (!PyBytes_Check(object) || PyBytes_Size(object) != 32) {
        PyErr_SetString(PyExc_ValueError, "identity must be 32 bytes");
        return false;
    }
    config->identity_seed = (const uint8_t *)PyBytes_AsString(object);
    return true;
}

/* What bind() was given; borrowed from its arguments, but for `policy`. */
typedef struct binding_arguments {
    PyObject *loop;
    const char *host;
    uint16_t port;
    srmudp_config config;
    struct srm_policy *policy;
} binding_arguments;

static bool check_config(const srmudp_config *config) {
    const char *field;
    if (srmudp_config_check(config, &field) == SRMUDP_OK)
        return true;
    PyErr_Format(PyExc_ValueError, "%s is out of its range", field);
    return false;
}

static bool parse_arguments(PyObject *args, PyObject *kwargs, binding_arguments *out) {
    static char *names[] = {"loop",
                            "host",
                            "port",
                            "liveness",
                            "liveness_in_flight",
                            "keepalive_interval",
                            "outage_limit",
                            "reconnect_delay",
                            "close_timeout",
                            "max_message_size",
                            "send_buffer",
                            "receive_buffer",
                            "congestion_control",
                            "pmtu_discovery",
                            "gso",
                            "max_connections",
                            "identity",
                            "policy",
                            NULL};
    srmudp_config *config = &out->config;
    int congestion = 0, pmtu_discovery, gso;
    PyObject *identity, *policy;
    srmudp_config_init(config);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OsO&O&O&O&O&O&O&O&O&O&ippO&OO!:Endpoint", names,
                                     &out->loop, &out->host, srm_py_u16, &out->port, srm_py_u32,
                                     &config->liveness, srm_py_u32, &config->liveness_in_flight, srm_py_u32,
                                     &config->keepalive_interval, srm_py_u32, &config->outage_limit,
                                     srm_py_u32, &config->reconnect_delay, srm_py_u32, &config->close_timeout,
                                     srm_py_u32, &config->max_message_size, srm_py_u64, &config->send_buffer,
                                     srm_py_u64, &config->receive_buffer, &congestion, &pmtu_discovery, &gso,
                                     srm_py_u32, &config->max_connections, &identity, &PyTuple_Type, &policy))
        return false;
    config->congestion_control = congestion == 0 ? SRMUDP_CONGESTION_BBR : SRMUDP_CONGESTION_CUBIC;
    config->pmtu_discovery = pmtu_discovery != 0;
    config->gso = gso != 0;
    if (!parse_identity(identity, config) || !check_config(config) || !srm_policy_parse(policy, &out->policy))
        return false;
    if (out->policy != NULL) {
        config->allow = srm_policy_allow;
        config->allow_context = out->policy;
    }
    return true;
}

static PyObject *endpoint_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    module_state *state = PyType_GetModuleState(type);
    binding_arguments arguments = {0};
    if (!parse_arguments(args, kwargs, &arguments))
        return NULL;
    endpoint_object *self = (endpoint_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        srm_policy_free(arguments.policy);
        return NULL;
    }
    self->state = state;
    self->policy = arguments.policy;
    self->turn = SRM_PY_TURN;
    Py_INCREF(arguments.loop);
    self->loop = arguments.loop;
    srmudp_endpoint *engine = NULL;
    srmudp_error error;
    Py_BEGIN_ALLOW_THREADS error =
        srmudp_endpoint_bind(arguments.host, arguments.port, &arguments.config, &engine);
    Py_END_ALLOW_THREADS if (error != SRMUDP_OK) {
        (void)srm_py_fail(state, error);
        Py_DECREF(self);
        return NULL;
    }
    self->engine = engine;
    return (PyObject *)self;
}

/* ---- Ending ---- */

/* Takes the engine out: what it carried answers as closed from now on. */
static srmudp_endpoint *take_engine(endpoint_object *self) {
    srmudp_endpoint *engine = self->engine;
    self->engine = NULL;
    while (self->connections != NULL)
        srm_py_connection_orphan(self->connections);
    while (self->listeners != NULL)
        srm_py_listener_orphan(self->listeners);
    return engine;
}

static PyObject *endpoint_close(PyObject *object, PyObject *unused) {
    (void)unused;
    srmudp_endpoint *engine = take_engine((endpoint_object *)object);
    if (engine != NULL) {
        Py_BEGIN_ALLOW_THREADS srmudp_endpoint_close(engine);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

static PyObject *endpoint_forget(PyObject *object, PyObject *unused) {
    (void)unused;
    srmudp_endpoint *engine = take_engine((endpoint_object *)object);
    if (engine != NULL) {
        srmudp_endpoint_forget(engine);
        srmudp_endpoint_close(engine);
    }
    Py_RETURN_NONE;
}

static int endpoint_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((endpoint_object *)object)->loop);
    return 0;
}

static int endpoint_clear(PyObject *object) {
    Py_CLEAR(((endpoint_object *)object)->loop);
    return 0;
}

static void endpoint_dealloc(PyObject *object) {
    endpoint_object *self = (endpoint_object *)object;
    PyObject_GC_UnTrack(object);
    srmudp_endpoint *engine = take_engine(self);
    if (engine != NULL)
        srmudp_endpoint_close(engine);
    srm_policy_free(self->policy);
    (void)endpoint_clear(object);
    srm_py_free_instance(object);
}

/* ---- Opening ---- */

static bool check_open(const endpoint_object *self) {
    if (self->engine != NULL)
        return true;
    (void)srm_py_fail(self->state, SRMUDP_CLOSED);
    return false;
}

static PyObject *endpoint_open(PyObject *object, PyObject *args) {
    endpoint_object *self = (endpoint_object *)object;
    srmudp_target target = {0};
    Py_ssize_t key_size;
    const char *key;
    if (!PyArg_ParseTuple(args, "sO&y#s:open", &target.host, srm_py_u16, &target.port, &key, &key_size,
                          &target.label) ||
        !check_open(self))
        return NULL;
    target.key = key;
    target.key_size = (size_t)key_size;
    srmudp_connection *connection;
    srmudp_error error = srmudp_endpoint_open(self->engine, &target, &connection);
    if (error != SRMUDP_OK)
        return srm_py_fail(self->state, error);
    return (PyObject *)srm_py_connection_new(self, connection);
}

static PyObject *endpoint_listen(PyObject *object, PyObject *args) {
    endpoint_object *self = (endpoint_object *)object;
    const char *key, *label;
    Py_ssize_t key_size;
    if (!PyArg_ParseTuple(args, "y#s:listen", &key, &key_size, &label) || !check_open(self))
        return NULL;
    listener_object *listener = srm_py_listener_new(self);
    if (listener == NULL)
        return NULL;
    srmudp_error error =
        srmudp_endpoint_listen(self->engine, key, (size_t)key_size, label, listener, &listener->engine);
    if (error == SRMUDP_OK)
        return (PyObject *)listener;
    Py_DECREF(listener);
    return srm_py_fail(self->state, error);
}

/* ---- Asking ---- */

static PyObject *endpoint_fileno(PyObject *object, PyObject *unused) {
    const endpoint_object *self = (endpoint_object *)object;
    (void)unused;
    return PyLong_FromLong(self->engine == NULL ? -1 : srmudp_endpoint_fd(self->engine));
}

static PyObject *endpoint_addresses(PyObject *object, PyObject *unused) {
    const endpoint_object *self = (endpoint_object *)object;
    (void)unused;
    if (!check_open(self))
        return NULL;
    srmudp_address addresses[2];
    size_t count = srmudp_endpoint_addresses(self->engine, addresses);
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *address = srm_py_address(&addresses[i]);
        if (address == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)i, address) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *endpoint_stats(PyObject *object, PyObject *unused) {
    const endpoint_object *self = (endpoint_object *)object;
    (void)unused;
    srmudp_endpoint_stats stats = {0};
    if (self->engine != NULL)
        srmudp_endpoint_get_stats(self->engine, &stats);
    return srm_py_endpoint_stats(&stats);
}

static PyObject *endpoint_rest(PyObject *object, PyObject *unused) {
    (void)unused;
    ((endpoint_object *)object)->turn = SRM_PY_TURN;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"open", endpoint_open, METH_VARARGS,
     "open($self, host, port, key, label, /)\n--\n\nA Connection of the engine. Raises Failure."},
    {"listen", endpoint_listen, METH_VARARGS,
     "listen($self, key, label, /)\n--\n\nA Listener of the engine. Raises Failure."},
    {"poll", srm_py_poll, METH_O,
     "poll($self, limit, /)\n--\n\n"
     "Takes up to `limit` waiting events: a list of (Connection, kind, ...), in the order things happened. "
     "Messages\n"
     "stay with their Connection; a run of them is one event with their count."},
    {"linger", srm_py_linger, METH_O,
     "linger($self, limit, /)\n--\n\n"
     "The same for an answer that is expected at once: waits for it without sleeping, for at most 50 us. "
     "None: "
     "none is\nexpected, or came."},
    {"rest", endpoint_rest, METH_NOARGS,
     "rest($self, /)\n--\n\nThe loop has run: there may be sent and received again."},
    {"fileno", endpoint_fileno, METH_NOARGS,
     "fileno($self, /)\n--\n\nA descriptor that is readable while events wait; -1 when closed."},
    {"addresses", endpoint_addresses, METH_NOARGS,
     "addresses($self, /)\n--\n\nThe bound addresses, IPv4 first."},
    {"stats", endpoint_stats, METH_NOARGS, "stats($self, /)\n--\n\nA dict of figures."},
    {"close", endpoint_close, METH_NOARGS,
     "close($self, /)\n--\n\nEnds the engine's thread and all it carries, at once."},
    {"forget", endpoint_forget, METH_NOARGS,
     "forget($self, /)\n--\n\nThe same in a forked child, without touching anything."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)"An endpoint of the engine, bound when it is made. Raises Failure."},
    {Py_tp_new, (void *)endpoint_new},
    {Py_tp_traverse, (void *)endpoint_traverse},
    {Py_tp_clear, (void *)endpoint_clear},
    {Py_tp_dealloc, (void *)endpoint_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec srm_py_endpoint_spec = {
    .name = "autoprox._srmudp.Endpoint",
    .basicsize = sizeof(endpoint_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
