/* Methods of ours that stand in for asyncio's, and step aside where somebody has replaced those.  Layer: py. */
#ifndef AC_PY_STAND_IN_H
#define AC_PY_STAND_IN_H

#include "base/macros.h"
#include "py/dict_watch.h"

#define VERSION_UNKNOWN UINT64_MAX /* no type has it */

/* The groups of methods, and who wants to hear of a change. */
struct stand_ins {
    struct stand_in **groups; /* private */
    size_t count;
    bool settling; /* our own classes are changed, of which we hear as well: private */
#if AC_FREE_THREADED
    uint64_t changes;          /* how many we were told of, by any thread */
    uint64_t looked;           /* how many there were at the last look: private */
    compat_parking_mutex lock; /* of whoever looks: private, as are the next */
    unsigned long looking;     /* the thread that does, or 0 */
    uint64_t looking_at;       /* how many changes there were when it began */
    compat_mutex step_lock;    /* of the functions, and of `changes` against them */
#endif
    /* Called after a change, in the middle of it as a watcher's callback: takes the shortcuts back until they are decided upon
       again.  Runs no Python. */
    void (*changed)(struct state *state);
};

/* Looks for replaced code, and for changed dictionaries where stand_ins_change() does not do all by itself: on 3.11, and where
   threads run at the same time.  Returns 0 or -1. */
int stand_ins_look(struct state *state);

#if AC_FREE_THREADED
/* In a forked child: who looked is not there any more. */
void stand_ins_after_fork(struct state *state);
#endif

/* A watched dictionary changes.  Returns 0, or -1 with MemoryError set. */
int stand_ins_change(struct state *state, const struct change *change);

/* Has `step` called for `function`, of ours, when one of the `needs` is not as it is now, and when it is again; _stand_in() says
   what they are.  Returns 0 or -1. */
int stand_ins_add_function(struct state *state, PyObject *function, void (*step)(PyObject *, bool), PyObject *needs);

/* Whether `value`, found under `name`, is asyncio's function as it was, with all that it needs, so that ours does the same. */
bool stand_in_is_stock(struct state *state, PyObject *name, PyObject *value);

/* Whether that method of the class `type`, or of one of ours from which it derives, has stepped aside. */
bool stand_in_is_aside(struct state *state, PyTypeObject *type, PyObject *name);

/* The same, of a method in C that has been called: on 3.11, where nobody tells, it looks whether `class`, by which asyncio's method
   is found, has changed since `version`, which is VERSION_UNKNOWN at first; where threads run at the same time, whether anything
   has.  1, 0 or -1 with an exception set. */
static inline int stand_in_stepped_aside(struct state *state, PyTypeObject *class, uint64_t *version,
                                         PyTypeObject *type, PyObject *name);

/* Whether any method has. */
bool stand_ins_any_aside(struct state *state);

int stand_ins_traverse(struct stand_ins *stand_ins, visitproc visit, void *arg);
void stand_ins_clear(struct stand_ins *stand_ins);
int stand_in_register(PyObject *module);

/* private */
int stand_in_look_at(struct state *state, PyTypeObject *class, uint64_t *version, PyTypeObject *type, PyObject *name);

static inline int
stand_in_stepped_aside(struct state *state, PyTypeObject *class, uint64_t *version, PyTypeObject *type, PyObject *name)
{
    bool unchanged = !AC_FREE_THREADED && (COMPAT_DICT_WATCHERS || class->tp_version_tag == *version);
    return AC_LIKELY(unchanged) ? 0 : stand_in_look_at(state, class, version, type, name);
}

#endif
