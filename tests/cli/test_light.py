"""What a command loads, and that a stand-in for pandas is none for those who need pandas."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import sys
from mapper.process import completed
def command():
    from mapper.cli.entry import run
    status = run(["check", "digits"])
    print(sorted({"pandas", "torch", "numba", "nir"} & set(sys.modules)))
    return status
status = completed(command)
"""
SERIES = """
import mapper.solver.or_tools as or_tools
import pandas
from ortools.sat.python import cp_model
index = pandas.Index(["a", "b"])
for model in (or_tools.cp_model.CpModel(), cp_model.CpModel()):
    series = model.new_bool_var_series("x", index)
    assert type(series) is pandas.Series
    model.add(series.sum() == 1)
    try:
        model.new_bool_var_series("x", ["a"])
    except TypeError as error:
        print("refused", error)
print(sys.modules["pandas"] is pandas, hasattr(pandas, "DataFrame"))
"""

KERNEL = """
import sys
from mapper.process import completed
def command():
    import numpy as np
    from mapper.sim.kernels import sum_frames
    sum_frames(np.ones((3, 2), np.float32), np.zeros(2, np.int64))
    print("scipy.linalg" in sys.modules)
    import scipy.linalg
    print(scipy.linalg.det([[2.0]]))
    return 0
status = completed(command)
"""

WORKERS = """
import sys
def loaded():
    import mapper.solver.or_tools
    return "pandas" in sys.modules
def command():
    from mapper.process import worker_processes
    print(worker_processes(1).submit(loaded).result())
    return 0
if __name__ == "__main__":
    from mapper.process import completed
    status = completed(command)
"""


def output(program: str) -> str:
    words = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_a_check_loads_neither_pandas_nor_torch_nor_numba() -> None:
    assert output(COMMAND).splitlines()[-1] == "[]"


def test_workers_of_a_command_load_no_more_than_it_does() -> None:
    assert output(WORKERS).strip() == "False"
    in_a_library = WORKERS.replace("completed(command)", "command()")
    assert output(in_a_library).strip() == "True"


def test_kernels_wait_for_no_linear_algebra_and_leave_it_to_others() -> None:
    assert output(KERNEL).splitlines() == ["False", "2.0"]


@pytest.mark.parametrize("program", [COMMAND, "import sys\n"])
def test_series_are_series_after_a_command_too(program: str) -> None:
    lines = output(program + SERIES).splitlines()
    assert lines[-1] == "True True"
    assert sum(line.startswith("refused") for line in lines) == 2


def test_other_processes_are_left_alone() -> None:
    program = "import mapper.solver.or_tools as o, pandas; print(o.cp_model.pd is pandas)"
    assert output(program).strip() == "True"
