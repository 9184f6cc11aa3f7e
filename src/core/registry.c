/* Which tasks are there, and the lazy half of asyncio's _enter_task/_leave_task; registry.h says why it is right.  Layer: core. */
#include "core/registry.h"

#include "py/monitor.h"
#include "py/running.h"

/* What asyncio's functions do, up to 3.13 with a public enough dictionary, and from 3.14 on with a reference of the thread.
   `task` is NULL to take back what is published. */
static int
put_into_dictionary(Loop *loop, PyObject *task)
{
    struct state *state = loop->state;
    if (task != NULL) {
        return PyDict_SetItem(state->current_tasks, (PyObject *)loop, task);
    }
    /* None would do for current_task(), but stock tasks want to find the place empty. */
    if (PyDict_DelItem(state->current_tasks, (PyObject *)loop) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

#if AC_FREE_THREADED
/* All threads would take the dictionary from each other with each step of a task.  But nobody can look up, set or delete what it has
   for a loop without the hash of the loop, which is ours to give: so the task is put there when somebody asks for that. */
static inline bool
publishes_when_asked(Loop *loop)
{
    return Py_TYPE(loop)->tp_hash == registry_hash;
}

/* All loops have that dictionary, so it may have to be waited for, without the section: what was put there then may be out of date, and
   is taken back. */
static int
publish_now(Loop *loop)
{
    PyObject *task;
    while ((task = loop->entered_task) != NULL && !loop->published) {
        Py_INCREF(task);
        COMPAT_STORE(loop->published, true); /* first: the dictionary asks for the hash, too */
        int result = put_into_dictionary(loop, task);
        bool is_still = loop->entered_task == task && loop->published;
        Py_DECREF(task);
        if (result == 0 && is_still) {
            return 0;
        }
        COMPAT_STORE(loop->published, false);
        if (result < 0 || put_into_dictionary(loop, NULL) < 0) {
            return -1;
        }
    }
    return 0;
}

Py_hash_t
registry_hash(PyObject *self)
{
    Loop *loop = (Loop *)self;
    if (AC_UNLIKELY(COMPAT_LOAD(loop->entered_task) != NULL && !COMPAT_LOAD(loop->published))) {
        GUARD(loop, loop);
        if (loop->state->current_tasks != NULL && publish_now(loop) < 0) {
            return -1;
        }
    }
    return Py_HashPointer(self);
}

static int
publish_in_dictionary(Loop *loop, PyObject *task)
{
    if (!publishes_when_asked(loop)) {
        return put_into_dictionary(loop, task);
    }
    int result = loop->published ? put_into_dictionary(loop, NULL) : 0;
    COMPAT_STORE(loop->published, false);
    return result;
}
#else
static int
publish_in_dictionary(Loop *loop, PyObject *task)
{
    return put_into_dictionary(loop, task);
}
#endif

/* Whether the dictionary says that it is this one, or would if it were asked. */
static inline bool
dictionary_has(Loop *loop, PyObject *task)
{
#if AC_FREE_THREADED
    if (publishes_when_asked(loop) && !loop->published) {
        return true;
    }
#endif
    return PyDict_GetItemWithError(loop->state->current_tasks, (PyObject *)loop) == task;
}

static int
swap(Loop *loop, PyObject *task)
{
    struct state *state = loop->state;
    if (state->current_tasks != NULL) {
        return publish_in_dictionary(loop, task);
    }
    struct compat_running *place = running_place(state);
    if (AC_LIKELY(place != NULL && place->loop == (PyObject *)loop)) {
        PyObject *previous = place->task;
        place->task = Py_XNewRef(task);
        Py_XDECREF(previous); /* the loop holds it, too */
        return 0;
    }
    PyObject *args[] = { (PyObject *)loop, task ? task : Py_None };
    PyObject *previous = PyObject_Vectorcall(state->swap_current_task, args, 2, NULL);
    Py_XDECREF(previous);
    return previous ? 0 : -1;
}

int
registry_publish(Loop *loop, PyObject *task)
{
    /* If it is held here and in the published place only, it ends now, and what that runs has no current task. */
    if (loop->entered_task != NULL && Py_REFCNT(loop->entered_task) <= 2 && registry_withdraw(loop) < 0) {
        return -1;
    }
    if (swap(loop, task) < 0) {
        return -1;
    }
    PyObject *previous = loop->entered_task;
    COMPAT_STORE(loop->entered_task, Py_NewRef(task));
    Py_XDECREF(previous);
    return 0;
}

static int
publish_again(struct deferred *Py_UNUSED(deferred), Loop *loop)
{
    return loop->entered_task ? swap(loop, loop->entered_task) : 0;
}

void
registry_doubt(Loop *loop)
{
    struct deferred *doubt = &loop->doubt;
    if (loop->entered_task != NULL && !list_linked(&doubt->link) && loop_defer(loop, doubt)) {
        *doubt = (struct deferred){ .link = doubt->link, .run = publish_again, .owner = Py_NewRef((PyObject *)loop) };
    }
}

int
registry_withdraw(Loop *loop)
{
    PyObject *previous = loop->entered_task;
    COMPAT_STORE(loop->entered_task, NULL);
    int result = swap(loop, NULL);
    Py_DECREF(previous);
    return result;
}

PyObject *
registry_current_borrow(Loop *loop)
{
    struct state *state = loop->state;
    PyObject *task = loop->entered_task, *current;
    if (task == NULL) {
        return NULL;
    }
    if (state->current_tasks != NULL) {
        current = dictionary_has(loop, task) ? task : NULL;
    }
    else {
        struct compat_running *place = running_place(state);
        if (place != NULL) {
            current = place->loop == (PyObject *)loop ? place->task : NULL;
        }
        else {
            PyObject *args[] = { (PyObject *)loop };
            current = PyObject_Vectorcall(state->asyncio_current_task, args, 1, NULL);
            Py_XDECREF(current); /* if it is `task`, the loop holds it */
        }
    }
    if (AC_UNLIKELY(current != task)) {
        PyErr_Clear();
        return NULL;
    }
    return task;
}

/* ---- Which tasks are there ---- */

static struct task_list *
registry_list_of(Loop *loop)
{
#if AC_FREE_THREADED
    return &loop->threads.tasks;
#else
    return &loop->state->tasks;
#endif
}

/* Tasks with a reference each, gathered without making a Python object: a lock is held. */
struct gathered {
    PyObject **tasks;
    size_t count, size;
    bool failed;
};

/* Only those of `loop`, unless that is NULL. */
static void
gather_tasks(struct gathered *gathered, struct task_list *tasks, Loop *loop)
{
    compat_mutex_lock(&tasks->lock);
    for (struct list_node *node = tasks->head.next; node != &tasks->head && !gathered->failed; node = node->next) {
        Task *task = AC_CONTAINER_OF(node, Task, link);
        if (loop != NULL && task->native_loop != loop) {
            continue;
        }
        if (gathered->count == gathered->size) {
            size_t size = gathered->size > 0 ? 2 * gathered->size : AC_STRESS_OR(1, 64);
            PyObject **grown = PyMem_RawRealloc(gathered->tasks, size * sizeof(*grown));
            gathered->failed = grown == NULL;
            if (grown == NULL) {
                break;
            }
            gathered->tasks = grown;
            gathered->size = size;
        }
        if (compat_try_incref((PyObject *)task)) {
            gathered->tasks[gathered->count++] = (PyObject *)task;
        }
    }
    compat_mutex_unlock(&tasks->lock);
}

PyObject *
registry_tasks(struct state *state, Loop *loop)
{
    struct gathered gathered = { 0 };
    if (AC_FREE_THREADED && loop != NULL) {
        gather_tasks(&gathered, registry_list_of(loop), NULL);
    }
    else {
        gather_tasks(&gathered, &state->tasks, loop);
    }
#if AC_FREE_THREADED
    if (loop == NULL) {
        compat_mutex_lock(&state->loops_lock);
        for (struct list_node *node = state->loops.next; node != &state->loops; node = node->next) {
            gather_tasks(&gathered, &AC_CONTAINER_OF(node, Loop, link)->threads.tasks, NULL);
        }
        compat_mutex_unlock(&state->loops_lock);
    }
#endif
    PyObject *list = gathered.failed ? PyErr_NoMemory() : PyList_New((Py_ssize_t)gathered.count);
    for (size_t i = 0; i < gathered.count; i++) {
        if (list != NULL) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, gathered.tasks[i]);
        }
        else {
            Py_DECREF(gathered.tasks[i]);
        }
    }
    PyMem_RawFree(gathered.tasks);
    return list;
}

