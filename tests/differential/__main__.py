"""A campaign of random programs, in a process that has the virtual clock: see virtual_clock.command()."""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import hypothesis
from hypothesis import HealthCheck, Phase

from . import compare, grammar, plants, primitives, scopes, streams, tls, virtual_clock

GENERATORS = {
    "programs": (grammar.programs, compare.compare),
    "primitives": (primitives.programs, compare.compare),
    "scopes": (scopes.programs, compare.compare),
    "streams": (streams.programs, streams.check),
    "tls": (tls.programs, tls.check),
}


def campaign(generator: str, count: int, seed: int | None, shrink: bool = True) -> None:
    """Run `count` programs of a generator; raise what the smallest failing one raises. Without a seed: always the same."""
    strategy, check = GENERATORS[generator]
    clock = virtual_clock.Clock()

    @hypothesis.settings(
        max_examples=count,
        derandomize=seed is None,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def run(program):  # type: ignore[no-untyped-def]
        check(program, clock)

    if seed is not None:
        run = hypothesis.seed(seed)(run)
    run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m differential", description=__doc__)
    parser.add_argument("generator", choices=GENERATORS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="another campaign than that of the tests")
    parser.add_argument("--plant", choices=plants.PLANTS, help="break asyncio_c in this way first")
    arguments = parser.parse_args()
    if arguments.plant:
        plants.PLANTS[arguments.plant]()
    # The strategies are long lists, and hypothesis' errors would show them.
    warnings.simplefilter("ignore", hypothesis.errors.HypothesisWarning)
    started = time.perf_counter()
    try:
        campaign(arguments.generator, arguments.count, arguments.seed, not arguments.plant)
    except compare.Difference as difference:
        print(difference)
        return 1
    print(f"{arguments.count} {arguments.generator}, no difference, {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
