/* Methods of ours that stand in for asyncio's, and step aside where somebody has replaced those.  Layer: py.

   asyncio_c.Loop derives from a C type and then from asyncio's loop, so that call_soon() is the C type's.  A tracer that puts
   a wrapper into BaseEventLoop would never be called.  So what a class of asyncio's had under a name when we were imported is kept,
   and while it is something else, or has other code, a descriptor stands in our class, in front of the C type's method, that
   leads to asyncio's attribute.  That is an override like a subclass's, for whoever calls the method as for those who decide which
   shortcuts may be taken.  What our method does is also done by other parts of asyncio (call_soon() makes an asyncio.Handle,
   time() asks the module `time`), so that a group of methods has needs, and steps aside altogether while one of them is not as
   it was.

   The equivalent:

       def settle(group):
           replaced = any(vars(owner).get(name) not in (then, *also) for owner, name, then, *also in group.needs)
           for name, stock in group.methods:
               if replaced or getattr(group.theirs, name) is not stock:
                   setattr(group.ours, name, Aside(group.theirs, name))
               else:
                   restore_own(group.ours, name)

   An attribute of our class that somebody else has set is theirs, and stays.

   With a GIL, and from 3.12 on, that is done as soon as somebody replaces anything, in the middle of it.  Without one, changes are
   counted then, and whoever is concerned compares the count with the one that he knows, and looks: a loop in each turn, and
   what has been called.  Nothing is looked up in the middle of a change: waiting there for the critical section of a dictionary
   would give up that of the changing one, of which Python has found the place already.  Functions, which nobody looks after
   when they are called, all step aside meanwhile.  The groups are made by the import, before other threads can know of them. */
#include "py/stand_in.h"

#include "py/state.h"

/* Whether our classes are not changed as soon as somebody tells, but by who looks. */
#define SETTLED_BY_LOOK (!COMPAT_DICT_WATCHERS || AC_FREE_THREADED)

struct definition {
    PyObject *dict; /* owned, as are all */
    PyObject *key;
    PyObject *value; /* or NULL: there was nothing */
    PyObject *also;  /* or NULL: what may be there as well */
    PyObject *code;  /* of a function in Python, or NULL */
};

/* The descriptor. */
typedef struct {
    PyObject_HEAD
    struct state *state;
    struct stand_in *group; /* NULL: the module is gone */
    struct method *method;
} Aside;

struct method {
    PyObject *name;  /* owned, as are all */
    PyObject *stock; /* what asyncio's class answers */
    PyObject *code;  /* its code, or NULL */
    PyObject *own;   /* what our class itself has, or NULL: it inherits it */
    Aside *aside;    /* what stands in our class instead, while */
    bool is_aside;   /* it does */
};

struct stand_in {
    PyObject *function; /* owned, or NULL; then there are no methods, and nothing of the next two */
    void (*step)(PyObject *function, bool aside);
    PyObject *ours;       /* owned: the class */
    PyObject *theirs_mro; /* owned */
    struct definition *needs;
    struct method *methods;
    size_t need_count;
    size_t method_count;
    size_t codes_changed; /* how many codes were not as they had been, at the last look */
};

/* ---- Comparing ---- */

static PyObject *
code_of_borrow(PyObject *value)
{
    return value != NULL && PyFunction_Check(value) ? PyFunction_GET_CODE(value) : NULL;
}

static size_t
count_changed_codes(const struct stand_in *group)
{
    size_t count = 0;
    for (size_t i = 0; i < group->need_count; i++) {
        count += code_of_borrow(group->needs[i].value) != group->needs[i].code;
    }
    for (size_t i = 0; i < group->method_count; i++) {
        count += code_of_borrow(group->methods[i].stock) != group->methods[i].code;
    }
    return count;
}

