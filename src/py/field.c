/* Attributes that are fields, without a GIL.  Layer: py. */
#include "py/field.h"

#include "py/errors.h"

#if AC_FREE_THREADED

static PyObject **
place_of(PyObject *self, const PyMemberDef *member)
{
    return (PyObject **)((char *)self + member->offset);
}

PyObject *
field_get(PyObject *self, const PyMemberDef *member)
{
    PyObject *value = *place_of(self, member);
    if (value == NULL && member->type == T_OBJECT_EX) {
        raise_no_attribute(self, member->name);
        return NULL;
    }
    return Py_NewRef(value ? value : Py_None);
}

int
field_set(PyObject *self, const PyMemberDef *member, PyObject *value)
{
    PyObject **place = place_of(self, member);
    if (value == NULL && *place == NULL && member->type == T_OBJECT_EX) {
        PyErr_SetString(PyExc_AttributeError, member->name);
        return -1;
    }
    Py_XSETREF(*place, Py_XNewRef(value));
    return 0;
}

#endif
