/* Recorder: what loops did, event by event, in a ring of fixed size.  Layer: monitor.

   The core calls the functions of `recorder_ops` where something happens (core/recorder.h).  An event is flat: a time, a kind, and
   to what it happened.  Who woke whom, and from when to when a task has waited, is found out of their order afterwards, in Python
   (asyncio_c/monitor/recording.py).

   A task is a number here.  The Recorder knows the living ones by their address and a weak reference, which tells whether it is
   still the same task.  What events hold are strings, and tuples of strings and ints, so that letting go of them runs nothing, and
   nothing lives longer because it is recorded.

   A task's step is an entry of the ready queue: of our tasks the task itself, of others a handle whose callback is bound to the
   task.  So tasks of all kinds are recorded by the same few places; only that somebody cancels one is not told by asyncio's own.

   Loops of several threads may tell one Recorder at the same time: its ring and its numbers have a lock; the rest of what is done for
   a task is done in the critical section of its loop.

   What fails here is left out of the recording, and counted. */
#include "base/event_ring.h"
#include "core/handle.h"
#include "core/recorder.h"
#include "core/registry.h"
#include "core/task.h"
#include "flow/coroutine.h"
#include "flow/flow.h"
#include "monitor/recorder.h"

enum kind {
    KIND_MADE,
    KIND_QUEUED,
    KIND_BEGINS,
    KIND_ENDS,
    KIND_CANCELS,
};

/* The details of KIND_QUEUED and KIND_CANCELS, */
enum cause {
    CAUSE_RUNNING, /* by what runs then, if anything does */
    CAUSE_TIMER,
    CAUSE_DESCRIPTOR, /* or by a signal's handler, between the callbacks */
    CAUSE_THREAD,
};

/* of KIND_ENDS, */
enum outcome {
    OUTCOME_NONE, /* of a callback */
    OUTCOME_WAITS,
    OUTCOME_RESULT,
    OUTCOME_EXCEPTION,
    OUTCOME_CANCELLED,
};

/* and of KIND_MADE. */
enum origin {
    ORIGIN_MADE,
    ORIGIN_FOUND, /* it was there when the recording began */
};

typedef struct {
    Recorder base;
    struct state *state;
    PyObject *describe; /* owned; describe(task): what it waits for, as a tuple of strings */
    PyObject *tasks;    /* owned; {address: (weak reference, identity)} */
    compat_mutex lock;  /* of the ring */
    struct event_ring ring;
    uint64_t next_number;
    uint64_t missed;
    unsigned loops;
    struct deferred first_end; /* of the step in which the recording began */
    PyObject *first_task;      /* owned or NULL: whose step that is */
} RecorderObject;

/* ---- Events ---- */

static void
event_release(struct event *event)
{
    Py_XDECREF((PyObject *)event->who);
    Py_XDECREF((PyObject *)event->what);
}

/* Takes `what`.  `end_ns` is when it was, or 0: now.  Runs no Python. */
static void
note_at_steal(RecorderObject *self, Loop *loop, enum kind kind, int detail, int64_t end_ns, uint64_t subject,
              PyObject *who, PyObject *what)
{
    struct event event = {
        .subject = subject,
        .who = Py_XNewRef(who),
        .what = what,
        .source = loop->recorded_as,
        .kind = (uint16_t)kind,
        .detail = (uint16_t)detail,
    };
    struct event dropped;
    compat_mutex_lock(&self->lock);
    event.time_ns = end_ns != 0 ? end_ns : clock_now_ns();
    int result = event_ring_push(&self->ring, &event, &dropped);
    compat_mutex_unlock(&self->lock);
    if (result < 0) {
        (void)COMPAT_ADD(self->missed, 1);
        event_release(&event);
    }
    else if (result > 0) {
        event_release(&dropped);
    }
}

static void
note_steal(RecorderObject *self, Loop *loop, enum kind kind, int detail, uint64_t subject, PyObject *who,
           PyObject *what)
{
    note_at_steal(self, loop, kind, detail, 0, subject, who, what);
}

/* ---- Tasks ---- */

/* Gives a string that nobody has derived anything from.  Takes `string`; an exception where it is NULL is dropped. */
static PyObject *
plain_string_steal(PyObject *string, const char *otherwise)
{
    PyObject *plain = string != NULL && PyUnicode_Check(string) ? PyUnicode_FromObject(string) : NULL;
    Py_XDECREF(string);
    if (plain == NULL) {
        PyErr_Clear();
        plain = PyUnicode_FromString(otherwise);
    }
    return plain;
}

