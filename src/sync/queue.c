/* asyncio.Queue, PriorityQueue and LifoQueue.  Layer: sync.

   Equivalent:

       class Queue:
           async def get(self):
               while self.empty():
                   if self._is_shutdown: raise QueueShutDown
                   getter = self._get_loop().create_future()
                   self._getters.append(getter)
                   try: await getter
                   except:
                       getter.cancel()
                       if getter in self._getters: self._getters.remove(getter)
                       if not self.empty() and not getter.cancelled(): self._wakeup_next(self._getters)
                       raise
               return self.get_nowait()
           def get_nowait(self):
               if self.empty(): raise QueueEmpty
               item = self._get()
               self._wakeup_next(self._putters)
               return item
           (put() and put_nowait() likewise, with full(), _putters and _put(), and a count of unfinished tasks)
           async def join(self):
               if self._unfinished_tasks > 0: await self._finished.wait()

   The items are in `_queue`, a deque or a list, as asyncio has them, for programs look there.  Who is woken is taken out of
   _getters, and goes to the end if somebody was faster.

   A subclass with its own _init(), _get() or _put() keeps its items as it likes; then these methods are called, and so is each
   other one that is replaced. */
#include "sync/queue.h"

#include "flow/coroutine_function.h"
#include "py/args.h"
#include "sync/event.h"
#include "sync/primitive_coroutine.h"
#include "sync/sync.h"
#include "sync/waiters.h"

typedef struct {
    PRIMITIVE_HEAD
    PyObject *maxsize;         /* owned */
    struct lazy_deque getters; /* of futures */
    struct lazy_deque putters; /* of futures */
    struct lazy_deque items;   /* `_queue`: a deque, or the list that is there in its place */
    PyObject *finished;        /* owned: an Event */
    Py_ssize_t limit;          /* maxsize, or 0 for none */
    Py_ssize_t unfinished;
    bool odd_limit; /* maxsize is no int of C's size */
    bool is_shutdown;
} Queue;

static const struct primitive_attribute items_attribute = { "_queue", offsetof(Queue, items) };

static const char *const queue_methods[] = { "_get_loop", "get",          "put",   "get_nowait", "put_nowait",
                                             "empty",     "full",         "qsize", "_init",      "_get",
                                             "_put",      "_wakeup_next", "join",  "task_done" };

enum {
    QUEUE_GET_LOOP,
    QUEUE_GET,
    QUEUE_PUT,
    QUEUE_GET_NOWAIT,
    QUEUE_PUT_NOWAIT,
    QUEUE_EMPTY,
    QUEUE_FULL,
    QUEUE_QSIZE,
    QUEUE__INIT,
    QUEUE__GET,
    QUEUE__PUT,
    QUEUE_WAKEUP_NEXT,
    QUEUE_JOIN,
    QUEUE_TASK_DONE,
};

static const struct primitive_kind fifo_kind = PRIMITIVE_KIND(Queue, queue_methods);
static const struct primitive_kind heap_kind = PRIMITIVE_KIND(PriorityQueue, queue_methods);
static const struct primitive_kind lifo_kind = PRIMITIVE_KIND(LifoQueue, queue_methods);

static inline bool
is_plain(Queue *self, unsigned methods)
{
    bool initialized = lazy_deque_exists(&self->items) && lazy_deque_exists(&self->getters)
                       && lazy_deque_exists(&self->putters) && self->finished != NULL;
    return AC_LIKELY(initialized && !primitive_overrides((Primitive *)self, methods));
}

/* ---- Items ---- */

enum storage {
    STORAGE_FIFO, /* a deque */
    STORAGE_HEAP, /* a list that is a heap */
    STORAGE_LIFO, /* a list */
    STORAGE_OWN,  /* the subclass's: _get() and _put() know */
};

/* Needs: there are items.  `method` is the one to be called, _get() or _put(). */
static enum storage
storage_of(Queue *self, int method)
{
    if (AC_UNLIKELY(primitive_overrides((Primitive *)self, 1u << method))) {
        return STORAGE_OWN;
    }
    if (self->kind == &fifo_kind) {
        return lazy_deque_is_deque(&self->items, self->state) ? STORAGE_FIFO : STORAGE_OWN;
    }
    if (!PyList_CheckExact(self->items.deque)) {
        return STORAGE_OWN;
    }
    return self->kind == &heap_kind ? STORAGE_HEAP : STORAGE_LIFO;
}

