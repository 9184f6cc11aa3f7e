/* asyncio.create_task().  Layer: flow. */
#include "core/registry.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/args.h"

/* The plain case, a native loop without a task factory, is loop.create_task() at once; every other is asyncio's own. */
static PyObject *
create_task(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    Loop *loop = nargs == 1 ? loop_running_fused(state) : NULL;
    if (loop == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *name = NULL, *context = NULL;
    bool plain = loop != NULL && loop->task_factory == Py_None && !loop->create_task_overridden;
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < count && plain; i++) {
        PyObject *value = args[nargs + i] == Py_None ? NULL : args[nargs + i];
        if (args_keyword_is(kwnames, i, state->str_name)) {
            name = value;
        }
        else if (args_keyword_is(kwnames, i, state->str_context)) {
            context = value;
        }
        else {
            plain = false;
        }
    }
    PyObject *task = plain ? (PyObject *)task_new(state, (PyObject *)loop, args[0], name, context, false)
                           : PyObject_Vectorcall(state->asyncio_create_task, args, (size_t)nargs, kwnames);
    if (!AC_PY313 && plain && task != NULL && name != NULL) {
        registry_next_number((Task *)task); /* up to 3.12 asyncio names the task after it has been numbered */
    }
    Py_XDECREF(loop);
    return task;
}

PyDoc_STRVAR(create_task_doc, "Run the coroutine coro as a Task of the running loop; return the task.\n\n"
                              "name and context, and what else that Python knows, are as in asyncio.create_task().\n"
                              "Raises RuntimeError where no loop runs, TypeError if coro is no coroutine.\n\n"
                              "asyncio documentation: Coroutines and Tasks, Creating Tasks.");

int
create_task_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    return coroutine_function_add(module, module, state->asyncio_create_task, create_task, create_task_doc);
}
