/* asyncio.Runner: coroutines run from outside of a loop, one after the other on the same one.  Layer: flow.

   Equivalent, where nothing is refused:

       class Runner:
           def run(self, coro, *, context=None):
               self._lazy_init()
               task = self._loop.create_task(coro, context=self._context if context is None else context)
               if in the main thread, with Python's own handler of Ctrl-C: self._on_sigint is the handler
               self._interrupt_count = 0
               try: return self._loop.run_until_complete(task)
               except CancelledError:
                   if self._interrupt_count and task.uncancel() == 0: raise KeyboardInterrupt
                   raise
               finally: the handler is again what it was
           def _lazy_init(self):                                   (once)
               self._loop = self._loop_factory() or a new loop, which becomes the thread's current one
               if self._debug is not None: self._loop.set_debug(self._debug)
               self._context = copy_context()

   The class in Python (asyncio_c/runners.py) has this type before asyncio's.  Each attribute is a field under asyncio's name, so
   that asyncio's own methods work on it: they construct it, enter, close and leave it, and are what SIGINT calls.  What is refused,
   and what may be run besides coroutines, asyncio's run() decides, before anything has happened.  All that is called of self, of the
   loop, and of the modules that asyncio.runners goes by is looked up by name each time, for it runs once per program or test. */
#include "core/loop.h"
#include "flow/coroutine.h"
#include "flow/coroutine_function.h"
#include "flow/flow.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/field.h"

/* Each is an object, and owned; NULL where it is not there. */
#define RUNNER_ATTRIBUTES(X)               \
    X(runner_state, "_state")              \
    X(debug, "_debug")                     \
    X(loop_factory, "_loop_factory")       \
    X(loop, "_loop")                       \
    X(context, "_context")                 \
    X(interrupt_count, "_interrupt_count") \
    X(set_event_loop, "_set_event_loop")

typedef struct {
    PyObject_HEAD
    struct state *state;
    PyObject *runner_state; /* a member of asyncio's enumeration */
    PyObject *debug;
    PyObject *loop_factory;
    PyObject *loop;
    PyObject *context; /* of the runs that are given none */
    PyObject *interrupt_count;
    PyObject *set_event_loop; /* whether the loop is the thread's current one, by our doing */
} Runner;

/* Threads that use one runner at the same time meet at its fields only, as if its methods were in Python: each is looked at, and
   changed, in the runner's critical section.  What may take long, a run above all, is outside of that. */
#define RUNNER_GUARD(self) \
    (void)(self);          \
    GUARD(NULL, self)

/* ---- What is looked up ---- */

/* asyncio's method of that name; `args` begins with the runner. */
static PyObject *
call_asyncio(struct state *state, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return args_call_steal(PyObject_GetAttrString(state->asyncio_Runner, name), args, nargs, kwnames);
}

/* A field.  New reference, or NULL with AttributeError set. */
static PyObject *
attribute(Runner *self, PyObject *const *field, const char *name)
{
    RUNNER_GUARD(self);
    if (*field == NULL) {
        raise_no_attribute((PyObject *)self, name);
    }
    return Py_XNewRef(*field);
}

static void
set_attribute_steal(Runner *self, PyObject **field, PyObject *value)
{
    RUNNER_GUARD(self);
    Py_XSETREF(*field, value);
}

/* module.name, where `module` is what asyncio.runners has under that name.  New reference. */
static PyObject *
global(struct state *state, const char *module, const char *name)
{
    PyObject *object = PyMapping_GetItemString(state->asyncio_runners_dict, module);
    PyObject *value = object ? PyObject_GetAttrString(object, name) : NULL;
    Py_XDECREF(object);
    return value;
}

/* module.name(...) */
static PyObject *
call_global(struct state *state, const char *module, const char *name, PyObject *const *args, Py_ssize_t nargs)
{
    return args_call_steal(global(state, module, name), args, nargs, NULL);
}

