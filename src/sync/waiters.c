/* Who waits: futures in a deque.  Layer: sync. */
#include "sync/waiters.h"

/* bool(future.method()) of any kind of future: 1, 0 or -1. */
static int
ask(PyObject *future, PyObject *method)
{
    MONITOR_OUTSIDE();
    PyObject *answer = PyObject_CallMethodNoArgs(future, method);
    int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

/* 1, 0 or -1. */
static int
is_cancelled(struct state *state, PyObject *future)
{
    if (AC_LIKELY(Py_TYPE(future) == state->Future_type)) {
        FUTURE_GUARD((Future *)future);
        return ((Future *)future)->future_state == FUTURE_CANCELLED;
    }
    return ask(future, state->str_cancelled);
}

/* Sets the result of a future unless it is done.  1, 0 if it was done, or -1. */
static int
wake(struct state *state, PyObject *future, PyObject *result)
{
    if (AC_LIKELY(Py_TYPE(future) == state->Future_type)) {
        FUTURE_GUARD((Future *)future); /* whatever somebody has put there */
        if (((Future *)future)->future_state != FUTURE_PENDING) {
            return 0;
        }
        return future_set_result((Future *)future, result) < 0 ? -1 : 1;
    }
    int done = ask(future, state->str_done);
    if (done != 0) {
        return done < 0 ? -1 : 0;
    }
    MONITOR_OUTSIDE();
    PyObject *set = PyObject_CallMethodOneArg(future, state->str_set_result, result);
    Py_XDECREF(set);
    return set ? 1 : -1;
}

/* An iterator over the deque.  New reference; NULL, without an exception where it is empty. */
static PyObject *
iterate(struct lazy_deque *waiters, struct state *state)
{
    if (lazy_deque_any(waiters, state) <= 0) {
        return NULL;
    }
    PyObject *deque = lazy_deque_get(waiters, state);
    MONITOR_OUTSIDE();
    PyObject *iterator = deque ? PyObject_GetIter(deque) : NULL;
    Py_XDECREF(deque);
    return iterator;
}

int
waiters_any_not_cancelled(struct lazy_deque *waiters, struct state *state)
{
    PyObject *future;
    int any = 0;
    for (size_t i = 0; any == 0 && (future = lazy_deque_own_borrow(waiters, i)) != NULL; i++) {
        int cancelled = is_cancelled(state, future);
        any = cancelled < 0 ? -1 : !cancelled;
    }
    if (any != 0 || lazy_deque_has_own(waiters) || lazy_deque_is_empty(waiters)) {
        return any;
    }
    PyObject *iterator = iterate(waiters, state);
    if (iterator == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    MONITOR_OUTSIDE(); /* the iterator, too, may be anything */
    while (any == 0 && (future = PyIter_Next(iterator)) != NULL) {
        int cancelled = is_cancelled(state, future);
        any = cancelled < 0 ? -1 : !cancelled;
        Py_DECREF(future);
    }
    Py_DECREF(iterator);
    return any == 0 && PyErr_Occurred() ? -1 : any;
}

int
waiters_wake_first(struct lazy_deque *waiters, struct state *state, PyObject *result)
{
    PyObject *future = lazy_deque_first(waiters, state);
    if (future == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int woken = wake(state, future, result);
    Py_DECREF(future);
    return woken;
}

Py_ssize_t
waiters_wake(struct lazy_deque *waiters, struct state *state, Py_ssize_t limit, PyObject *result)
{
    PyObject *future;
    Py_ssize_t count = 0;
    /* What is woken stays where it is, but this may run Python, which may look at the deque: then the rest is there. */
    for (size_t i = 0; count < limit && (future = lazy_deque_own_borrow(waiters, i)) != NULL; i++) {
        Py_INCREF(future);
        int woken = wake(state, future, result);
        Py_DECREF(future);
        if (woken < 0) {
            return -1;
        }
        count += woken;
    }
    if (count >= limit || lazy_deque_has_own(waiters) || lazy_deque_is_empty(waiters)) {
        return count;
    }
    PyObject *iterator = iterate(waiters, state);
    if (iterator == NULL) {
        return PyErr_Occurred() ? -1 : count;
    }
    MONITOR_OUTSIDE();
    while (count >= 0 && count < limit && (future = PyIter_Next(iterator)) != NULL) {
        int woken = wake(state, future, result);
        count = woken < 0 ? -1 : count + woken;
        Py_DECREF(future);
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : count;
}

int
waiters_wake_next(struct lazy_deque *waiters, struct state *state)
{
    int woken = 0;
    while (woken == 0) {
        int any = lazy_deque_any(waiters, state);
        PyObject *future = any > 0 ? lazy_deque_popleft(waiters, state) : NULL;
        if (future == NULL) {
            return any == 0 ? 0 : -1;
        }
        woken = wake(state, future, Py_None);
        Py_DECREF(future);
    }
    return woken < 0 ? -1 : 0;
}