static int
is_empty(Queue *self)
{
    if (!is_plain(self, 1 << QUEUE_EMPTY)) {
        return primitive_ask((Primitive *)self, QUEUE_EMPTY);
    }
    int any = lazy_deque_any(&self->items, self->state);
    return any < 0 ? -1 : !any;
}

static int
is_full(Queue *self)
{
    if (!is_plain(self, 1 << QUEUE_FULL | 1 << QUEUE_QSIZE) || self->odd_limit) {
        return primitive_ask((Primitive *)self, QUEUE_FULL);
    }
    if (self->limit <= 0) {
        return 0;
    }
    Py_ssize_t size = lazy_deque_size(&self->items, self->state);
    return size < 0 ? -1 : size >= self->limit;
}

/* A function of heapq, whose first argument, the list of the items, it takes.  Items compare themselves as the program says, so
   this is outside of the monitor.  heapq is without locks up to 3.13: the queue's critical section is what a GIL is to it, given up
   wherever one would be, with the same exceptions where two threads change the heap.  New reference.  Runs Python. */
static PyObject *
call_heapq(Queue *self, PyObject *function, PyObject *const *args, size_t nargs)
{
    MONITOR_OUTSIDE();
    GUARD(NULL, self);
    (void)self;
    PyObject *result = PyObject_Vectorcall(function, args, nargs, NULL);
    Py_DECREF(args[0]);
    return result;
}

/* self._get().  New reference. */
static PyObject *
take_item(Queue *self)
{
    struct state *state = self->state;
    switch (storage_of(self, QUEUE__GET)) {
    case STORAGE_FIFO:
        return lazy_deque_popleft(&self->items, state);
    case STORAGE_HEAP: {
        PyObject *args[] = { Py_NewRef(self->items.deque) };
        return call_heapq(self, state->heappop, args, 1);
    }
    case STORAGE_LIFO: {
        PyObject *list = self->items.deque;
        Py_ssize_t last = PyList_GET_SIZE(list) - 1;
        PyObject *item = last >= 0 ? compat_list_get(list, last) : NULL;
        if (item != NULL && PyList_SetSlice(list, last, last + 1, NULL) < 0) {
            Py_CLEAR(item);
        }
        if (last < 0) {
            PyErr_SetString(PyExc_IndexError, "pop from empty list");
        }
        return item;
    }
    default:
        return primitive_get((Primitive *)self, QUEUE__GET);
    }
}

/* self._put(item).  0 or -1. */
static int
add_item(Queue *self, PyObject *item)
{
    struct state *state = self->state;
    switch (storage_of(self, QUEUE__PUT)) {
    case STORAGE_FIFO:
        return lazy_deque_append(&self->items, state, item);
    case STORAGE_HEAP: {
        PyObject *args[] = { Py_NewRef(self->items.deque), item };
        PyObject *result = call_heapq(self, state->heappush, args, 2);
        Py_XDECREF(result);
        return result ? 0 : -1;
    }
    case STORAGE_LIFO:
        return PyList_Append(self->items.deque, item);
    default:
        return primitive_tell((Primitive *)self, QUEUE__PUT, item);
    }
}

/* ---- Without waiting ---- */

static int
wakeup_next(Queue *self, struct lazy_deque *waiters, const char *name)
{
    if (AC_UNLIKELY(!lazy_deque_exists(waiters))) {
        (void)primitive_no_attribute((Primitive *)self, name);
        return -1;
    }
    if (AC_UNLIKELY(primitive_overrides((Primitive *)self, 1 << QUEUE_WAKEUP_NEXT))) {
        PyObject *deque = lazy_deque_get(waiters, self->state);
        int result = deque ? primitive_tell((Primitive *)self, QUEUE_WAKEUP_NEXT, deque) : -1;
        Py_XDECREF(deque);
        return result;
    }
    return waiters_wake_next(waiters, self->state);
}

/* get_nowait() of what is not empty.  New reference. */
static PyObject *
get_now(Queue *self)
{
    PyObject *item = take_item(self);
    if (item != NULL && wakeup_next(self, &self->putters, "_putters") < 0) {
        MONITOR_SET(item, NULL);
    }
    return item;
}

