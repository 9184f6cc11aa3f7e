/* The state of the module: everything that another interpreter must have for itself.  Layer: py.

   Listed once, as three X-macros: our types, what we take from other modules when we are imported, and the strings we
   look up by.  Loop, Future, Task and Handle keep a pointer to it, and so does the module; there is no other mutable static. */
#ifndef AC_PY_STATE_H
#define AC_PY_STATE_H

#include "py/stand_in.h"

#include "base/list.h"
#include "base/macros.h"

#include <stdbool.h>

/* Our types in the order in which they are made, and how many dead objects of each are kept for new ones.  A thousand is
   what a batch of callbacks or a large gather needs: objects from a freelist do not count as allocations for the garbage
   collector, which would otherwise run in the middle of it. */
#define STATE_TYPES(X)          \
    X(Aside, 0)                 \
    X(Handle, 1024)             \
    X(TimerHandle, 1024)        \
    X(ForeignHandle, 64)        \
    X(Loop, 1)                  \
    X(Pulse, 0)                 \
    X(FutureIter, 1024)         \
    X(Future, 1024)             \
    X(TaskStep, 64)             \
    X(Task, 1024)               \
    X(SleepCoroutine, 1024)     \
    X(WaitCoroutine, 16)        \
    X(GatheringFuture, 64)      \
    X(FdMap, 0)                 \
    X(ReadyQueue, 0)            \
    X(TimerQueue, 0)            \
    X(TaskGroup, 0)             \
    X(TaskGroupCoroutine, 64)   \
    X(TaskGroupMember, 1024)    \
    X(Runner, 0)                \
    X(StreamTransport, 0)       \
    X(DatagramTransport, 0)     \
    X(ReadPipeTransport, 0)     \
    X(WritePipeTransport, 0)    \
    X(SockCoroutine, 64)        \
    X(Timeout, 64)              \
    X(TimeoutCoroutine, 64)     \
    X(WaitForCoroutine, 256)    \
    X(Shield, 256)              \
    X(ToThreadCoroutine, 64)    \
    X(PrimitiveCoroutine, 1024) \
    X(Lock, 0)                  \
    X(Event, 0)                 \
    X(Condition, 0)             \
    X(Barrier, 0)               \
    X(Semaphore, 0)             \
    X(BoundedSemaphore, 0)      \
    X(Queue, 0)                 \
    X(PriorityQueue, 0)         \
    X(LifoQueue, 0)             \
    X(AsCompleted, 64)          \
    X(TLSProtocol, 0)           \
    X(TLSTransport, 0)          \
    X(ReadCoroutine, 1024)      \
    X(StreamReader, 0)          \
    X(StreamReaderProtocol, 0)  \
    X(StreamWriter, 0)          \
    X(Recorder, 0)

/* Those of them whose methods somebody may have replaced: sync/primitive.h. */
#define STATE_PRIMITIVES(X) \
    X(Lock)                 \
    X(Event)                \
    X(Condition)            \
    X(Barrier)              \
    X(Semaphore)            \
    X(BoundedSemaphore)     \
    X(Queue)                \
    X(PriorityQueue)        \
    X(LifoQueue)            \
    X(StreamReader)         \
    X(StreamReaderProtocol) \
    X(StreamWriter)

/* field, module, attribute: what is bound when the module is imported, so that rebinding the public names later (which
   asyncio_c.patch() does) cannot lead a fallback back to us. */
