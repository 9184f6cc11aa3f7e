"""src/base against naive twins, under the sanitizers, as it is and as the stress build has it (tiny rings)."""

import pathlib
import shutil
import subprocess
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def build(folder, *flags, compiler=None):
    program = folder / "fuzz_base"
    compiler = compiler or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return None, f"{compiler}: not found"
    sources = [ROOT / "tests/c/fuzz_base.c", *sorted((ROOT / "src/base").glob("*.c"))]
    command = [
        compiler,
        "-std=c11",
        "-D_DEFAULT_SOURCE",
        "-O1",
        "-g",
        "-UNDEBUG",
        f"-I{ROOT / 'src'}",
        *flags,
    ]
    done = subprocess.run([*command, *sources, "-o", program, "-lm"], capture_output=True, text=True)
    return program if done.returncode == 0 else None, done.stderr


@pytest.mark.parametrize("flags", [[], ["-DASYNCIO_C_STRESS"]], ids=["release", "stress"])
def test_inputs_of_libfuzzer(tmp_path, flags):
    options = ["-DLIBFUZZER", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    program, errors = build(tmp_path, *options, *flags, compiler="clang")
    if program is None:
        pytest.skip(f"clang with libFuzzer is not here: {errors.splitlines()[-1:]}")
    command = [program, "-runs=20000", "-seed=1", "-max_len=1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flags", [[], ["-DASYNCIO_C_STRESS"]], ids=["release", "stress"])
def test_random_operations(tmp_path, flags):
    program, errors = build(tmp_path, *SANITIZERS, *flags)
    if program is None:
        program, errors = build(tmp_path, *flags)  # a compiler without sanitizers
    assert program is not None, errors
    for seed in range(10):
        done = subprocess.run([program, str(seed), "20000"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"seed {seed}: {done.stderr}"