static bool
is_stock_task(struct state *state, PyObject *object)
{
    return PyObject_TypeCheck(object, (PyTypeObject *)state->asyncio_Task)
           || PyObject_TypeCheck(object, (PyTypeObject *)state->asyncio_PyTask);
}

static bool
is_native_task(struct state *state, PyObject *object)
{
    return state_type_check(object, state->Task_type);
}

/* What an object of a class of Python has itself, whatever its class makes of that.  New reference or NULL. */
static PyObject *
own_attribute(PyObject *object, const char *name)
{
    PyObject *dict = PyObject_GenericGetDict(object, NULL);
    PyObject *key = dict ? PyUnicode_FromString(name) : NULL;
    PyObject *value = key ? Py_XNewRef(PyDict_GetItemWithError(dict, key)) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(dict);
    return value;
}

/* A method of the class of C itself, where there is one, and the attribute else, lest an override in Python runs. */
static PyObject *
ask_task(struct state *state, PyObject *task, const char *method, const char *attribute)
{
    if (PyObject_TypeCheck(task, (PyTypeObject *)state->asyncio_PyTask)) {
        return own_attribute(task, attribute);
    }
    PyObject *class = is_native_task(state, task) ? (PyObject *)state->Task_type : state->asyncio_Task;
    return PyObject_CallMethod(class, method, "O", task);
}

static PyObject *
task_name(struct state *state, PyObject *task)
{
    return plain_string_steal(ask_task(state, task, "get_name", "_name"), "?");
}

/* "file:line" of the function that the coroutine is of. */
static PyObject *
coroutine_origin(PyObject *coroutine)
{
    PyObject *code = PyCoro_CheckExact(coroutine) ? PyObject_GetAttrString(coroutine, "cr_code") : NULL;
    PyObject *origin = NULL;
    if (code != NULL && PyCode_Check(code)) {
        PyCodeObject *of = (PyCodeObject *)code;
        origin = PyUnicode_FromFormat("%U:%d", of->co_filename, of->co_firstlineno);
    }
    Py_XDECREF(code);
    return plain_string_steal(origin, "");
}

/* (number, name, qualname of its coroutine, where that is defined) */
static PyObject *
identity_new(RecorderObject *self, PyObject *task, uint64_t number)
{
    struct state *state = self->state;
    PyObject *coroutine = ask_task(state, task, "get_coro", "_coro");
    PyObject *qualname = NULL;
    if (coroutine != NULL
        && (PyCoro_CheckExact(coroutine) || PyGen_CheckExact(coroutine) || coroutine_check(coroutine))) {
        qualname = PyObject_GetAttrString(coroutine, "__qualname__");
    }
    qualname = plain_string_steal(qualname, coroutine ? Py_TYPE(coroutine)->tp_name : "?");
    PyObject *origin = coroutine ? coroutine_origin(coroutine) : NULL;
    PyObject *name = task_name(state, task);
    PyObject *identity = name != NULL && qualname != NULL && origin != NULL
                             ? Py_BuildValue("KOOO", (unsigned long long)number, name, qualname, origin)
                             : NULL;
    Py_XDECREF(coroutine);
    Py_XDECREF(qualname);
    Py_XDECREF(origin);
    Py_XDECREF(name);
    return identity;
}

static uint64_t
identity_number(PyObject *identity)
{
    return PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(identity, 0));
}

static int
task_remember(RecorderObject *self, PyObject *key, PyObject *task, PyObject *identity)
{
    PyObject *reference = PyWeakref_NewRef(task, NULL);
    PyObject *entry = reference ? PyTuple_Pack(2, reference, identity) : NULL;
    int result = entry ? PyDict_SetItem(self->tasks, key, entry) : -1;
    Py_XDECREF(reference);
    Py_XDECREF(entry);
    return result;
}