#define STATE_IMPORTS(X)                                                              \
    X(CancelledError, "asyncio.exceptions", "CancelledError")                         \
    X(InvalidStateError, "asyncio.exceptions", "InvalidStateError")                   \
    X(asyncio_Handle, "asyncio.events", "Handle")                                     \
    X(asyncio_TimerHandle, "asyncio.events", "TimerHandle")                           \
    X(asyncio_Future, "_asyncio", "Future")                                           \
    X(asyncio_Task, "_asyncio", "Task")                                               \
    X(asyncio_GatheringFuture, "asyncio.tasks", "_GatheringFuture")                   \
    X(asyncio_TaskGroup, "asyncio.taskgroups", "TaskGroup")                           \
    X(asyncio_Runner, "asyncio.runners", "Runner")                                    \
    X(asyncio_RunnerState, "asyncio.runners", "_State")                               \
    X(signal_signal, "signal", "signal")                                              \
    X(signal_getsignal, "signal", "getsignal")                                        \
    X(c_signal, "_signal", "signal")                                                  \
    X(c_getsignal, "_signal", "getsignal")                                            \
    X(asyncio_runners_dict, "asyncio.runners", "__dict__")                            \
    X(asyncio_new_event_loop, "asyncio.events", "new_event_loop")                     \
    X(asyncio_Lock, "asyncio.locks", "Lock")                                          \
    X(asyncio_Event, "asyncio.locks", "Event")                                        \
    X(asyncio_Condition, "asyncio.locks", "Condition")                                \
    X(asyncio_Barrier, "asyncio.locks", "Barrier")                                    \
    X(asyncio_BarrierState, "asyncio.locks", "_BarrierState")                         \
    X(asyncio_BrokenBarrierError, "asyncio.exceptions", "BrokenBarrierError")         \
    X(asyncio_Semaphore, "asyncio.locks", "Semaphore")                                \
    X(asyncio_BoundedSemaphore, "asyncio.locks", "BoundedSemaphore")                  \
    X(asyncio_Queue, "asyncio.queues", "Queue")                                       \
    X(asyncio_PriorityQueue, "asyncio.queues", "PriorityQueue")                       \
    X(asyncio_LifoQueue, "asyncio.queues", "LifoQueue")                               \
    X(asyncio_QueueEmpty, "asyncio.queues", "QueueEmpty")                             \
    X(asyncio_QueueFull, "asyncio.queues", "QueueFull")                               \
    X(asyncio_StreamReader, "asyncio.streams", "StreamReader")                        \
    X(asyncio_StreamReaderProtocol, "asyncio.streams", "StreamReaderProtocol")        \
    X(asyncio_StreamWriter, "asyncio.streams", "StreamWriter")                        \
    X(asyncio_ProcessTransport, "asyncio.base_subprocess", "BaseSubprocessTransport") \
    X(asyncio_ProcessPipe, "asyncio.base_subprocess", "ReadSubprocessPipeProto")      \
    X(asyncio_ProcessProtocol, "asyncio.subprocess", "SubprocessStreamProtocol")      \
    X(IncompleteReadError, "asyncio.exceptions", "IncompleteReadError")               \
    X(LimitOverrunError, "asyncio.exceptions", "LimitOverrunError")                   \
    X(deque, "collections", "deque")                                                  \
    X(heappush, "heapq", "heappush")                                                  \
    X(heappop, "heapq", "heappop")                                                    \
    X(asyncio_Timeout, "asyncio.timeouts", "Timeout")                                 \
    X(asyncio_TimeoutState, "asyncio.timeouts", "_State")                             \
    X(asyncio_get_running_loop, "asyncio.events", "get_running_loop")                 \
    X(asyncio_PyFuture, "asyncio.futures", "_PyFuture")                               \
    X(asyncio_PyTask, "asyncio.tasks", "_PyTask")                                     \
    X(asyncio_sleep, "asyncio.tasks", "sleep")                                        \
    X(asyncio_wait, "asyncio.tasks", "wait")                                          \
    X(asyncio_wait_for, "asyncio.tasks", "wait_for")                                  \
    X(asyncio_shield, "asyncio.tasks", "shield")                                      \
    X(asyncio_to_thread, "asyncio.threads", "to_thread")                              \
    X(partial, "functools", "partial")                                                \
    X(asyncio_gather, "asyncio.tasks", "gather")                                      \
    X(asyncio_create_task, "asyncio.tasks", "create_task")                            \
    X(asyncio_all_tasks, "asyncio.tasks", "all_tasks")                                \
    X(asyncio_current_task, "asyncio.tasks", "current_task")                          \
    X(asyncio_FlowControlMixin, "asyncio.transports", "_FlowControlMixin")            \
    X(asyncio_ReadTransport, "asyncio.transports", "ReadTransport")                   \
    X(asyncio_BufferedProtocol, "asyncio.protocols", "BufferedProtocol")              \
    X(asyncio_SelectorEventLoop, "asyncio.selector_events", "BaseSelectorEventLoop")  \
    X(asyncio_SocketTransport, "asyncio.selector_events", "_SelectorSocketTransport") \
    X(asyncio_ReadPipeTransport, "asyncio.unix_events", "_UnixReadPipeTransport")     \
    X(os_globals, "os", "__dict__")                                                   \
    X(os_read, "posix", "read")                                                       \
    X(os_write, "posix", "write")                                                     \
    X(socket_globals, "socket", "__dict__")                                           \
    X(socket_base, "_socket", "socket")                                               \
    X(inet_pton, "_socket", "inet_pton")                                              \
    X(asyncio_logger, "asyncio.log", "logger")                                        \
    X(get_event_loop, "_asyncio", "get_event_loop")                                   \
    X(get_running_loop, "_asyncio", "_get_running_loop")                              \
    X(set_running_loop, "_asyncio", "_set_running_loop")                              \
    X(enter_task, "_asyncio", "_enter_task")                                          \
    X(leave_task, "_asyncio", "_leave_task")                                          \
    X(iscoroutine, "asyncio.coroutines", "iscoroutine")                               \
    X(future_repr, "asyncio.base_futures", "_future_repr")                            \
    X(task_repr, "asyncio.base_tasks", "_task_repr")                                  \
    X(task_get_stack, "asyncio.base_tasks", "_task_get_stack")                        \
    X(task_print_stack, "asyncio.base_tasks", "_task_print_stack")                    \
    X(extract_stack, "asyncio.format_helpers", "extract_stack")                       \
    X(set_result_unless_cancelled, "asyncio.futures", "_set_result_unless_cancelled") \
    X(release_waiter, "asyncio.tasks", "_release_waiter")                             \
    X(time_dict, "time", "__dict__")                                                  \
    X(base_events_dict, "asyncio.base_events", "__dict__")                            \
    X(asyncio_tasks_dict, "asyncio.tasks", "__dict__")                                \
    X(asyncio_futures_dict, "asyncio.futures", "__dict__")                            \
    X(ABCMeta, "abc", "ABCMeta")                                                      \
    X(CoroutineType, "types", "CoroutineType")                                        \
    X(warn_unawaited, "warnings", "_warn_unawaited_coroutine")

