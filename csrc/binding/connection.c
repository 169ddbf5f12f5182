#include "binding.h"

#include <string.h>
#include <structmember.h>

/* ---- Messages that came ---- */

void srm_py_connection_push(connection_object *self, srm_message *message) {
    message->next = NULL;
    if (self->last != NULL)
        self->last->next = message;
    else
        self->first = message;
    self->last = message;
    self->pending++;
}

static srm_message *pop(connection_object *self) {
    srm_message *message = self->first;
    if (message == NULL)
        return NULL;
    self->first = message->next;
    if (self->first == NULL)
        self->last = NULL;
    self->pending--;
    message->next = NULL;
    return message;
}

/* Back to the front: it could not be given. */
static void unpop(connection_object *self, srm_message *message) {
    message->next = self->first;
    self->first = message;
    if (self->last == NULL)
        self->last = message;
    self->pending++;
}

/* ---- Lanes: consumption in order ---- */

static srm_lane *find_lane(const connection_object *self, uint8_t channel) {
    return channel < self->lane_count ? &self->lanes[channel] : NULL;
}

static srm_lane *ensure_lane(connection_object *self, uint8_t channel) {
    if (channel < self->lane_count)
        return &self->lanes[channel];
    size_t count = (size_t)channel + 1;
    srm_lane *lanes = PyMem_Realloc(self->lanes, count * sizeof *lanes);
    if (lanes == NULL)
        return NULL;
    memset(lanes + self->lane_count, 0, (count - self->lane_count) * sizeof *lanes);
    self->lanes = lanes;
    self->lane_count = count;
    return &lanes[channel];
}

static void lane_append(srm_lane *lane, srm_message *message, uint8_t consumed) {
    message->next = NULL;
    message->state = consumed;
    if (lane->last != NULL)
        lane->last->next = message;
    else
        lane->first = message;
    lane->last = message;
}

/* Ends what the engine knows of a message: it was consumed, or there is nobody any more to tell. */
static void settle(const connection_object *self, srm_message *message, bool consumed) {
    if (consumed && self->endpoint != NULL && self->endpoint->engine != NULL)
        srmudp_message_consume(message);
    else
        srmudp_message_free(message);
}

static void lane_advance(const connection_object *self, srm_lane *lane) {
    while (lane->first != NULL && lane->first->state != 0) {
        srm_message *message = lane->first;
        lane->first = message->next;
        if (lane->first == NULL)
            lane->last = NULL;
        settle(self, message, !lane->broken);
    }
}

void srm_py_connection_consume(connection_object *self, srm_message *message) {
    message->state = 1;
    lane_advance(self, &self->lanes[message->channel]);
}

void srm_py_connection_drop(connection_object *self, srm_message *message) {
    srm_lane *lane = &self->lanes[message->channel];
    srm_message *before = NULL;
    for (srm_message *at = lane->first; at != message; at = at->next)
        before = at;
    if (before != NULL)
        before->next = message->next;
    else
        lane->first = message->next;
    if (lane->last == message)
        lane->last = before;
    srmudp_message_free(message);
    lane->broken = true;
    lane_advance(self, lane);
}

/* A message that is consumed as it is given out; behind others of its channel that aren't, it waits. */
static void consume_taken(connection_object *self, srm_message *message) {
    srm_lane *lane = find_lane(self, message->channel);
    if (lane == NULL || (lane->first == NULL && !lane->broken)) {
        settle(self, message, true);
        return;
    }
    lane_append(lane, message, 1);
    lane_advance(self, lane);
}

/* ---- Turns ---- */

/* Whether the running loop is the endpoint's. -1 with an exception. */
static int on_our_loop(const connection_object *self) {
    const endpoint_object *endpoint = self->endpoint;
    if (endpoint->loop == NULL || endpoint->loop == Py_None)
        return 1;
    PyObject *running = PyObject_CallNoArgs(self->state->running_loop);
    if (running == NULL)
        return -1;
    int same = running == endpoint->loop;
    Py_DECREF(running);
    return same;
}