/* put_nowait() of what is not full.  0 or -1. */
static int
put_now(Queue *self, PyObject *item)
{
    if (self->is_shutdown) {
        PyErr_SetNone(self->state->asyncio_QueueShutDown);
        return -1;
    }
    if (add_item(self, item) < 0) {
        return -1;
    }
    self->unfinished++;
    if (AC_UNLIKELY(self->finished == NULL)) {
        (void)primitive_no_attribute((Primitive *)self, "_finished");
        return -1;
    }
    return event_clear(self->state, self->finished) < 0 ? -1 : wakeup_next(self, &self->getters, "_getters");
}

/* ---- get() ---- */

enum {
    GETTING = 1 << QUEUE_GET_LOOP | 1 << QUEUE_EMPTY | 1 << QUEUE_GET_NOWAIT | 1 << QUEUE_WAKEUP_NEXT,
    PUTTING = 1 << QUEUE_GET_LOOP | 1 << QUEUE_FULL | 1 << QUEUE_QSIZE | 1 << QUEUE_PUT_NOWAIT | 1 << QUEUE_WAKEUP_NEXT,
};

static PySendResult
get_or_wait(PrimitiveCoroutine *self, bool again, PyObject **result)
{
    Queue *queue = (Queue *)self->owner;
    int empty = is_empty(queue);
    if (empty == 0) {
        bool plain = is_plain(queue, 1 << QUEUE_GET_NOWAIT);
        *result = plain ? get_now(queue) : primitive_get(self->owner, QUEUE_GET_NOWAIT);
        return *result ? PYGEN_RETURN : PYGEN_ERROR;
    }
    if (empty > 0 && queue->is_shutdown) {
        PyErr_SetNone(self->base.state->asyncio_QueueShutDown);
        empty = -1;
    }
    return empty < 0 ? PYGEN_ERROR : primitive_wait(self, &queue->getters, again, QUEUE_GET, result);
}

static PySendResult
get_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (!is_plain((Queue *)self->owner, GETTING)) {
        return primitive_delegate(self, QUEUE_GET);
    }
    return get_or_wait(self, false, result);
}

/* What get() and put() do in their `except` clauses before anything else: the future is cancelled, and waits no more.  1 if
   somebody had woken it, who may have to wake another one now, 0 or -1. */
static int
give_up(PrimitiveCoroutine *self, struct lazy_deque *waiters)
{
    Future *future = (Future *)self->base.awaiting;
    if (future_cancel(future, NULL) < 0) {
        return -1;
    }
    if (primitive_stop_waiting(self, waiters) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear(); /* who has woken it has taken it out */
    }
    return future->future_state != FUTURE_CANCELLED;
}

static int
give_up_getting(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    Queue *queue = (Queue *)self->owner;
    int woken = give_up(self, &queue->getters);
    int empty = woken < 0 ? -1 : is_empty(queue);
    return empty < 0 ? -1 : empty == 0 && woken ? wakeup_next(queue, &queue->getters, "_getters") : 0;
}

static PySendResult
get_conclude(Coroutine *base, PySendResult outcome, PyObject **Py_UNUSED(result))
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return base->delegate ? outcome : primitive_handle((PrimitiveCoroutine *)base, give_up_getting);
}

static PySendResult
get_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (primitive_waited(self) < 0) {
        return get_conclude(base, PYGEN_ERROR, result);
    }
    return get_or_wait(self, true, result);
}

static const struct coroutine_body get_body = {
    .name = "get",
    .qualname = "Queue.get",
    .start = get_start,
    .resume = get_resume,
    .conclude = get_conclude,
    .leave = coroutine_leave_nothing,
};

/* ---- put() ---- */

