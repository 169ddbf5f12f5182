#include "binding.h"

#include <structmember.h>

listener_object *srm_py_listener_new(endpoint_object *endpoint) {
    listener_object *self = (listener_object *)PyType_GenericAlloc(endpoint->state->listener_type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF((PyObject *)endpoint);
    self->endpoint = endpoint;
    self->next = endpoint->listeners;
    self->previous = &endpoint->listeners;
    if (self->next != NULL)
        self->next->previous = &self->next;
    endpoint->listeners = self;
    return self;
}

void srm_py_listener_orphan(listener_object *self) {
    self->engine = NULL;
    if (self->previous == NULL)
        return;
    *self->previous = self->next;
    if (self->next != NULL)
        self->next->previous = self->previous;
    self->next = NULL;
    self->previous = NULL;
}

static void end(listener_object *self) {
    srmudp_listener *engine = self->engine;
    srm_py_listener_orphan(self);
    if (engine != NULL)
        srmudp_listener_close(engine);
}

static PyObject *listener_close(PyObject *self, PyObject *unused) {
    (void)unused;
    end((listener_object *)self);
    Py_RETURN_NONE;
}

static int listener_traverse(PyObject *object, visitproc visit, void *arg) {
    listener_object *self = (listener_object *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->endpoint);
    Py_VISIT(self->owner);
    return 0;
}

static int listener_clear(PyObject *object) {
    listener_object *self = (listener_object *)object;
    end(self);
    Py_CLEAR(self->endpoint);
    Py_CLEAR(self->owner);
    return 0;
}

static void listener_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    (void)listener_clear(object);
    srm_py_free_instance(object);
}

static PyMethodDef methods[] = {
    {"close", listener_close, METH_NOARGS, "close($self, /)\n--\n\nStops accepting."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"owner", T_OBJECT, offsetof(listener_object, owner), 0, "A weak reference to the Listener, or None."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)"A listener of the engine."},
    {Py_tp_traverse, (void *)listener_traverse},
    {Py_tp_clear, (void *)listener_clear},
    {Py_tp_dealloc, (void *)listener_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec srm_py_listener_spec = {
    .name = "autoprox._srmudp.Listener",
    .basicsize = sizeof(listener_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
