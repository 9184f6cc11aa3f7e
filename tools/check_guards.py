"""Check that each function which Python calls has a guard, or is known to need none (src/core/threads.h).

    python tools/check_guards.py [FOLDER]     FOLDER: the sources, src by default

Without a GIL such a function may be called by any thread. What counts: methods, getters and setters, slots but those by which objects
are made and freed, what is called by vectorcall, and the bodies of coroutines. Prints those that are in neither set, and those that
are in EXEMPT without being there, a line each, and exits with 1.
"""

from __future__ import annotations

import pathlib
import re
import sys

FUNCTION = re.compile(
    r"^[A-Za-z_][\w *]*\n(?P<name>\w+)\((?P<parameters>[^;{}]*?)\)\n\{\n(?P<body>.*?)^\}", re.M | re.S
)
GUARDED = re.compile(r"\b\w*GUARD\(")
METHOD = re.compile(
    r'\{[\s\\]*"\w+",\s*(?:\(PyCFunction\)|\(PyCFunction\)\(void \(\*\)\(void\)\)|AC_FAST\()?(\w+)\)?,\s*METH_'
)
PROPERTY = re.compile(r'(?:\((?:getter|setter)\)|\{ "\w+", )(\w+)')
SLOT = re.compile(r"\{\s*Py_(\w+),\s*(\w+)\s*\}")
BODY = re.compile(r"\.(?:start|resume|conclude|leave) = (\w+)")

# Nobody else has what is not made yet, or what nobody can reach any more.
MADE_AND_FREED = {"tp_new", "tp_dealloc", "tp_finalize", "tp_traverse", "tp_clear"}

# Why those have none, by file.
EXEMPT = {
    "what it calls has one, or more than one takes its turn": """
        core/awaited_by.c: future_add_to_awaited_by future_discard_from_awaited_by
        core/future_iter.c: FutureIter_next FutureIter_send
        core/handle.c: Handle_repr Handle_repr_info TimerHandle_hash TimerHandle_richcompare
        core/loop_type.c: Loop__run
        core/observe.c: Pulse_close Pulse_look
        core/task_type.c: Task_get_stack Task_init Task_print_stack Task_repr
        flow/coroutine.c: coroutine_next coroutine_send
        flow/runner.c: Runner_lazy_init Runner_run
        flow/sleep.c: sleep_leave
        flow/task_group.c: TaskGroup_on_task_done
        flow/task_group_block.c: enter_start
        flow/wait_for.c: wait_for_conclude wait_for_leave
        monitor/recorder.c: Recorder_events Recorder_get_dropped Recorder_start Recorder_stop
        monitor/stats.c: measure measured
        net/fd_map.c: FdMap_contains FdMap_get FdMap_getitem FdMap_iter FdMap_length FdMap_setitem
        net/stream_lifecycle.c: StreamTransport_init
        net/stream_transport.c: StreamTransport_write
        streams/stream_reader.c: call
        sync/as_completed.c: anext_conclude anext_start next_conclude next_start
    """,
    "it has locks of its own, or is one word": """
        core/loop_type.c: Loop__check_closed Loop__write_to_self Loop_call_soon_threadsafe Loop_get_bool Loop_get_debug
        core/loop_type.c: Loop_get_thread_id Loop_is_closed Loop_is_running Loop_set_thread_id Loop_stop Loop_time
        core/observe.c: Pulse_get_closed
        flow/coroutine.c: coroutine_get_running coroutine_get_state coroutine_get_suspended coroutine_get_frame
        monitor/births.c: age note_births
        net/pipe_transport.c: get_fileno
        py/stand_in.c: Aside_get stand_in
    """,
    "it looks at what never changes, or at nothing": """
        core/future_iter.c: Future_await
        core/future_type.c: Future_await_method Future_get_class
        core/handle.c: Handle_get_class Handle_get_loop
        core/task_type.c: Task_set_exception Task_set_result
        core/task_wake.c: TaskStep_get_self
        flow/coroutine.c: coroutine_get_class coroutine_get_name coroutine_get_qualname coroutine_leave_nothing coroutine_repr
        flow/coroutine.c: get_none
        flow/coroutine_function.c: CoroutineFunction_get CoroutineFunction_get_class CoroutineFunction_get_of_copy
        flow/coroutine_function.c: CoroutineFunction_getattro CoroutineFunction_reduce CoroutineFunction_repr
        flow/coroutine_function.c: CoroutineFunction_set_of_copy call_chosen call_fast call_function call_original
        flow/coroutine_function.c: call_without_arguments stand_in_function
        module.c: after_fork file_identity file_is_still module_exec native_tasks race_on_purpose stress
        monitor/recorder.c: Recorder_sleep_seconds
        net/datagram_transport.c: DatagramTransport_set_buffer
        net/pipe_transport.c: WritePipeTransport_set_buffer
        net/plain_socket.c: Loop__is_plain_socket
        net/stream_transport.c: StreamTransport_ignore_setting
        sync/queue.c: join_conclude
        tls/tls_protocol.c: TLSProtocol_ignore_setting prove_openssl
    """,
    "it makes a coroutine, which has not begun": """
        flow/sleep.c: sleep_function
        flow/task_group_block.c: aenter aexit
        flow/timeout.c: aenter aexit timeout_at_function timeout_function
        flow/to_thread.c: to_thread
        flow/wait.c: wait_function
        flow/wait_for.c: wait_for_function
        streams/stream_writer.c: StreamWriter_drain
        sync/barrier.c: Barrier_aenter Barrier_wait
        sync/condition.c: Condition_aenter Condition_aexit Condition_wait Condition_wait_for call_on_lock
        sync/event.c: Event_wait
        sync/lock.c: Lock_acquire Lock_aenter Lock_aexit
        sync/primitive_coroutine.c: primitive_call primitive_call_by_asyncio primitive_call_is_plain
        sync/queue.c: Queue_get Queue_join Queue_put
        sync/semaphore.c: Semaphore_acquire Semaphore_aenter Semaphore_aexit
    """,
    "loop_running_fused() says that the thread is in the loop's section": """
        flow/create_task.c: create_task
        flow/gather.c: gather
        flow/sleep.c: sleep_start
        flow/timeout.c: enter_start
        flow/to_thread.c: to_thread_start
        flow/wait.c: wait_start
        flow/wait_for.c: wait_for_start
        sync/as_completed.c: as_completed
    """,
    "coroutine.c enters the section of what it waits for": """
        flow/sleep.c: sleep_resume
        flow/to_thread.c: to_thread_resume
        flow/wait.c: wait_leave wait_resume
        flow/wait_for.c: wait_for_resume
        net/sock.c: sock_resume
    """,
    "one thread has it": """
        core/future_iter.c: FutureIter_close FutureIter_throw
    """,
    "Python 3.11 has a GIL": """
        flow/wait_for_311.c: release_waiter_called wait_for_conclude wait_for_leave wait_for_resume wait_for_start
    """,
}