static PySendResult
put_or_wait(PrimitiveCoroutine *self, bool again, PyObject **result)
{
    Queue *queue = (Queue *)self->owner;
    int full = is_full(queue);
    if (full == 0) {
        bool plain = is_plain(queue, 1 << QUEUE_PUT_NOWAIT);
        if (AC_UNLIKELY(!plain)) {
            *result = primitive_put(self->owner, QUEUE_PUT_NOWAIT, self->item);
        }
        else {
            *result = put_now(queue, self->item) == 0 ? Py_NewRef(Py_None) : NULL;
        }
        return *result ? PYGEN_RETURN : PYGEN_ERROR;
    }
    if (full > 0 && queue->is_shutdown) {
        PyErr_SetNone(self->base.state->asyncio_QueueShutDown);
        full = -1;
    }
    return full < 0 ? PYGEN_ERROR : primitive_wait(self, &queue->putters, again, QUEUE_PUT, result);
}

static PySendResult
put_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (!is_plain((Queue *)self->owner, PUTTING) || ((Queue *)self->owner)->odd_limit) {
        return primitive_delegate(self, QUEUE_PUT);
    }
    return put_or_wait(self, false, result);
}

static int
give_up_putting(PrimitiveCoroutine *self, PyObject *Py_UNUSED(error))
{
    Queue *queue = (Queue *)self->owner;
    int woken = give_up(self, &queue->putters);
    int full = woken < 0 ? -1 : is_full(queue);
    return full < 0 ? -1 : full == 0 && woken ? wakeup_next(queue, &queue->putters, "_putters") : 0;
}

static PySendResult
put_conclude(Coroutine *base, PySendResult outcome, PyObject **Py_UNUSED(result))
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    return base->delegate ? outcome : primitive_handle((PrimitiveCoroutine *)base, give_up_putting);
}

static PySendResult
put_resume(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    if (primitive_waited(self) < 0) {
        return put_conclude(base, PYGEN_ERROR, result);
    }
    return put_or_wait(self, true, result);
}

static const struct coroutine_body put_body = {
    .name = "put",
    .qualname = "Queue.put",
    .start = put_start,
    .resume = put_resume,
    .conclude = put_conclude,
    .leave = coroutine_leave_nothing,
};

/* ---- join() ---- */

static PySendResult
join_start(Coroutine *base, PyObject **result)
{
    PRIMITIVE_GUARD(((PrimitiveCoroutine *)base)->owner);
    PrimitiveCoroutine *self = (PrimitiveCoroutine *)base;
    Queue *queue = (Queue *)self->owner;
    if (!is_plain(queue, 0)) {
        return primitive_delegate(self, QUEUE_JOIN);
    }
    if (queue->unfinished <= 0) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    PyObject *finished = Py_NewRef(queue->finished);
    base->delegate = event_wait(base->state, finished);
    Py_DECREF(finished);
    return base->delegate ? PYGEN_NEXT : PYGEN_ERROR;
}

static PySendResult
join_conclude(Coroutine *Py_UNUSED(base), PySendResult outcome, PyObject **result)
{
    if (outcome == PYGEN_RETURN) {
        Py_SETREF(*result, Py_NewRef(Py_None));
    }
    return outcome;
}

static const struct coroutine_body join_body = {
    .name = "join",
    .qualname = "Queue.join",
    .start = join_start,
    .conclude = join_conclude,
    .leave = coroutine_leave_nothing,
};

/* ---- For as_completed() ---- */

PyObject *
queue_new(struct state *state)
{
    PyObject *class = state_class_borrow(&state->queue_class, "asyncio_c.primitives", "Queue");
    return class ? PyObject_CallNoArgs(class) : NULL;
}

int
queue_put(PyObject *queue, PyObject *item)
{
    Queue *self = (Queue *)queue;
    PRIMITIVE_GUARD(self);
    return is_plain(self, 1 << QUEUE_PUT_NOWAIT) ? put_now(self, item)
                                                 : primitive_tell((Primitive *)self, QUEUE_PUT_NOWAIT, item);
}

PyObject *
queue_get_at_once(PyObject *queue)
{
    Queue *self = (Queue *)queue;
    PRIMITIVE_GUARD(self);
    return is_plain(self, GETTING | 1 << QUEUE_GET) && is_empty(self) == 0 ? get_now(self) : NULL;
}

PyObject *
queue_get(PyObject *queue)
{
    return primitive_coroutine_new((Primitive *)queue, &get_body, NULL);
}

/* ---- Python face ---- */

static const struct primitive_method get_method = { &fifo_kind, QUEUE_GET, &get_body, 0 };
static const struct primitive_method put_method = { &fifo_kind, QUEUE_PUT, &put_body, 1 };
static const struct primitive_method join_method = { &fifo_kind, QUEUE_JOIN, &join_body, 0 };

