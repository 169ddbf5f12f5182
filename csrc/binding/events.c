#include "binding.h"

/* The batch in the making, and the run of messages that is not in it yet. */
typedef struct srm_batch {
    endpoint_object *endpoint;
    PyObject *list;
    connection_object *run;
    Py_ssize_t run_length;
} srm_batch;

/* Appends a tuple; takes it, and fails with it. */
static bool append(srm_batch *batch, PyObject *tuple) {
    bool appended = tuple != NULL && PyList_Append(batch->list, tuple) == 0;
    Py_XDECREF(tuple);
    return appended;
}

static bool end_run(srm_batch *batch) {
    connection_object *run = batch->run;
    if (run == NULL)
        return true;
    batch->run = NULL;
    return append(batch, Py_BuildValue("(Nin)", (PyObject *)run, SRMUDP_EVENT_MESSAGE, batch->run_length));
}

static bool add_message(srm_batch *batch, connection_object *from, srm_message *message) {
    srm_py_connection_push(from, message);
    if (batch->run == from) {
        batch->run_length++;
        return true;
    }
    /* Whatever allocates may collect garbage, and `from` with it. */
    Py_INCREF((PyObject *)from);
    if (!end_run(batch)) {
        Py_DECREF((PyObject *)from);
        return false;
    }
    batch->run = from;
    batch->run_length = 1;
    return true;
}

static PyObject *fingerprint(const uint8_t bytes[32]) {
    for (int i = 0; i < 32; i++)
        if (bytes[i] != 0)
            return PyBytes_FromStringAndSize((const char *)bytes, 32);
    Py_RETURN_NONE;
}

/* The Messages of an UNDELIVERED event, and (channel, sequence) of each; takes the list. */
static PyObject *undelivered(const srm_batch *batch, srmudp_message *list) {
    PyObject *messages = PyList_New(0), *places = PyList_New(0);
    bool failed = messages == NULL || places == NULL;
    for (srmudp_message *next; list != NULL; list = next) {
        next = srmudp_message_next(list);
        if (failed) {
            srmudp_message_free(list);
            continue;
        }
        PyObject *place = Py_BuildValue("(iK)", (int)list->channel, (unsigned long long)list->sequence);
        PyObject *message = srm_py_message_new(batch->endpoint->state, NULL, list);
        if (message == NULL)
            srmudp_message_free(list);
        failed = place == NULL || message == NULL || PyList_Append(places, place) < 0 ||
                 PyList_Append(messages, message) < 0;
        Py_XDECREF(place);
        Py_XDECREF(message);
    }
    if (!failed)
        return Py_BuildValue("(NN)", messages, places);
    Py_XDECREF(messages);
    Py_XDECREF(places);
    return NULL;
}

static PyObject *listener_owner(const srm_batch *batch, const srmudp_listener *engine) {
    for (const listener_object *at = batch->endpoint->listeners; engine != NULL && at != NULL; at = at->next)
        if (at->engine == engine)
            return srm_py_owner(at->owner);
    Py_RETURN_NONE;
}

/* Nobody listens any more: the Connection ends with the tuple. */
static bool add_accepted(srm_batch *batch, const srmudp_event *event) {
    connection_object *connection = srm_py_connection_new(batch->endpoint, event->connection);
    if (connection == NULL)
        return false;
    return append(batch, Py_BuildValue("(NiN)", (PyObject *)connection, SRMUDP_EVENT_ACCEPTED,
                                       listener_owner(batch, event->listener)));
}

/* The tuple of any event but MESSAGE and ACCEPTED. */
static PyObject *describe(const srm_batch *batch, PyObject *from, const srmudp_event *event) {
    switch (event->kind) {
    case SRMUDP_EVENT_STATUS:
        return Py_BuildValue("(NiiiINN)", from, event->kind, (int)event->status, (int)event->reason,
                             (unsigned)event->attempt, srm_py_address(&event->remote),
                             fingerprint(event->fingerprint));
    case SRMUDP_EVENT_CONSUMED:
        return Py_BuildValue("(NiiK)", from, event->kind, (int)event->channel,
                             (unsigned long long)event->count);
    case SRMUDP_EVENT_WRONG_KEY:
        return Py_BuildValue("(NiK)", from, event->kind, (unsigned long long)event->count);
    case SRMUDP_EVENT_PEER_RESTARTED:
        return Py_BuildValue("(NiKK)", from, event->kind, (unsigned long long)event->count,
                             (unsigned long long)event->unknown);
    case SRMUDP_EVENT_PATH_CHANGED:
        return Py_BuildValue("(NiN)", from, event->kind, srm_py_address(&event->remote));
    case SRMUDP_EVENT_UNDELIVERED:
        return Py_BuildValue("(NiN)", from, event->kind, undelivered(batch, event->message));
    case SRMUDP_EVENT_CLOSED:
        return Py_BuildValue("(Niii)", from, event->kind, (int)event->status, (int)event->reason);
    case SRMUDP_EVENT_WRITABLE:
    case SRMUDP_EVENT_PEER_CLOSED:
    case SRMUDP_EVENT_MESSAGE:
    case SRMUDP_EVENT_ACCEPTED:
        break;
    }
    return Py_BuildValue("(Ni)", from, event->kind);
}

static bool add(srm_batch *batch, const srmudp_event *event) {
    if (event->kind == SRMUDP_EVENT_ACCEPTED)
        return end_run(batch) && add_accepted(batch, event);
    connection_object *from = srmudp_connection_user(event->connection);
    if (event->kind == SRMUDP_EVENT_MESSAGE)
        return add_message(batch, from, event->message);
    Py_INCREF((PyObject *)from);
    if (!end_run(batch)) {
        Py_DECREF((PyObject *)from);
        return false;
    }
    return append(batch, describe(batch, (PyObject *)from, event));
}

static PyObject *take_events(endpoint_object *endpoint, uint32_t limit) {
    srm_batch batch = {.endpoint = endpoint, .list = PyList_New(0)};
    if (batch.list == NULL)
        return NULL;
    bool added = true;
    srmudp_event event;
    /* Collecting garbage in between may close the endpoint. */
    while (added && limit-- > 0 && endpoint->engine != NULL &&
           srmudp_endpoint_next_event(endpoint->engine, &event))
        added = add(&batch, &event);
    added = end_run(&batch) && added;
    if (!added)
        Py_CLEAR(batch.list);
    return batch.list;
}

PyObject *srm_py_poll(PyObject *self, PyObject *argument) {
    endpoint_object *endpoint = (endpoint_object *)self;
    uint32_t limit;
    if (!srm_py_u32(argument, &limit))
        return NULL;
    endpoint->turn = SRM_PY_TURN;
    return take_events(endpoint, limit);
}

/* Costs a part of the turn, so that what else the loop has to do is not kept waiting for long. */
PyObject *srm_py_linger(PyObject *self, PyObject *argument) {
    endpoint_object *endpoint = (endpoint_object *)self;
    srmudp_endpoint *engine = endpoint->engine;
    uint32_t limit;
    if (!srm_py_u32(argument, &limit))
        return NULL;
    if (engine == NULL || endpoint->turn <= 0 || !srmudp_endpoint_expects(engine))
        Py_RETURN_NONE;
    endpoint->turn -= SRM_PY_TURN / SRM_PY_TURN_LINGERS;
    bool came;
    Py_BEGIN_ALLOW_THREADS came = srmudp_endpoint_linger(engine);
    Py_END_ALLOW_THREADS if (!came) Py_RETURN_NONE;
    return take_events(endpoint, limit);
}
