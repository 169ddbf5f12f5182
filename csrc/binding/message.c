#include "binding.h"

#include <string.h>
#include <structmember.h>

/* A message has its bytes in one of two places: in `raw`, where the engine put them, until it is consumed;
 * after that in `data`, which is also made when somebody asks for it. */
typedef struct message_object {
    PyObject_HEAD PyObject *data;  /* bytes; NULL: not asked for yet */
    srm_message *raw;              /* NULL: consumed, or never the engine's */
    connection_object *connection; /* which hears of it when it is consumed; NULL: nobody */
    Py_ssize_t views;              /* buffers given out over `raw` */
    uint64_t number;
    uint8_t channel, flags;
    bool consume_asked; /* while there are views: it is consumed with the last one */
} message_object;

PyObject *srm_py_bytes(const srm_message *message) {
    size_t size = srmudp_message_size(message);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL)
        return NULL;
    char *target = PyBytes_AsString(bytes);
    if (size < SRM_PY_LARGE_COPY) {
        memcpy(target, message->data, size);
        return bytes;
    }
    Py_BEGIN_ALLOW_THREADS memcpy(target, message->data, size);
    Py_END_ALLOW_THREADS return bytes;
}

static PyObject *describe(module_state *state, const srm_message *raw) {
    message_object *self = (message_object *)PyType_GenericAlloc(state->message_type, 0);
    if (self == NULL)
        return NULL;
    self->number = srmudp_message_number(raw);
    self->channel = srmudp_message_channel(raw);
    self->flags = srmudp_message_flags(raw);
    return (PyObject *)self;
}

PyObject *srm_py_message_new(module_state *state, connection_object *connection, srm_message *raw) {
    PyObject *object = describe(state, raw);
    if (object == NULL)
        return NULL;
    message_object *self = (message_object *)object;
    self->raw = raw;
    Py_XINCREF((PyObject *)connection);
    self->connection = connection;
    return object;
}

PyObject *srm_py_message_copy(module_state *state, const srm_message *raw) {
    PyObject *data = srm_py_bytes(raw);
    if (data == NULL)
        return NULL;
    PyObject *object = describe(state, raw);
    if (object == NULL)
        Py_DECREF(data);
    else
        ((message_object *)object)->data = data;
    return object;
}

/* Message(data, is_text, channel, number, maybe_duplicate): for applications that pass messages on, and for
 * their tests. */
static PyObject *message_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"data", "is_text", "channel", "number", "maybe_duplicate", NULL};
    PyObject *data;
    int is_text = 0, maybe_duplicate = 0, channel = 0;
    uint64_t number = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "S|piO&p:Message", names, &data, &is_text, &channel,
                                     srm_py_u64, &number, &maybe_duplicate))
        return NULL;
    if (channel < 0 || channel > UINT8_MAX) {
        PyErr_Format(PyExc_ValueError, "channel must be from 0 to 255, not %d", channel);
        return NULL;
    }
    message_object *self = (message_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(data);
    self->data = data;
    self->number = number;
    self->channel = (uint8_t)channel;
    self->flags = (uint8_t)((is_text ? SRMUDP_TEXT : 0) | (maybe_duplicate ? SRMUDP_MAYBE_DUPLICATE : 0));
    return (PyObject *)self;
}

static void consume_now(message_object *self) {
    srm_message *raw = self->raw;
    self->raw = NULL;
    if (self->connection != NULL)
        srm_py_connection_consume(self->connection, raw);
    else
        srmudp_message_free(raw);
}

/* Copying a large message is a view of it too: another thread that consumes it meanwhile has to wait. */
static bool ensure_data(message_object *self) {
    if (self->data != NULL)
        return true;
    self->views++;
    PyObject *data = srm_py_bytes(self->raw);
    self->views--;
    if (self->data == NULL)
        self->data = data;
    else
        Py_XDECREF(data); /* the other thread was faster */
    if (self->views == 0 && self->consume_asked && self->raw != NULL && self->data != NULL)
        consume_now(self);
    return self->data != NULL;
}

static PyObject *message_consume(PyObject *object, PyObject *unused) {
    message_object *self = (message_object *)object;
    (void)unused;
    if (self->raw == NULL)
        Py_RETURN_NONE;
    if (self->views > 0) {
        self->consume_asked = true;
        Py_RETURN_NONE;
    }
    if (!ensure_data(self))
        return NULL;
    if (self->raw != NULL)
        consume_now(self);
    Py_RETURN_NONE;
}

static PyObject *get_data(PyObject *object, void *unused) {
    message_object *self = (message_object *)object;
    (void)unused;
    if (!ensure_data(self))
        return NULL;
    Py_INCREF(self->data);
    return self->data;
}

static PyObject *get_flag(PyObject *object, void *flag) {
    return PyBool_FromLong(((message_object *)object)->flags & (intptr_t)flag);
}