/* signal.signal(...) or signal.getsignal(...), by the function in C behind it, unless somebody has replaced it.  Python's tries
   whether a handler is a member of an enumeration, for which it makes the text of the error that it is none, four times a run: with
   that of the handler, and of its task. */
static PyObject *
call_signal(struct state *state, const char *name, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *function = global(state, "signal", name);
    if (function == state->signal_signal) {
        Py_SETREF(function, Py_NewRef(state->c_signal));
    }
    else if (function == state->signal_getsignal) {
        Py_SETREF(function, Py_NewRef(state->c_getsignal));
    }
    return args_call_steal(function, args, nargs, NULL);
}

/* Calls a method of which only that it fails is of interest.  Takes the result.  Returns 0 or -1. */
static int
done_steal(PyObject *result)
{
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* self._lazy_init().  Returns 0 or -1. */
static int
make_ready(PyObject *self)
{
    return done_steal(PyObject_CallMethod(self, "_lazy_init", NULL));
}

/* ---- The loop ---- */

/* A native one, unless events.new_event_loop() is not asyncio's: then it says what it is to be. */
static PyObject *
new_default_loop(struct state *state)
{
    PyObject *function = global(state, "events", "new_event_loop");
    if (function == state->asyncio_new_event_loop) {
        Py_SETREF(function, state_import("asyncio_c.runners", "new_event_loop"));
    }
    PyObject *loop = function ? PyObject_CallNoArgs(function) : NULL;
    Py_XDECREF(function);
    return loop;
}

/* Makes the loop the thread's current one, unless that was done before.  Returns 0 or -1. */
static int
make_current(Runner *self)
{
    PyObject *was_set = attribute(self, &self->set_event_loop, "_set_event_loop");
    int truth = was_set ? PyObject_IsTrue(was_set) : -1;
    Py_XDECREF(was_set);
    if (truth != 0) {
        return truth < 0 ? -1 : 0;
    }
    PyObject *loop = attribute(self, &self->loop, "_loop");
    int result = loop ? done_steal(call_global(self->state, "events", "set_event_loop", &loop, 1)) : -1;
    Py_XDECREF(loop);
    if (result == 0) {
        set_attribute_steal(self, &self->set_event_loop, Py_NewRef(Py_True));
    }
    return result;
}

/* Returns 0 or -1. */
static int
make_loop(Runner *self)
{
    PyObject *factory = attribute(self, &self->loop_factory, "_loop_factory");
    bool is_default = factory == Py_None;
    PyObject *loop = factory == NULL ? NULL : is_default ? new_default_loop(self->state) : PyObject_CallNoArgs(factory);
    Py_XDECREF(factory);
    if (loop == NULL) {
        return -1;
    }
    set_attribute_steal(self, &self->loop, loop);
    return is_default ? make_current(self) : 0;
}

/* self._loop.set_debug(self._debug), if it says anything.  Returns 0 or -1. */
static int
set_debug(Runner *self)
{
    PyObject *debug = attribute(self, &self->debug, "_debug"), *loop = NULL;
    int result = debug ? 0 : -1;
    if (debug != NULL && debug != Py_None) {
        loop = attribute(self, &self->loop, "_loop");
        result = loop ? done_steal(PyObject_CallMethod(loop, "set_debug", "(O)", debug)) : -1;
    }
    Py_XDECREF(loop);
    Py_XDECREF(debug);
    return result;
}

static int
lazy_init(Runner *self)
{
    RUNNER_GUARD(self); /* one loop, unless what makes it lets another thread in */
    struct state *state = self->state;
    if (self->runner_state == state->runner_initialized) {
        return 0;
    }
    if (self->runner_state == NULL || self->runner_state == state->runner_closed) {
        PyObject *object = (PyObject *)self;
        return done_steal(call_asyncio(state, "_lazy_init", &object, 1, NULL)); /* which refuses */
    }
    if (make_loop(self) < 0 || set_debug(self) < 0) {
        return -1;
    }
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL) {
        return -1;
    }
    set_attribute_steal(self, &self->context, context);
    set_attribute_steal(self, &self->runner_state, Py_NewRef(state->runner_initialized));
    return 0;
}

