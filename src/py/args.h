/* Parsing the arguments of hot vectorcall methods.  Layer: py. */
#ifndef AC_PY_ARGS_H
#define AC_PY_ARGS_H

#include "py/compat.h"

#include <stdbool.h>

#define AC_FAST(function) ((PyCFunction)(void (*)(void))(function))

/* Whether keyword number `index` of `kwnames` is `name`, an interned string. */
static inline bool
args_keyword_is(PyObject *kwnames, Py_ssize_t index, PyObject *name)
{
    PyObject *keyword = PyTuple_GET_ITEM(kwnames, index);
    return keyword == name || PyUnicode_Compare(keyword, name) == 0;
}

/* The only keyword that may come is `context`: sets *context to it, borrowed, or to NULL where it is absent or None.
   Returns 0, or -1 with TypeError set. */
int args_parse_context(const char *function, PyObject *context_name, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames, PyObject **context);

/* TypeError in the words of a Python function with these positional parameters, if nargs is too small. Returns 0 or -1. */
int args_require(const char *function, Py_ssize_t nargs, const char *const *names, Py_ssize_t count);

/* The arguments of a method with `count` parameters, of which the first `required` have no default, by position or by keyword:
   borrowed, NULL where the default holds.  Returns 0, or -1 with TypeError set. */
int args_parse(const char *function, const char *const *names, Py_ssize_t required, Py_ssize_t count,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **values);

/* The argument of an __init__() that has one, which may have a default, by position or by keyword: borrowed, or NULL where it is
   not given.  False, without an exception, where anything else is. */
bool args_parse_init(PyObject *args, PyObject *kwargs, const char *name, PyObject **value);

/* The argument of a method with one parameter, by position or by keyword.  Borrowed, or NULL with TypeError set. */
PyObject *args_parse_one(const char *function, const char *name, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);

/* For a method whose positional parameters came as keywords, which is rare: calls type.method(self, ...) again with them in
   their places.  NULL without an exception: one is missing all the same. */
PyObject *args_call_in_order(PyTypeObject *type, PyObject *self, const char *method, const char *const *names,
                             Py_ssize_t count, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* function(*args, **kwnames), or NULL where the function is NULL, with the exception that is set then.  So a method of asyncio's own
   class is called, whatever a class derived from it has in its place: args_call_steal(PyObject_GetAttr(class, name), ...), where
   `args` begins with the object. */
PyObject *args_call_steal(PyObject *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* The same for `args` without the object: function.__get__(self)(*args, **kwnames). */
PyObject *args_call_bound_steal(PyObject *function, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames);

/* The arguments of an awaitable's throw(exception) or throw(type[, value[, traceback]]), as one exception.  New reference,
   or NULL with TypeError set, in the words of a coroutine or in those of a future's iterator. */
PyObject *args_parse_throw(PyObject *const *args, Py_ssize_t nargs, bool is_coroutine);

#endif
