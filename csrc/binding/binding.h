/* binding - what the files of the CPython extension share: the objects, and the module's state.
 *
 *     Python Endpoint ──> endpoint_object ──> srmudp_endpoint        one for each bound port
 *     Python Connection ─> connection_object ─> srmudp_connection    keeps its endpoint_object alive
 *     Python Listener ──> listener_object ──> srmudp_listener        likewise
 *                         message_object ──> srmudp_message          one message received, or not delivered
 *
 * The extension checks arguments and owns the life of objects. What it gives Python are the parts of
 * autoprox.srmudp that run for every message; waiting, callbacks and everything rare is Python's.
 *
 * Life. 1. An object of the engine ends with its Python object at the latest. 2. Closing an endpoint ends
 * what it carries: their pointers become NULL, and they answer as closed from then on. 3. An object knows its
 * Python owner by a weak reference, so nothing here keeps a connection alive that nobody uses.
 *
 * Threads. The engine's thread never runs Python code and never takes the GIL. Everything here runs with the
 * GIL held, which makes it the one thread at a time that srmudp.h asks for; it is let go only where no other
 * call can reach the same object: in bind, in close, and for copying large messages. Nothing waits for the
 * network.
 *
 * The module uses the stable ABI of CPython 3.11 and has no state outside of `module_state`.
 */
#ifndef SRM_BINDING_H
#define SRM_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "core/message.h"
#include "include/srmudp.h"

/* What connection.send answers besides an srmudp_error. */
#define SRM_PY_NOT_TRIED (-1) /* others wait, or the loop is due: take the slow way */
#define SRM_PY_PARKED (-2)    /* the send buffer is full, the message is kept for retry() */

/* How much a task may send and receive before it lets the loop run: so many bytes, where a message costs
 * SRM_PY_TURN_COST more than it has. 64 small messages, or about 1 MiB. */
#define SRM_PY_TURN ((int64_t)1 << 20)
#define SRM_PY_TURN_COST ((int64_t)1 << 14)
#define SRM_PY_TURN_LINGERS 16 /* so often is an answer waited for within one turn */

/* From this size on messages are copied without the GIL: for less, letting it go costs more than it gives. */
#define SRM_PY_LARGE_COPY ((size_t)256 << 10)

typedef struct module_state {
    PyTypeObject *endpoint_type, *connection_type, *listener_type, *message_type;
    PyObject *failure;      /* exception class: (error number, errno) */
    PyObject *running_loop; /* asyncio._get_running_loop */
} module_state;

typedef struct connection_object connection_object;
typedef struct listener_object listener_object;

typedef struct endpoint_object {
    PyObject_HEAD module_state *state;
    srmudp_endpoint *engine; /* NULL: closed */
    PyObject *loop;          /* the event loop its methods belong to; None: any */
    connection_object *connections;
    listener_object *listeners;
    struct srm_policy *policy; /* read by the engine's thread, so it lives until close is over; NULL: none */
    int64_t turn;              /* left of SRM_PY_TURN */
} endpoint_object;

/* One channel of a connection: what was sent on it, and the messages handed to an application that consumes
 * them itself. Those must be consumed in order, so one that is consumed early waits here. */
typedef struct srm_lane {
    uint64_t sent;             /* sequence of the newest message accepted */
    srm_message *first, *last; /* handed out, oldest first; `state` is 1 when it may be consumed */
    bool broken;               /* one was dropped unconsumed: nothing behind it may be consumed any more */
    uint32_t waiting;          /* senders that wait; nobody overtakes them */
    srm_message *parked;       /* of the first of them: refused because the send buffer was full */
} srm_lane;