/* field, class, attribute: methods that are called without searching for them, and members of an enumeration. */
#define STATE_METHODS(X)                                                     \
    X(deque_append, deque, "append")                                         \
    X(deque_popleft, deque, "popleft")                                       \
    X(deque_remove, deque, "remove")                                         \
    X(barrier_filling, asyncio_BarrierState, "FILLING")                      \
    X(barrier_draining, asyncio_BarrierState, "DRAINING")                    \
    X(barrier_resetting, asyncio_BarrierState, "RESETTING")                  \
    X(barrier_broken, asyncio_BarrierState, "BROKEN")                        \
    X(runner_initialized, asyncio_RunnerState, "INITIALIZED")                \
    X(runner_closed, asyncio_RunnerState, "CLOSED")                          \
    X(asyncio_data_received, asyncio_StreamReaderProtocol, "data_received")  \
    X(asyncio_stream_reader, asyncio_StreamReaderProtocol, "_stream_reader") \
    X(asyncio_feed_data, asyncio_StreamReader, "feed_data")                  \
    X(asyncio_wakeup_waiter, asyncio_StreamReader, "_wakeup_waiter")         \
    X(pipe_received, asyncio_ProcessPipe, "data_received")                   \
    X(transport_received, asyncio_ProcessTransport, "_pipe_data_received")   \
    X(transport_call, asyncio_ProcessTransport, "_call")                     \
    X(process_received, asyncio_ProcessProtocol, "pipe_data_received")

/* Absent in some version, then NULL. */
#define STATE_OPTIONAL_IMPORTS(X)                                                                    \
    X(asyncio_AsCompletedIterator, "asyncio.tasks", "_AsCompletedIterator")          /* from 3.13 */ \
    X(asyncio_QueueShutDown, "asyncio.queues", "QueueShutDown")                      /* from 3.13 */ \
    X(current_tasks, "_asyncio", "_current_tasks")                                   /* to 3.13 */   \
    X(swap_current_task, "_asyncio", "_swap_current_task")                           /* from 3.12 */ \
    X(asyncio_ThreadSafeHandle, "asyncio.events", "_ThreadSafeHandle")               /* 3.14 */      \
    X(asyncio_add_to_awaited_by, "_asyncio", "future_add_to_awaited_by")             /* from 3.14 */ \
    X(asyncio_discard_from_awaited_by, "_asyncio", "future_discard_from_awaited_by") /* from 3.14 */ \
    X(SSLProtocolState, "asyncio.sslproto", "SSLProtocolState")                                      \
    X(SSLAgainErrors, "asyncio.sslproto", "SSLAgainErrors") /* without ssl, as the rest */           \
    X(SSLObject, "ssl", "SSLObject")                                                                 \
    X(MemoryBIO, "_ssl", "MemoryBIO")                                                                \
    X(SSLSocket, "_ssl", "_SSLSocket")

