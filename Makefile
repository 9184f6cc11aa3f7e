# The menu. Every target works on the Python of PYTHON, by default that of .venv, which the first use makes.

PYTHON ?= .venv/bin/python
NEWER ?= ../shared/tools/newer-pythons
FREE_THREADED ?= ../shared/tools/free-threaded-python
PYTEST = $(PYTHON) -m pytest
C_FILES = $(shell find src -name '*.[ch]')
# Versions of clang-format disagree, so only the pinned one of the dev extra is asked.
CLANG_FORMAT = $(wildcard $(dir $(PYTHON))clang-format)

# The environment is made on demand, or completed if the README's commands have made it, unless PYTHON names another.
ENVIRONMENT = $(if $(filter .venv/bin/python,$(PYTHON)),.venv/has-dev-extra)

.PHONY: build help test test-long debug stress asan tsan valgrind leaks torture faults fuzz soak conformance differential integration upstream bench check docs format newer free-threaded wheels clean

build: $(ENVIRONMENT)          ## build in place, warnings are errors (the default)
	ASYNCIO_C_WERROR=1 $(PYTHON) setup.py -q build_ext --inplace

help:                          ## show this menu
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

test: build                    ## all tests
	$(PYTEST) tests

test-long: build               ## the long suites, which pytest alone, the README's command, leaves out
	$(PYTEST) -m long tests -n auto --dist loadgroup

debug: $(ENVIRONMENT)          ## build in place with assertions and without optimisation, and test
	ASYNCIO_C_DEBUG=1 $(PYTHON) setup.py -q build_ext --inplace
	$(PYTEST) tests

# SEED=2, 3, ... are other chances.  CPython's own tests count on whole system calls.
# In test_start_server of CPython's suite, from Python 3.13 on, a collection before the client has sent anything takes the
# task that nobody but its own stream refers to, on asyncio's loop as well.
stress: $(ENVIRONMENT)         ## the debug build that forces what is rare (tiny rings, short calls, collections), and test
	ASYNCIO_C_STRESS=1 $(PYTHON) setup.py -q build_ext --inplace
	ASYNCIO_C_STRESS_SEED=$(or $(SEED),1) $(PYTEST) tests/unit tests/contract tests/crash
	ASYNCIO_C_STRESS_SEED=0 $(PYTEST) tests/conformance -k 'not test_start_server'

# Reports go to build/sanitizer.PID: pytest would swallow them with the process.  What greenlet does to the stack is an error to them.
SANITIZE = -fsanitize=address,undefined -fno-omit-frame-pointer
asan: $(ENVIRONMENT)           ## the debug build under the address and undefined-behaviour sanitizers, and test
	mkdir -p build
	ASYNCIO_C_DEBUG=1 CFLAGS='$(SANITIZE)' LDFLAGS='$(SANITIZE)' $(PYTHON) setup.py -q build_ext --inplace
	LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:log_path=$(CURDIR)/build/sanitizer \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$(CURDIR)/build/sanitizer PYTHONMALLOC=malloc \
	$(PYTEST) tests/unit tests/contract tests/crash tests/conformance -k 'not greenlet'

