/* Monitors, where a thread is in several; monitor.h says what they are.  Layer: py. */
#include "py/monitor.h"

#if AC_FREE_THREADED

_Thread_local struct monitor_guard *monitor_guards;

static void
enter_again(struct monitor_guard *guard)
{
    if (guard != NULL) {
        enter_again(guard->outer);
        monitor_enter(guard->monitor);
    }
}

void
monitor_step_in(struct monitor_guard **guards)
{
    enter_again(*guards);
    monitor_guards = *guards;
}

#endif