#define STATE_STRINGS(X)        \
    X(_asyncio_future_blocking) \
    X(_abort)                   \
    X(_loop)                    \
    X(_on_task_done)            \
    X(_on_timeout)              \
    X(__aenter__)               \
    X(__aexit__)                \
    X(reschedule)               \
    X(uncancel)                 \
    X(_attach)                  \
    X(_call_connection_lost)    \
    X(_detach)                  \
    X(_add_reader)              \
    X(_make_socket_transport)   \
    X(_open_accepted)           \
    X(_read_ready)              \
    X(_read_ready__on_eof)      \
    X(_start_reading)           \
    X(_transports)              \
    X(_repr_info)               \
    X(_sendto_ready)            \
    X(_write_ready)             \
    X(__repr__)                 \
    X(add_done_callback)        \
    X(buffer_updated)           \
    X(call_at)                  \
    X(cancelled)                \
    X(done)                     \
    X(acquire)                  \
    X(locked)                   \
    X(release)                  \
    X(set_result)               \
    X(call_exception_handler)   \
    X(call_later)               \
    X(call_soon)                \
    X(call_soon_threadsafe)     \
    X(cancel)                   \
    X(cancelling)               \
    X(close)                    \
    X(context)                  \
    X(create_future)            \
    X(create_task)              \
    X(connect)                  \
    X(connect_ex)               \
    X(connection_lost)          \
    X(connection_made)          \
    X(data_received)            \
    X(datagram_received)        \
    X(exception)                \
    X(family)                   \
    X(fileno)                   \
    X(get_buffer)               \
    X(get_debug)                \
    X(getpeername)              \
    X(getsockname)              \
    X(get_loop)                 \
    X(inet_pton)                \
    X(is_closed)                \
    X(is_running)               \
    X(message)                  \
    X(msg)                      \
    X(name)                     \
    X(peername)                 \
    X(proto)                    \
    X(read)                     \
    X(result)                   \
    X(run)                      \
    X(run_in_executor)          \
    X(run_until_complete)       \
    X(socket)                   \
    X(sockname)                 \
    X(source_traceback)         \
    X(stop)                     \
    X(throw)                    \
    X(time)                     \
    X(when)                     \
    X(get_extra_info)           \
    X(timeout)                  \
    X(cr_suspended)             \
    X(type)                     \
    X(eager_start)              \
    X(eof_received)             \
    X(_call_eof_received)       \
    X(_control_app_writing)     \
    X(_control_ssl_reading)     \
    X(_do_flush)                \
    X(_do_handshake)            \
    X(_do_read)                 \
    X(_do_shutdown)             \
    X(_get_write_buffer_size)   \
    X(_sslobj)                  \
    X(_start_shutdown)          \
    X(_write_appdata)           \
    X(pending)                  \
    X(_drain_helper)            \
    X(_buffer)                  \
    X(_call)                    \
    X(_pending_calls)           \
    X(_pipe_data_received)      \
    X(_protocol)                \
    X(fd)                       \
    X(pipe_data_received)       \
    X(proc)                     \
    X(stderr)                   \
    X(stdout)                   \
    X(_eof)                     \
    X(_limit)                   \
    X(_stream_reader)           \
    X(_stream_reader_wr)        \
    X(_waiter)                  \
    X(_wakeup_waiter)           \
    X(feed_data)                \
    X(is_closing)               \
    X(pause_reading)            \
    X(resume_reading)           \
    X(writelines)               \
    X(write)

/* Dead objects, linked through the first word behind the object's head. */
struct freelist {
    PyObject *first;
    int count;
    int limit;
    size_t alive; /* objects of the type, and of those derived from it, that are not dead */
};

/* Native tasks that are not done: core/registry.h. */
struct task_list {
    struct list_node head;
    compat_mutex lock; /* where threads run at the same time */
};

