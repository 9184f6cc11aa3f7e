/* What the synchronization primitives have in common: Lock, Event, Condition, Semaphore, Barrier, Queue.  Layer: sync.

   Each is a C type that comes before asyncio's own class in a class of the package:

       class Lock(_core.Lock, asyncio.locks.Lock): ...

   so that isinstance(), subclassing, representation and rare methods are asyncio's, of the Python at hand.  The C type has
   the state, under the attributes' names of asyncio's (`_waiters`, `_locked`, ...), and the methods that programs call
   between their awaits.  Who waits is a native Future in a real deque, in the order and for the time in which asyncio's
   future would be there, so that whoever looks, or goes on with a method of asyncio's, finds what is expected.

   Every method has a native way, for what is entirely native, and hands everything else (another loop, debug mode, a wrong
   argument, an error to raise) to asyncio's method of the same name, kept from import time, which works on the same
   attributes.

   Whether a subclass, or somebody at run time, has replaced a method that another one calls is decided in one place,
   primitive_overrides(), by the version of the object's type, which changes with it and all its bases.  If it is a method of
   asyncio's class that was replaced, all is left to that class. */
#ifndef AC_SYNC_PRIMITIVE_H
#define AC_SYNC_PRIMITIVE_H

#include "core/loop.h"
#include "py/monitor.h"
#include "sync/lazy_deque.h"

struct primitive_kind {
    size_t type;                /* offset in struct state: the C type */
    size_t asyncio;             /* offset in struct state: asyncio's class */
    size_t found;               /* offset in struct state: what primitive_register() keeps */
    const char *const *methods; /* whose replacement matters: the bits of `overridden`, in this order */
    int method_count;
};

#if AC_FREE_THREADED
#define PRIMITIVE_MONITOR struct monitor monitor;
#else
#define PRIMITIVE_MONITOR
#endif

#define PRIMITIVE_HEAD                                                                                        \
    PyObject_HEAD                                                                                             \
    struct state *state;                                                                                      \
    const struct primitive_kind *kind;                                                                        \
    PyObject *loop;      /* owned or NULL: the loop that it is bound to */                                    \
    unsigned version;    /* of the type, when `overridden` was decided; 0: it was not */                      \
    unsigned overridden; /* a bit for each method that is not ours, nor the one asyncio has in ours' place */ \
    unsigned touches;    /* how often one was set on the instance */                                          \
    PRIMITIVE_MONITOR

typedef struct {
    PRIMITIVE_HEAD
} Primitive;

/* First in each function that Python calls, or another primitive, and that looks at more than the constants of `self`.  Without a
   GIL a primitive is guarded by a monitor, for whoever uses it first binds it; and what it does to futures and queue of the loop
   that it is bound to, by that loop's critical section, as everywhere.  That is left last: the loop may have nobody else. */
#if AC_FREE_THREADED
static inline void
primitive_guard_loop(struct guard *guard, Primitive *self)
{
    Loop *loop = self->loop ? loop_cast(self->state, self->loop) : NULL;
    if (loop != NULL) {
        guard_begin(guard, loop, NULL);
    }
}

#define PRIMITIVE_GUARD(self)                                   \
    __attribute__((cleanup(guard_end))) struct guard guard_of_; \
    guard_of_.object = NULL;                                    \
    MONITOR_GUARD((Primitive *)(self));                         \
    primitive_guard_loop(&guard_of_, (Primitive *)(self))
#else
#define PRIMITIVE_GUARD(self) ((void)0)
#endif

/* The first method of each kind, and that asyncio's class is not as it was, as bits. */
enum {
    PRIMITIVE_GET_LOOP = 1,
    PRIMITIVE_REPLACED = 1 << 30,
};

unsigned primitive_decide(Primitive *self);

