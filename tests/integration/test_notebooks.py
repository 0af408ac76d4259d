# SPDX-License-Identifier: Apache-2.0
"""The notebooks, run for real in a kernel of this interpreter."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import sys

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.integration.test_demo import fresh_environment

NOTEBOOKS = pathlib.Path(__file__).parents[2] / "notebooks"
CELL_TIMEOUT_S = 900
PNG = b"\x89PNG\r\n\x1a\n"


def run(name: str, home: pathlib.Path, less: tuple[str, str]) -> nbformat.NotebookNode:
    """Execute a notebook in an empty working directory, with one expression replaced by one that takes less time.

    An error in a cell is raised.

    The kernel is described here, so that no other `python3` kernel that is installed on the machine is taken.
    """
    kernel = home / "kernels" / "this"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "this interpreter", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(kernel.parent)], ensure_native_kernel=False)
    cwd, temporary = home / "cwd", home / "temporary"
    cwd.mkdir()
    temporary.mkdir()
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if less[0] in cell.source]
    cell.source = cell.source.replace(*less)
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="this", kernel_spec_manager=specs),
        timeout=CELL_TIMEOUT_S,
        resources={"metadata": {"path": str(cwd)}},
    )
    client.execute(env=fresh_environment(temporary))
    assert list(cwd.iterdir()) == []
    assert list(temporary.iterdir()) == []
    return notebook


def text(notebook: nbformat.NotebookNode) -> str:
    """What the cells printed and returned, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def plots(notebook: nbformat.NotebookNode) -> list[bytes]:
    """The images that the cells show."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    encoded = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(image) for image in encoded]


@pytest.mark.slow
def test_flights_notebook_scores_its_flights_in_batch_and_stream(tmp_path: pathlib.Path) -> None:
    """All cells with 30,000 of the flights."""
    all_flights = 'pd.read_csv(folder / "flights.csv.zip")'
    notebook = run("flights", tmp_path, (all_flights, f"{all_flights}.sample(30_000, random_state=2013)"))
    shown = text(notebook)
    assert "scored 30,000 rows" in shown
    assert "30,000 rows in the batch, 30,000 in the stream, equal: True" in shown
    assert "loaded 2 times by 2 workers" in shown
    errors = dict(re.findall(r"^(as late as it left|the model) +([\d.]+)$", shown, re.MULTILINE))
    assert float(errors["the model"]) < float(errors["as late as it left"])
    [plot] = plots(notebook)
    assert plot.startswith(PNG)


@pytest.mark.slow
def test_digits_notebook_reads_digits_in_sql(tmp_path: pathlib.Path) -> None:
    notebook = run("digits", tmp_path, ("epochs=20", "epochs=5"))
    shown = text(notebook)
    assert "loaded 2 times by 2 workers" in shown
    accuracy = re.search(r"accuracy on the held-out images: ([\d.]+)%", shown)
    assert accuracy, shown
    assert float(accuracy[1]) > 90
    assert re.search(r"held out +449 +0\.\d+", shown), shown
    [plot] = plots(notebook)
    assert plot.startswith(PNG)


@pytest.mark.slow
def test_wine_notebook_serves_one_pool_over_rest_and_sql(tmp_path: pathlib.Path) -> None:
    notebook = run("wine", tmp_path, ("call(1000)", "call(200)"))
    shown = text(notebook)
    assert "178 wines by SQL, 178 by REST, equal: True" in shown
    assert re.search(r"^before +300 +0$", shown, re.MULTILINE), shown
    canary = re.search(r"^canary +(\d+) +(\d+)$", shown, re.MULTILINE)
    assert canary, shown
    assert int(canary[1]) > int(canary[2]) > 0
    assert re.search(r"^promoted +0 +300$", shown, re.MULTILINE), shown
    # of each source and version how many calls the record has: all wines at once before the others, by SQL and by REST
    found = re.findall(r"^\d+ +(rest|sql|batch) +(\d) +(\d+) +(\d+) ", shown, re.MULTILINE)
    rest = {version: (int(calls), int(rows)) for source, version, calls, rows in found if source == "rest"}
    first, second = int(canary[1]), int(canary[2])
    assert rest == {"1": (301 + first, 478 + first), "2": (300 + second, 300 + second)}
    assert sum(int(rows) for source, _, _, rows in found if source != "rest") == 178, shown
    [plot] = plots(notebook)
    assert plot.startswith(PNG)


@pytest.mark.parametrize("name", ["flights", "digits", "wine"])
def test_notebook_is_stored_without_outputs(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert notebook.metadata.kernelspec.name == "python3"