static void spend(connection_object *self, size_t size) {
    self->endpoint->turn -= (int64_t)size + SRM_PY_TURN_COST;
}

/* Whether a receive may be answered at once. -1 with an exception. */
static int may_take(const connection_object *self) {
    if (self->first == NULL || self->handed || self->endpoint->turn <= 0)
        return 0;
    return on_our_loop(self);
}

/* ---- Receiving ---- */

static PyObject *connection_receive(PyObject *object, PyObject *unused) {
    connection_object *self = (connection_object *)object;
    (void)unused;
    int may = may_take(self);
    if (may < 0)
        return NULL;
    if (may == 0)
        Py_RETURN_NONE;
    srm_message *message = pop(self);
    PyObject *bytes = srm_py_bytes(message);
    if (bytes == NULL) {
        unpop(self, message);
        return NULL;
    }
    spend(self, srmudp_message_size(message));
    consume_taken(self, message);
    return bytes;
}

static PyObject *connection_receive_message(PyObject *object, PyObject *unused) {
    connection_object *self = (connection_object *)object;
    (void)unused;
    int may = may_take(self);
    if (may < 0)
        return NULL;
    if (may == 0)
        Py_RETURN_NONE;
    srm_message *message = pop(self);
    PyObject *result = srm_py_message_copy(self->state, message);
    if (result == NULL) {
        unpop(self, message);
        return NULL;
    }
    spend(self, srmudp_message_size(message));
    consume_taken(self, message);
    return result;
}

/* For callbacks: no turns, since the caller counts, and the Message has to be consumed. */
static PyObject *connection_take(PyObject *object, PyObject *unused) {
    connection_object *self = (connection_object *)object;
    (void)unused;
    if (self->first == NULL)
        Py_RETURN_NONE;
    srm_lane *lane = ensure_lane(self, self->first->channel);
    if (lane == NULL)
        return PyErr_NoMemory();
    PyObject *result = srm_py_message_new(self->state, self, self->first);
    if (result != NULL)
        lane_append(lane, pop(self), 0);
    return result;
}

/* ---- Sending ---- */

/* What is sent: borrowed bytes, and the buffer to give back. */
typedef struct srm_payload {
    const char *data;
    Py_ssize_t size;
    uint8_t flags;
    Py_buffer buffer; /* `obj` NULL: none */
} srm_payload;

static bool payload_open(PyObject *object, srm_payload *out) {
    out->flags = 0;
    out->buffer.obj = NULL;
    if (PyBytes_CheckExact(object)) {
        out->data = PyBytes_AsString(object);
        out->size = PyBytes_Size(object);
        return true;
    }
    if (PyUnicode_Check(object)) {
        out->data = PyUnicode_AsUTF8AndSize(object, &out->size);
        out->flags = SRMUDP_TEXT;
        return out->data != NULL;
    }
    if (!PyObject_CheckBuffer(object)) {
        PyErr_Format(PyExc_TypeError, "a message is str or bytes-like, not %R", (PyObject *)Py_TYPE(object));
        return false;
    }
    if (PyObject_GetBuffer(object, &out->buffer, PyBUF_SIMPLE) < 0)
        return false;
    out->data = out->buffer.buf;
    out->size = out->buffer.len;
    return true;
}

static void payload_close(srm_payload *payload) {
    if (payload->buffer.obj != NULL)
        PyBuffer_Release(&payload->buffer);
}