/* The identity of a task, new for one that was not seen yet.  New reference; NULL without an exception: there is no memory. */
static PyObject *
task_identity(RecorderObject *self, Loop *loop, PyObject *task, enum origin origin)
{
    PyObject *key = PyLong_FromVoidPtr(task);
    PyObject *entry = key ? compat_dict_get(self->tasks, key) : NULL, *identity = NULL;
    if (entry != NULL && compat_weakref_is(PyTuple_GET_ITEM(entry, 0), task)) {
        identity = Py_NewRef(PyTuple_GET_ITEM(entry, 1));
    }
    else if (key != NULL && !PyErr_Occurred()) {
        identity = identity_new(self, task, COMPAT_ADD(self->next_number, 1));
        if (identity != NULL && task_remember(self, key, task, identity) < 0) {
            Py_CLEAR(identity);
        }
        if (identity != NULL) {
            note_steal(self, loop, KIND_MADE, origin, identity_number(identity), identity, NULL);
        }
    }
    Py_XDECREF(entry);
    Py_XDECREF(key);
    if (identity == NULL) {
        PyErr_Clear();
        (void)COMPAT_ADD(self->missed, 1);
    }
    return identity;
}

/* The same, with its name as it is by now. */
static PyObject *
task_identity_now(RecorderObject *self, Loop *loop, PyObject *task)
{
    PyObject *identity = task_identity(self, loop, task, ORIGIN_MADE);
    PyObject *name = identity ? task_name(self->state, task) : NULL;
    if (name != NULL && PyUnicode_Compare(name, PyTuple_GET_ITEM(identity, 1)) != 0) {
        PyObject *key = PyLong_FromVoidPtr(task);
        PyObject *renamed = key ? identity_new(self, task, identity_number(identity)) : NULL;
        if (renamed != NULL && task_remember(self, key, task, renamed) == 0) {
            Py_SETREF(identity, Py_NewRef(renamed));
        }
        Py_XDECREF(renamed);
        Py_XDECREF(key);
    }
    Py_XDECREF(name);
    PyErr_Clear();
    return identity;
}

static void
task_forget(RecorderObject *self, PyObject *task)
{
    PyObject *key = PyLong_FromVoidPtr(task);
    if (key == NULL || PyDict_DelItem(self->tasks, key) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(key);
}

/* Whether it calls a task's step: ours, or asyncio's, for which Python 3.11 has a static type. */
static bool
is_task_step(struct state *state, PyObject *callback)
{
    PyTypeObject *type = Py_TYPE(callback);
    return state_type_check(callback, state->TaskStep_type)
           || strcmp(type->tp_name, "_asyncio.TaskStepMethWrapper") == 0
           || (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) && strcmp(type->tp_name, "TaskStepMethWrapper") == 0);
}

/* The task whose step the callback is.  New reference, or NULL without an exception. */
static PyObject *
task_of_callback(struct state *state, PyObject *callback)
{
    PyObject *task = NULL;
    if (PyCFunction_CheckExact(callback)) {
        if (strcmp(((PyCFunctionObject *)callback)->m_ml->ml_name, "task_wakeup") == 0) {
            task = Py_XNewRef(PyCFunction_GetSelf(callback));
        }
    }
    else if (PyMethod_Check(callback)) {
        PyObject *function = PyMethod_GET_FUNCTION(callback);
        PyObject *name = PyFunction_Check(function) ? ((PyFunctionObject *)function)->func_name : NULL;
        if (name != NULL
            && (PyUnicode_CompareWithASCIIString(name, "__step") == 0
                || PyUnicode_CompareWithASCIIString(name, "__wakeup") == 0)) {
            task = Py_NewRef(PyMethod_GET_SELF(callback));
        }
    }
    else if (is_task_step(state, callback)) {
        task = PyObject_GetAttrString(callback, "__self__");
    }
    PyErr_Clear();
    if (task != NULL && !is_native_task(state, task) && !is_stock_task(state, task)) {
        Py_CLEAR(task);
    }
    return task;
}

/* What a handle in the queue calls.  New reference, or NULL without an exception: it is no handle, or a cancelled one. */
static PyObject *
callback_of(struct state *state, Loop *loop, struct runnable *runnable)
{
    PyObject *owner = runnable->owner, *callback = NULL;
    if (handle_check(state, owner)) {
        return Py_XNewRef(((Handle *)owner)->callback);
    }
    if (Py_TYPE(owner) == state->ForeignHandle_type) {
        PyObject *handle = runnable->ops->as_handle(runnable, loop);
        if (handle != NULL
            && (Py_TYPE(handle) == (PyTypeObject *)state->asyncio_Handle
                || Py_TYPE(handle) == (PyTypeObject *)state->asyncio_TimerHandle)) {
            callback = PyObject_GetAttrString(handle, "_callback");
        }
        Py_XDECREF(handle);
        PyErr_Clear();
    }
    return callback;
}