/* spare_stop.h says what it is for. */
struct spare_stop {
    PyObject *exception; /* owned or NULL */
    PyObject *lent_to;   /* borrowed or NULL: the iterator that has raised it, until that is deallocated */
};

struct state {
#define X(name, limit) PyTypeObject *name##_type;
    STATE_TYPES(X)
#undef X
#define X(field, module, attribute) PyObject *field;
    STATE_IMPORTS(X)
    STATE_OPTIONAL_IMPORTS(X)
#undef X
#define X(field, class, attribute) PyObject *field;
    STATE_METHODS(X)
#undef X
#define X(string) PyObject *str_##string;
    STATE_STRINGS(X)
#undef X
#define X(name, limit) struct freelist name##_freelist;
    STATE_TYPES(X)
#undef X
#define X(name) PyObject *name##_methods; /* owned; a tuple, as primitive.c says */
    STATE_PRIMITIVES(X)
#undef X
    PyObject *stream_transport_class; /* owned; asyncio_c.transports.StreamTransport, NULL until it is needed */
    PyObject *event_class;            /* owned; asyncio_c.primitives.Event, likewise */
    PyObject *lock_class;             /* owned; asyncio_c.primitives.Lock, likewise */
    PyObject *queue_class;            /* owned; asyncio_c.primitives.Queue, likewise */
    PyObject *condition_class;        /* owned; asyncio_c.primitives.Condition, likewise */
    bool as_completed_tells_awaiter;  /* as asyncio's does, from its code: as_completed.c */
    bool as_completed_keeps_count;    /* when waiting for one fails, likewise */
    bool condition_passes_on;         /* wait() that fails notifies another, from 3.13 on: condition.c */
    bool semaphore_wakes_all;         /* as asyncio's does from 3.13 on: semaphore.c */
    PyObject *socket_type;            /* owned; Python's own socket.socket, or None: net/plain_socket.c */
    PyObject *socket_names;           /* owned; what must not be replaced there */
    unsigned socket_version;          /* of that class, when nothing was */
    PyObject *timeout_class;          /* owned; asyncio_c.timeouts.Timeout, likewise */
    PyObject *task_group_methods;     /* owned; a tuple, as task_group.c says */
    unsigned task_group_version;      /* of a class that has these methods */
    bool task_group_clears; /* leaving lets go of the parent and the errors, as asyncio's does from 3.13.1 on */
    bool task_group_keeps_cancellation; /* as well as of a cancellation that is not its own, from 3.15 on */
    PyObject *context_kwnames;          /* ("context",) */
    PyObject *minus_one;                /* get_buffer(-1) */
    PyObject *running_key;              /* 3.11: compat_running_holder_borrow() */
    PyObject *no_variables;  /* the variables of a new context; NULL: contexts are copied at once (context.h) */
    PyObject *spare_context; /* or NULL */
    struct spare_stop spare_stop;
    bool stop_has_context; /* what is being handled becomes the context of a StopIteration by which something returns */
    size_t running_offset; /* of struct compat_running in a thread state; 0: not known (running.h) */
    struct Loop *running_loop;    /* borrowed: the native loop that polled or started last, if it still runs */
    struct dict_watch dict_watch; /* of what others may replace */
    struct stand_ins stand_ins;
    compat_mutex monitors_lock;              /* of monitors that a forked child uses for the first time */
    compat_mutex loops_lock;                 /* of the list that follows, where threads run at the same time */
    struct list_node loops;                  /* every native loop that exists */
    struct Recorder *recorder;               /* owned; of every loop that runs, or NULL */
    struct openssl_library *openssl_library; /* owned; NULL until TLS is used: tls/openssl_library.h */
    struct task_list tasks;                  /* every native task that is not done: registry.h */
    int debug_loops;                         /* how many native loops are in debug mode and open */
    uint64_t handle_version;    /* 3.11: of asyncio.TimerHandle, when it was last looked for replaced methods */
    uint64_t transport_version; /* 3.11: likewise, of the class of a stream's transport */
    bool notes_births;          /* task_note_births() */
    uint64_t fork_generation;   /* how many forks made this process, as far as the loops need to know */
    /* Of asyncio_c.transports.StreamTransport, when its methods were ours: net/stream_transport.h. */
    unsigned stream_transport_version;
    /* Of asyncio's own, likewise: streams/stock_streams.c. */
    unsigned stock_reader_version;
    unsigned stock_protocol_version;
    PyObject *stock_stream_codes;  /* owned or NULL */
    PyObject *stock_process_codes; /* owned or NULL */
    PyObject *process_feeder;      /* owned or NULL: what stands for asyncio's method that feeds streams of processes */
    /* What streams have for transports, which may not know them: net/direct.h. */
    int (*feed_stream)(struct state *state, PyObject *protocol, PyObject *data);
    int (*feed_process)(struct state *state, PyObject *protocol, PyObject *data); /* net/pipe_transport.c */
    /* StreamTransport._read_ready(), which takes no arguments: the callback that runs most often, called as what it is. */
    PyCFunction read_ready;
    COMPAT_APART(before);      /* what follows changes all the time, and what was before nearly never */
    uint64_t next_task_number; /* for the names: registry_next_number() */
    unsigned running_loops;    /* of all threads, where these run at the same time */
    COMPAT_APART(after);
};

