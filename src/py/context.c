/* The context of a callback, made when the callback runs.  Layer: py.

   The state keeps one spare context and the mapping that a new context begins with, which is a single object for each
   interpreter: a context that is handed back gets it again, so that it keeps nobody's values alive. */
#include "py/context.h"

int
lazy_context_probe(struct state *state)
{
    PyObject *one = PyContext_New(), *other = PyContext_New();
    if (one != NULL && other != NULL && compat_context_is_known(one)) {
        PyObject *variables = *compat_context_variables(one);
        if (variables != NULL && variables == *compat_context_variables(other)) {
            state->no_variables = Py_NewRef(variables);
            state->spare_context = Py_NewRef(one);
        }
    }
    Py_XDECREF(one);
    Py_XDECREF(other);
    return one && other ? 0 : -1;
}

int
lazy_context_init(struct lazy_context *self, struct state *state, PyObject *given)
{
    if (given != NULL) {
        self->context = Py_NewRef(given);
        return 0;
    }
    if (AC_UNLIKELY(state->no_variables == NULL)) {
        self->context = PyContext_CopyCurrent();
        return self->context ? 0 : -1;
    }
    PyObject *current = compat_current_context_borrow();
    self->variables = Py_NewRef(current ? *compat_context_variables(current) : state->no_variables);
    return 0;
}

/* The spare context, or NULL.  The garbage collector shows it to whoever asks for all objects: if it has been entered, or is
   still held, it is not for us any more.  Runs Python then. */
static PyObject *
take_spare(struct state *state)
{
    PyObject *context = state->spare_context;
    state->spare_context = NULL;
    if (context != NULL
        && AC_UNLIKELY(Py_REFCNT(context) != 1 || !compat_context_is_plain(context)
                       || *compat_context_variables(context) != state->no_variables)) {
        Py_CLEAR(context);
    }
    return context;
}

PyObject *
lazy_context_borrow(struct lazy_context *self, struct state *state)
{
    if (self->context != NULL) {
        return self->context;
    }
    PyObject *context = take_spare(state);
    if (context == NULL) {
        context = PyContext_New(); /* may collect garbage */
    }
    /* By now somebody may have asked for the same context, or the garbage collector have cleared the owner: then it gets
       one without variables. */
    if (context == NULL || AC_UNLIKELY(self->context != NULL)) {
        Py_XDECREF(context);
        return context ? self->context : NULL;
    }
    if (AC_LIKELY(self->variables != NULL)) {
        Py_DECREF(*compat_context_variables(context)); /* not the last one: the state has it */
        *compat_context_variables(context) = self->variables;
        self->variables = NULL;
    }
    return self->context = context;
}

void
lazy_context_fold(struct lazy_context *self, struct state *state)
{
    PyObject *context = self->context;
    if (context != NULL && Py_REFCNT(context) == 1 && state->no_variables != NULL && state->spare_context == NULL
        && PyContext_CheckExact(context) && compat_context_is_plain(context)) { /* a given one may be of any type */
        self->variables = *compat_context_variables(context);
        *compat_context_variables(context) = Py_NewRef(state->no_variables);
        state->spare_context = context;
        self->context = NULL;
    }
}

int
lazy_context_traverse(struct lazy_context *self, visitproc visit, void *arg)
{
    Py_VISIT(self->context);
    Py_VISIT(self->variables);
    return 0;
}

void
lazy_context_clear(struct lazy_context *self)
{
    Py_CLEAR(self->context);
    Py_CLEAR(self->variables);
}
