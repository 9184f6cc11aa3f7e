"""Start a campaign in a process with the virtual clock: python tests/differential/run.py programs --count 1000."""

import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from differential import virtual_clock  # noqa: E402


def main() -> int:
    arguments = sys.argv[1:]
    if not any(argument.startswith("--seed") for argument in arguments):
        arguments.append(f"--seed={random.randrange(10**6)}")
    print(*arguments, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        library = virtual_clock.build(pathlib.Path(folder))
        command = virtual_clock.command(*arguments)
        return subprocess.run(command, env=virtual_clock.environment(library)).returncode


if __name__ == "__main__":
    sys.exit(main())
