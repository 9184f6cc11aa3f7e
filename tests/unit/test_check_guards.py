"""tools/check_guards.py finds what it is there to find."""

import subprocess
import sys

import pytest
from same_output import ROOT

TOOL = ROOT / "tools" / "check_guards.py"


def check(folder):
    run = subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True)
    return run.returncode, run.stdout


def test_the_sources_are_in_order():
    assert check(ROOT / "src") == (0, "guards: where they have to be\n")


@pytest.mark.parametrize(
    "entry",
    [
        'static PyMethodDef methods[] = {\n    { "look", (PyCFunction)look, METH_NOARGS, NULL },\n};\n',
        'static PyMethodDef methods[] = {\n    { "look", AC_FAST(look), METH_FASTCALL, NULL },\n};\n',
        'static PyGetSetDef getset[] = {\n    { "look", (getter)look, NULL, NULL, NULL },\n};\n',
        'static PyGetSetDef getset[] = {\n    { "look", NULL, (setter)look, NULL, NULL },\n};\n',
        "static PyType_Slot slots[] = {\n    { Py_tp_call, look },\n};\n",
        "static const struct coroutine_body body = {\n    .start = look,\n};\n",
    ],
)
def test_function_without_a_guard_is_found(tmp_path, entry):
    folder = tmp_path / "core"
    folder.mkdir()
    function = "static PyObject *\nlook(Thing *self, PyObject *ignored)\n{\n    %sreturn self->thing;\n}\n\n"
    (folder / "thing.c").write_text(function % "" + entry)
    assert "core/thing.c:look is without a guard" in check(tmp_path)[1]
    (folder / "thing.c").write_text(function % "GUARD(self->loop, self);\n    " + entry)
    assert "core/thing.c:look" not in check(tmp_path)[1]


def test_what_has_a_guard_by_now_is_no_exception_any_more(tmp_path):
    status, told = check(tmp_path)
    assert status == 1
    assert "core/future_iter.c:FutureIter_close is in EXEMPT of check_guards.py, and needs not be" in told