Py_ssize_t
registry_count(Loop *loop)
{
    struct task_list *tasks = registry_list_of(loop);
    Py_ssize_t count = 0;
    compat_mutex_lock(&tasks->lock);
    for (struct list_node *node = tasks->head.next; node != &tasks->head; node = node->next) {
        count += AC_FREE_THREADED || AC_CONTAINER_OF(node, Task, link)->native_loop == loop;
    }
    compat_mutex_unlock(&tasks->lock);
    return count;
}

#if AC_FREE_THREADED
/* How many numbers of tasks a loop takes at once.  A single loop takes one by one: other loops may run after it, and go on. */
enum { NUMBERS_AT_ONCE = 64 };

uint64_t
registry_number_of_many(Task *task)
{
    struct state *state = task->state;
    Loop *loop = task->native_loop;
    if (loop == NULL || !loop_is_inside(loop)) {
        return COMPAT_ADD(state->next_task_number, 1) - 1;
    }
    struct threads *threads = &loop->threads;
    if (threads->next_number == threads->end_number) {
        unsigned count = COMPAT_LOAD(state->running_loops) > 1 ? NUMBERS_AT_ONCE : 1;
        threads->end_number = COMPAT_ADD(state->next_task_number, count);
        threads->next_number = threads->end_number - count;
    }
    return threads->next_number++;
}