static PyObject *get_channel(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromLong(((message_object *)object)->channel);
}

static PyObject *get_number(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((message_object *)object)->number);
}

static Py_ssize_t message_length(PyObject *object) {
    const message_object *self = (message_object *)object;
    return self->raw != NULL ? (Py_ssize_t)srmudp_message_size(self->raw) : PyBytes_Size(self->data);
}

static PyObject *message_repr(PyObject *object) {
    const message_object *self = (message_object *)object;
    return PyUnicode_FromFormat("<Message %llu of channel %d: %zd bytes of %s%s>",
                                (unsigned long long)self->number, (int)self->channel, message_length(object),
                                self->flags & SRMUDP_TEXT ? "text" : "binary",
                                self->flags & SRMUDP_MAYBE_DUPLICATE ? ", maybe a duplicate" : "");
}

static PyObject *message_compare(PyObject *a, PyObject *b, int operation) {
    if (Py_TYPE(a) != Py_TYPE(b) || (operation != Py_EQ && operation != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    message_object *x = (message_object *)a, *y = (message_object *)b;
    if (!ensure_data(x) || !ensure_data(y))
        return NULL;
    int same = PyObject_RichCompareBool(x->data, y->data, Py_EQ);
    if (same < 0)
        return NULL;
    same = same && x->flags == y->flags && x->channel == y->channel && x->number == y->number;
    return PyBool_FromLong(same == (operation == Py_EQ));
}

static Py_hash_t message_hash(PyObject *object) {
    message_object *self = (message_object *)object;
    return ensure_data(self) ? PyObject_Hash(self->data) : -1;
}

/* memoryview(message): the engine's own bytes, without a copy, until it is consumed. */
static int message_getbuffer(PyObject *object, Py_buffer *view, int flags) {
    message_object *self = (message_object *)object;
    if (self->raw == NULL)
        return PyObject_GetBuffer(self->data, view, flags);
    if (PyBuffer_FillInfo(view, object, self->raw->data, message_length(object), 1, flags) < 0)
        return -1;
    self->views++;
    return 0;
}

static void message_releasebuffer(PyObject *object, Py_buffer *view) {
    message_object *self = (message_object *)object;
    (void)view; /* those over `data` are the bytes object's own, and don't come here */
    if (--self->views > 0 || !self->consume_asked || self->raw == NULL)
        return;
    if (!ensure_data(self))
        PyErr_WriteUnraisable(object); /* no memory; it stays unconsumed */
    else if (self->raw != NULL)
        consume_now(self);
}

static void message_dealloc(PyObject *object) {
    message_object *self = (message_object *)object;
    srm_message *raw = self->raw;
    self->raw = NULL;
    if (raw != NULL && self->connection != NULL)
        srm_py_connection_drop(self->connection, raw);
    else if (raw != NULL)
        srmudp_message_free(raw);
    Py_CLEAR(self->connection);
    Py_CLEAR(self->data);
    srm_py_free_instance(object);
}

static PyMethodDef methods[] = {
    {"consume", message_consume, METH_NOARGS,
     "consume($self, /)\n--\n\n"
     "Tells the sender that this message is done with; only for callbacks set with consume=False.\n\n"
     "A second time does nothing. On each channel messages count as consumed in order: one that is consumed\n"
     "early counts when those before it do. While a memoryview of it exists, with the last of those.\n"
     "A message that is dropped without it stays unconsumed, and so do all behind it on its channel."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"data", get_data, NULL, "The message's bytes; for text its UTF-8.", NULL},
    {"is_text", get_flag, NULL, "Whether it was sent as text.", (void *)SRMUDP_TEXT},
    {"channel", get_channel, NULL, "0 to 255.", NULL},
    {"number", get_number, NULL, "Its place in its channel, from 0.", NULL},
    {"maybe_duplicate", get_flag, NULL,
     "Whether a process of this side that died may have consumed it already.",
     (void *)SRMUDP_MAYBE_DUPLICATE},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Not tracked by the garbage collector: what it refers to never refers back to a message. */
static PyType_Slot slots[] = {
    {Py_tp_doc,
     (void *)"Message(data, is_text=False, channel=0, number=0, maybe_duplicate=False)\n--\n\n"
             "One whole message. len() gives its bytes, memoryview() looks at them without a copy."},
    {Py_tp_new, (void *)message_new},
    {Py_tp_dealloc, (void *)message_dealloc},
    {Py_tp_repr, (void *)message_repr},
    {Py_tp_richcompare, (void *)message_compare},
    {Py_tp_hash, (void *)message_hash},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {Py_sq_length, (void *)message_length},
    {Py_bf_getbuffer, (void *)message_getbuffer},
    {Py_bf_releasebuffer, (void *)message_releasebuffer},
    {0, NULL},
};

PyType_Spec srm_py_message_spec = {
    .name = "autoprox._srmudp.Message",
    .basicsize = sizeof(message_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};
