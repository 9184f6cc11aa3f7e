/* Who waits for a future: the edges of call graphs, which asyncio has from Python 3.14 on.  Layer: core.

   Equivalent:

       @property
       def _asyncio_awaited_by(self):
           return frozenset([*(who waits by an entry), *self._awaited_by]) or None

       def future_add_to_awaited_by(fut, waiter):
           fut._awaited_by.add(waiter)

   Awaiting a native future costs nothing here: the tasks that wait are among its entries, and are looked for when
   somebody asks.  What has to be told is who waits by a callback of its own: TaskGroup, shield() and wait() of asyncio.
   They say so by two functions of asyncio.futures, which know asyncio's own types only, so that asyncio_c puts those of
   this file in their place.  Mostly one task waits, so a set is made for the second. */
#include "core/future.h"

#include "py/args.h"

#include <string.h>

/* The task that waits by an entry, or NULL.  On loops that are not native, and for tasks that are not, the entry is the
   bound method by which a task in C has itself woken. */
static PyObject *
entry_awaiter_borrow(struct future_entry *entry)
{
    if (entry->callback == NULL) {
        return entry->native->ops->awaiter_borrow ? entry->native->ops->awaiter_borrow(entry->native) : NULL;
    }
    if (PyCFunction_CheckExact(entry->callback)) {
        PyMethodDef *method = ((PyCFunctionObject *)entry->callback)->m_ml;
        return strcmp(method->ml_name, "task_wakeup") == 0 ? PyCFunction_GET_SELF(entry->callback) : NULL;
    }
    return NULL;
}

/* Adding to a set hashes, which a subclass may have overridden: everything is held, or read again after it.  Runs Python. */
static int
add_held(PyObject *set, PyObject *awaiter)
{
    if (awaiter == NULL) {
        return 0;
    }
    Py_INCREF(awaiter);
    int result = PySet_Add(set, awaiter);
    Py_DECREF(awaiter);
    return result;
}

PyObject *
awaited_by_get(Future *self)
{
    PyObject *told = Py_XNewRef(FUTURE_RARE(self, awaited_by));
    bool several = told != NULL && PySet_CheckExact(told);
    PyObject *set = PySet_New(several ? told : NULL);
    int result = set == NULL ? -1 : several ? 0 : add_held(set, told);
    Py_XDECREF(told);
    if (set == NULL) {
        return NULL;
    }
    if (result == 0 && self->has_first) {
        result = add_held(set, entry_awaiter_borrow(&self->first));
    }
    for (unsigned i = 0; self->rest != NULL && i < self->rest->count && result == 0; i++) {
        result = add_held(set, entry_awaiter_borrow(&self->rest->entries[i]));
    }
    PyObject *frozen = NULL;
    if (result == 0) {
        frozen = PySet_GET_SIZE(set) == 0 ? Py_NewRef(Py_None) : PyFrozenSet_New(set);
    }
    Py_DECREF(set);
    return frozen;
}

/* ---- Told by asyncio ---- */

int
awaited_by_add(Future *self, PyObject *waiter)
{
    struct future_rare *rare = future_rare(self);
    if (rare == NULL) {
        return -1;
    }
    PyObject *told = rare->awaited_by;
    if (told == NULL) {
        rare->awaited_by = Py_NewRef(waiter);
        return 0;
    }
    if (told == waiter) {
        return 0;
    }
    if (PySet_CheckExact(told)) {
        Py_INCREF(told);
        int added = PySet_Add(told, waiter);
        Py_DECREF(told);
        return added;
    }
    PyObject *set = PySet_New(NULL);
    if (set == NULL || add_held(set, told) < 0 || PySet_Add(set, waiter) < 0) {
        Py_XDECREF(set);
        return -1;
    }
    rare = future_rare(self); /* again: hashing may have made the future anew */
    if (rare == NULL) {
        Py_DECREF(set);
        return -1;
    }
    Py_XSETREF(rare->awaited_by, set);
    return 0;
}

int
awaited_by_discard(Future *self, PyObject *waiter)
{
    PyObject *told = FUTURE_RARE(self, awaited_by);
    if (told == waiter && told != NULL) {
        Py_CLEAR(self->rare->awaited_by);
        return 0;
    }
    if (told == NULL || !PySet_CheckExact(told)) {
        return 0;
    }
    Py_INCREF(told);
    int discarded = PySet_Discard(told, waiter);
    Py_DECREF(told);
    return discarded < 0 ? -1 : 0;
}

/* Hands the call to `change` if the future is ours, and to asyncio's own function if not. */
static PyObject *
dispatch(PyObject *module, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *stock,
         int (*change)(Future *, PyObject *))
{
    struct state *state = state_of_module(module);
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "%s expected 2 arguments, got %zd", name, nargs);
        return NULL;
    }
    if (!future_check(state, args[0])) {
        return PyObject_Vectorcall(stock, args, 2, NULL);
    }
    FUTURE_GUARD((Future *)args[0]);
    int waits = future_check(state, args[1]) ? 1 : PyObject_IsInstance(args[1], (PyObject *)state->Future_type);
    if (waits < 0 || (waits && change((Future *)args[0], args[1]) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- Python face ---- */

static PyObject *
future_add_to_awaited_by(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *stock = state_of_module(module)->asyncio_add_to_awaited_by;
    return dispatch(module, "future_add_to_awaited_by", args, nargs, stock, awaited_by_add);
}

static PyObject *
future_discard_from_awaited_by(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *stock = state_of_module(module)->asyncio_discard_from_awaited_by;
    return dispatch(module, "future_discard_from_awaited_by", args, nargs, stock, awaited_by_discard);
}

PyDoc_STRVAR(add_doc, "future_add_to_awaited_by($module, fut, waiter, /)\n--\n\n"
                      "Record that the task or future waiter waits for fut, for call graphs.\n\n"
                      "asyncio documentation: Call Graph Introspection, Low level utility functions.");
PyDoc_STRVAR(discard_doc, "future_discard_from_awaited_by($module, fut, waiter, /)\n--\n\n"
                          "Record that waiter waits for fut no more.\n\n"
                          "asyncio documentation: Call Graph Introspection, Low level utility functions.");

static PyMethodDef functions[] = {
    { "future_add_to_awaited_by", AC_FAST(future_add_to_awaited_by), METH_FASTCALL, add_doc },
    { "future_discard_from_awaited_by", AC_FAST(future_discard_from_awaited_by), METH_FASTCALL, discard_doc },
    { 0 },
};

int
awaited_by_register(PyObject *module)
{
    /* Where asyncio has no such functions, nobody would call ours. */
    return state_of_module(module)->asyncio_add_to_awaited_by ? PyModule_AddFunctions(module, functions) : 0;
}
