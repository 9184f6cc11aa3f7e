/* What `python -m benchmarks.instructions` calls around an operation: valgrind counts from one mark to the other. */
#include <valgrind/callgrind.h>

void begin(void);
void end(const char *name);

void
begin(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

/* Writes what has been counted since begin() to a file of its own, in which `name` is noted. */
void
end(const char *name)
{
    CALLGRIND_STOP_INSTRUMENTATION;
    CALLGRIND_DUMP_STATS_AT(name);
}
