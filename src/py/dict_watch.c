/* Noticing changes of dictionaries.  Layer: py.

   A watcher's callback is given the dictionary and nothing of ours, and one number of the eight that an interpreter has is
   taken for all; so the state that it is for is found in the interpreter's own dictionary.  The callback comes in the middle of
   the change: it may neither run Python nor look an attribute up, which would put the old value into the types' cache. */
#include "py/dict_watch.h"

#include "py/stand_in.h"
#include "py/state.h"

struct watched_dict {
    PyObject *dict;   /* owned */
    uint64_t version; /* 3.11 */
};

PyObject *
dict_of_borrow(PyObject *owner)
{
    return PyType_Check(owner) ? compat_type_dict_borrow((PyTypeObject *)owner) : PyModule_GetDict(owner);
}

static bool
same_key(PyObject *left, PyObject *right)
{
    return left == right
           || (PyUnicode_CheckExact(left) && PyUnicode_CheckExact(right) && PyUnicode_Compare(left, right) == 0);
}

PyObject *
dict_get(PyObject *dict, PyObject *key, const struct change *change)
{
    if (change != NULL && change->dict == dict && same_key(change->key, key)) {
        return Py_XNewRef(change->value);
    }
    compat_section section;
    compat_section_begin(&section, dict);
    PyObject *value = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    compat_section_end(&section);
    if (value == NULL) {
        PyErr_Clear();
    }
    return value;
}

/* ---- Being told ---- */

#if COMPAT_DICT_WATCHERS
#define STATE_KEY "asyncio_c._core.watching"

static struct state *
watching_state(void)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *capsule = dict ? PyDict_GetItemString(dict, STATE_KEY) : NULL;
    return capsule ? PyCapsule_GetPointer(capsule, STATE_KEY) : NULL;
}

static int
dict_changes(PyDict_WatchEvent event, PyObject *dict, PyObject *key, PyObject *value)
{
    struct state *state = watching_state();
    bool is_single = event == PyDict_EVENT_ADDED || event == PyDict_EVENT_MODIFIED || event == PyDict_EVENT_DELETED;
    if (state == NULL || !is_single) {
        return 0; /* what clears a dictionary is the end of the interpreter */
    }
    struct change change = { dict, key, value };
    return stand_ins_change(state, &change);
}

static int
dict_watch_open(struct state *state)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *capsule = dict ? PyCapsule_New(state, STATE_KEY, NULL) : NULL;
    int result = capsule ? PyDict_SetItemString(dict, STATE_KEY, capsule) : -1;
    Py_XDECREF(capsule);
    return result < 0 ? -1 : (state->dict_watch.watcher = PyDict_AddWatcher(dict_changes));
}

static int
dict_watch_one(struct dict_watch *watch, struct watched_dict *watched)
{
    return PyDict_Watch(watch->watcher, watched->dict);
}

bool
dict_watch_look(struct dict_watch *Py_UNUSED(watch))
{
    return false;
}

static void
stop_watching(struct state *state)
{
    PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
    if (dict != NULL && watching_state() == state
        && (PyDict_DelItemString(dict, STATE_KEY) < 0 || PyDict_ClearWatcher(state->dict_watch.watcher) < 0)) {
        PyErr_Clear();
    }
}
#else

/* ---- Looking ---- */

static int
dict_watch_open(struct state *Py_UNUSED(state))
{
    return 0;
}

static int
dict_watch_one(struct dict_watch *Py_UNUSED(watch), struct watched_dict *watched)
{
    watched->version = compat_dict_version(watched->dict);
    return 0;
}

bool
dict_watch_look(struct dict_watch *watch)
{
    bool changed = false;
    for (size_t i = 0; i < watch->count; i++) {
        uint64_t version = compat_dict_version(watch->dicts[i].dict);
        changed |= version != watch->dicts[i].version;
        watch->dicts[i].version = version;
    }
    return changed;
}

static void
stop_watching(struct state *Py_UNUSED(state))
{
}
#endif

/* ---- Both ---- */

int
dict_watch_add(struct state *state, PyObject *owner)
{
    struct dict_watch *watch = &state->dict_watch;
    PyObject *dict = dict_of_borrow(owner);
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->dicts[i].dict == dict) {
            return 0;
        }
    }
    if (watch->count == 0 && dict_watch_open(state) < 0) {
        return -1;
    }
    struct watched_dict *dicts = PyMem_Realloc(watch->dicts, (watch->count + 1) * sizeof(*dicts));
    if (dicts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    watch->dicts = dicts;
    dicts[watch->count] = (struct watched_dict){ .dict = Py_NewRef(dict) };
    return dict_watch_one(watch, &dicts[watch->count++]);
}

int
dict_watch_traverse(struct dict_watch *watch, visitproc visit, void *arg)
{
    for (size_t i = 0; i < watch->count; i++) {
        Py_VISIT(watch->dicts[i].dict);
    }
    return 0;
}

void
dict_watch_close(struct state *state)
{
    struct dict_watch *watch = &state->dict_watch;
    if (watch->count > 0) {
        stop_watching(state);
    }
    struct watched_dict *dicts = watch->dicts;
    size_t count = watch->count;
    *watch = (struct dict_watch){ 0 };
    while (count > 0) {
        Py_DECREF(dicts[--count].dict);
    }
    PyMem_Free(dicts);
}