struct connection_object {
    PyObject_HEAD module_state *state;
    srmudp_connection *engine; /* NULL: released, or its endpoint is closed */
    endpoint_object *endpoint;
    connection_object *next, **previous; /* in the endpoint's list while `engine` is set */
    PyObject *owner;                     /* a weak reference */
    srm_message *first, *last;           /* received and not yet taken */
    Py_ssize_t pending;                  /* how many */
    srm_lane *lanes;                     /* by channel; grown on demand */
    size_t lane_count;
    bool handed;          /* messages go to a callback: receive() gives none */
    PyObject *last_stats; /* as they were at the end */
};

struct listener_object {
    PyObject_HEAD srmudp_listener *engine; /* NULL: closed */
    endpoint_object *endpoint;
    listener_object *next, **previous;
    PyObject *owner; /* a weak reference */
};

/* ---- module.c ---- */

/* Raises Failure for an error of the engine, with errno; NULL. */
PyObject *srm_py_fail(const module_state *state, srmudp_error error);
/* Converters for PyArg_Parse ("O&"): an int within the type, else an exception. */
int srm_py_u16(PyObject *object, void *out);
int srm_py_u32(PyObject *object, void *out);
int srm_py_u64(PyObject *object, void *out);
/* ("203.0.113.5", 40000), or None for no address. */
PyObject *srm_py_address(const srmudp_address *address);
/* The object behind a weak reference, or None; a new reference. */
PyObject *srm_py_owner(PyObject *weak);
/* Frees an instance of one of our types, at the end of its dealloc. */
void srm_py_free_instance(PyObject *self);

/* ---- endpoint.c, events.c ---- */

extern PyType_Spec srm_py_endpoint_spec;
/* Endpoint.poll(limit). */
PyObject *srm_py_poll(PyObject *self, PyObject *argument);
/* The same for events that come at once, where a near peer is expected to answer; None: none. */
PyObject *srm_py_linger(PyObject *self, PyObject *argument);

/* ---- connection.c ---- */

extern PyType_Spec srm_py_connection_spec;
/* Takes `engine` over, also on failure (NULL, with an exception). */
connection_object *srm_py_connection_new(endpoint_object *endpoint, srmudp_connection *engine);
/* The endpoint is gone, and `engine` with it. */
void srm_py_connection_orphan(connection_object *self);
/* Appends a received message; takes it. */
void srm_py_connection_push(connection_object *self, srm_message *message);
/* The application consumed a message, whose place in its lane is kept; takes it. */
void srm_py_connection_consume(connection_object *self, srm_message *message);
/* The application dropped a message that was handed to it, without consuming it; takes it. */
void srm_py_connection_drop(connection_object *self, srm_message *message);

/* ---- listener.c ---- */

extern PyType_Spec srm_py_listener_spec;
listener_object *srm_py_listener_new(endpoint_object *endpoint);
void srm_py_listener_orphan(listener_object *self);

/* ---- message.c ---- */

extern PyType_Spec srm_py_message_spec;
/* A Message over `raw`, which it takes unless it fails. `connection` NULL: nothing is to be consumed. */
PyObject *srm_py_message_new(module_state *state, connection_object *connection, srm_message *raw);
/* A Message with a copy of `raw`, which stays the caller's. */
PyObject *srm_py_message_copy(module_state *state, const srm_message *raw);
/* The bytes of a message, copied once. */
PyObject *srm_py_bytes(const srm_message *message);

/* ---- stats.c ---- */

PyObject *srm_py_connection_stats(const srmudp_stats *stats);
PyObject *srm_py_endpoint_stats(const srmudp_endpoint_stats *stats);

/* ---- policy.c ---- */

/* Reads rules ((allow, network bytes, prefix bits, first port, last port), ...); false with an exception.
 * `out` NULL for no rules. */
bool srm_policy_parse(PyObject *rules, struct srm_policy **out);
void srm_policy_free(struct srm_policy *policy);
/* srmudp_config.allow, for the engine's thread: the first rule that covers the address decides, and without
 * one it is allowed. Anything but an address literal is refused. */
bool srm_policy_allow(void *policy, const char *host, uint16_t port);

#endif
