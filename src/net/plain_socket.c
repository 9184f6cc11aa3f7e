/* Which sockets the C code may use by their number.  Layer: net.

   A class has a version, which changes whenever an attribute of it or of a class it derives from is set or deleted.  The one
   under which all methods were found to be Python's own is remembered, so that a look costs one comparison.  A class that
   has been changed too often gets no version any more (a thousand times, from Python 3.12 on); then each look is a search.

   Whatever the class was when asyncio_c was imported, Python's own methods are known by where they come from: inherited from
   the C type, which nobody can change; or that type's own, put back by name, as tools do when they have done; or functions
   of the module socket. */
#include "net/plain_socket.h"

#include "net/net.h"
#include "net/transport.h"

#include <limits.h>

enum { NO_VERSION = UINT_MAX };

/* What asyncio's sock_*() and transports call or read that is not called by name here, too; what is asked here in addition
   (fileno(), gettimeout(), connect_ex()); and what may put itself in the place of all. */
static const char *const bypassed[] = {
    "__getattribute__", "__init__",    "__new__",       "_accept", "accept",
    "connect",          "connect_ex",  "family",        "fileno",  "getpeername",
    "getsockname",      "getsockopt",  "gettimeout",    "proto",   "recv",
    "recv_into",        "recvfrom",    "recvfrom_into", "send",    "sendmsg",
    "sendto",           "setblocking", "setsockopt",    "type",
};

/* Whether `value` is a function that the module socket has defined. */
static bool
is_function_of_socket(struct state *state, PyObject *value)
{
    return PyFunction_Check(value) && PyFunction_GetGlobals(value) == state->socket_globals;
}

/* Whether `value`, which socket.socket itself has under `name`, is Python's own. */
static bool
is_stock(struct state *state, PyObject *name, PyObject *value)
{
    if (is_function_of_socket(state, value)) {
        return true;
    }
    bool property = Py_IS_TYPE(value, &PyProperty_Type);
    PyObject *own = property ? PyObject_GetAttrString(value, "fget") : PyObject_GetAttr(state->socket_base, name);
    bool stock = own != NULL && (property ? is_function_of_socket(state, own) : own == value);
    Py_XDECREF(own);
    return stock;
}

static bool
class_is_stock(struct state *state)
{
    PyTypeObject *class = (PyTypeObject *)state->socket_type;
    if ((PyObject *)class->tp_base != state->socket_base || PyTuple_GET_SIZE(class->tp_mro) != 3) {
        return false; /* it has been given other bases */
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(state->socket_names); i++) {
        PyObject *name = PyTuple_GET_ITEM(state->socket_names, i);
        PyObject *value = compat_dict_get(compat_type_dict_borrow(class), name);
        bool stock = value != NULL ? is_stock(state, name, value) : PyErr_Occurred() == NULL;
        Py_XDECREF(value);
        if (!stock) {
            return false;
        }
    }
    return true;
}

bool
plain_socket_look_again(struct state *state)
{
    COMPAT_STORE(state->socket_version, NO_VERSION);
    /* A class gets a version when an attribute is looked up that it has.  Nobody replaces a slot. */
    PyObject *slot = PyObject_GetAttrString(state->socket_type, "_io_refs");
    Py_XDECREF(slot);
    unsigned version = compat_type_version((PyTypeObject *)state->socket_type);
    bool stock = class_is_stock(state);
    PyErr_Clear();
    if (stock && version != 0) {
        COMPAT_STORE(state->socket_version, version);
    }
    return stock;
}

bool
socket_class_is_in_place(struct state *state)
{
    return PyDict_GetItemWithError(state->socket_globals, state->str_socket) == state->socket_type;
}

bool
inet_pton_is_in_place(struct state *state)
{
    return PyDict_GetItemWithError(state->socket_globals, state->str_inet_pton) == state->inet_pton;
}

/* Python's own class socket.socket, whatever bears the name by now; None where there is no such class any more. */
static PyObject *
find_class(struct state *state)
{
    PyObject *classes = PyObject_CallMethod(state->socket_base, "__subclasses__", NULL), *found = Py_None;
    for (Py_ssize_t i = 0; classes != NULL && i < PyList_GET_SIZE(classes) && found == Py_None; i++) {
        PyTypeObject *class = (PyTypeObject *)PyList_GET_ITEM(classes, i);
        PyObject *repr = PyDict_GetItemString(compat_type_dict_borrow(class), "__repr__");
        if (strcmp(class->tp_name, "socket") == 0 && repr != NULL && is_function_of_socket(state, repr)) {
            found = (PyObject *)class;
        }
    }
    Py_XINCREF(classes ? found : NULL);
    Py_XDECREF(classes);
    return classes ? found : NULL;
}

/* ---- Python face ---- */

static PyObject *
Loop__is_plain_socket(Loop *self, PyObject *sock)
{
    return PyBool_FromLong(socket_is_plain(self->state, sock));
}

PyDoc_STRVAR(is_plain_socket_doc, "_is_plain_socket($self, sock, /)\n--\n\n"
                                  "Return True if sock is exactly a socket.socket whose methods nobody has replaced.");

static PyMethodDef loop_methods[] = {
    { "_is_plain_socket", (PyCFunction)Loop__is_plain_socket, METH_O, is_plain_socket_doc },
};

int
plain_socket_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    state->socket_version = NO_VERSION;
    state->socket_type = find_class(state);
    state->socket_names = PyTuple_New(AC_ARRAY_SIZE(bypassed));
    for (size_t i = 0; state->socket_names != NULL && i < AC_ARRAY_SIZE(bypassed); i++) {
        PyObject *name = PyUnicode_InternFromString(bypassed[i]);
        if (name == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(state->socket_names, (Py_ssize_t)i, name);
    }
    if (state->socket_type == NULL || state->socket_names == NULL) {
        return -1;
    }
    return loop_add_methods(state, loop_methods, AC_ARRAY_SIZE(loop_methods));
}