static PyObject *
Queue_get(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&get_method, function, args, nargsf, kwnames);
}

static PyObject *
Queue_put(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&put_method, function, args, nargsf, kwnames);
}

static PyObject *
Queue_join(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return primitive_call(&join_method, function, args, nargsf, kwnames);
}

static PyObject *
Queue_get_nowait(Queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !is_plain(self, 1 << QUEUE_EMPTY | 1 << QUEUE_WAKEUP_NEXT))) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE_GET_NOWAIT, args, nargs, kwnames);
    }
    int any = lazy_deque_any(&self->items, self->state);
    if (any == 0) {
        struct state *state = self->state;
        PyErr_SetNone(self->is_shutdown ? state->asyncio_QueueShutDown : state->asyncio_QueueEmpty);
    }
    return any > 0 ? get_now(self) : NULL;
}

static PyObject *
Queue_put_nowait(Queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    enum { NEEDED = 1 << QUEUE_FULL | 1 << QUEUE_QSIZE | 1 << QUEUE_WAKEUP_NEXT };
    bool plain = nargs == 1 && kwnames == NULL && is_plain(self, NEEDED) && !self->odd_limit && !self->is_shutdown;
    if (AC_UNLIKELY(!plain)) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE_PUT_NOWAIT, args, nargs, kwnames);
    }
    int full = is_full(self);
    if (full > 0) {
        PyErr_SetNone(self->state->asyncio_QueueFull);
    }
    return full == 0 && put_now(self, args[0]) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
Queue_empty(Queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !lazy_deque_exists(&self->items))) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE_EMPTY, args, nargs, kwnames);
    }
    int any = lazy_deque_any(&self->items, self->state);
    return any < 0 ? NULL : PyBool_FromLong(!any);
}

static PyObject *
Queue_full(Queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !is_plain(self, 1 << QUEUE_FULL | 1 << QUEUE_QSIZE))
        || self->odd_limit) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE_FULL, args, nargs, kwnames);
    }
    int full = is_full(self);
    return full < 0 ? NULL : PyBool_FromLong(full);
}

static PyObject *
Queue_qsize(Queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !lazy_deque_exists(&self->items))) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE_QSIZE, args, nargs, kwnames);
    }
    Py_ssize_t size = lazy_deque_size(&self->items, self->state);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *
Queue_task_done(Queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PRIMITIVE_GUARD(self);
    if (AC_UNLIKELY(nargs != 0 || kwnames != NULL || !is_plain(self, 0) || self->unfinished <= 0)) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE_TASK_DONE, args, nargs, kwnames);
    }
    if (--self->unfinished == 0) {
        PyObject *finished = Py_NewRef(self->finished);
        int result = event_set(self->state, finished);
        Py_DECREF(finished);
        if (result < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

#if AC_FREE_THREADED
static PyObject *
PriorityQueue__get(Queue *self, PyObject *Py_UNUSED(ignored))
{
    PRIMITIVE_GUARD(self);
    if (primitive_overrides((Primitive *)self, 0)) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE__GET, NULL, 0, NULL);
    }
    PyObject *args[] = { primitive_get_deque((Primitive *)self, (void *)&items_attribute) };
    return args[0] ? call_heapq(self, self->state->heappop, args, 1) : NULL;
}

static PyObject *
PriorityQueue__put(Queue *self, PyObject *item)
{
    PRIMITIVE_GUARD(self);
    if (primitive_overrides((Primitive *)self, 0)) {
        return primitive_call_asyncio_method((Primitive *)self, QUEUE__PUT, &item, 1, NULL);
    }
    PyObject *args[] = { primitive_get_deque((Primitive *)self, (void *)&items_attribute), item };
    return args[0] ? call_heapq(self, self->state->heappush, args, 2) : NULL;
}
#endif

static PyObject *
queue_alloc(PyTypeObject *type, const struct primitive_kind *kind)
{
    struct state *state = state_of_type(type);
    return state ? (PyObject *)primitive_alloc(type, &state->Queue_freelist, state, kind) : NULL;
}

static PyObject *
Queue_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    return queue_alloc(type, &fifo_kind);
}