/* The task of which this is a step.  New reference, or NULL without an exception. */
static PyObject *
task_of(struct state *state, Loop *loop, struct runnable *runnable)
{
    PyObject *owner = runnable->owner;
    if (is_native_task(state, owner)) {
        return Py_NewRef(owner);
    }
    PyObject *callback = callback_of(state, loop, runnable);
    PyObject *task = callback ? task_of_callback(state, callback) : NULL;
    Py_XDECREF(callback);
    return task;
}

/* ---- Callbacks ---- */

/* The name of what runs there and is no task.  Runs Python. */
static PyObject *
callback_name(struct state *state, Loop *loop, struct runnable *runnable)
{
    PyObject *owner = runnable->owner;
    if (coroutine_check(owner)) {
        return PyUnicode_FromString(((Coroutine *)owner)->body->name);
    }
    PyObject *callback = callback_of(state, loop, runnable);
    while (callback != NULL && PyObject_TypeCheck(callback, (PyTypeObject *)state->partial)) {
        Py_SETREF(callback, PyObject_GetAttrString(callback, "func"));
    }
    PyObject *name = callback ? PyObject_GetAttrString(callback, "__qualname__") : NULL;
    PyErr_Clear();
    const char *type_name = Py_TYPE(callback ? callback : owner)->tp_name, *dot = strrchr(type_name, '.');
    Py_XDECREF(callback);
    return plain_string_steal(name, dot ? dot + 1 : type_name);
}

static uint64_t
subject_of(struct runnable *runnable)
{
    return (uint64_t)(uintptr_t)runnable;
}

/* ---- What the core tells ---- */

static RecorderObject *
of_base(Recorder *base)
{
    return AC_CONTAINER_OF(base, RecorderObject, base);
}

/* Around what must run no Python: allocations collect nothing, and an exception that is set stays. */
struct quiet {
    PyObject *exception;
    int collected;
};

static struct quiet
quiet_begin(void)
{
    /* Without a GIL collections come between bytecodes, and are to be had by other threads. */
    return (struct quiet){ .collected = AC_FREE_THREADED ? 0 : PyGC_Disable(),
                           .exception = PyErr_Occurred() ? compat_exception_take() : NULL };
}

static void
quiet_end(struct quiet quiet)
{
    if (quiet.exception != NULL) {
        compat_exception_restore_steal(quiet.exception);
    }
    if (quiet.collected) {
        PyGC_Enable();
    }
}

static void
note_queued(RecorderObject *self, Loop *loop, struct runnable *runnable, enum cause cause)
{
    struct quiet quiet = quiet_begin();
    Py_INCREF(self); /* another thread may end the recording */
    PyObject *task = task_of(self->state, loop, runnable);
    PyObject *identity = task ? task_identity(self, loop, task, ORIGIN_MADE) : NULL;
    uint64_t subject = identity ? identity_number(identity) : subject_of(runnable);
    note_steal(self, loop, KIND_QUEUED, cause, subject, identity, NULL);
    Py_XDECREF(identity);
    Py_XDECREF(task);
    Py_DECREF(self);
    quiet_end(quiet);
}

/* Who does something right now. */
static enum cause
cause_now(Loop *loop)
{
    enum cause cause = CAUSE_RUNNING;
#if AC_FREE_THREADED
    if (loop->threads.taking) {
        return CAUSE_THREAD;
    }
#endif
    if (loop->thread_id != 0 && loop->thread_id != PyThread_get_thread_ident()) {
        cause = CAUSE_THREAD;
    }
    else if (loop->runs > 0 && !loop->running_entries) {
        cause = CAUSE_DESCRIPTOR;
    }
    return cause;
}

static void
recorder_queued(Recorder *base, Loop *loop, struct runnable *runnable, bool by_timer)
{
    note_queued(of_base(base), loop, runnable, by_timer ? CAUSE_TIMER : cause_now(loop));
}

/* What is queued already was queued by nobody knows whom. */
static int
recorder_attached(Recorder *base, Loop *loop)
{
    RecorderObject *self = of_base(base);
    loop->recorded_as = COMPAT_ADD(self->loops, 1);
    for (size_t i = 0; i < ring_count(&loop->ready); i++) {
        note_queued(self, loop, ring_peek(&loop->ready, i), CAUSE_RUNNING);
    }
    return 0;
}