/* ---- Ctrl-C ---- */

/* Whether signals come to this thread, and Python's own handler is there for SIGINT: 1, 0 or -1. */
static int
is_interruptible(struct state *state, PyObject *sigint, PyObject *default_handler)
{
    PyObject *current = call_global(state, "threading", "current_thread", NULL, 0);
    PyObject *main = current ? call_global(state, "threading", "main_thread", NULL, 0) : NULL;
    PyObject *handler = NULL;
    int result = main ? current == main : -1;
    if (result > 0) {
        handler = call_signal(state, "getsignal", &sigint, 1);
        result = handler ? handler == default_handler : -1;
    }
    Py_XDECREF(handler);
    Py_XDECREF(main);
    Py_XDECREF(current);
    return result;
}

/* Has self._on_sigint(..., main_task=task) called for SIGINT.  New reference: that handler, or None where nothing is changed. */
static PyObject *
install_handler(Runner *self, PyObject *sigint, PyObject *task)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)self, "_on_sigint"), *handler = NULL;
    PyObject *args = method ? PyTuple_Pack(1, method) : NULL;
    PyObject *kwargs = args ? Py_BuildValue("{sO}", "main_task", task) : NULL;
    if (kwargs != NULL) {
        handler = PyObject_Call(self->state->partial, args, kwargs);
    }
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(method);
    if (handler == NULL) {
        return NULL;
    }
    PyObject *arguments[] = { sigint, handler };
    if (done_steal(call_signal(self->state, "signal", arguments, 2)) < 0) {
        Py_CLEAR(handler);
        if (PyErr_ExceptionMatches(PyExc_ValueError)) {
            PyErr_Clear(); /* the main thread of a program that embeds Python without its signals */
            handler = Py_NewRef(Py_None);
        }
    }
    return handler;
}

static PyObject *
watch_interrupts(Runner *self, PyObject *task)
{
    struct state *state = self->state;
    PyObject *sigint = global(state, "signal", "SIGINT"), *handler = NULL;
    PyObject *default_handler = sigint ? global(state, "signal", "default_int_handler") : NULL;
    int interruptible = default_handler ? is_interruptible(state, sigint, default_handler) : -1;
    if (interruptible >= 0) {
        handler = interruptible ? install_handler(self, sigint, task) : Py_NewRef(Py_None);
    }
    Py_XDECREF(default_handler);
    Py_XDECREF(sigint);
    return handler;
}

/* Puts Python's own handler back, unless `handler`, what watch_interrupts() returned, is not there any more.  Returns 0 or -1. */
static int
unwatch_interrupts(struct state *state, PyObject *handler)
{
    if (handler == Py_None) {
        return 0;
    }
    PyObject *args[] = { global(state, "signal", "SIGINT"), NULL };
    PyObject *found = args[0] ? call_signal(state, "getsignal", args, 1) : NULL;
    int result = found ? 0 : -1;
    if (found == handler) {
        args[1] = global(state, "signal", "default_int_handler");
        result = args[1] ? done_steal(call_signal(state, "signal", args, 2)) : -1;
    }
    Py_XDECREF(found);
    Py_XDECREF(args[1]);
    Py_XDECREF(args[0]);
    return result;
}

/* Whether Ctrl-C has cancelled the task, and nobody else: 1, 0 or -1. */
static int
was_interrupted(Runner *self, PyObject *task)
{
    PyObject *count = attribute(self, &self->interrupt_count, "_interrupt_count"), *zero = PyLong_FromLong(0),
             *left = NULL;
    int result = count && zero ? PyObject_RichCompareBool(count, zero, Py_GT) : -1;
    if (result > 0) {
        PyObject *uncancel = PyObject_GetAttr(task, self->state->str_uncancel);
        if (uncancel != NULL) {
            left = PyObject_CallNoArgs(uncancel);
            result = left ? PyObject_RichCompareBool(left, zero, Py_EQ) : -1;
        }
        else if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear(); /* a factory's task, which need not have it */
            result = 0;
        }
        else {
            result = -1;
        }
        Py_XDECREF(uncancel);
    }
    Py_XDECREF(left);
    Py_XDECREF(zero);
    Py_XDECREF(count);
    return result;
}