static PyObject *
PriorityQueue_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    return queue_alloc(type, &heap_kind);
}

static PyObject *
LifoQueue_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    return queue_alloc(type, &lifo_kind);
}

static int
set_maxsize(Queue *self, PyObject *maxsize)
{
    Py_ssize_t limit = PyLong_CheckExact(maxsize) ? PyLong_AsSsize_t(maxsize) : -1;
    self->odd_limit = !PyLong_CheckExact(maxsize) || PyErr_Occurred() != NULL;
    PyErr_Clear();
    self->limit = self->odd_limit ? 0 : limit;
    MONITOR_SET(self->maxsize, Py_NewRef(maxsize));
    return 0;
}

/* self._init(maxsize).  0 or -1. */
static int
init_items(Queue *self, PyObject *maxsize)
{
    if (primitive_overrides((Primitive *)self, 1 << QUEUE__INIT)) {
        return primitive_tell((Primitive *)self, QUEUE__INIT, maxsize);
    }
    if (self->kind == &fifo_kind) {
        lazy_deque_init(&self->items);
        return 0;
    }
    PyObject *items = PyList_New(0);
    if (items == NULL) {
        return -1;
    }
    lazy_deque_set(&self->items, items);
    Py_DECREF(items);
    return 0;
}

static int
init(Queue *self, PyObject *maxsize)
{
    PyObject *finished = event_new_set(self->state);
    if (finished == NULL) {
        return -1;
    }
    set_maxsize(self, maxsize);
    lazy_deque_init(&self->getters);
    lazy_deque_init(&self->putters);
    self->unfinished = 0;
    MONITOR_SET(self->finished, finished);
    int result = init_items(self, maxsize);
    self->is_shutdown = false;
    return result;
}

static int
Queue_init(Queue *self, PyObject *args, PyObject *kwargs)
{
    PRIMITIVE_GUARD(self);
    PyObject *maxsize;
    if (!args_parse_init(args, kwargs, "maxsize", &maxsize)) {
        return primitive_init_by_asyncio((Primitive *)self, args, kwargs);
    }
    maxsize = maxsize ? Py_NewRef(maxsize) : PyLong_FromLong(0);
    int result = maxsize ? init(self, maxsize) : -1;
    Py_XDECREF(maxsize);
    return result;
}

static int
Queue_traverse(Queue *self, visitproc visit, void *arg)
{
    Py_VISIT(self->maxsize);
    Py_VISIT(self->finished);
    struct lazy_deque *deques[] = { &self->getters, &self->putters, &self->items };
    int result = 0;
    for (size_t i = 0; i < AC_ARRAY_SIZE(deques) && result == 0; i++) {
        result = lazy_deque_traverse(deques[i], visit, arg);
    }
    return result ? result : primitive_traverse((Primitive *)self, visit, arg);
}

static int
Queue_clear(Queue *self)
{
    Py_CLEAR(self->maxsize);
    lazy_deque_clear(&self->getters);
    lazy_deque_clear(&self->putters);
    lazy_deque_clear(&self->items);
    Py_CLEAR(self->finished);
    primitive_clear((Primitive *)self);
    return 0;
}

static void
Queue_dealloc(Queue *self)
{
    struct state *state = self->state;
    PyObject_GC_UnTrack(self);
    Queue_clear(self);
    freelist_free(&state->Queue_freelist, NULL, (PyObject *)self);
}

static PyObject *
Queue_get_maxsize(Queue *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return self->maxsize ? Py_NewRef(self->maxsize) : primitive_no_attribute((Primitive *)self, "_maxsize");
}

static int
Queue_set_maxsize(Queue *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    if (value == NULL) {
        self->odd_limit = true;
        MONITOR_SET(self->maxsize, NULL);
        return 0;
    }
    return set_maxsize(self, value);
}

static PyObject *
Queue_get_unfinished(Queue *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return self->finished ? PyLong_FromSsize_t(self->unfinished)
                          : primitive_no_attribute((Primitive *)self, "_unfinished_tasks");
}

static int
Queue_set_unfinished(Queue *self, PyObject *value, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    Py_ssize_t number = value ? PyLong_AsSsize_t(value) : 0;
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->unfinished = number;
    return 0;
}