static void
recorder_begins(Recorder *base, Loop *loop, struct runnable *runnable)
{
    RecorderObject *self = of_base(base);
    struct state *state = self->state;
    PyObject *task = task_of(state, loop, runnable);
    if (task != NULL) {
        PyObject *identity = task_identity_now(self, loop, task);
        if (identity != NULL) {
            note_steal(self, loop, KIND_BEGINS, 0, identity_number(identity), identity, NULL);
        }
        Py_XDECREF(identity);
        Py_DECREF(task);
        return;
    }
    PyObject *name = callback_name(state, loop, runnable);
    note_steal(self, loop, KIND_BEGINS, 0, subject_of(runnable), name, NULL);
    Py_XDECREF(name);
    PyErr_Clear();
}

/* Drops what is set, unless a signal's handler has raised it: whether that is so. */
static bool
is_interrupted(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return true;
    }
    PyErr_Clear();
    return false;
}

/* "Type: message", or NULL; an exception is set then if a signal's handler has raised it.  Runs Python. */
static PyObject *
exception_text(PyObject *exception)
{
    PyObject *message = PyObject_Str(exception);
    if (message == NULL && is_interrupted()) {
        return NULL;
    }
    message = plain_string_steal(message, "");
    PyObject *type = plain_string_steal(PyObject_GetAttrString((PyObject *)Py_TYPE(exception), "__qualname__"), "?");
    PyObject *text = NULL;
    if (type != NULL && message != NULL) {
        text = PyUnicode_GetLength(message) > 0 ? PyUnicode_FromFormat("%U: %.200U", type, message) : Py_NewRef(type);
    }
    Py_XDECREF(type);
    Py_XDECREF(message);
    PyErr_Clear();
    return text;
}

/* 0 or 1, or -1 with what a signal's handler has raised.  Runs Python. */
static int
is_true(PyObject *task, PyObject *method)
{
    PyObject *answer = PyObject_CallMethodNoArgs(task, method);
    if (answer == NULL && is_interrupted()) {
        return -1;
    }
    Py_XDECREF(answer);
    return answer == Py_True;
}

/* How a task that is done has ended, and the exception's text.  With an exception set if a signal's handler has raised it.
   Runs Python. */
static enum outcome
task_outcome(struct state *state, PyObject *task, PyObject **what)
{
    int cancelled = is_true(task, state->str_cancelled);
    if (cancelled != 0) {
        return cancelled > 0 ? OUTCOME_CANCELLED : OUTCOME_RESULT;
    }
    PyObject *exception = PyObject_GetAttrString(task, "_exception"); /* which does not count as having retrieved it */
    PyErr_Clear();
    bool failed = exception != NULL && exception != Py_None;
    if (failed) {
        *what = exception_text(exception);
    }
    Py_XDECREF(exception);
    return failed ? OUTCOME_EXCEPTION : OUTCOME_RESULT;
}

/* A tuple of plain strings, lest anything runs when the ring lets go of it; None for anything else.  NULL with an exception set if there
   is no memory. */
static PyObject *
plain_description_steal(PyObject *what)
{
    Py_ssize_t size = PyTuple_Check(what) ? PyTuple_GET_SIZE(what) : 0;
    PyObject *plain = size > 0 ? PyTuple_New(size) : Py_NewRef(Py_None);
    for (Py_ssize_t i = 0; i < size && plain != NULL; i++) {
        PyObject *string = plain_string_steal(Py_NewRef(PyTuple_GET_ITEM(what, i)), "");
        if (string == NULL) {
            Py_CLEAR(plain);
            break;
        }
        PyTuple_SET_ITEM(plain, i, string);
    }
    Py_DECREF(what);
    return plain;
}

/* What a task waits for, or NULL; an exception is set then if a signal's handler has raised it.  Runs Python. */
static PyObject *
describe_wait(RecorderObject *self, PyObject *task)
{
    PyObject *describe = Py_NewRef(self->describe ? self->describe : Py_None);
    PyObject *what = describe != Py_None ? PyObject_CallOneArg(describe, task) : Py_NewRef(Py_None);
    Py_DECREF(describe);
    what = what ? plain_description_steal(what) : NULL;
    if (what == NULL) {
        (void)is_interrupted();
    }
    return what;
}

