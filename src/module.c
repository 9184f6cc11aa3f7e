/* The module asyncio_c._core: multi-phase init, all state in struct state.  Exports PyInit__core and nothing else. */
#include "core/foreign_handle.h"
#include "core/future.h"
#include "core/handle.h"
#include "core/loop.h"
#include "core/observe.h"
#include "core/queue_view.h"
#include "core/registry.h"
#include "core/task.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "io/calls.h"
#include "io/file_identity.h"
#include "monitor/births.h"
#include "monitor/recorder.h"
#include "monitor/stats.h"
#include "net/net.h"
#include "py/errors.h"
#include "py/stand_in.h"
#include "streams/streams.h"
#include "sync/sync.h"
#include "tls/tls_protocol.h"

/* Every native task that is not done, for the set that asyncio.all_tasks() iterates over. */
static PyObject *
native_tasks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return registry_tasks(state_of_module(module), NULL);
}

static PyObject *
after_fork(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct state *state = state_of_module(module);
    state->fork_generation++;
    registry_after_fork(state);
    state->running_loop = NULL; /* asyncio, too, knows of no running loop in the child */
    Py_RETURN_NONE;
}

/* (device, inode) of a descriptor. */
static PyObject *
file_identity(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    struct file_identity identity;
    if (!PyArg_ParseTuple(args, "i", &fd)) {
        return NULL;
    }
    int error = file_identify(fd, &identity);
    if (error < 0) {
        raise_errno(error);
        return NULL;
    }
    return Py_BuildValue("KK", (unsigned long long)identity.device, (unsigned long long)identity.inode);
}

static PyObject *
file_is_still(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    unsigned long long device, inode;
    if (!PyArg_ParseTuple(args, "i(KK)", &fd, &device, &inode)) {
        return NULL;
    }
    return PyBool_FromLong(file_is(fd, &(struct file_identity){ device, inode }));
}

#ifdef ASYNCIO_C_STRESS
static PyObject *
stress(PyObject *Py_UNUSED(module), PyObject *seed)
{
    unsigned long long value = PyLong_AsUnsignedLongLongMask(seed);
    if (PyErr_Occurred()) {
        return NULL;
    }
    stress_seed(value);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stress_doc, "_stress($module, seed, /)\n--\n\n"
                         "Begin the chance of the stress build again, from a number; 0 has system calls left alone.");
#endif

#if AC_THREAD_SANITIZER && AC_FREE_THREADED
/* What tools/tsan_reports.py has to find, as a proof that it would have found others: two threads, one of which waits here for the
   other, add to a number that nothing guards.  The word by which they meet orders nothing. */
static PyObject *
race_on_purpose(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    static unsigned arrived, number;
    Py_BEGIN_ALLOW_THREADS
    unsigned last = (COMPAT_ADD(arrived, 1) + 1) & ~1U;
    while (COMPAT_LOAD(arrived) < last) {
        (void)sched_yield();
    }
    number++;
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
#endif

PyDoc_STRVAR(native_tasks_doc, "_native_tasks($module, /)\n--\n\nReturn a list of every native task that is not done.");
PyDoc_STRVAR(after_fork_doc, "_after_fork($module, /)\n--\n\nSay that this process is a fork's child.");
PyDoc_STRVAR(file_identity_doc, "_file_identity($module, fd, /)\n--\n\n"
                                "Return what tells the file of a descriptor from all others, for _file_is().");
PyDoc_STRVAR(file_is_doc,
             "_file_is($module, fd, identity, /)\n--\n\n"
             "Return whether a descriptor is still the file for which _file_identity() returned identity.\n\n"
             "False where it has been closed, and its number been given to another.");

static PyMethodDef functions[] = {
    { "_native_tasks", native_tasks, METH_NOARGS, native_tasks_doc },
    { "_after_fork", after_fork, METH_NOARGS, after_fork_doc },
    { "_file_identity", file_identity, METH_VARARGS, file_identity_doc },
    { "_file_is", file_is_still, METH_VARARGS, file_is_doc },
#ifdef ASYNCIO_C_STRESS
    { "_stress", stress, METH_O, stress_doc },
#endif
#if AC_THREAD_SANITIZER && AC_FREE_THREADED
    { "_race_on_purpose", race_on_purpose, METH_NOARGS,
      "_race_on_purpose($module, /)\n--\n\nRace with another thread." },
#endif
    { 0 },
};

#if AC_FREE_THREADED
/* A debug build of CPython asserts that a string is immortal only if it is interned. */
static void
immortalize_value(PyObject *value)
{
    if (!PyUnicode_Check(value)) {
        compat_immortalize(value);
    }
}

/* What all threads use: the functions of the module, our types and their methods. */
static void
immortalize(struct state *state, PyObject *module)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(PyModule_GetDict(module), &position, &key, &value)) {
        immortalize_value(value);
        compat_immortalize((PyObject *)Py_TYPE(value));
    }
    PyTypeObject *const types[] = {
#define X(name, limit) state->name##_type,
        STATE_TYPES(X)
#undef X
    };
    for (size_t i = 0; i < AC_ARRAY_SIZE(types); i++) {
        compat_immortalize((PyObject *)types[i]);
        position = 0;
        while (PyDict_Next(compat_type_dict_borrow(types[i]), &position, &key, &value)) {
            immortalize_value(value);
        }
    }
}
#endif