static srm_message *copy_payload(const srm_payload *payload, uint8_t channel) {
    size_t size = (size_t)payload->size;
    srm_message *message = srmudp_message_new(size, channel, payload->flags);
    if (message == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (size < SRM_PY_LARGE_COPY) {
        memcpy(message->data, payload->data, size);
        return message;
    }
    Py_BEGIN_ALLOW_THREADS memcpy(message->data, payload->data, size);
    Py_END_ALLOW_THREADS return message;
}

/* Hands `message` over, or parks it; takes it in any case. */
static int hand_over(connection_object *self, srm_message *message) {
    srm_lane *lane = ensure_lane(self, message->channel);
    if (lane == NULL) {
        srmudp_message_free(message);
        return SRMUDP_NO_MEMORY;
    }
    size_t size = srmudp_message_size(message);
    srmudp_error error =
        self->engine == NULL ? SRMUDP_CLOSED : srmudp_connection_send(self->engine, message, &lane->sent);
    if (error == SRMUDP_OK) {
        spend(self, size);
        return SRMUDP_OK;
    }
    if (error == SRMUDP_AGAIN && lane->parked == NULL) {
        lane->parked = message;
        return SRM_PY_PARKED;
    }
    srmudp_message_free(message);
    return error == SRMUDP_AGAIN ? SRM_PY_NOT_TRIED : (int)error;
}

static int parse_channel(PyObject *object) {
    long channel = PyLong_AsLong(object);
    if (channel == -1 && PyErr_Occurred())
        return -1;
    if (channel < 0 || channel > UINT8_MAX) {
        PyErr_Format(PyExc_ValueError, "channel must be from 0 to 255, not %ld", channel);
        return -1;
    }
    return (int)channel;
}

/* -1 with an exception, else what send answers. */
static PyObject *send_payload(connection_object *self, PyObject *data, int channel) {
    srm_payload payload;
    if (!payload_open(data, &payload))
        return NULL;
    srm_message *message = copy_payload(&payload, (uint8_t)channel);
    payload_close(&payload);
    return message == NULL ? NULL : PyLong_FromLong(hand_over(self, message));
}

static PyObject *connection_send(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    connection_object *self = (connection_object *)object;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "send(data, channel)");
        return NULL;
    }
    int channel = parse_channel(args[1]);
    if (channel < 0)
        return NULL;
    const srm_lane *lane = find_lane(self, (uint8_t)channel);
    if (self->engine == NULL || (lane != NULL && lane->waiting > 0) || self->endpoint->turn <= 0)
        return PyLong_FromLong(SRM_PY_NOT_TRIED);
    int ours = on_our_loop(self);
    if (ours < 0)
        return NULL;
    return ours ? send_payload(self, args[0], channel) : PyLong_FromLong(SRM_PY_NOT_TRIED);
}

/* For the sender whose turn it is: sends what it parked, else the data. */
static PyObject *connection_send_waiting(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    connection_object *self = (connection_object *)object;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "send_waiting(data, channel)");
        return NULL;
    }
    int channel = parse_channel(args[1]);
    if (channel < 0)
        return NULL;
    srm_lane *lane = find_lane(self, (uint8_t)channel);
    srm_message *parked = lane != NULL ? lane->parked : NULL;
    if (parked == NULL)
        return send_payload(self, args[0], channel);
    lane->parked = NULL;
    return PyLong_FromLong(hand_over(self, parked));
}

static void free_parked(srm_lane *lane) {
    if (lane->parked != NULL)
        srmudp_message_free(lane->parked);
    lane->parked = NULL;
}

/* The lane that a call with a channel is about; NULL with an exception. */
static srm_lane *lane_of(PyObject *object, PyObject *argument) {
    int channel = parse_channel(argument);
    srm_lane *lane = channel >= 0 ? ensure_lane((connection_object *)object, (uint8_t)channel) : NULL;
    if (lane == NULL && channel >= 0)
        (void)PyErr_NoMemory();
    return lane;
}

static PyObject *connection_unpark(PyObject *object, PyObject *channel) {
    srm_lane *lane = lane_of(object, channel);
    if (lane == NULL)
        return NULL;
    free_parked(lane);
    Py_RETURN_NONE;
}

static PyObject *connection_line_up(PyObject *object, PyObject *channel) {
    srm_lane *lane = lane_of(object, channel);
    if (lane == NULL)
        return NULL;
    lane->waiting++;
    Py_RETURN_NONE;
}