/* The step of a task has ended: what is it doing now?  0, or -1 with what a signal's handler has raised. */
static int
note_step_ended(RecorderObject *self, Loop *loop, PyObject *task, PyObject *identity)
{
    PyObject *what = NULL;
    enum outcome outcome = OUTCOME_WAITS;
    int64_t end_ns = clock_now_ns();
    int done = is_true(task, self->state->str_done);
    if (done > 0) {
        outcome = task_outcome(self->state, task, &what);
    }
    else if (done == 0) {
        what = describe_wait(self, task);
    }
    PyObject *interrupt = PyErr_Occurred() ? compat_exception_take() : NULL;
    if (done > 0) {
        task_forget(self, task);
    }
    /* Finding out has taken time. */
    note_at_steal(self, loop, KIND_ENDS, outcome, end_ns, identity_number(identity), identity, what);
    if (interrupt != NULL) {
        compat_exception_restore_steal(interrupt);
    }
    return interrupt != NULL ? -1 : 0;
}

static int
recorder_ends(Recorder *base, Loop *loop, struct runnable *runnable, int outcome)
{
    RecorderObject *self = of_base(base);
    PyObject *error = outcome < 0 ? compat_exception_take() : NULL;
    PyObject *task = task_of(self->state, loop, runnable);
    PyObject *identity = task ? task_identity(self, loop, task, ORIGIN_MADE) : NULL;
    int result = 0;
    if (identity != NULL) {
        result = note_step_ended(self, loop, task, identity);
    }
    else {
        note_steal(self, loop, KIND_ENDS, OUTCOME_NONE, subject_of(runnable), NULL, NULL);
    }
    Py_XDECREF(identity);
    Py_XDECREF(task);
    if (error != NULL) {
        PyErr_Clear(); /* the first one counts */
        compat_exception_restore_steal(error);
    }
    return outcome < 0 ? -1 : result;
}

static void
recorder_cancels(Recorder *base, Loop *loop, PyObject *task)
{
    RecorderObject *self = of_base(base);
    struct quiet quiet = quiet_begin();
    Py_INCREF(self);
    PyObject *identity = task_identity(self, loop, task, ORIGIN_MADE);
    if (identity != NULL) {
        note_steal(self, loop, KIND_CANCELS, cause_now(loop), identity_number(identity), identity, NULL);
    }
    Py_XDECREF(identity);
    Py_DECREF(self);
    quiet_end(quiet);
}

static const struct recorder_ops recorder_ops = {
    .attached = recorder_attached,
    .queued = recorder_queued,
    .begins = recorder_begins,
    .ends = recorder_ends,
    .cancels = recorder_cancels,
};

/* ---- Python face ---- */

static PyObject *
Recorder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "size", "describe", NULL };
    Py_ssize_t size;
    PyObject *describe;
    struct state *state = state_of_type(type);
    if (state == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "nO:Recorder", keywords, &size, &describe)) {
        return NULL;
    }
    if (size < 1 || (size_t)size > SIZE_MAX / 2 / sizeof(struct event)) {
        PyErr_SetString(PyExc_ValueError, "the size of a recording is the number of its events, 1 or more");
        return NULL;
    }
    RecorderObject *self = (RecorderObject *)freelist_alloc(&state->Recorder_freelist, state->Recorder_type, type);
    if (self == NULL) {
        return NULL;
    }
    self->base.ops = &recorder_ops;
    self->state = state;
    compat_mutex_init(&self->lock);
    event_ring_init(&self->ring, (size_t)size);
    self->describe = Py_NewRef(describe);
    self->tasks = PyDict_New();
    if (self->tasks == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

/* Returns 1, 0 if somebody else records already, or -1. */
static int
start_of_one(RecorderObject *self, Loop *loop)
{
    GUARD(loop, loop);
    return loop->recorder != NULL ? 0 : loop_record(loop, &self->base) < 0 ? -1 : 1;
}

static int
start_of_all(RecorderObject *self)
{
    struct state *state = self->state;
    compat_mutex_lock(&state->loops_lock);
    bool free = state->recorder == NULL;
    if (free) {
        COMPAT_STORE(state->recorder, (Recorder *)Py_NewRef((PyObject *)self));
    }
    compat_mutex_unlock(&state->loops_lock);
    return free;
}

static PyObject *
Recorder_start(RecorderObject *self, PyObject *loop)
{
    struct state *state = self->state;
    Loop *native = loop_cast(state, loop);
    if (native == NULL && loop != Py_None) {
        PyErr_Format(PyExc_TypeError, "a loop of asyncio_c was expected, got %.200s", Py_TYPE(loop)->tp_name);
        return NULL;
    }
    int started = native != NULL ? start_of_one(self, native) : start_of_all(self);
    if (started == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        native ? "the loop is being recorded already" : "loops are being recorded already");
    }
    return started > 0 ? Py_NewRef(Py_None) : NULL;
}