static int
module_exec(PyObject *module)
{
    struct state *state = PyMem_RawCalloc(1, sizeof(*state));
    if (state == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *(struct state **)PyModule_GetState(module) = state;
    if (state_init(state) < 0) {
        return -1;
    }
    static int (*const registers[])(PyObject *) = {
        stand_in_register,
        handle_register,
        foreign_handle_register,
        queue_view_register,
        loop_register,
        observe_register,
        future_iter_register,
        future_register,
        awaited_by_register,
        task_register,
        coroutine_function_register,
        sleep_register,
        gather_register,
        wait_register,
        create_task_register,
        task_group_register,
        runner_register,
        primitive_coroutine_register,
        lock_register,
        event_register,
        condition_register,
        barrier_register,
        semaphore_register,
        queue_register,
        as_completed_register,
        plain_socket_register,
        timeout_register,
        wait_for_register,
        shield_register,
        to_thread_register,
        fd_map_register,
        stream_transport_register,
        stream_lifecycle_register,
        listener_register,
        datagram_transport_register,
        pipe_transport_register,
        sock_register,
        tls_protocol_register,
        tls_transport_register,
        stream_reader_register,
        stream_protocol_register,
        stream_writer_register,
        stats_register,
        births_register,
        recorder_register,
    };
    for (size_t i = 0; i < AC_ARRAY_SIZE(registers); i++) {
        if (registers[i](module) < 0) {
            return -1;
        }
    }
    if (state_register_stock(state, state->Future_type, state->asyncio_Future) < 0
        || state_register_stock(state, state->Future_type, state->asyncio_PyFuture) < 0
        || state_register_stock(state, state->Task_type, state->asyncio_Task) < 0
        || state_register_stock(state, state->Task_type, state->asyncio_PyTask) < 0
        || state_register_stock(state, state->GatheringFuture_type, state->asyncio_GatheringFuture) < 0) {
        return -1;
    }
    if (PyModule_AddObjectRef(module, "current_task", state->asyncio_current_task) < 0
        || PyModule_AddObjectRef(module, "all_tasks", state->asyncio_all_tasks) < 0) {
        return -1;
    }
    if (PyModule_AddFunctions(module, functions) < 0) {
        return -1;
    }
#if AC_FREE_THREADED
    immortalize(state, module);
#endif
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct state *state = state_of_module(module);
    return state ? state_traverse(state, visit, arg) : 0;
}

static int
module_clear(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state != NULL) {
        state_clear(state);
    }
    return 0;
}

static void
module_free(void *module)
{
    struct state **state = PyModule_GetState(module);
    if (state != NULL && *state != NULL) {
        tls_release_library(*state);
        state_free(*state);
    }
}

static PyModuleDef_Slot module_slots[] = {
    { Py_mod_exec, module_exec },
    AC_MODULE_SLOTS{ 0, NULL },
};

struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "asyncio_c._core",
    .m_doc = "The native core of asyncio_c.",
    .m_size = sizeof(struct state *),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
