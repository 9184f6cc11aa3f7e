/* What the transports have in common.  Layer: net. */
#ifndef AC_NET_TRANSPORT_H
#define AC_NET_TRANSPORT_H

#include "core/loop.h"
#include "py/context.h"

/* asyncio.constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES */
enum { TRANSPORT_WARN_AFTER_WRITES = 5 };

static inline bool
transport_is_set(PyObject *object)
{
    return object != NULL && object != Py_None;
}

/* A field that is NULL before __init__(), or because somebody has deleted the attribute.  Borrowed: hold it before Python runs,
   which may replace it. */
static inline PyObject *
transport_or_none(PyObject *field)
{
    return field ? field : Py_None;
}

/* First in each function of a transport or protocol that Python calls.  Its attribute `_loop` becomes None in the end, and another
   thread may ask then. */
#if AC_FREE_THREADED
#define TRANSPORT_GUARD(self) GUARD(loop_home_of(&(self)->home, (self)->state, &(self)->loop), self)
#else
#define TRANSPORT_GUARD(self) ((void)0)
#endif

/* None, or NULL where `result` says that an exception is set. */
static inline PyObject *
transport_none_unless(int result)
{
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* A transport's `loop`, or NULL with an exception if the transport has ended or was never opened.  Borrowed. */
Loop *transport_loop_borrow(struct state *state, PyObject *loop);

/* Its peer may be in this process, and in the next turns there may be what comes of what the transport has just done. */
static inline void
transport_acts(struct state *state, PyObject *object)
{
    Loop *loop = object ? loop_cast(state, object) : NULL;
    if (loop != NULL) {
        loop_poll_promptly(loop);
    }
}

/* Counts as sent what a transport has no longer to send. */
static inline void
transport_sent(struct state *state, PyObject *object, size_t size_before, size_t size_now)
{
    Loop *loop = object ? loop_cast(state, object) : NULL;
    if (loop != NULL && size_now < size_before) {
        loop->counters.bytes_out += size_before - size_now;
    }
}

/* loop.call_soon(object.<method_name>, argument), without the argument where it is NULL, in `context` if that is set.  Returns
   0 or -1.  Runs Python. */
int transport_call_soon(struct state *state, PyObject *object, PyObject *loop, PyObject *method_name,
                        PyObject *argument, PyObject *context);

/* Has object._call_connection_lost(exception) called soon, and counts in *conn_lost that it will be.  Where memory lacks for
   that, *closing and *conn_lost are as they were: it can be tried again.  Returns 0 or -1.  Runs Python. */
int transport_end_soon(struct state *state, PyObject *object, PyObject *loop, PyObject *exception, PyObject *context,
                       bool *closing, int *conn_lost);

/* object.method(exception), or object.method(exception, message) with a message, as if in an except block: the exception
   that is set is taken, and is being handled meanwhile.  Returns 0 or -1.  Runs Python. */
int transport_call_handling(PyObject *object, const char *method, const char *message);

/* self._fatal_error() with the exception that is set; what has to leave the loop does.  Returns 0 or -1.  Runs Python. */
int transport_fatal_error(PyObject *self, const char *message);

/* For what a write raises after the callback that wrote has ended: enters the context that it had, with an exception set, which
   stays.  Returns the context, for transport_leave_context_steal(), or NULL without another exception where it cannot be had. */
PyObject *transport_enter_context(struct state *state, struct lazy_context *context);

/* Leaves it, unless that is NULL, and lets go of it; an exception that is set stays.  What goes wrong is `self`'s. */
void transport_leave_context_steal(PyObject *context, PyObject *self);

/* Counts a write after the connection was lost, and logs the warning for the sixth and later.  Returns 0 or -1.  Runs
   Python. */
int transport_count_lost_write(struct state *state, int *conn_lost, const char *warning);
#define TRANSPORT_SOCKET_WARNING "socket.send() raised exception."

/* Adds a type of `spec` whose structure has its own fields from `own_offset` on, with asyncio's `base` before them.  Returns
   0, or -1 with ImportError where asyncio's class is laid out otherwise. */
int transport_add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec, PyObject *base, size_t own_offset);

/* A water mark, which is the Py_ssize_t at an offset in the object, for asyncio's set_write_buffer_limits(): that takes any
   number, of which this keeps what a buffer can be compared with. */
PyObject *transport_get_mark(PyObject *self, void *offset);
int transport_set_mark(PyObject *self, PyObject *value, void *offset);
#define TRANSPORT_MARK(type, name, field) \
    { #name, transport_get_mark, transport_set_mark, NULL, (void *)offsetof(type, field) }

/* Gives the loop's type methods that core may not know.  Returns 0 or -1. */
int loop_add_methods(struct state *state, PyMethodDef *methods, size_t count);

#endif