/* The step in which the recording began has ended: nobody else tells, for when it began there was no recorder. */
static int
first_step_ended(struct deferred *deferred, Loop *loop)
{
    RecorderObject *self = AC_CONTAINER_OF(deferred, RecorderObject, first_end);
    PyObject *task = self->first_task;
    self->first_task = NULL;
    bool records = task != NULL && loop->recorder == &self->base;
    PyObject *identity = records ? task_identity(self, loop, task, ORIGIN_FOUND) : NULL;
    int result = identity ? note_step_ended(self, loop, task, identity) : 0;
    Py_XDECREF(identity);
    Py_XDECREF(task);
    return result;
}

static void
note_running(RecorderObject *self, Loop *loop, PyObject *task, PyObject *identity)
{
    note_steal(self, loop, KIND_BEGINS, 0, identity_number(identity), identity, NULL);
    struct deferred *deferred = &self->first_end;
    if (self->first_task == NULL && loop_defer(loop, deferred)) {
        deferred->run = first_step_ended;
        deferred->owner = Py_NewRef((PyObject *)self);
        self->first_task = Py_NewRef(task);
    }
}

static PyObject *
Recorder_found(RecorderObject *self, PyObject *args)
{
    PyObject *loop_object, *task;
    int running;
    if (!PyArg_ParseTuple(args, "OOp", &loop_object, &task, &running)) {
        return NULL;
    }
    Loop *loop = loop_cast(self->state, loop_object);
    if (loop == NULL || (!is_native_task(self->state, task) && !is_stock_task(self->state, task))) {
        PyErr_SetString(PyExc_TypeError, "a loop of asyncio_c and a task were expected");
        return NULL;
    }
    GUARD(loop, loop);
    PyObject *identity = task_identity(self, loop, task, ORIGIN_FOUND);
    int result = 0;
    if (identity != NULL && running) {
        note_running(self, loop, task, identity);
    }
    else if (identity != NULL) {
        result = note_step_ended(self, loop, task, identity);
    }
    Py_XDECREF(identity);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static void
stop_of_one(RecorderObject *self, Loop *loop)
{
    GUARD(loop, loop);
    if (loop->recorder == &self->base) {
        COMPAT_STORE(loop->recorder, NULL);
        Py_DECREF(self);
    }
}

static PyObject *
Recorder_stop(RecorderObject *self, PyObject *Py_UNUSED(ignored))
{
    struct state *state = self->state;
    compat_mutex_lock(&state->loops_lock);
    bool of_all = state->recorder == &self->base;
    if (of_all) {
        COMPAT_STORE(state->recorder, NULL);
    }
    compat_mutex_unlock(&state->loops_lock);
    if (of_all) {
        Py_DECREF(self); /* the caller holds it, too */
    }
    Loop **loops;
    Py_ssize_t count = registry_loops(state, &loops);
    if (count < 0) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (COMPAT_LOAD(loops[i]->recorder) == &self->base) {
            stop_of_one(self, loops[i]);
        }
        Py_DECREF(loops[i]);
    }
    PyMem_RawFree(loops);
    PyDict_Clear(self->tasks);
    return PyLong_FromLongLong(clock_now_ns());
}

static PyObject *
or_none(void *object)
{
    return object ? object : Py_None;
}

/* The events as they are now, with what they hold: for PyMem_RawFree(), or NULL without an exception if there is no memory. */
static struct event *
events_copy(RecorderObject *self, size_t *count)
{
    compat_mutex_lock(&self->lock);
    *count = self->ring.count;
    struct event *events = PyMem_RawMalloc((*count + 1) * sizeof(*events));
    for (size_t i = 0; i < *count && events != NULL; i++) {
        events[i] = *event_ring_at(&self->ring, i);
        Py_XINCREF((PyObject *)events[i].who);
        Py_XINCREF((PyObject *)events[i].what);
    }
    compat_mutex_unlock(&self->lock);
    return events;
}

static PyObject *
event_tuple(const struct event *event)
{
    return Py_BuildValue("LiiIKOO", (long long)event->time_ns, (int)event->kind, (int)event->detail, event->source,
                         (unsigned long long)event->subject, or_none(event->who), or_none(event->what));
}