static bool
is_replaced(const struct definition *need, const struct change *change)
{
    PyObject *now = need->also == Py_Ellipsis ? Py_XNewRef(need->value) : dict_get(need->dict, need->key, change);
    bool replaced =
        (now != need->value && (need->also == NULL || now != need->also)) || code_of_borrow(need->value) != need->code;
    Py_XDECREF(now);
    return replaced;
}

/* What asyncio's class will answer for `name`: a new reference, or NULL. */
static PyObject *
lookup(PyObject *mro, PyObject *name, const struct change *change)
{
    PyObject *value = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro) && value == NULL; i++) {
        value = dict_get(dict_of_borrow(PyTuple_GET_ITEM(mro, i)), name, change);
    }
    return value;
}

/* ---- Stepping aside, and back ---- */

/* Puts our own attribute or the descriptor into our class.  Where that has to wait for somebody to look, methods in Python are always
   found by the descriptor, which looks; those in C look for themselves.  Returns whether anything changed, or -1. */
static int
method_step(struct method *method, PyTypeObject *ours, bool aside)
{
    PyObject *dict = compat_type_dict_borrow(ours), *now = dict_get(dict, method->name, NULL);
    bool in_python = method->own != NULL && !Py_IS_TYPE(method->own, &PyMethodDescr_Type);
    bool by_descriptor = aside || (SETTLED_BY_LOOK && in_python);
    PyObject *wanted = by_descriptor ? (PyObject *)method->aside : method->own;
    bool was_aside = method->is_aside;
    bool is_known = now == (PyObject *)method->aside || now == method->own || now == method->stock;
    COMPAT_STORE(method->is_aside, aside && is_known);
    Py_XDECREF(now); /* compared, and no more */
    if (now == wanted || !is_known) {
        return method->is_aside != was_aside;
    }
    if ((wanted ? PyDict_SetItem(dict, method->name, wanted) : PyDict_DelItem(dict, method->name)) < 0) {
        return -1;
    }
    PyType_Modified(ours);
    return 1;
}

#if AC_FREE_THREADED
/* A function steps back only if nobody was told of a change since the look began: who makes one may call it before the next look. */
static void
function_step(struct stand_ins *all, struct stand_in *group, bool aside)
{
    compat_mutex_lock(&all->step_lock);
    if (aside || COMPAT_LOAD(all->changes) == all->looking_at) {
        group->step(group->function, aside);
    }
    compat_mutex_unlock(&all->step_lock);
}
#else
static void
function_step(struct stand_ins *Py_UNUSED(all), struct stand_in *group, bool aside)
{
    group->step(group->function, aside);
}
#endif

/* Whether one of its needs is not as it was; the function steps aside, or back, at once. */
static bool
needs_settle(struct stand_ins *all, struct stand_in *group, const struct change *change)
{
    bool replaced = false;
    for (size_t i = 0; i < group->need_count && !replaced; i++) {
        replaced = is_replaced(&group->needs[i], change);
    }
    if (group->function != NULL) {
        function_step(all, group, replaced);
    }
    return replaced;
}

/* Returns whether anything changed, or -1. */
static int
group_settle(struct stand_ins *all, struct stand_in *group, const struct change *change)
{
    int result = 0;
    COMPAT_STORE(group->codes_changed, count_changed_codes(group));
    bool replaced = needs_settle(all, group, change);
    for (size_t i = 0; i < group->method_count && result >= 0; i++) {
        struct method *method = &group->methods[i];
        PyObject *now = lookup(group->theirs_mro, method->name, change);
        bool aside = now != NULL && (replaced || now != method->stock || code_of_borrow(method->stock) != method->code);
        Py_XDECREF(now);
        all->settling = true;
        int stepped = method_step(method, (PyTypeObject *)group->ours, aside);
        all->settling = false;
        result = stepped < 0 ? -1 : result | stepped;
    }
    return result;
}

/* The loops' part, which the first loop brings. */
static void
tell_of_change(struct state *state)
{
    void (*changed)(struct state *state) = COMPAT_LOAD(state->stand_ins.changed);
    if (changed != NULL) {
        changed(state);
    }
}

