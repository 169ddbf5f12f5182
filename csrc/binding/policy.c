#include "binding.h"

#include <arpa/inet.h>
#include <string.h>

typedef struct srm_rule {
    uint8_t network[16];
    unsigned size; /* bytes of an address of the network: 4 or 16 */
    unsigned bits; /* of the network's prefix */
    uint16_t first, last;
    bool allow;
} srm_rule;

struct srm_policy {
    size_t count;
    srm_rule rules[];
};

static bool parse_rule(PyObject *object, srm_rule *out) {
    int allow, bits;
    const char *network;
    Py_ssize_t size;
    if (!PyTuple_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "a rule is a tuple");
        return false;
    }
    if (!PyArg_ParseTuple(object, "py#iO&O&", &allow, &network, &size, &bits, srm_py_u16, &out->first,
                          srm_py_u16, &out->last))
        return false;
    if ((size != 4 && size != 16) || bits < 0 || bits > size * 8) {
        PyErr_SetString(PyExc_ValueError, "a network has 4 or 16 bytes, and no more bits than those");
        return false;
    }
    memcpy(out->network, network, (size_t)size);
    out->size = (unsigned)size;
    out->bits = (unsigned)bits;
    out->allow = allow != 0;
    return true;
}

bool srm_policy_parse(PyObject *rules, struct srm_policy **out) {
    *out = NULL;
    Py_ssize_t count = PyTuple_Size(rules);
    if (count <= 0)
        return count == 0;
    struct srm_policy *policy = PyMem_Calloc(1, sizeof *policy + (size_t)count * sizeof(srm_rule));
    if (policy == NULL) {
        PyErr_NoMemory();
        return false;
    }
    policy->count = (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!parse_rule(PyTuple_GetItem(rules, i), &policy->rules[i])) {
            PyMem_Free(policy);
            return false;
        }
    }
    *out = policy;
    return true;
}

void srm_policy_free(struct srm_policy *policy) {
    PyMem_Free(policy);
}

static bool covers(const srm_rule *rule, const uint8_t *address, unsigned size, uint16_t port) {
    if (rule->size != size || port < rule->first || port > rule->last)
        return false;
    unsigned bytes = rule->bits / 8, rest = rule->bits % 8;
    if (memcmp(rule->network, address, bytes) != 0)
        return false;
    return rest == 0 || (rule->network[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

/* "fe80::1%2": the zone names an interface of ours and is no part of the address. */
static unsigned parse_address(const char *host, uint8_t out[16]) {
    char text[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    if (length >= sizeof text)
        return 0;
    memcpy(text, host, length);
    text[length] = '\0';
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

bool srm_policy_allow(void *policy, const char *host, uint16_t port) {
    const struct srm_policy *self = policy;
    uint8_t address[16];
    unsigned size = parse_address(host, address);
    if (size == 0)
        return false;
    for (size_t i = 0; i < self->count; i++)
        if (covers(&self->rules[i], address, size, port))
            return self->rules[i].allow;
    return true;
}