static PyObject *connection_step_out(PyObject *object, PyObject *channel) {
    srm_lane *lane = lane_of(object, channel);
    if (lane == NULL)
        return NULL;
    lane->waiting -= lane->waiting > 0;
    Py_RETURN_NONE;
}

static PyObject *connection_sent(PyObject *object, PyObject *unused) {
    const connection_object *self = (connection_object *)object;
    (void)unused;
    PyObject *dict = PyDict_New();
    for (size_t channel = 0; dict != NULL && channel < self->lane_count; channel++) {
        if (self->lanes[channel].sent == 0)
            continue;
        PyObject *key = PyLong_FromSize_t(channel);
        PyObject *value = PyLong_FromUnsignedLongLong(self->lanes[channel].sent);
        if (key == NULL || value == NULL || PyDict_SetItem(dict, key, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

/* ---- The rest of a life ---- */

static PyObject *connection_close(PyObject *object, PyObject *argument) {
    connection_object *self = (connection_object *)object;
    uint32_t timeout;
    if (!srm_py_u32(argument, &timeout))
        return NULL;
    if (self->engine != NULL)
        srmudp_connection_close(self->engine, timeout);
    Py_RETURN_NONE;
}

static PyObject *connection_reconnect(PyObject *object, PyObject *unused) {
    connection_object *self = (connection_object *)object;
    (void)unused;
    if (self->engine != NULL)
        srmudp_connection_reconnect(self->engine);
    Py_RETURN_NONE;
}

static PyObject *connection_stats(PyObject *object, PyObject *unused) {
    connection_object *self = (connection_object *)object;
    (void)unused;
    if (self->engine == NULL) {
        if (self->last_stats != NULL)
            return PyDict_Copy(self->last_stats);
        srmudp_stats nothing = {0};
        return srm_py_connection_stats(&nothing);
    }
    srmudp_stats stats;
    (void)srmudp_connection_stats(self->engine, &stats);
    return srm_py_connection_stats(&stats);
}

static void unlink_connection(connection_object *self) {
    if (self->previous == NULL)
        return;
    *self->previous = self->next;
    if (self->next != NULL)
        self->next->previous = self->previous;
    self->next = NULL;
    self->previous = NULL;
}

void srm_py_connection_orphan(connection_object *self) {
    self->engine = NULL;
    unlink_connection(self);
}

static void release(connection_object *self) {
    srmudp_connection *engine = self->engine;
    srm_py_connection_orphan(self);
    if (engine != NULL)
        srmudp_connection_release(engine);
}

static PyObject *connection_release(PyObject *object, PyObject *unused) {
    connection_object *self = (connection_object *)object;
    (void)unused;
    if (self->engine == NULL)
        Py_RETURN_NONE;
    PyObject *stats = connection_stats(object, NULL);
    if (stats == NULL)
        return NULL;
    PyObject *before = self->last_stats;
    self->last_stats = stats;
    Py_XDECREF(before);
    release(self);
    Py_RETURN_NONE;
}

connection_object *srm_py_connection_new(endpoint_object *endpoint, srmudp_connection *engine) {
    connection_object *self = (connection_object *)PyType_GenericAlloc(endpoint->state->connection_type, 0);
    if (self == NULL) {
        srmudp_connection_release(engine);
        return NULL;
    }
    self->state = endpoint->state;
    self->engine = engine;
    Py_INCREF((PyObject *)endpoint);
    self->endpoint = endpoint;
    self->next = endpoint->connections;
    self->previous = &endpoint->connections;
    if (self->next != NULL)
        self->next->previous = &self->next;
    endpoint->connections = self;
    srmudp_connection_set_user(engine, self);
    return self;
}

static int connection_traverse(PyObject *object, visitproc visit, void *arg) {
    connection_object *self = (connection_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->endpoint);
    Py_VISIT(self->owner);
    Py_VISIT(self->last_stats);
    return 0;
}

static int connection_clear(PyObject *object) {
    connection_object *self = (connection_object *)object;
    release(self);
    Py_CLEAR(self->endpoint);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->last_stats);
    return 0;
}

/* What is in lanes belongs to Message objects, which keep us alive, or was consumed out of order. */
static void free_messages(connection_object *self) {
    for (srm_message *message; (message = pop(self)) != NULL;)
        srmudp_message_free(message);
    for (size_t i = 0; i < self->lane_count; i++) {
        srm_message *next;
        for (srm_message *at = self->lanes[i].first; at != NULL; at = next) {
            next = at->next;
            srmudp_message_free(at);
        }
        free_parked(&self->lanes[i]);
    }
    PyMem_Free(self->lanes);
}

static void connection_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    (void)connection_clear(object);
    free_messages((connection_object *)object);
    srm_py_free_instance(object);
}

static PyObject *get_pending(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSsize_t(((connection_object *)object)->pending);
}

static PyObject *get_tired(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((connection_object *)object)->endpoint->turn <= 0);
}

/* The casts go through void (*)(void): PyCFunction is one type for several signatures. */
static PyMethodDef methods[] = {
    {"send", (PyCFunction)(void (*)(void))connection_send, METH_FASTCALL,
     "send($self, data, channel, /)\n--\n\n0, an error's number in ERRORS, PARKED or NOT_TRIED."},
    {"send_waiting", (PyCFunction)(void (*)(void))connection_send_waiting, METH_FASTCALL,
     "send_waiting($self, data, channel, /)\n--\n\nThe same for the sender whose turn it is: what it parked "
     "goes "
     "first."},
    {"unpark", connection_unpark, METH_O,
     "unpark($self, channel, /)\n--\n\nForgets the channel's parked message."},
    {"line_up", connection_line_up, METH_O,
     "line_up($self, channel, /)\n--\n\nA sender waits for its turn on the channel: nobody overtakes it."},
    {"step_out", connection_step_out, METH_O, "step_out($self, channel, /)\n--\n\nIt waits no longer."},
    {"sent", connection_sent, METH_NOARGS,
     "sent($self, /)\n--\n\nHow many messages were accepted, by channel."},
    {"receive", connection_receive, METH_NOARGS,
     "receive($self, /)\n--\n\nThe next message's bytes, consumed; None: not at once."},
    {"receive_message", connection_receive_message, METH_NOARGS,
     "receive_message($self, /)\n--\n\nThe same as a Message."},
    {"take", connection_take, METH_NOARGS,
     "take($self, /)\n--\n\nThe next message, to be consumed by the caller; None: none is there."},
    {"close", connection_close, METH_O, "close($self, milliseconds, /)\n--\n\nBegins to close."},
    {"reconnect", connection_reconnect, METH_NOARGS,
     "reconnect($self, /)\n--\n\nTries at once to reach the peer."},
    {"release", connection_release, METH_NOARGS,
     "release($self, /)\n--\n\nEnds what the engine knows of it; messages that came can still be received."},
    {"stats", connection_stats, METH_NOARGS,
     "stats($self, /)\n--\n\nA dict of figures; the last ones after release()."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"pending", get_pending, NULL, "Messages received and not yet taken.", NULL},
    {"tired", get_tired, NULL, "Whether the loop is due before more is sent or received.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"owner", T_OBJECT, offsetof(connection_object, owner), 0,
     "A weak reference to the Connection, or None."},
    {"handed", T_BOOL, offsetof(connection_object, handed), 0, "Whether messages go to a callback."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)"A connection of the engine."},
    {Py_tp_traverse, (void *)connection_traverse},
    {Py_tp_clear, (void *)connection_clear},
    {Py_tp_dealloc, (void *)connection_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec srm_py_connection_spec = {
    .name = "autoprox._srmudp.Connection",
    .basicsize = sizeof(connection_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
