#include "binding.h"
#include "driver/build.h"

#include <errno.h>
#include <string.h>

/* ---- Small services ---- */

PyObject *srm_py_fail(const module_state *state, srmudp_error error) {
    if (error == SRMUDP_NO_MEMORY)
        return PyErr_NoMemory();
    PyObject *arguments = Py_BuildValue("(ii)", (int)error, error == SRMUDP_SYSTEM ? errno : 0);
    if (arguments != NULL) {
        PyErr_SetObject(state->failure, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

static int parse_unsigned(PyObject *object, unsigned long long max, unsigned long long *out) {
    unsigned long long value = PyLong_AsUnsignedLongLong(object);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return 0;
    if (value > max) {
        PyErr_Format(PyExc_OverflowError, "%llu is larger than %llu", value, max);
        return 0;
    }
    *out = value;
    return 1;
}

int srm_py_u16(PyObject *object, void *out) {
    unsigned long long value;
    if (!parse_unsigned(object, UINT16_MAX, &value))
        return 0;
    *(uint16_t *)out = (uint16_t)value;
    return 1;
}

int srm_py_u32(PyObject *object, void *out) {
    unsigned long long value;
    if (!parse_unsigned(object, UINT32_MAX, &value))
        return 0;
    *(uint32_t *)out = (uint32_t)value;
    return 1;
}

int srm_py_u64(PyObject *object, void *out) {
    unsigned long long value;
    if (!parse_unsigned(object, UINT64_MAX, &value))
        return 0;
    *(uint64_t *)out = (uint64_t)value;
    return 1;
}

PyObject *srm_py_address(const srmudp_address *address) {
    if (address->family == 0)
        Py_RETURN_NONE;
    char host[64];
    srmudp_address_host(address, host);
    return Py_BuildValue("(si)", host, (int)address->port);
}

PyObject *srm_py_owner(PyObject *weak) {
    if (weak == NULL)
        Py_RETURN_NONE;
    return PyObject_CallNoArgs(weak);
}

void srm_py_free_instance(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* ---- The module ---- */

static bool add_owned(PyObject *module, const char *name, PyObject *value) {
    int failed = value == NULL || PyModule_AddObjectRef(module, name, value) < 0;
    Py_XDECREF(value);
    return !failed;
}

static PyObject *error_table(void) {
    static const srmudp_error codes[] = {
#define CODE(name, python, text) SRMUDP_##name,
        SRMUDP_ERROR_TABLE(CODE)
#undef CODE
    };
    const Py_ssize_t count = (Py_ssize_t)(sizeof codes / sizeof *codes);
    PyObject *table = PyTuple_New(count);
    for (Py_ssize_t i = 0; table != NULL && i < count; i++) {
        PyObject *row = Py_BuildValue("(sss)", srmudp_error_name(codes[i]), srmudp_error_python(codes[i]),
                                      srmudp_error_text(codes[i]));
        if (row == NULL || PyTuple_SetItem(table, i, row) < 0)
            Py_CLEAR(table);
    }
    return table;
}

static bool add_constants(PyObject *module) {
    static const struct {
        const char *name;
        int value;
    } constants[] = {
        {"NOT_TRIED", SRM_PY_NOT_TRIED},
        {"PARKED", SRM_PY_PARKED},
        {"STATUS", SRMUDP_EVENT_STATUS},
        {"MESSAGE", SRMUDP_EVENT_MESSAGE},
        {"WRITABLE", SRMUDP_EVENT_WRITABLE},
        {"CONSUMED", SRMUDP_EVENT_CONSUMED},
        {"ACCEPTED", SRMUDP_EVENT_ACCEPTED},
        {"WRONG_KEY", SRMUDP_EVENT_WRONG_KEY},
        {"PEER_RESTARTED", SRMUDP_EVENT_PEER_RESTARTED},
        {"PEER_CLOSED", SRMUDP_EVENT_PEER_CLOSED},
        {"PATH_CHANGED", SRMUDP_EVENT_PATH_CHANGED},
        {"UNDELIVERED", SRMUDP_EVENT_UNDELIVERED},
        {"CLOSED", SRMUDP_EVENT_CLOSED},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
            return false;
    return PyModule_AddStringConstant(module, "VERSION", SRMUDP_VERSION) == 0 &&
           PyModule_AddStringConstant(module, "BUILD_INFO", srmudp_build_info()) == 0 &&
           add_owned(module, "ERRORS", error_table());
}

static bool add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **out) {
    *out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *out != NULL && PyModule_AddType(module, *out) == 0;
}

static bool add_running_loop(module_state *state) {
    PyObject *events = PyImport_ImportModule("asyncio.events");
    if (events != NULL)
        state->running_loop = PyObject_GetAttrString(events, "_get_running_loop");
    Py_XDECREF(events);
    return state->running_loop != NULL;
}

static bool check_libraries(void) {
    const char *problem = srm_build_check();
    if (problem == NULL && !srm_build_start())
        problem = "libsodium does not start: the system gives it no entropy";
    if (problem != NULL)
        PyErr_SetString(PyExc_ImportError, problem);
    return problem == NULL;
}

static int module_exec(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    if (!check_libraries())
        return -1;
    state->failure = PyErr_NewExceptionWithDoc(
        "autoprox._srmudp.Failure", "An error of the engine: its number in ERRORS, and errno or 0.", NULL,
        NULL);
    if (state->failure == NULL || PyModule_AddObjectRef(module, "Failure", state->failure) < 0)
        return -1;
    bool added = add_type(module, &srm_py_endpoint_spec, &state->endpoint_type) &&
                 add_type(module, &srm_py_connection_spec, &state->connection_type) &&
                 add_type(module, &srm_py_listener_spec, &state->listener_type) &&
                 add_type(module, &srm_py_message_spec, &state->message_type) && add_running_loop(state) &&
                 add_constants(module);
    return added ? 0 : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->endpoint_type);
    Py_VISIT(state->connection_type);
    Py_VISIT(state->listener_type);
    Py_VISIT(state->message_type);
    Py_VISIT(state->failure);
    Py_VISIT(state->running_loop);
    return 0;
}

static int module_clear(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->endpoint_type);
    Py_CLEAR(state->connection_type);
    Py_CLEAR(state->listener_type);
    Py_CLEAR(state->message_type);
    Py_CLEAR(state->failure);
    Py_CLEAR(state->running_loop);
    return 0;
}

static void module_free(void *module) {
    (void)module_clear(module);
}

/* The headers of the 3.11 ABI do not name the slot for sub-interpreters, which 3.12 brought. Before 3.13 its
 * teardown of them is not to be relied on, so they are allowed, each with a GIL of its own, from there on. */
#define SLOT_MULTIPLE_INTERPRETERS 3
#define PER_INTERPRETER_GIL ((void *)2)
#define FIRST_WITH_INTERPRETERS 0x030D0000

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)module_exec}, {0, NULL}};
static PyModuleDef_Slot slots_with_interpreters[] = {
    {Py_mod_exec, (void *)module_exec}, {SLOT_MULTIPLE_INTERPRETERS, PER_INTERPRETER_GIL}, {0, NULL}};

#define DEFINITION(module_slots)                                                                             \
    {                                                                                                        \
        PyModuleDef_HEAD_INIT, .m_name = "_srmudp", .m_doc = "The engine of autoprox.srmudp; use that.",     \
                               .m_size = sizeof(module_state), .m_slots = (module_slots),                    \
                               .m_traverse = module_traverse, .m_clear = module_clear,                       \
                               .m_free = module_free,                                                        \
    }
static PyModuleDef definition = DEFINITION(slots);
static PyModuleDef definition_with_interpreters = DEFINITION(slots_with_interpreters);

PyMODINIT_FUNC PyInit__srmudp(void);
PyMODINIT_FUNC PyInit__srmudp(void) {
    return PyModuleDef_Init(Py_Version >= FIRST_WITH_INTERPRETERS ? &definition_with_interpreters
                                                                  : &definition);
}