void
registry_run_begins(Loop *loop)
{
    COMPAT_ADD(loop->state->running_loops, 1);
}

/* Gives back what nobody has taken numbers after. */
void
registry_run_ends(Loop *loop)
{
    struct threads *threads = &loop->threads;
    COMPAT_ADD(loop->state->running_loops, -1);
    (void)__atomic_compare_exchange_n(&loop->state->next_task_number, &threads->end_number, threads->next_number, false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    threads->end_number = threads->next_number;
}
#endif

void
registry_add_loop(Loop *loop)
{
    struct state *state = loop->state;
#if AC_FREE_THREADED
    threads_init(&loop->threads);
#endif
    compat_enable_try_incref((PyObject *)loop);
    compat_mutex_lock(&state->loops_lock);
    list_append(&state->loops, &loop->link);
    compat_mutex_unlock(&state->loops_lock);
}

Py_ssize_t
registry_loops(struct state *state, Loop ***loops)
{
    Py_ssize_t size = 0, count = 0;
    compat_mutex_lock(&state->loops_lock);
    for (struct list_node *node = state->loops.next; node != &state->loops; node = node->next) {
        size++;
    }
    *loops = PyMem_RawMalloc((size_t)(size + 1) * sizeof(**loops));
    for (struct list_node *node = state->loops.next; *loops != NULL && node != &state->loops; node = node->next) {
        Loop *loop = AC_CONTAINER_OF(node, Loop, link);
        if (compat_try_incref((PyObject *)loop)) {
            (*loops)[count++] = loop;
        }
    }
    compat_mutex_unlock(&state->loops_lock);
    if (*loops == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return count;
}

void
registry_remove_loop(Loop *loop)
{
    compat_mutex_lock(&loop->state->loops_lock);
    list_remove(&loop->link);
    compat_mutex_unlock(&loop->state->loops_lock);
}

void
registry_after_fork(struct state *state)
{
#if AC_FREE_THREADED
    compat_mutex_init(&state->loops_lock);
    compat_mutex_init(&state->tasks.lock);
    stand_ins_after_fork(state);
    monitors_after_fork(state);
    for (struct list_node *node = state->loops.next; node != &state->loops; node = node->next) {
        threads_after_fork(AC_CONTAINER_OF(node, Loop, link));
    }
#else
    (void)state;
#endif
}