#if AC_FREE_THREADED

/* In the middle of a change, and of what may have the lock of all types, nothing is decided, and nothing waited for: who looks does. */
int
stand_ins_change(struct state *state, const struct change *Py_UNUSED(change))
{
    struct stand_ins *all = &state->stand_ins;
    compat_mutex_lock(&all->step_lock);
    (void)COMPAT_ADD(all->changes, 1);
    for (size_t i = 0; i < all->count; i++) {
        if (all->groups[i]->function != NULL) {
            all->groups[i]->step(all->groups[i]->function, true);
        }
    }
    compat_mutex_unlock(&all->step_lock);
    tell_of_change(state);
    return 0;
}

/* By one thread at a time.  What we change ourselves counts as well, so that there is one more look, which finds nothing.  What was
   replaced in the meantime may go in the middle of it, and its __del__() come here again. */
int
stand_ins_look(struct state *state)
{
    struct stand_ins *all = &state->stand_ins;
    const unsigned long thread = PyThread_get_thread_ident();
    bool look = COMPAT_LOAD(all->changes) != COMPAT_LOAD(all->looked);
    for (size_t i = 0; i < all->count && !look; i++) {
        look = count_changed_codes(all->groups[i]) != COMPAT_LOAD(all->groups[i]->codes_changed);
    }
    if (AC_LIKELY(!look) || COMPAT_LOAD(all->looking) == thread) {
        return 0;
    }
    compat_parking_mutex_lock(&all->lock);
    COMPAT_STORE(all->looking, thread);
    all->looking_at = COMPAT_LOAD(all->changes);
    int settled = 0;
    for (size_t i = 0; i < all->count && settled >= 0; i++) {
        settled = group_settle(all, all->groups[i], NULL);
    }
    if (settled >= 0) {
        COMPAT_STORE(all->looked, all->looking_at);
    }
    COMPAT_STORE(all->looking, 0);
    compat_parking_mutex_unlock(&all->lock);
    tell_of_change(state);
    return settled < 0 ? -1 : 0;
}

void
stand_ins_after_fork(struct state *state)
{
    struct stand_ins *all = &state->stand_ins;
    /* What goes in the middle of a look may fork, and that look goes on. */
    if (COMPAT_LOAD(all->looking) != PyThread_get_thread_ident()) {
        all->lock = (compat_parking_mutex){ 0 };
        COMPAT_STORE(all->looking, 0);
    }
    compat_mutex_init(&all->step_lock);
}

#else

int
stand_ins_change(struct state *state, const struct change *change)
{
    struct stand_ins *all = &state->stand_ins;
    bool changed = false;
    if (all->settling) {
        return 0;
    }
    for (size_t i = 0; i < all->count; i++) {
        struct stand_in *group = all->groups[i];
        /* Somebody has set an attribute of our own class, which is then theirs. */
        bool is_ours = group->ours && change->dict == compat_type_dict_borrow((PyTypeObject *)group->ours);
        int settled = is_ours ? 1 : group_settle(all, group, change);
        if (settled < 0) {
            return -1;
        }
        changed |= settled;
    }
    if (changed) {
        tell_of_change(state);
    }
    return 0;
}

int
stand_ins_look(struct state *state)
{
    struct stand_ins *all = &state->stand_ins;
    bool look = dict_watch_look(&state->dict_watch), changed = look;
    for (size_t i = 0; i < all->count; i++) {
        struct stand_in *group = all->groups[i];
        if (look || count_changed_codes(group) != group->codes_changed) {
            int settled = group_settle(all, group, NULL);
            if (settled < 0) {
                return -1;
            }
            changed |= settled;
        }
    }
    if (changed) {
        tell_of_change(state);
    }
    return 0;
}

#endif

