/* Watching the entries of the queue run; observe.h says how.  Layer: core. */
#include "core/observe.h"

#include "core/loop.h"

static void
decide(Loop *loop)
{
    loop->observed.wanted = loop->observed.timings != NULL || loop->observed.pulses != NULL;
}

/* ---- Timings ---- */

int
observe_measure(Loop *loop, bool wanted)
{
    struct timings *timings = loop->observed.timings;
    if (wanted && timings == NULL) {
        loop->observed.timings = PyMem_Calloc(1, sizeof(*timings));
        if (loop->observed.timings == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    else if (!wanted && timings != NULL) {
        PyMem_Free(timings->due);
        PyMem_Free(timings);
        loop->observed.timings = NULL;
    }
    decide(loop);
    return 0;
}

void
observe_timer(Loop *loop, int64_t deadline_ns)
{
    struct timings *timings = loop->observed.timings;
    if (timings->due_count == timings->due_capacity) {
        size_t capacity = timings->due_capacity ? timings->due_capacity * 2 : 8;
        struct due *due = PyMem_Realloc(timings->due, capacity * sizeof(*due));
        if (due == NULL) {
            return; /* not measured */
        }
        timings->due = due;
        timings->due_capacity = capacity;
    }
    /* A century and a half is the longest lag, so that it can be computed. */
    deadline_ns = deadline_ns > INT64_MIN / 2 ? deadline_ns : INT64_MIN / 2;
    timings->due[timings->due_count++] = (struct due){ loop->ready.tail, deadline_ns };
}

/* Whoever changes the queue itself may have moved entries, so what is passed over is forgotten. */
static void
time_lag(struct timings *timings, size_t position, int64_t now_ns)
{
    while (timings->due_first < timings->due_count) {
        struct due due = timings->due[timings->due_first];
        ptrdiff_t ahead = (ptrdiff_t)(due.position - position);
        if (ahead > 0) {
            return;
        }
        timings->due_first++;
        if (ahead == 0) {
            histogram_record(&timings->lag, now_ns - due.deadline_ns);
        }
    }
    timings->due_first = timings->due_count = 0;
}

/* ---- Pulses ---- */

/* Calls and forgets what went wrong: what an observer does is nothing to the loop.  `callable` is NULL where the garbage collector
   has cleared the Pulse, and the loop comes after it. */
static void
call_observer(PyObject *callable, PyObject *const *args, size_t count)
{
    if (callable == NULL) {
        return;
    }
    PyObject *exception = PyErr_Occurred() ? compat_exception_take() : NULL;
    Py_INCREF(callable);
    PyObject *result = PyObject_Vectorcall(callable, args, count, NULL);
    if (result == NULL) {
        PyErr_WriteUnraisable(callable);
    }
    Py_XDECREF(result);
    Py_DECREF(callable);
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
}

/* The first Pulse whose thread has to be woken for the entry, and was not.  New reference or NULL. */
static Pulse *
pulse_to_wake(Loop *loop)
{
    Pulse *pulse = loop->observed.pulses;
    while (pulse != NULL
           && (pulse->woken == loop->observed.entry
               || !(pulse->parked || pulse->fork_generation != loop->state->fork_generation))) {
        pulse = pulse->next;
    }
    return (Pulse *)Py_XNewRef((PyObject *)pulse);
}

/* Something runs: who is parked has something to look at.  Who is woken may close any.  Returns whether anybody was. */
static bool
wake_pulses(Loop *loop)
{
    bool woken = false;
    Pulse *pulse;
    while ((pulse = pulse_to_wake(loop)) != NULL) {
        pulse->parked = false;
        pulse->fork_generation = loop->state->fork_generation;
        pulse->woken = loop->observed.entry;
        loop->observed.waking = woken = true;
        call_observer(pulse->wake, NULL, 0);
        Py_DECREF(pulse);
    }
    loop->observed.waking = false;
    return woken;
}

static void
entry_begins(Loop *loop, PyObject *owner, int64_t now_ns)
{
    struct observation *observed = &loop->observed;
    observed->entry++;
    observed->entry_since_ns = now_ns;
    observed->entry_owner = owner;
    observed->thread = PyThread_get_thread_ident();
#if AC_FREE_THREADED
    loop_queued_while_idle(owner); /* from now on others may hold it, and ask a handle what it calls */
#endif
    if (wake_pulses(loop)) {
        observed->entry_since_ns = clock_now_ns(); /* what the observers do themselves does not count */
    }
}

void
observe_entry(Loop *loop, PyObject *owner, size_t position, int64_t now_ns)
{
    if (loop->observed.timings != NULL) {
        time_lag(loop->observed.timings, position, now_ns);
    }
    if (loop->observed.pulses != NULL) {
        entry_begins(loop, owner, now_ns);
    }
}

/* The first Pulse that has not heard of the end of the entry.  New reference or NULL.  What hears of it may close any. */
static Pulse *
pulse_to_tell(struct observation *observed, uint64_t entry)
{
    Pulse *pulse = observed->pulses;
    while (pulse != NULL && pulse->told == entry) {
        pulse = pulse->next;
    }
    return (Pulse *)Py_XNewRef((PyObject *)pulse);
}

static void
tell_pulse(Pulse *pulse, PyObject *owner, uint64_t entry, int64_t taken_ns)
{
    PyObject *exception = PyErr_Occurred() ? compat_exception_take() : NULL;
    PyObject *number = PyLong_FromUnsignedLongLong(entry);
    PyObject *seconds = PyFloat_FromDouble(clock_seconds(taken_ns));
    if (number != NULL && seconds != NULL) {
        PyObject *args[] = { owner, number, seconds };
        call_observer(pulse->tell, args, AC_ARRAY_SIZE(args));
    }
    Py_XDECREF(number);
    Py_XDECREF(seconds);
    PyErr_Clear(); /* no memory */
    if (exception != NULL) {
        compat_exception_restore_steal(exception);
    }
}

/* The loop is no longer held up by the entry that runs. */
static void
tell_pulses(Loop *loop, PyObject *owner, int64_t now_ns)
{
    struct observation *observed = &loop->observed;
    uint64_t entry = observed->entry;
    int64_t taken_ns = now_ns - observed->entry_since_ns;
    observed->entry_owner = NULL;
    Pulse *pulse;
    while ((pulse = pulse_to_tell(observed, entry)) != NULL) {
        pulse->told = entry;
        if (taken_ns > pulse->limit_ns) {
            tell_pulse(pulse, owner, entry, taken_ns);
        }
        Py_DECREF(pulse);
    }
}

void
observe_end(Loop *loop, PyObject *owner, int64_t began_ns, int64_t now_ns)
{
    if (loop->observed.timings != NULL) {
        histogram_record(&loop->observed.timings->callbacks, now_ns - began_ns);
    }
    if (loop->observed.entry_owner != NULL) {
        tell_pulses(loop, owner, now_ns);
    }
}

PyObject *
observe_nested_borrow(Loop *loop)
{
    PyObject *owner = loop->observed.entry_owner;
    if (owner != NULL) {
        tell_pulses(loop, owner, clock_now_ns());
    }
    return owner;
}

void
observe_again(Loop *loop, PyObject *owner)
{
    entry_begins(loop, owner, clock_now_ns());
}

static void
pulse_set_loop(Pulse *pulse, Loop *loop)
{
    compat_mutex_lock(&pulse->lock);
    COMPAT_STORE(pulse->loop, loop);
    compat_mutex_unlock(&pulse->lock);
}

/* The loop that has it, or NULL: a new reference, unless the loop is dying. */
static Loop *
pulse_loop(Pulse *pulse)
{
    compat_mutex_lock(&pulse->lock);
    Loop *loop = pulse->loop;
    loop = loop != NULL && compat_try_incref((PyObject *)loop) ? loop : NULL;
    compat_mutex_unlock(&pulse->lock);
    return loop;
}

void
observe_close(Loop *loop)
{
    Pulse *pulse;
    while ((pulse = loop->observed.pulses) != NULL) {
        loop->observed.pulses = pulse->next;
        pulse->next = NULL;
        pulse_set_loop(pulse, NULL);
        call_observer(pulse->wake, NULL, 0);
        Py_DECREF(pulse);
    }
    decide(loop);
}

/* ---- Python face ---- */

static PyObject *
Pulse_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *wake, *tell;
    double limit;
    if (!PyArg_ParseTuple(args, "dOO", &limit, &wake, &tell)) {
        return NULL;
    }
    Pulse *self = (Pulse *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->wake = Py_NewRef(wake);
    self->tell = Py_NewRef(tell);
    self->limit_ns = clock_ns_not_before(limit);
    compat_mutex_init(&self->lock);
    return (PyObject *)self;
}

static PyObject *
Pulse_open(Pulse *self, PyObject *object)
{
    struct state *state = state_of_type(Py_TYPE(self));
    Loop *loop = loop_cast(state, object);
    if (loop == NULL) {
        return PyErr_Format(PyExc_TypeError, "an event loop of asyncio_c is needed, not %.200s",
                            Py_TYPE(object)->tp_name);
    }
    GUARD(loop, self);
    if (loop_check_closed(loop) < 0) {
        return NULL;
    }
    if (self->loop != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "it is open already");
        return NULL;
    }
    compat_enable_try_incref((PyObject *)loop);
    pulse_set_loop(self, loop);
    self->parked = true;
    self->fork_generation = state->fork_generation;
    self->woken = self->told = loop->observed.entry; /* what runs has begun before */
    self->next = loop->observed.pulses;
    loop->observed.pulses = (Pulse *)Py_NewRef((PyObject *)self);
    decide(loop);
    Py_RETURN_NONE;
}

static PyObject *
look_at(Pulse *self, Loop *loop, unsigned long long known, bool park)
{
    GUARD(loop, self);
    struct observation *observed = self->loop ? &loop->observed : NULL; /* it may have been closed meanwhile */
    if (observed == NULL || observed->entry_owner == NULL || observed->entry == known) {
        self->parked = self->parked || park;
        Py_RETURN_NONE;
    }
    PyObject *owner = Py_NewRef(observed->entry_owner);
#if !AC_FREE_THREADED
    loop_queued_while_idle(owner); /* from now on others may hold it */
#endif
    double seconds = observed->waking ? 0.0 : clock_seconds(clock_now_ns() - observed->entry_since_ns);
    return Py_BuildValue("(KdkN)", (unsigned long long)observed->entry, seconds, observed->thread, owner);
}

static PyObject *
Pulse_look(Pulse *self, PyObject *args)
{
    unsigned long long known;
    int park;
    if (!PyArg_ParseTuple(args, "Kp:look", &known, &park)) {
        return NULL;
    }
    Loop *loop = pulse_loop(self);
    PyObject *seen = loop ? look_at(self, loop, known, park) : Py_NewRef(Py_None);
    Py_XDECREF(loop);
    return seen;
}

static void
take_from(Pulse *self, Loop *loop)
{
    GUARD(loop, self);
    if (self->loop != NULL) {
        Pulse **place = &loop->observed.pulses;
        while (*place != self) {
            place = &(*place)->next;
        }
        *place = self->next;
        self->next = NULL;
        decide(loop);
        pulse_set_loop(self, NULL);
        Py_DECREF(self); /* the loop's; the caller holds another */
    }
}

static PyObject *
Pulse_close(Pulse *self, PyObject *Py_UNUSED(ignored))
{
    Loop *loop = pulse_loop(self);
    if (loop != NULL) {
        take_from(self, loop);
        Py_DECREF(loop);
    }
    Py_RETURN_NONE;
}

static PyObject *
Pulse_get_closed(Pulse *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(COMPAT_LOAD(self->loop) == NULL);
}

static int
Pulse_traverse(Pulse *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->wake);
    Py_VISIT(self->tell);
    return 0;
}

