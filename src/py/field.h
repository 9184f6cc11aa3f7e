/* Attributes that are fields of an object, which asyncio's methods work on and programs look at.  Layer: py.

   With a GIL they are members, which the interpreter reads and writes by itself.  Without one it does that under no lock, or under that
   of the object, while our code changes the field in the critical section of a loop and frees what was there.  So then they are
   getters and setters, which enter what guards the object.  A type lists its fields once:

       #define POINT_FIELDS(X) X(Point, "_x", T_OBJECT, x) X(Point, "_y", T_OBJECT_EX, y)

       FIELD_ACCESS(Point, POINT_GUARD)
       static PyMemberDef Point_members[] = { POINT_FIELDS(FIELD_AS_MEMBER){ 0 } };
       static PyGetSetDef Point_getset[] = { POINT_FIELDS(FIELD_AS_GETSET){ 0 } };

   Where a field is NULL, that of T_OBJECT is None, and that of T_OBJECT_EX not there.  Numbers are members: a word is read as it is. */
#ifndef AC_PY_FIELD_H
#define AC_PY_FIELD_H

#include "py/compat.h"

#if AC_FREE_THREADED
PyObject *field_get(PyObject *self, const PyMemberDef *member);
int field_set(PyObject *self, const PyMemberDef *member, PyObject *value);

#define FIELD_ACCESS(Type, GUARD_OF)                                       \
    static PyObject *Type##_get_field(Type *self, void *member)            \
    {                                                                      \
        GUARD_OF(self);                                                    \
        return field_get((PyObject *)self, member);                        \
    }                                                                      \
    static int Type##_set_field(Type *self, PyObject *value, void *member) \
    {                                                                      \
        GUARD_OF(self);                                                    \
        return field_set((PyObject *)self, member, value);                 \
    }
#define FIELD_AS_MEMBER(Type, name, kind, field)
#define FIELD_AS_GETSET(Type, name, kind, field)                      \
    { name, (getter)Type##_get_field, (setter)Type##_set_field, NULL, \
      (void *)&(PyMemberDef){ name, kind, offsetof(Type, field), 0, NULL } },
#else
#define FIELD_ACCESS(Type, GUARD_OF)
#define FIELD_AS_MEMBER(Type, name, kind, field) { name, kind, offsetof(Type, field), 0, NULL },
#define FIELD_AS_GETSET(Type, name, kind, field)
#endif

#endif