def exempt() -> set[str]:
    """Return FILE:FUNCTION for each of EXEMPT."""
    lines = [line.partition(":") for names in EXEMPT.values() for line in names.split("\n") if line.strip()]
    return {f"{file.strip()}:{name}" for file, _, names in lines for name in names.split()}


def entries(text: str) -> set[str]:
    """Return the names of the functions that Python calls by the tables of a file."""
    slots = {function for slot, function in SLOT.findall(text) if slot not in MADE_AND_FREED}
    vectorcalls = {
        found["name"] for found in FUNCTION.finditer(text) if "size_t nargsf" in found["parameters"]
    }
    return {*METHOD.findall(text), *PROPERTY.findall(text), *BODY.findall(text), *slots, *vectorcalls}


def unguarded(src: pathlib.Path) -> set[str]:
    """Return FILE:FUNCTION for each such function that is without a guard, where it is defined."""
    texts = {file.relative_to(src).as_posix(): file.read_text() for file in sorted(src.rglob("*.[ch]"))}
    bodies: dict[str, dict[str, str]] = {}
    for path, text in texts.items():
        for found in FUNCTION.finditer(text):
            bodies.setdefault(found["name"], {})[path] = found["body"]
    called: set[str] = set()
    for path, text in texts.items():
        for name in entries(text):
            places = bodies.get(name, {})
            for place in [path] if path in places else places:
                if not GUARDED.search(places[place]):
                    called.add(f"{place}:{name}")
    return called


def main() -> int:
    src = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "src"
    if not src.is_dir():
        print(f"{src}: no such folder", file=sys.stderr)
        return 2
    found, known = unguarded(src), exempt()
    for name in sorted(found - known):
        print(f"{name} is without a guard, and EXEMPT does not say why")
    for name in sorted(known - found):
        print(f"{name} is in EXEMPT of {pathlib.Path(__file__).name}, and needs not be")
    if found == known:
        print("guards: where they have to be")
    return 0 if found == known else 1


if __name__ == "__main__":
    sys.exit(main())