/* Which of `methods`, a set of bits, are overridden; in addition, whether asyncio's are. */
static inline unsigned
primitive_overrides(Primitive *self, unsigned methods)
{
    unsigned version = compat_type_version(Py_TYPE(self));
    bool known = version != 0 && self->version == version;
    return (AC_LIKELY(known) ? self->overridden : primitive_decide(self)) & (methods | PRIMITIVE_REPLACED);
}

/* The running loop, which it is bound to from now on.  New reference; NULL where that is asyncio's business: the loop is not
   ours to shortcut, or is another one.  Then an exception may be set. */
Loop *primitive_loop(Primitive *self);

/* The same for who goes on waiting and cannot leave it to asyncio any more: NULL with an exception.  Runs Python. */
Loop *primitive_loop_again(Primitive *self);

/* What method number `method` is where it is not overridden. */
PyObject *primitive_method_borrow(Primitive *self, int method);

/* Calls the method of asyncio's class that is number `method` with these arguments, of which `self` is the first.  Runs Python. */
PyObject *primitive_call_asyncio(struct state *state, const struct primitive_kind *kind, int method,
                                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* The same for a method that was called with arguments behind self. */
PyObject *primitive_call_asyncio_method(Primitive *self, int method, PyObject *const *args, Py_ssize_t nargs,
                                        PyObject *kwnames);

/* For a setter or getter: raises AttributeError for an attribute that is not there.  Returns NULL. */
PyObject *primitive_no_attribute(Primitive *self, const char *name);

/* What `self.name()` gives: a truth, where `name` has no arguments.  1, 0 or -1.  Runs Python. */
int primitive_ask(Primitive *self, int method);
/* self.name() and self.name(argument).  New reference.  Run Python. */
PyObject *primitive_get(Primitive *self, int method);
PyObject *primitive_put(Primitive *self, int method, PyObject *argument);
/* The same for what returns nothing; `argument` may be NULL.  0 or -1. */
int primitive_tell(Primitive *self, int method, PyObject *argument);

/* asyncio's __init__(), for arguments that are odd.  0 or -1. */
int primitive_init_by_asyncio(Primitive *self, PyObject *args, PyObject *kwargs);

/* For types that begin with PRIMITIVE_HEAD. */
Primitive *primitive_alloc(PyTypeObject *type, struct freelist *freelist, struct state *state,
                           const struct primitive_kind *kind);
int primitive_traverse(Primitive *self, visitproc visit, void *arg);
void primitive_clear(Primitive *self);
int primitive_setattro(Primitive *self, PyObject *name, PyObject *value);
PyObject *primitive_get_loop(Primitive *self, void *closure);
int primitive_set_loop(Primitive *self, PyObject *value, void *closure);

/* closure: the offset of an owned PyObject *, which is not there where it is NULL. */
struct primitive_attribute {
    const char *name;
    size_t offset;
};
PyObject *primitive_get_object(Primitive *self, void *closure);
int primitive_set_object(Primitive *self, PyObject *value, void *closure);
#define PRIMITIVE_OBJECT_ATTRIBUTE(name, doc, attribute) \
    { name, (getter)primitive_get_object, (setter)primitive_set_object, doc, (void *)&(attribute) }

/* The same for a struct lazy_deque. */
PyObject *primitive_get_deque(Primitive *self, void *closure);
int primitive_set_deque(Primitive *self, PyObject *value, void *closure);

#define PRIMITIVE_KIND(name, methods)                                              \
    { offsetof(struct state, name##_type), offsetof(struct state, asyncio_##name), \
      offsetof(struct state, name##_methods), methods, AC_ARRAY_SIZE(methods) }

#define PRIMITIVE_LOOP_ATTRIBUTE \
    { "_loop", (getter)primitive_get_loop, (setter)primitive_set_loop, "The loop it is bound to, or None.", NULL }

/* Keeps what the methods of the kind are: ours, or where we have none those of asyncio's class.  Adds the type to the module.
   Returns 0 or -1. */
int primitive_register(PyObject *module, const struct primitive_kind *kind);

#endif