/* All at one time: other threads, and what an allocation collects, run loops that are being recorded. */
static PyObject *
Recorder_events(RecorderObject *self, PyObject *Py_UNUSED(ignored))
{
    size_t count;
    struct event *events = events_copy(self, &count);
    if (events == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; i < count; i++) {
        PyObject *tuple = list ? event_tuple(&events[i]) : NULL;
        if (list != NULL && (tuple == NULL || PyList_Append(list, tuple) < 0)) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
        event_release(&events[i]);
    }
    PyMem_RawFree(events);
    return list;
}

static PyObject *
Recorder_get_dropped(RecorderObject *self, void *Py_UNUSED(closure))
{
    compat_mutex_lock(&self->lock);
    uint64_t dropped = self->ring.dropped;
    compat_mutex_unlock(&self->lock);
    return PyLong_FromUnsignedLongLong(dropped + COMPAT_LOAD(self->missed));
}

static int
Recorder_traverse(RecorderObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->describe);
    Py_VISIT(self->first_task);
    return 0; /* what the tasks and events hold refers to nothing */
}

static int
Recorder_clear(RecorderObject *self)
{
    Py_CLEAR(self->describe);
    Py_CLEAR(self->first_task);
    return 0;
}

static void
Recorder_dealloc(RecorderObject *self)
{
    PyObject_GC_UnTrack(self);
    Recorder_clear(self);
    Py_CLEAR(self->tasks);
    for (size_t i = 0; i < self->ring.count; i++) {
        event_release(event_ring_at(&self->ring, i));
    }
    event_ring_release(&self->ring);
    freelist_free(&self->state->Recorder_freelist, self->state->Recorder_type, (PyObject *)self);
}

static PyObject *
Recorder_sleep_seconds(PyObject *Py_UNUSED(class), PyObject *object)
{
    double seconds;
    return sleep_seconds(object, &seconds) ? PyFloat_FromDouble(seconds) : Py_NewRef(Py_None);
}

PyDoc_STRVAR(sleep_seconds_doc,
             "sleep_seconds(coroutine, /)\n--\n\n"
             "Return the delay of a coroutine of sleep(), 0.0 before it waits; None for another object.");
PyDoc_STRVAR(start_doc, "start($self, loop, /)\n--\n\n"
                        "Record the loop from now on, or with None every loop that is made or begins to run.\n\n"
                        "Raises RuntimeError if another recorder does already, TypeError for a loop that is not ours.");
PyDoc_STRVAR(found_doc, "found($self, loop, task, running, /)\n--\n\n"
                        "Note a task that is there already: it runs, or it waits.");
PyDoc_STRVAR(stop_doc,
             "stop($self, /)\n--\n\nRecord nothing more; return the time, in nanoseconds of time.monotonic_ns().");
PyDoc_STRVAR(events_doc, "events($self, /)\n--\n\n"
                         "Return a list of (time in ns, kind, detail, loop, subject, who, what), the oldest first.");
PyDoc_STRVAR(Recorder_doc, "Recorder(size, describe)\n--\n\n"
                           "The last `size` events of loops; describe(task) says what a task waits for.");

static PyMethodDef Recorder_methods[] = {
    { "start", (PyCFunction)Recorder_start, METH_O, start_doc },
    { "found", (PyCFunction)Recorder_found, METH_VARARGS, found_doc },
    { "stop", (PyCFunction)Recorder_stop, METH_NOARGS, stop_doc },
    { "sleep_seconds", (PyCFunction)Recorder_sleep_seconds, METH_O | METH_STATIC, sleep_seconds_doc },
    { "events", (PyCFunction)Recorder_events, METH_NOARGS, events_doc },
    { 0 },
};

static PyGetSetDef Recorder_getset[] = {
    { "dropped", (getter)Recorder_get_dropped, NULL, "How many events are not there any more.", NULL },
    { 0 },
};

static PyType_Slot Recorder_slots[] = {
    { Py_tp_doc, (void *)Recorder_doc }, { Py_tp_new, Recorder_new },
    { Py_tp_dealloc, Recorder_dealloc }, { Py_tp_traverse, Recorder_traverse },
    { Py_tp_clear, Recorder_clear },     { Py_tp_methods, Recorder_methods },
    { Py_tp_getset, Recorder_getset },   { 0, NULL },
};

static PyType_Spec Recorder_spec = {
    .name = "asyncio_c._core.Recorder",
    .basicsize = sizeof(RecorderObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Recorder_slots,
};

int
recorder_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Recorder_type, &Recorder_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddType(module, state->Recorder_type);
}
