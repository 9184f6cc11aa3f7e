/* Argument parsing whose errors read as those of asyncio's own Python functions.  Layer: py. */
#include "py/args.h"

#include "base/macros.h"

int
args_parse_context(const char *function, PyObject *context_name, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames, PyObject **context)
{
    *context = NULL;
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!args_keyword_is(kwnames, i, context_name)) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function,
                         PyTuple_GET_ITEM(kwnames, i));
            return -1;
        }
        *context = args[nargs + i] == Py_None ? NULL : args[nargs + i];
    }
    return 0;
}

int
args_require(const char *function, Py_ssize_t nargs, const char *const *names, Py_ssize_t count)
{
    Py_ssize_t missing = count - nargs;
    if (missing <= 0) {
        return 0;
    }
    if (missing == 1) {
        PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'", function, names[nargs]);
    }
    else {
        PyErr_Format(PyExc_TypeError, "%s() missing %zd required positional arguments: '%s' and '%s'", function,
                     missing, names[nargs], names[nargs + 1]);
    }
    return -1;
}

PyObject *
args_call_in_order(PyTypeObject *type, PyObject *self, const char *method, const char *const *names, Py_ssize_t count,
                   PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *positional = NULL, *function = NULL, *result = NULL;
    PyObject *keywords = PyDict_New();
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0) {
            Py_CLEAR(keywords);
        }
    }
    positional = keywords ? PyTuple_New(count + 1) : NULL;
    if (positional != NULL) {
        PyTuple_SET_ITEM(positional, 0, Py_NewRef(self));
    }
    for (Py_ssize_t i = 0; positional != NULL && i < count; i++) {
        PyObject *value = i < nargs ? args[i] : PyDict_GetItemString(keywords, names[i]);
        if (value == NULL) {
            goto done;
        }
        PyTuple_SET_ITEM(positional, i + 1, Py_NewRef(value));
        if (i >= nargs && PyDict_DelItemString(keywords, names[i]) < 0) {
            goto done;
        }
    }
    function = positional ? PyObject_GetAttrString((PyObject *)type, method) : NULL;
    result = function ? PyObject_Call(function, positional, keywords) : NULL;
done:
    Py_XDECREF(function);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

PyObject *
args_call_steal(PyObject *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *result = function ? PyObject_Vectorcall(function, args, (size_t)nargs, kwnames) : NULL;
    Py_XDECREF(function);
    return result;
}

PyObject *
args_call_bound_steal(PyObject *function, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *method = function ? PyMethod_New(function, self) : NULL;
    Py_XDECREF(function);
    return args_call_steal(method, args, nargs, kwnames);
}

PyObject *
args_parse_throw(PyObject *const *args, Py_ssize_t nargs, bool is_coroutine)
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError, "throw expected at %s, got %zd",
                     nargs < 1 ? "least 1 argument" : "most 3 arguments", nargs);
        return NULL;
    }
    if (AC_PY312 && nargs > 1
        && PyErr_WarnEx(PyExc_DeprecationWarning,
                        "the (type, exc, tb) signature of throw() is deprecated, use the single-arg signature instead.",
                        1)
               < 0) {
        return NULL;
    }
    PyObject *type = args[0], *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *traceback = nargs > 2 && args[2] != Py_None ? args[2] : NULL;
    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_Format(PyExc_TypeError, "throw() third argument must be a traceback%s", is_coroutine ? " object" : "");
        return NULL;
    }
    PyObject *error = NULL;
    if (PyExceptionClass_Check(type)) {
        int is_instance = value ? PyObject_IsInstance(value, type) : 0;
        if (is_instance < 0) {
            return NULL;
        }
        if (is_instance) {
            error = Py_NewRef(value);
        }
        else if (value == NULL) {
            error = PyObject_CallNoArgs(type);
        }
        else {
            error = PyTuple_Check(value) ? PyObject_CallObject(type, value) : PyObject_CallOneArg(type, value);
        }
        if (error != NULL && !PyExceptionInstance_Check(error)) {
            PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
            Py_CLEAR(error);
        }
    }
    else if (!PyExceptionInstance_Check(type) && is_coroutine) {
        PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException, not %s",
                     Py_TYPE(type)->tp_name);
    }
    else if (!PyExceptionInstance_Check(type)) {
        PyErr_SetString(PyExc_TypeError,
                        "exceptions must be classes deriving BaseException or instances of such a class");
    }
    else if (value != NULL) {
        PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
    }
    else {
        error = Py_NewRef(type);
    }
    if (error != NULL && traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    return error;
}

/* The place of keyword `keyword` among `names`, or -1. */
static Py_ssize_t
find_name(const char *const *names, Py_ssize_t count, PyObject *keyword)
{
    Py_ssize_t place = count - 1;
    while (place >= 0 && PyUnicode_CompareWithASCIIString(keyword, names[place]) != 0) {
        place--;
    }
    return place;
}

int
args_parse(const char *function, const char *const *names, Py_ssize_t required, Py_ssize_t count, PyObject *const *args,
           Py_ssize_t nargs, PyObject *kwnames, PyObject **values)
{
    if (AC_UNLIKELY(nargs > count)) {
        const char *format = required == count ? "%s() takes %zd positional arguments but %zd were given"
                                               : "%s() takes from %zd to %zd positional arguments but %zd were given";
        Py_ssize_t least = required + 1, given = nargs + 1; /* with self */
        PyErr_Format(PyExc_TypeError, format, function, least, required == count ? given : count + 1, given);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        values[i] = i < nargs ? args[i] : NULL;
    }
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *keyword = PyTuple_GET_ITEM(kwnames, i);
        Py_ssize_t place = find_name(names, count, keyword);
        if (place < 0 || values[place] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got %s argument %R", function,
                         place < 0 ? "an unexpected keyword" : "multiple values for", keyword);
            return -1;
        }
        values[place] = args[nargs + i];
    }
    Py_ssize_t present = 0;
    while (present < required && values[present] != NULL) {
        present++;
    }
    return args_require(function, present, names, required);
}

bool
args_parse_init(PyObject *args, PyObject *kwargs, const char *name, PyObject **value)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args), keywords = kwargs ? PyDict_GET_SIZE(kwargs) : 0;
    *value = NULL;
    if (count == 1 && keywords == 0) {
        *value = PyTuple_GET_ITEM(args, 0);
    }
    else if (count == 0 && keywords == 1) {
        *value = PyDict_GetItemString(kwargs, name);
    }
    return *value != NULL || count + keywords == 0;
}

PyObject *
args_parse_one(const char *function, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *value;
    if (AC_LIKELY(nargs == 1 && kwnames == NULL)) {
        return args[0];
    }
    return args_parse(function, &name, 1, 1, args, nargs, kwnames, &value) < 0 ? NULL : value;
}