static PyObject *
Queue_get_is_shutdown(Queue *self, void *Py_UNUSED(closure))
{
    PRIMITIVE_GUARD(self);
    return self->finished ? PyBool_FromLong(self->is_shutdown)
                          : primitive_no_attribute((Primitive *)self, "_is_shutdown");
}

static int
Queue_set_is_shutdown(Queue *self, PyObject *value, void *Py_UNUSED(closure))
{
    int truth = value ? PyObject_IsTrue(value) : 0;
    PRIMITIVE_GUARD(self);
    if (truth >= 0) {
        self->is_shutdown = truth;
    }
    return truth < 0 ? -1 : 0;
}

PyDoc_STRVAR(get_doc, "Take the next item; wait for one while there is none.\n\n"
                      "Raises QueueShutDown, from Python 3.13 on, where none will come any more.\n\n"
                      "asyncio documentation: Queues, Queue.");
PyDoc_STRVAR(put_doc, "Put item in; wait for room while the queue is full.\n\n"
                      "Raises QueueShutDown, from Python 3.13 on, after shutdown().\n\n"
                      "asyncio documentation: Queues, Queue.");
PyDoc_STRVAR(join_doc, "Wait until task_done() has been called for each item that was put in.\n\n"
                       "asyncio documentation: Queues, Queue.");
PyDoc_STRVAR(get_nowait_doc, "get_nowait($self)\n--\n\n"
                             "Take the next item, or raise QueueEmpty.\n\n"
                             "Raises QueueShutDown, from Python 3.13 on, where none will come any more.\n\n"
                             "asyncio documentation: Queues, Queue.");
PyDoc_STRVAR(put_nowait_doc, "put_nowait($self, item)\n--\n\n"
                             "Put item in, or raise QueueFull.\n\n"
                             "Raises QueueShutDown, from Python 3.13 on, after shutdown().\n\n"
                             "asyncio documentation: Queues, Queue.");
PyDoc_STRVAR(empty_doc, "empty($self)\n--\n\n"
                        "Return True if there is no item.\n\nasyncio documentation: Queues, Queue.");
PyDoc_STRVAR(full_doc, "full($self)\n--\n\n"
                       "Return True if there are maxsize items, and maxsize is not 0 or less.\n\n"
                       "asyncio documentation: Queues, Queue.");
PyDoc_STRVAR(qsize_doc, "qsize($self)\n--\n\n"
                        "Return the number of items.\n\nasyncio documentation: Queues, Queue.");
PyDoc_STRVAR(task_done_doc,
             "task_done($self)\n--\n\n"
             "Say that the work on an item is done.  Raises ValueError if that was said of all of them.\n\n"
             "asyncio documentation: Queues, Queue.");

static PyMethodDef Queue_methods[] = {
    { "get_nowait", AC_FAST(Queue_get_nowait), METH_FASTCALL | METH_KEYWORDS, get_nowait_doc },
    { "put_nowait", AC_FAST(Queue_put_nowait), METH_FASTCALL | METH_KEYWORDS, put_nowait_doc },
    { "empty", AC_FAST(Queue_empty), METH_FASTCALL | METH_KEYWORDS, empty_doc },
    { "full", AC_FAST(Queue_full), METH_FASTCALL | METH_KEYWORDS, full_doc },
    { "qsize", AC_FAST(Queue_qsize), METH_FASTCALL | METH_KEYWORDS, qsize_doc },
    { "task_done", AC_FAST(Queue_task_done), METH_FASTCALL | METH_KEYWORDS, task_done_doc },
    { 0 },
};

static const struct primitive_attribute getters_attribute = { "_getters", offsetof(Queue, getters) };
static const struct primitive_attribute putters_attribute = { "_putters", offsetof(Queue, putters) };
static const struct primitive_attribute finished_attribute = { "_finished", offsetof(Queue, finished) };