bool
stand_in_is_stock(struct state *state, PyObject *name, PyObject *value)
{
    for (size_t i = 0; i < state->stand_ins.count; i++) {
        struct stand_in *group = state->stand_ins.groups[i];
        for (size_t j = 0; j < group->method_count; j++) {
            struct method *method = &group->methods[j];
            if (method->name == name && method->stock == value && value != NULL) {
                return !COMPAT_LOAD(method->is_aside);
            }
        }
    }
    return false;
}

bool
stand_in_is_aside(struct state *state, PyTypeObject *type, PyObject *name)
{
    for (size_t i = 0; i < state->stand_ins.count; i++) {
        struct stand_in *group = state->stand_ins.groups[i];
        for (size_t j = 0; j < group->method_count; j++) {
            if (group->methods[j].name == name && PyType_IsSubtype(type, (PyTypeObject *)group->ours)) {
                return COMPAT_LOAD(group->methods[j].is_aside);
            }
        }
    }
    return false;
}

AC_COLD int
stand_in_look_at(struct state *state, PyTypeObject *class, uint64_t *version, PyTypeObject *type, PyObject *name)
{
#if AC_FREE_THREADED
    (void)class;
    const uint64_t changes = COMPAT_LOAD(state->stand_ins.changes);
    if (AC_LIKELY(changes == COMPAT_LOAD(*version))) {
        return 0;
    }
    if (stand_ins_look(state) < 0) {
        return -1;
    }
    COMPAT_STORE(*version, changes);
    return stand_in_is_aside(state, type, name);
#else
    PyObject *found =
        stand_ins_look(state) < 0 ? NULL : PyObject_GetAttr((PyObject *)class, name); /* gives it a version */
    *version = class->tp_version_tag != 0 ? class->tp_version_tag : VERSION_UNKNOWN;
    Py_XDECREF(found);
    return found ? stand_in_is_aside(state, type, name) : -1;
#endif
}

bool
stand_ins_any_aside(struct state *state)
{
    for (size_t i = 0; i < state->stand_ins.count; i++) {
        struct stand_in *group = state->stand_ins.groups[i];
        for (size_t j = 0; j < group->method_count; j++) {
            if (COMPAT_LOAD(group->methods[j].is_aside)) {
                return true;
            }
        }
    }
    return false;
}

/* ---- The descriptor ---- */

/* What our class would have in its place: a new reference, or NULL. */
static PyObject *
inherited(const struct stand_in *group, const struct method *method)
{
    PyObject *mro = ((PyTypeObject *)group->ours)->tp_mro, *value = Py_XNewRef(method->own);
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(mro) && value == NULL; i++) {
        value = dict_get(dict_of_borrow(PyTuple_GET_ITEM(mro, i)), method->name, NULL);
    }
    return value;
}

static PyObject *
Aside_get(Aside *self, PyObject *object, PyObject *type)
{
    if (self->group != NULL && stand_ins_look(self->state) < 0) {
        return NULL;
    }
    if (self->group == NULL) {
        PyErr_SetString(PyExc_AttributeError, "asyncio_c is no more");
        return NULL;
    }
    PyObject *value = COMPAT_LOAD(self->method->is_aside) ? lookup(self->group->theirs_mro, self->method->name, NULL)
                                                          : inherited(self->group, self->method);
    if (value == NULL) {
        PyErr_SetObject(PyExc_AttributeError, self->method->name);
        return NULL;
    }
    descrgetfunc get = Py_TYPE(value)->tp_descr_get;
    PyObject *bound = get ? get(value, object, type) : Py_NewRef(value);
    Py_DECREF(value);
    return bound;
}

