"""The programs of examples/packages say the same on asyncio and on the C core, and so does the notebook."""

import json
import sys

import pytest

from . import support

FOLDER = support.ROOT / "examples" / "packages"
PACKAGES = {
    "websocket_chat": ("websockets",),
    "fastapi_app": ("fastapi", "httpx", "uvicorn"),
}

# Runs the notebook that it is given in a kernel, and prints what each cell of code has put out.
RUN_NOTEBOOK = """
import json
import sys
import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=200).execute()
cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
print(json.dumps([[output.get("text") or output["data"]["text/plain"] for output in outputs] for outputs in cells]))
"""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=support.needs(*packages)) for name, packages in PACKAGES.items()]
)
def test_program(name):
    said = []
    for options in ((), ("-m", "asyncio_c", "--loop-only"), ("-m", "asyncio_c")):
        with support.Process([sys.executable, *options, FOLDER / f"{name}.py"]) as process:
            status, output = process.finish()
            assert (status, process.errors()) == (0, ""), process.report()
        said.append(output)
    assert said[0] and said == [said[0]] * 3


@pytest.mark.parametrize("package", ["asyncio", "asyncio_c"])
@support.needs("nbclient", "ipykernel")
def test_notebook(package, tmp_path):
    more = {"ASYNCIO_C": "1"} if package == "asyncio_c" else {}
    env = support.environment(HOME=str(tmp_path), **more)
    with support.Process([sys.executable, "-c", RUN_NOTEBOOK, FOLDER / "notebook.ipynb"], env=env) as process:
        status, output = process.finish()
        assert status == 0, process.report()
    (loop,), (total,), nothing, (numbers, counted), nested = json.loads(output)
    assert loop.startswith("<Loop " if package == "asyncio_c" else "<_UnixSelectorEventLoop ")
    assert (total, nothing, numbers, counted) == ("332833500", [], "[0, 1, 2, 3, 4]\n", "'counted'")
    assert nested == (["144\n"] if package == "asyncio_c" else [])


def test_readme_lists_all():
    files = [path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb")]
    assert sorted(files) == sorted([*(f"{name}.py" for name in PACKAGES), "notebook.ipynb"])
    assert all(f"`{name}`" in (FOLDER / "README.md").read_text() for name in files)