extern struct PyModuleDef module_def;

/* The state of the module that made `type` or a base of it. Sets an exception where there is none. */
struct state *state_of_type(PyTypeObject *type);

static inline struct state *
state_of_module(PyObject *module)
{
    return *(struct state **)PyModule_GetState(module);
}

int state_init(struct state *state);
int state_traverse(struct state *state, visitproc visit, void *arg);
void state_clear(struct state *state);

/* Clears and frees it at the end of the module, unless there are objects that look at it: when the garbage collector clears
   them together with the module, as at the end of an interpreter, the module may go first.  Then nobody ever frees it. */
void state_free(struct state *state);

/* Makes the type of `spec` and keeps it in `*slot`; adds it to the module where `public`. */
int state_add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec, PyTypeObject *base);

/* PyObject_TypeCheck of one of our types.  The class in the package derives from it directly, which saves a search. */
static inline bool
state_type_check(PyObject *object, PyTypeObject *type)
{
    return Py_TYPE(object)->tp_base == type || PyObject_TypeCheck(object, type);
}

/* Makes `type` an abstract base class of which `stock` is a virtual subclass: isinstance(stock object, our type) holds, so
   that code which asks late, after asyncio_c.patch(), recognises asyncio's own objects too.  ABCMeta and no metaclass of
   ours, because then a class may still derive from Future and from some abstract base class.  Returns 0 or -1. */
int state_register_stock(struct state *state, PyTypeObject *type, PyObject *stock);

/* That there are `number` more objects of the type.  Without a GIL nobody counts: the types are kept for ever there (state.c). */
static inline void
freelist_count(struct freelist *freelist, int number)
{
    if (!AC_FREE_THREADED) {
        freelist->alive += (size_t)number;
    }
}

/* A new, untracked object of the exact `type`: from the freelist or the allocator.  Zeroed behind the head. */
PyObject *freelist_new(struct freelist *freelist, PyTypeObject *type);

/* For a tp_new: as the allocator would, a tracked object; of the exact type from the freelist, or else each object made by a
   call of the type would end in the freelist and none come out again. */
PyObject *freelist_alloc(struct freelist *freelist, PyTypeObject *exact, PyTypeObject *type);

/* The end of a tp_dealloc: keeps the memory if `self` is of the exact `type`, or frees it.  Needs: untracked, cleared. */
void freelist_free(struct freelist *freelist, PyTypeObject *type, PyObject *self);

/* "from module import name", or NULL with the exception set. */
PyObject *state_import(const char *module, const char *name);

/* Whether the code of that method of the class has `name` among its `kind`, "co_names", "co_varnames" or "co_consts": how to know what asyncio
   does where that changed within a version.  1, 0 (also where there is no such method in Python), or -1. */
int state_code_has(PyObject *class, const char *method, const char *kind, const char *name);

/* Whether the class has `expected` under the name; nothing, where that is NULL.  Without an exception; drops one that is set.  May
   run Python. */
bool state_class_has(PyObject *class, PyObject *name, PyObject *expected);

/* "from module import name" for a class of our package, which does not exist yet when this module is imported: once, and kept in
   `*slot`, a field of the state.  Borrowed.  Runs Python. */
PyObject *state_class_borrow(PyObject **slot, const char *module, const char *name);

#endif