static void
Aside_dealloc(Aside *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Aside_slots[] = {
    { Py_tp_dealloc, Aside_dealloc },
    { Py_tp_descr_get, Aside_get },
    { 0, NULL },
};

static PyType_Spec Aside_spec = {
    .name = "asyncio_c._core.Aside",
    .basicsize = sizeof(Aside),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Aside_slots,
};

/* ---- Making and unmaking ---- */

static void
group_free(struct stand_in *group)
{
    for (size_t i = 0; i < group->need_count; i++) {
        struct definition *need = &group->needs[i];
        Py_XDECREF(need->dict);
        Py_XDECREF(need->key);
        Py_XDECREF(need->value);
        Py_XDECREF(need->also);
        Py_XDECREF(need->code);
    }
    for (size_t i = 0; i < group->method_count; i++) {
        struct method *method = &group->methods[i];
        Py_XDECREF(method->name);
        Py_XDECREF(method->stock);
        Py_XDECREF(method->code);
        Py_XDECREF(method->own);
        if (method->aside != NULL) {
            method->aside->group = NULL;
            Py_DECREF(method->aside);
        }
    }
    PyMem_Free(group->needs);
    PyMem_Free(group->methods);
    Py_XDECREF(group->function);
    Py_XDECREF(group->ours);
    Py_XDECREF(group->theirs_mro);
    PyMem_Free(group);
}

int
stand_ins_traverse(struct stand_ins *stand_ins, visitproc visit, void *arg)
{
    for (size_t i = 0; i < stand_ins->count; i++) {
        struct stand_in *group = stand_ins->groups[i];
        Py_VISIT(group->function);
        Py_VISIT(group->ours);
        Py_VISIT(group->theirs_mro);
        for (size_t j = 0; j < group->need_count; j++) {
            Py_VISIT(group->needs[j].dict);
            Py_VISIT(group->needs[j].value);
            Py_VISIT(group->needs[j].also);
            Py_VISIT(group->needs[j].code);
        }
        for (size_t j = 0; j < group->method_count; j++) {
            Py_VISIT(group->methods[j].stock);
            Py_VISIT(group->methods[j].code);
            Py_VISIT(group->methods[j].own);
        }
    }
    return 0;
}

void
stand_ins_clear(struct stand_ins *stand_ins)
{
    struct stand_in **groups = stand_ins->groups;
    size_t count = stand_ins->count;
    *stand_ins = (struct stand_ins){ 0 };
    while (count > 0) {
        group_free(groups[--count]);
    }
    PyMem_Free(groups);
}

/* ---- Python face ---- */

/* (owner, name[, also]) */
static int
need_init(struct state *state, struct definition *need, PyObject *item)
{
    PyObject *owner, *name, *also = NULL;
    if (!PyArg_ParseTuple(item, "OU|O:_stand_in", &owner, &name, &also)) {
        return -1;
    }
    need->dict = Py_NewRef(dict_of_borrow(owner));
    need->key = Py_NewRef(name);
    need->value = dict_get(need->dict, name, NULL);
    need->also = Py_XNewRef(also);
    need->code = Py_XNewRef(code_of_borrow(need->value));
    return dict_watch_add(state, owner);
}

static int
method_init(struct state *state, struct method *method, struct stand_in *group, PyObject *name)
{
    if (!PyUnicode_CheckExact(name)) {
        PyErr_SetString(PyExc_TypeError, "_stand_in() takes names");
        return -1;
    }
    PyObject *interned = Py_NewRef(name);
    PyUnicode_InternInPlace(&interned);
    method->name = interned;
    method->stock = lookup(group->theirs_mro, interned, NULL);
    method->code = Py_XNewRef(code_of_borrow(method->stock));
    method->own = dict_get(dict_of_borrow(group->ours), interned, NULL);
    method->aside = (Aside *)state->Aside_type->tp_alloc(state->Aside_type, 0);
    if (method->aside == NULL) {
        return -1;
    }
    method->aside->state = state;
    method->aside->group = group;
    method->aside->method = method;
    return 0;
}

static int
needs_init(struct state *state, struct stand_in *group, PyObject *needs)
{
    group->needs = PyMem_Calloc((size_t)PyTuple_GET_SIZE(needs) + 1, sizeof(*group->needs));
    if (group->needs == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(needs); i++) {
        if (need_init(state, &group->needs[group->need_count++], PyTuple_GET_ITEM(needs, i)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
methods_init(struct state *state, struct stand_in *group, PyTypeObject *ours, PyTypeObject *theirs, PyObject *names)
{
    group->ours = Py_NewRef((PyObject *)ours);
    group->theirs_mro = PyTuple_GetSlice(theirs->tp_mro, 0, PyTuple_GET_SIZE(theirs->tp_mro) - 1); /* without object */
    group->methods = PyMem_Calloc((size_t)PyTuple_GET_SIZE(names) + 1, sizeof(*group->methods));
    if (group->theirs_mro == NULL || group->methods == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        if (method_init(state, &group->methods[group->method_count++], group, PyTuple_GET_ITEM(names, i)) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(group->theirs_mro); i++) {
        if (dict_watch_add(state, PyTuple_GET_ITEM(group->theirs_mro, i)) < 0) {
            return -1;
        }
    }
    return dict_watch_add(state, group->ours);
}

/* Takes the group, ready (0) or failed (-1).  Returns 0 or -1. */
static int
group_add_steal(struct state *state, struct stand_in *group, int ready)
{
    struct stand_ins *all = &state->stand_ins;
    struct stand_in **groups = ready < 0 ? NULL : PyMem_Realloc(all->groups, (all->count + 1) * sizeof(*groups));
    if (groups == NULL) {
        if (ready == 0) {
            PyErr_NoMemory();
        }
        group_free(group);
        return -1;
    }
    all->groups = groups;
    all->groups[all->count++] = group;
#if AC_FREE_THREADED
    all->looking_at = COMPAT_LOAD(all->changes);
#endif
    return group_settle(all, group, NULL) < 0 ? -1 : 0;
}

int
stand_ins_add_function(struct state *state, PyObject *function, void (*step)(PyObject *, bool), PyObject *needs)
{
    struct stand_in *group = PyMem_Calloc(1, sizeof(*group));
    if (group == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    group->function = Py_NewRef(function);
    group->step = step;
    return group_add_steal(state, group, needs_init(state, group, needs));
}

static PyObject *
stand_in(PyObject *module, PyObject *args)
{
    struct state *state = state_of_module(module);
    PyTypeObject *ours, *theirs;
    PyObject *names, *needs;
    if (!PyArg_ParseTuple(args, "O!O!O!O!:_stand_in", &PyType_Type, &ours, &PyType_Type, &theirs, &PyTuple_Type, &names,
                          &PyTuple_Type, &needs)) {
        return NULL;
    }
    struct stand_in *group = PyMem_Calloc(1, sizeof(*group));
    if (group == NULL) {
        return PyErr_NoMemory();
    }
    int ready = methods_init(state, group, ours, theirs, names);
    ready = ready < 0 ? -1 : needs_init(state, group, needs);
    return group_add_steal(state, group, ready) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(stand_in_doc,
             "_stand_in($module, ours, theirs, names, needs, /)\n--\n\n"
             "Let the methods `names` of the class ours step aside while those of asyncio's class theirs, or what\n"
             "they need, are not as they are now.\n\n"
             "needs: tuples of a module or class, a name in it, and a value that may be there as well.");

static PyMethodDef functions[] = {
    { "_stand_in", stand_in, METH_VARARGS, stand_in_doc },
    { 0 },
};

int
stand_in_register(PyObject *module)
{
    struct state *state = state_of_module(module);
    state->handle_version = state->transport_version = VERSION_UNKNOWN;
#if AC_FREE_THREADED
    compat_mutex_init(&state->stand_ins.step_lock);
#endif
    return state_add_type(module, &state->Aside_type, &Aside_spec, NULL) < 0 ? -1
                                                                             : PyModule_AddFunctions(module, functions);
}
