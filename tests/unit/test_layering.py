# SPDX-License-Identifier: Apache-2.0
"""The shape of the package: who may import whom and what, how long a module may be, what the public door shows."""

from __future__ import annotations

import ast
import importlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import TypeGuard

import pytest

import sparkmodel

ROOT = pathlib.Path(sparkmodel.__file__).parent
MODULES = {
    ".".join(("sparkmodel", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

# from the bottom up: a module imports from its own layer and from those before it
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "secret", "targets", "version", "zones"),
    ("options", "params", "schema"),
    ("names",),
    ("binding",),
    ("spec",),
    ("wire",),
    ("loaders",),
    ("scoring", "spark"),
    ("records",),
    ("pool",),
    ("cluster",),
    ("keeper",),
    ("registration",),
    ("remote",),
    ("control", "model"),
    ("metrics",),
    ("api", "doctor", "drop_in", "configure"),
    ("rest",),
    ("serving",),
    ("commands", "cli"),
    ("__main__",),
    ("",),  # sparkmodel/__init__.py
)

# what each part may import beside the standard library and sparkmodel itself; a module's own entry comes before its
# folder's
THIRD_PARTY: dict[str, frozenset[str]] = {
    "": frozenset(),
    "errors": frozenset(),
    "options": frozenset(),
    "params": frozenset(),
    "secret": frozenset(),
    "targets": frozenset(),
    "version": frozenset(),
    "binding": frozenset({"pyarrow"}),
    "cli": frozenset({"typer"}),
    "commands": frozenset({"pyarrow", "rich", "typer"}),
    "__main__": frozenset(),
    "api": frozenset({"pyspark"}),
    "cluster": frozenset({"numpy", "ray", "setproctitle"}),
    "cluster.identity": frozenset({"cryptography"}),
    "configure": frozenset(),
    "control": frozenset(),
    "control.cards": frozenset({"pyarrow"}),
    "control.columns": frozenset({"pyspark"}),
    "doctor": frozenset(),
    "doctor.spark_view": frozenset({"pyspark"}),
    "doctor.versions": frozenset({"packaging"}),
    "drop_in": frozenset({"cloudpickle", "pyspark"}),
    "keeper": frozenset({"cloudpickle"}),
    "loaders": frozenset({"cloudpickle", "joblib"}),
    "loaders.batch_inputs": frozenset({"numpy", "pandas", "pyarrow"}),
    "loaders.batch_model": frozenset({"numpy", "pandas", "pyarrow"}),
    "loaders.chats": frozenset({"pandas", "pyarrow"}),
    "loaders.clocks": frozenset({"pyarrow"}),
    "loaders.environment": frozenset({"packaging", "yaml"}),
    "loaders.live_pyfunc": frozenset({"mlflow"}),
    "loaders.mlflow_model": frozenset({"mlflow"}),
    "loaders.mlflow_signature": frozenset({"mlflow", "numpy", "pyarrow"}),
    "loaders.mlflow_values": frozenset({"mlflow", "numpy", "pandas"}),
    "loaders.predictor": frozenset({"cloudpickle", "mlflow"}),
    "loaders.registry": frozenset({"mlflow"}),
    "loaders.successor": frozenset({"pyarrow"}),
    "loaders.stores": frozenset({"mlflow"}),
    "loaders.threads": frozenset({"threadpoolctl"}),
    "metrics": frozenset({"prometheus_client"}),
    "model": frozenset({"pyspark"}),
    "names": frozenset(),
    "pool": frozenset({"pyarrow"}),
    "records": frozenset({"confluent_kafka", "orjson", "psycopg", "pyarrow"}),
    "records.views": frozenset({"pyspark"}),
    "registration": frozenset({"pyspark"}),
    "registration.apart": frozenset({"cloudpickle"}),
    "registration.calls": frozenset({"pyarrow", "yaml"}),
    "registration.plan": frozenset({"pyarrow", "pyspark"}),
    "remote": frozenset({"pyarrow"}),
    "rest": frozenset({"fastapi", "orjson", "pyarrow", "starlette", "uvicorn"}),
    "rest.metrics": frozenset({"prometheus_client", "starlette"}),
    "rest.on_ray": frozenset({"fastapi", "ray", "starlette"}),
    "rest.oip.packed": frozenset({"numpy", "pyarrow"}),
    "rest.oip.tensors": frozenset({"numpy", "orjson", "pyarrow"}),
    "rest.strict": frozenset({"numpy", "orjson"}),
    "rest.tracing": frozenset({"opentelemetry"}),
    "schema": frozenset({"pyarrow"}),
    "scoring": frozenset({"numpy", "pandas", "pyarrow"}),
    "spark": frozenset({"pyarrow", "pyspark"}),
    "spec": frozenset({"pyarrow"}),
    "wire": frozenset({"pyarrow"}),
    "zones": frozenset({"pyarrow"}),
}


def inner(module: str) -> str:
    """A module's name within the package, empty for the package itself."""
    return module.removeprefix("sparkmodel").removeprefix(".")


def layer(module: str) -> int:
    """The number of a module's layer."""
    top = inner(module).split(".")[0]
    for number, tops in enumerate(LAYERS):
        if top in tops:
            return number
    raise AssertionError(f"{module} is in no layer: give it one in LAYERS")


def imports(tree: ast.AST, *, typing: bool = True, deferred: bool = True) -> Iterator[str]:
    """All modules that a module imports: for type hints too, and inside functions too, unless they are left out."""
    for node in ast.iter_child_nodes(tree):
        if not deferred and isinstance(node, ast.FunctionDef):
            continue
        if not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            assert node.module is not None
            for alias in node.names:  # `from sparkmodel.cluster import pools` imports a module
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module
        elif is_import_call(node):
            yield str(node.args[0].value)
        yield from imports(node, typing=typing, deferred=deferred)


def is_import_call(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether it imports a module that is named in the call."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("import_module", "__import__"))
        and isinstance(node.args[0], ast.Constant)
    )


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", MODULES)
def test_layers_import_one_way_only(module: str) -> None:
    own = layer(module)
    upward = [name for name in imports(parse(module), typing=False) if name in MODULES and layer(name) > own]
    assert upward == []


def test_no_two_modules_need_each_other_to_be_imported() -> None:
    edges = {
        module: set(imports(parse(module), typing=False, deferred=False)) & set(MODULES) - {module}
        for module in MODULES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"import cycle: {' -> '.join((*path, module))}"
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_third_party_packages_stay_in_their_folders(module: str) -> None:
    name = inner(module)
    allowed = THIRD_PARTY.get(name, THIRD_PARTY.get(name.split(".")[0]))
    assert allowed is not None, f"{module} has no list of packages: give it one in THIRD_PARTY"
    used = {imported.split(".")[0] for imported in imports(parse(module))}
    foreign = used - set(sys.stdlib_module_names) - {"sparkmodel", "__future__"}
    assert foreign <= allowed
    assert "ray" not in foreign or name.startswith(("cluster", "rest.on_ray"))
    assert "pandas" not in foreign or name.startswith(("scoring", "loaders"))


def test_the_list_of_packages_names_nothing_that_is_not_used() -> None:
    """Else the list would slowly allow everything."""
    for part, allowed in THIRD_PARTY.items():
        members = [
            m for m in MODULES if inner(m) == part or (inner(m).startswith(f"{part}.") and inner(m) not in THIRD_PARTY)
        ]
        used = {name.split(".")[0] for module in members for name in imports(parse(module))}
        assert allowed <= used, part


def test_there_is_one_way_from_a_source_to_a_pool() -> None:
    """Whoever starts or moves a pool goes through `registration.serve`; below it are the pool and its master."""
    below = ("cluster", "keeper", "pool", "registration.serve")
    for module in MODULES:
        calls = {ast.unparse(node.func) for node in ast.walk(parse(module)) if isinstance(node, ast.Call)}
        names = {name.split(".")[-1] for name in calls}
        if not inner(module).startswith(below):
            assert names.isdisjoint({"deploy", "DeployProgress"}), module
        if not inner(module).startswith(("loaders", "registration.settle")):
            assert calls.isdisjoint({"resolve", "resolve_code", "resolve_directory"}), module


def test_nothing_on_the_wire_can_be_unpickled() -> None:
    picklers = {"pickle", "cloudpickle", "joblib", "marshal", "shelve", "dill"}
    for module in MODULES:
        if inner(module).startswith("wire"):
            assert picklers.isdisjoint(imports(parse(module))), module


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_licensed_and_documented(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"
    assert len(lines) <= 400
    assert ast.get_docstring(ast.parse(text))


def test_every_name_at_the_public_door_resolves() -> None:
    assert len(sparkmodel.__all__) <= 13
    assert len(set(sparkmodel.__all__)) == len(sparkmodel.__all__)
    assert set(dir(sparkmodel)) == {*sparkmodel.__all__, "Model", "__version__"}
    for name in sparkmodel.__all__:
        assert getattr(sparkmodel, name) is not None
    with pytest.raises(AttributeError, match="'sparkmodel' has no attribute 'nonsense'"):
        _ = sparkmodel.nonsense


def test_every_module_can_be_imported() -> None:
    for module in MODULES:
        importlib.import_module(module)


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("sparkmodel", {"ray", "mlflow", "pandas", "pyspark", "pyarrow", "numpy"}),
        ("sparkmodel.spark.forward", {"ray", "mlflow", "pandas", "pyspark"}),
        ("sparkmodel.remote", {"ray", "mlflow", "pandas", "pyspark"}),
        ("sparkmodel.cli", {"ray", "mlflow", "pandas", "pyspark", "pyarrow", "numpy"}),
        ("sparkmodel.control", {"ray", "mlflow", "pandas", "pyspark", "pyarrow", "numpy"}),
        ("sparkmodel.api", {"ray"}),  # the driver does not hold Ray
        ("sparkmodel.control.service", {"ray"}),
        ("sparkmodel.keeper.pools", {"ray", "mlflow", "pandas", "pyspark"}),
        ("sparkmodel.rest.serve", {"ray", "mlflow", "pyspark"}),
        ("sparkmodel.pool.master", {"ray", "mlflow", "pyspark", "pandas"}),
        ("sparkmodel.pool.worker", {"ray", "mlflow", "pyspark"}),
    ],
)
def test_an_import_in_a_fresh_interpreter_stays_light(module: str, banned: set[str]) -> None:
    """What Spark's Python workers and the pool's processes must not pay for."""
    code = f"import {module}, json, sys; print(json.dumps([name for name in sys.modules if '.' not in name]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert banned.isdisjoint(json.loads(done.stdout))