/* ---- run() ---- */

/* The CancelledError that is set becomes a KeyboardInterrupt where that is what it comes from. */
static void
tell_interrupt(Runner *self, PyObject *task)
{
    PyObject *error = exception_of_failure(), *outer = handling_begin(error);
    int interrupted = was_interrupted(self, task);
    if (interrupted > 0) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
    }
    handling_end_steal(outer);
    if (interrupted == 0) {
        raise_instance_steal(error);
    }
    else {
        Py_XDECREF(error);
    }
}

/* Ends what watch_interrupts() began, whatever came of the run.  Takes `result`, and returns it, or NULL. */
static PyObject *
unwatch_steal(struct state *state, PyObject *handler, PyObject *result)
{
    PyObject *error = result ? NULL : exception_of_failure(), *outer = error ? handling_begin(error) : NULL;
    int restored = unwatch_interrupts(state, handler);
    if (error != NULL) {
        handling_end_steal(outer);
    }
    if (restored < 0) {
        Py_CLEAR(result);
        Py_XDECREF(error);
    }
    else if (error != NULL) {
        raise_instance_steal(error);
    }
    return result;
}

static PyObject *
run_task(Runner *self, PyObject *task)
{
    struct state *state = self->state;
    PyObject *handler = watch_interrupts(self, task), *loop = NULL, *result = NULL;
    if (handler == NULL) {
        return NULL;
    }
    PyObject *zero = PyLong_FromLong(0);
    if (zero != NULL) {
        set_attribute_steal(self, &self->interrupt_count, zero);
        loop = attribute(self, &self->loop, "_loop");
    }
    if (loop != NULL) {
        PyObject *args[] = { loop, task };
        result = PyObject_VectorcallMethod(state->str_run_until_complete, args, 2, NULL);
    }
    Py_XDECREF(loop);
    if (result == NULL && PyErr_ExceptionMatches(state->CancelledError)) {
        tell_interrupt(self, task);
    }
    result = unwatch_steal(state, handler, result);
    Py_DECREF(handler);
    return result;
}

/* `given` or NULL. */
static PyObject *
run_coroutine(Runner *self, PyObject *coroutine, PyObject *given)
{
    if (make_ready((PyObject *)self) < 0) {
        return NULL;
    }
    PyObject *context = given ? Py_NewRef(given) : attribute(self, &self->context, "_context");
    PyObject *loop = context ? attribute(self, &self->loop, "_loop") : NULL, *task = NULL;
    if (loop != NULL) {
        PyObject *args[] = { loop, coroutine, context };
        task = PyObject_VectorcallMethod(self->state->str_create_task, args, 2, self->state->context_kwnames);
    }
    PyObject *result = task ? run_task(self, task) : NULL;
    Py_XDECREF(task);
    Py_XDECREF(loop);
    Py_XDECREF(context);
    return result;
}

/* Whether the arguments of run() are a runner, a coroutine, and a context or none.  *context is borrowed, or NULL. */
static bool
parse_run(struct state *state, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **context)
{
    Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    *context = NULL;
    if (nargs != 2 || keywords > 1 || !PyObject_TypeCheck(args[0], state->Runner_type)
        || (keywords == 1 && !args_keyword_is(kwnames, 0, state->str_context))) {
        return false;
    }
    if (keywords == 1 && args[2] != Py_None) {
        *context = args[2];
    }
    return PyCoro_CheckExact(args[1]) || coroutine_check(args[1]);
}

/* Whether ours is to run it: asyncio's method is as it was, and no loop runs.  1, 0 or -1.  Runs Python. */
static int
may_run(PyObject *self)
{
    struct state *state = ((Runner *)self)->state;
    if (stand_ins_look(state) < 0) {
        return -1;
    }
    if (stand_in_is_aside(state, Py_TYPE(self), state->str_run)) {
        return 0;
    }
    PyObject *running = call_global(state, "events", "_get_running_loop", NULL, 0);
    Py_XDECREF(running);
    return running ? running == Py_None : -1;
}