# One of the sanitizer's run times has to be in the process: that of an interpreter which was built with it (--with-thread-sanitizer;
# by clang, as this one, TSAN=1 $(FREE_THREADED) install), or of gcc, in front of any other.  Only the first sees what the interpreter
# itself orders, and what threads do at the same time.  Its reports go to build/tsan.PID; those of the interpreter's own races are
# counted, ours are errors, and so is it if a race that a test makes on purpose is not among the reports.  asyncio's loops are not ours,
# and the sanitizer lets no forked child of a process with threads start one.  The thread of a watch sleeps in a lock that several release:
# where one of them has handed it over already, a debug build of 3.13 asserts that it is locked (Python/lock.c, _PyMutex_LockTimed).  All
# its modules are compiled for each process, unless it may write what it has compiled.
TSAN_TESTS = tests/unit/test_threads.py $(wildcard tests/unit/test_free_threading*.py)
WATCHED = $(shell $(PYTHON) -c 'import sysconfig; print("1" * ("--with-thread-sanitizer" in sysconfig.get_config_var("CONFIG_ARGS")))')
tsan: $(ENVIRONMENT)           ## what threads do to pollers and loops, under the thread sanitizer; PYTHON= one built with it: without a GIL
	mkdir -p build
	rm -f build/tsan.*
	$(CC) -std=c11 -D_DEFAULT_SOURCE -O1 -g -fsanitize=thread -pthread -Isrc tests/c/threads.c src/base/*.c src/io/*.c \
	    -o build/threads
	build/threads
	$(if $(WATCHED),CC=clang) ASYNCIO_C_DEBUG=1 CFLAGS=-fsanitize=thread LDFLAGS=-fsanitize=thread \
	    $(PYTHON) setup.py -q build_ext --inplace
	$(if $(WATCHED),PYTHONDONTWRITEBYTECODE= TSAN_OPTIONS=exitcode=0:log_path=$(CURDIR)/build/tsan $(PYTEST) $(TSAN_TESTS) -k 'not asyncio and not fork and not watch'; \
	    passed=$$?; python3 tools/tsan_reports.py build/tsan && exit $$passed, \
	    LD_PRELOAD="$$(cc -print-file-name=libtsan.so)" $(PYTEST) tests/unit/test_threads.py)

# Slow: the core's objects, writing to a stream, and what is read and written over TLS by our engines, but for megabytes at once.
# valgrind knows ppoll(), but not epoll_pwait2(), and says so each time.
# Python 3.11 cannot be watched: its int.from_bytes() uses what it has not written, and so does whatever uses such a number.
VALGRIND_TESTS = $(addprefix tests/unit/test_,cancel.py context.py future.py gather.py handle.py order.py readers.py \
    reentrancy.py shield.py sleep.py task.py timeout.py timers.py wait.py) \
    $(addprefix tests/unit/net/test_,stream_writing.py tls_records.py)
valgrind: $(ENVIRONMENT)       ## the debug build under valgrind's memcheck, and the tests of the core; Python 3.12 or later
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.12 or later: PYTHON=..." if sys.version_info < (3, 12) else 0)'
	ASYNCIO_C_DEBUG=1 $(PYTHON) setup.py -q build_ext --inplace
	PYTHONMALLOC=malloc ASYNCIO_C_POLLER=poll \
	    valgrind -q --leak-check=no --error-exitcode=9 --suppressions=tests/c/valgrind.supp \
	    $(PYTEST) -p no:faulthandler -k '(native or epoll) and not epoll-asyncio and not does_not_fit' $(VALGRIND_TESTS)

leaks: $(ENVIRONMENT)          ## repeat each unit and contract test; references, memory and descriptors have to stay flat
	ASYNCIO_C_DEBUG=1 $(PYTHON) setup.py -q build_ext --inplace
	$(PYTHON) -m tests.leaks

torture: build                 ## fail each allocation of each operation once: an exception, and nothing worse
	$(PYTHON) -m tests.torture

faults: build                  ## fail each system call of each operation, on both pollers: an exception, and nothing worse
	$(PYTHON) -m tests.faults
	ASYNCIO_C_POLLER=poll $(PYTHON) -m tests.faults

SECONDS ?= 60
LIBFUZZER = clang -std=c11 -D_DEFAULT_SOURCE -O1 -g -UNDEBUG -DLIBFUZZER -DASYNCIO_C_STRESS \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Isrc tests/c/fuzz_base.c src/base/*.c -lm
fuzz: build                    ## random calls of every method, and libFuzzer on src/base, each for SECONDS=60
	$(PYTHON) -m tests.fuzz --seconds $(SECONDS)
	mkdir -p build
	if $(LIBFUZZER) -o build/fuzz_base; then build/fuzz_base -max_total_time=$(SECONDS) -max_len=2000; \
	else echo 'clang with libFuzzer (Debian: libclang-rt-dev) is not here: src/base is not fuzzed by it'; fi

soak: build                    ## everything under load for SECONDS=60: memory, descriptors and bytes are accounted for
	$(PYTHON) -m tests.soak --seconds $(SECONDS)

conformance:                   ## CPython's own asyncio tests on every Python; WRITE=--write updates docs/compatibility.md
	python3 tools/run_conformance.py $(addprefix --enter=,$(wildcard $(NEWER))) \
	    $(addprefix --free-threaded=,$(wildcard $(FREE_THREADED))) $(WRITE)

N ?= 10000
differential: build            ## N random programs on asyncio and on asyncio_c, others each time unless SEED is given
	$(PYTHON) tests/differential/run.py programs --count $(N) $(addprefix --seed=,$(SEED))
	$(PYTHON) tests/differential/run.py primitives --count $(N) $(addprefix --seed=,$(SEED))
	$(PYTHON) tests/differential/run.py scopes --count $(N) $(addprefix --seed=,$(SEED))
	$(PYTHON) tests/differential/run.py streams --count $(N) $(addprefix --seed=,$(SEED))
	$(PYTHON) tests/differential/run.py tls --count $(N) $(addprefix --seed=,$(SEED))

integration: build             ## real programs, servers and recipes
	$(PYTHON) -m pip install -q -e '.[integration]'
	$(PYTEST) tests/integration

upstream: $(ENVIRONMENT)        ## other people's suites, on asyncio's loop and on ours; SUITES='tornado anyio ...'
	$(PYTHON) -m tests.upstream $(SUITES)

bench: build                   ## compare with asyncio and uvloop
	$(PYTHON) -m pip install -q uvloop
	$(PYTHON) -m benchmarks core

check: build                   ## layers, guards, headers, symbols, stubs, formatting
	$(PYTHON) tools/check_layers.py
	$(PYTHON) tools/check_guards.py
	$(PYTHON) tools/check_headers.py
	$(PYTHON) tools/check_symbols.py
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy.stubtest asyncio_c --mypy-config-file pyproject.toml --allowlist tools/stubtest-allowlist
	$(if $(CLANG_FORMAT),$(CLANG_FORMAT) --dry-run -Werror $(C_FILES),@echo 'clang-format: not installed, skipped')

docs: build                    ## the site of the documentation, in build/docs; warnings are errors
	$(PYTHON) -m pip install -q -e '.[docs]'
	$(PYTHON) -m sphinx -q -n -W --keep-going docs build/docs

format: $(ENVIRONMENT)         ## format Python and C
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	$(if $(CLANG_FORMAT),$(CLANG_FORMAT) -i $(C_FILES))

newer:                         ## build and test on CPython 3.14 and 3.15
	tools/test-on-newer $(NEWER) 3.14
	tools/test-on-newer $(NEWER) 3.15

# From 6.150 on hypothesis has no wheel for it.
free-threaded:                 ## build and test on CPython 3.13 without a GIL, in .venv313t
	test -x .venv313t/bin/python || { $(FREE_THREADED) install && $$($(FREE_THREADED) path) -m venv .venv313t; }
	.venv313t/bin/python -m pip install -q -e '.[test]' 'hypothesis<6.150'
	.venv313t/bin/python setup.py -q build_ext --inplace
	.venv313t/bin/python -m pytest tests/unit tests/contract tests/crash tests/conformance

# Another Python, as one without a GIL, is found in PATH.
wheels: $(ENVIRONMENT)         ## the wheels and the sdist of a release, checked, into dist; WHEELS='cp313-* *_aarch64' makes these only
	$(PYTHON) -m pip install -q -e '.[wheels]'
	$(PYTHON) tools/build_wheels.py $(addprefix --enter=,$(wildcard $(NEWER))) $(foreach tag,$(WHEELS),'$(tag)')

clean:                         ## remove what was built, but not .venv
	rm -rf build dist *.egg-info asyncio_c/_core*.so .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

.venv/has-dev-extra:
	test -x .venv/bin/python || python3 -m venv .venv
	.venv/bin/python -m pip install -q -e '.[dev]'
	touch $@