#define DEQUE(name, doc, attribute) \
    { name, (getter)primitive_get_deque, (setter)primitive_set_deque, doc, (void *)&attribute##_attribute }

/* asyncio's get_nowait() and put_nowait() call these two: where another method is replaced, or the limit is no number, and put_nowait()
   after shutdown(), too. */
static PyMethodDef PriorityQueue_methods[] = {
#if AC_FREE_THREADED
    { "_get", (PyCFunction)PriorityQueue__get, METH_NOARGS, NULL },
    { "_put", (PyCFunction)PriorityQueue__put, METH_O, NULL },
#endif
    { 0 },
};

static PyGetSetDef Queue_getset[] = {
    PRIMITIVE_LOOP_ATTRIBUTE,
    { "_maxsize", (getter)Queue_get_maxsize, (setter)Queue_set_maxsize, "Its size at most, if that is not 0.", NULL },
    DEQUE("_getters", "Who waits in get().", getters),
    DEQUE("_putters", "Who waits in put().", putters),
    DEQUE("_queue", "The items.", items),
    PRIMITIVE_OBJECT_ATTRIBUTE("_finished", "An Event, set while there is no unfinished task.", finished_attribute),
    { "_unfinished_tasks", (getter)Queue_get_unfinished, (setter)Queue_set_unfinished,
      "How many items were put in for which task_done() was not called.", NULL },
    { AC_PY313 ? "_is_shutdown" : NULL, (getter)Queue_get_is_shutdown, (setter)Queue_set_is_shutdown,
      "Whether it was shut down.", NULL },
    { 0 },
};

PyDoc_STRVAR(Queue_doc, "Queue(maxsize=0)\n--\n\n"
                        "The native half of asyncio_c.Queue.");
PyDoc_STRVAR(PriorityQueue_doc, "PriorityQueue(maxsize=0)\n--\n\n"
                                "The native half of asyncio_c.PriorityQueue.");
PyDoc_STRVAR(LifoQueue_doc, "LifoQueue(maxsize=0)\n--\n\n"
                            "The native half of asyncio_c.LifoQueue.");

static PyType_Slot Queue_slots[] = {
    { Py_tp_doc, (void *)Queue_doc },
    { Py_tp_new, Queue_new },
    { Py_tp_init, Queue_init },
    { Py_tp_dealloc, Queue_dealloc },
    { Py_tp_traverse, Queue_traverse },
    { Py_tp_clear, Queue_clear },
    { Py_tp_methods, Queue_methods },
    { Py_tp_getset, Queue_getset },
    { Py_tp_setattro, primitive_setattro },
    { 0, NULL },
};

static PyType_Slot PriorityQueue_slots[] = {
    { Py_tp_doc, (void *)PriorityQueue_doc },
    { Py_tp_new, PriorityQueue_new },
    { Py_tp_dealloc, Queue_dealloc },
    { Py_tp_traverse, Queue_traverse },
    { Py_tp_clear, Queue_clear },
    { Py_tp_methods, PriorityQueue_methods },
    { 0, NULL },
};

static PyType_Slot LifoQueue_slots[] = {
    { Py_tp_doc, (void *)LifoQueue_doc }, { Py_tp_new, LifoQueue_new }, { Py_tp_dealloc, Queue_dealloc },
    { Py_tp_traverse, Queue_traverse },   { Py_tp_clear, Queue_clear }, { 0, NULL },
};

#define QUEUE_SPEC(type)                                                      \
    { .name = "asyncio_c._core." #type,                                       \
      .basicsize = sizeof(Queue),                                             \
      .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, \
      .slots = type##_slots }

static PyType_Spec Queue_spec = QUEUE_SPEC(Queue);
static PyType_Spec PriorityQueue_spec = QUEUE_SPEC(PriorityQueue);
static PyType_Spec LifoQueue_spec = QUEUE_SPEC(LifoQueue);

int
queue_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    PyObject *stock = state->asyncio_Queue;
    PyTypeObject **type = &state->Queue_type;
    if (state_add_type(module, type, &Queue_spec, NULL) < 0
        || coroutine_function_add_method(module, *type, stock, "get", Queue_get, get_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "put", Queue_put, put_doc) < 0
        || coroutine_function_add_method(module, *type, stock, "join", Queue_join, join_doc) < 0
        || state_add_type(module, &state->PriorityQueue_type, &PriorityQueue_spec, *type) < 0
        || state_add_type(module, &state->LifoQueue_type, &LifoQueue_spec, *type) < 0
        || primitive_register(module, &fifo_kind) < 0 || primitive_register(module, &heap_kind) < 0) {
        return -1;
    }
    return primitive_register(module, &lifo_kind);
}