/* ---- Python face ---- */

static PyObject *
Runner_run(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyObject *context;
    int native = parse_run(state, args, nargs, kwnames, &context) ? may_run(args[0]) : 0;
    if (native < 0) {
        return NULL;
    }
    return native ? run_coroutine((Runner *)args[0], args[1], context)
                  : call_asyncio(state, "run", args, nargs, kwnames);
}

static PyObject *
Runner_lazy_init(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct state *state = coroutine_function_state(function);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (nargs != 1 || kwnames != NULL || !PyObject_TypeCheck(args[0], state->Runner_type)) {
        return call_asyncio(state, "_lazy_init", args, nargs, kwnames);
    }
    return lazy_init((Runner *)args[0]) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
Runner_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    struct state *state = state_of_type(type);
    Runner *self = state ? (Runner *)freelist_alloc(&state->Runner_freelist, NULL, type) : NULL;
    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int
Runner_traverse(Runner *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
#define X(field, name) Py_VISIT(self->field);
    RUNNER_ATTRIBUTES(X)
#undef X
    return 0;
}

static int
Runner_clear(Runner *self)
{
#define X(field, name) Py_CLEAR(self->field);
    RUNNER_ATTRIBUTES(X)
#undef X
    return 0;
}

static void
Runner_dealloc(Runner *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Runner_clear(self);
    freelist_free(&state->Runner_freelist, state->Runner_type, (PyObject *)self);
}

PyDoc_STRVAR(Runner_doc, "The native half of asyncio_c.Runner.");

PyDoc_STRVAR(run_doc,
             "Run the coroutine coro on the runner's loop; return its result or raise its exception.\n\n"
             "context, a contextvars.Context, holds its variables; None is the runner's own context, which\n"
             "keeps them from one run to the next. From Python 3.14 on coro may be any awaitable.\n"
             "Raises RuntimeError if a loop runs in this thread or the runner is closed, ValueError (TypeError\n"
             "from Python 3.14 on) if coro cannot be run, and KeyboardInterrupt after a Ctrl-C that the\n"
             "coroutine did not absorb.\n\n"
             "asyncio documentation: Runners, Runner context manager.");
PyDoc_STRVAR(lazy_init_doc, "Make the loop and the context, unless they are there.");

FIELD_ACCESS(Runner, RUNNER_GUARD)

static PyMemberDef Runner_members[] = {
#define X(field, name) FIELD_AS_MEMBER(Runner, name, T_OBJECT_EX, field)
    RUNNER_ATTRIBUTES(X){ 0 },
#undef X
};

static PyGetSetDef Runner_getset[] = {
#define X(field, name) FIELD_AS_GETSET(Runner, name, T_OBJECT_EX, field)
    RUNNER_ATTRIBUTES(X){ 0 },
#undef X
};

static PyType_Slot Runner_slots[] = {
    { Py_tp_doc, (void *)Runner_doc }, { Py_tp_new, Runner_new },
    { Py_tp_dealloc, Runner_dealloc }, { Py_tp_traverse, Runner_traverse },
    { Py_tp_clear, Runner_clear },     { Py_tp_members, Runner_members },
    { Py_tp_getset, Runner_getset },   { 0, NULL },
};

static PyType_Spec Runner_spec = {
    .name = "asyncio_c._core.Runner",
    .basicsize = sizeof(Runner),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = Runner_slots,
};

int
runner_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *original = state->asyncio_Runner;
    if (state_add_type(module, &state->Runner_type, &Runner_spec, NULL) < 0
        || coroutine_function_add_method(module, state->Runner_type, original, "run", Runner_run, run_doc) < 0
        || coroutine_function_add_method(module, state->Runner_type, original, "_lazy_init", Runner_lazy_init,
                                         lazy_init_doc)
               < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Runner_type);
}
