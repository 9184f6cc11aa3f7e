/* Monitors, where a thread is in several, and in a forked child; monitor.h says what they are.  Layer: py. */
#include "py/monitor.h"

#if AC_FREE_THREADED

_Thread_local struct monitor_guard *monitor_guards;

static void
enter_again(struct monitor_guard *guard)
{
    if (guard != NULL) {
        enter_again(guard->outer);
        monitor_settle(guard->monitor, guard->state);
        monitor_enter(guard->monitor);
    }
}

void
monitor_step_in(struct monitor_guard **guards)
{
    enter_again(*guards);
    monitor_guards = *guards;
}

void
monitors_after_fork(struct state *state)
{
    compat_mutex_init(&state->monitors_lock);
    for (struct monitor_guard *guard = monitor_guards; guard != NULL; guard = guard->outer) {
        guard->monitor->generation = (unsigned)state->fork_generation;
    }
}

/* Threads of the child may come here at the same time. */
AC_COLD void
monitor_leave_parent(struct monitor *monitor, struct state *state)
{
    const unsigned generation = (unsigned)state->fork_generation;
    compat_mutex_lock(&state->monitors_lock);
    if (COMPAT_LOAD(monitor->generation) != generation) {
        monitor->mutex = (compat_parking_mutex){ 0 };
        COMPAT_STORE(monitor->thread, 0);
        COMPAT_STORE_PUBLISHED(monitor->generation, generation);
    }
    compat_mutex_unlock(&state->monitors_lock);
}

#endif