static int
Pulse_clear(Pulse *self)
{
    Py_CLEAR(self->wake);
    Py_CLEAR(self->tell);
    return 0;
}

static void
Pulse_dealloc(Pulse *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Pulse_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    Pulse_doc,
    "_Pulse(limit, wake, tell, /)\n--\n\n"
    "What a thread may know of the callback or task step that runs in a loop.\n\n"
    "From open() on, wake() is called at the beginning of a turn if the last look() found that nothing runs, and when\n"
    "the loop is closed; tell(owner, number, seconds) at the end of what took more than limit seconds.");
PyDoc_STRVAR(open_doc, "open($self, loop, /)\n--\n\nHave a loop tell it what runs.\n\n"
                       "Raises TypeError for a loop of others, RuntimeError for a closed one, or if it is open.");
PyDoc_STRVAR(look_doc, "look($self, known, park, /)\n--\n\n"
                       "Return the number of what runs, its seconds so far, its thread, and the task, handle or other\n"
                       "object that it is; or None if nothing runs or it is the known one, and then, if park is true,\n"
                       "wake() is called before something else runs.");
PyDoc_STRVAR(pulse_close_doc, "close($self, /)\n--\n\nHave the loop forget it.");

static PyMethodDef Pulse_methods[] = {
    { "open", (PyCFunction)Pulse_open, METH_O, open_doc },
    { "look", (PyCFunction)Pulse_look, METH_VARARGS, look_doc },
    { "close", (PyCFunction)Pulse_close, METH_NOARGS, pulse_close_doc },
    { 0 },
};

static PyGetSetDef Pulse_getset[] = {
    { "closed", (getter)Pulse_get_closed, NULL,
      "Whether no loop has it: it is not open yet or no more, or the loop was closed.", NULL },
    { 0 },
};

static PyType_Slot Pulse_slots[] = {
    { Py_tp_doc, (void *)Pulse_doc }, { Py_tp_new, Pulse_new },
    { Py_tp_dealloc, Pulse_dealloc }, { Py_tp_traverse, Pulse_traverse },
    { Py_tp_clear, Pulse_clear },     { Py_tp_methods, Pulse_methods },
    { Py_tp_getset, Pulse_getset },   { 0, NULL },
};

static PyType_Spec Pulse_spec = {
    .name = "asyncio_c._core._Pulse",
    .basicsize = sizeof(Pulse),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Pulse_slots,
};

int
observe_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    if (state_add_type(module, &state->Pulse_type, &Pulse_spec, NULL) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "_Pulse", (PyObject *)state->Pulse_type);
}
