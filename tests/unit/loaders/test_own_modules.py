# SPDX-License-Identifier: Apache-2.0
"""Modules of the user's own travel with a live object, to a process that knows nothing of them."""

from __future__ import annotations

import importlib
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sparkmodel.errors import ModelLoadError
from sparkmodel.loaders import arrivals, resolve
from sparkmodel.loaders.edits import edited
from sparkmodel.loaders.own_modules import own_modules, own_path
from sparkmodel.loaders.pickling import dumps
from tests import models

WORKER = """
import pickle, sys
target = pickle.load(open(sys.argv[1], "rb"))
print(target.predict(3) if hasattr(target, "predict") else target(3))
"""


class Home:
    """A directory of modules that this process can import."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, self._clock = path, 1_000_000_000

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        self._clock += 10  # Python's own caches know seconds only
        os.utime(file, (self._clock, self._clock))
        importlib.invalidate_caches()

    def module(self, name: str) -> Any:
        return importlib.import_module(name)


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    before = set(sys.modules)
    (tmp_path / "home").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "home")
    known = dict(arrivals._known)
    yield Home(tmp_path / "home")
    arrivals._known.clear()
    arrivals._known.update(known)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def elsewhere(target: Any, tmp_path: pathlib.Path, **env: str) -> str:
    """What the target gives for 3 in another process, which has another directory and another path."""
    (tmp_path / "payload").write_bytes(dumps(target))
    root = str(pathlib.Path(models.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-P", "-c", WORKER, str(tmp_path / "payload")],
        cwd="/",
        env={**os.environ, "PYTHONPATH": root, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_class_of_a_module_that_the_worker_has_not(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("mymodel.py", "class Model:\n    def predict(self, x):\n        return x * 2\n")
    assert elsewhere(home.module("mymodel").Model(), tmp_path) == "6"


def test_what_it_imports_travels_too(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("shop/__init__.py", "")
    home.write("shop/prices/__init__.py", "from .tax import RATE\n")
    home.write("shop/prices/tax.py", "import helper_of_shop\nRATE = helper_of_shop.rate()\n")
    home.write("helper_of_shop.py", "import threading\nLOCK = threading.Lock()\ndef rate():\n    return 7\n")
    home.write(
        "shop/model.py",
        """
        import logging
        from ..shop.prices import RATE
        log = logging.getLogger(__name__)
        class Model:
            def predict(self, x):
                from shop import prices
                from shop.model import Model as Same
                assert isinstance(self, Same)
                return x * prices.RATE + RATE
        """.replace("from ..shop", "from .").replace("from ..prices", "from .prices"),
    )
    assert elsewhere(home.module("shop.model").Model(), tmp_path) == "28"


def test_a_package_without_a_file(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("space_of_test/deep/model.py", "def predict(x):\n    return x + 1\n")
    assert elsewhere(home.module("space_of_test.deep.model").predict, tmp_path) == "4"


def test_the_text_that_came_wins_over_what_the_worker_has(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("mymodel.py", "def predict(x):\n    return x * 2\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "mymodel.py").write_text("def predict(x):\n    return 'old'\n")
    root = pathlib.Path(models.__file__).parent.parent
    theirs = f"{tmp_path}/theirs{os.pathsep}{root}"
    assert elsewhere(home.module("mymodel").predict, tmp_path, PYTHONPATH=theirs) == "6"
    started = "import mymodel; assert mymodel.predict(0) == 'old'\n"  # as if a warm process had imported it
    (tmp_path / "theirs" / "sitecustomize.py").write_text(started)
    assert elsewhere(home.module("mymodel").predict, tmp_path, PYTHONPATH=theirs) == "6"


def test_an_edit_and_a_reload_serve_the_new_code(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("mymodel.py", "FACTOR = 2\nclass Model:\n    def predict(self, x):\n        return x * FACTOR\n")
    module = home.module("mymodel")
    old = module.Model()
    assert elsewhere(old, tmp_path) == "6"
    home.write("mymodel.py", "FACTOR = 5\nclass Model:\n    def predict(self, x):\n        return x * FACTOR\n")
    importlib.reload(module)
    assert elsewhere(module.Model(), tmp_path) == "15"


@pytest.mark.parametrize(
    "text",
    [
        "FACTOR = 5\nclass Model:\n    def predict(self, x):\n        return x * FACTOR\n",
        "FACTOR = 2\nclass Model:\n    def predict(self, x):\n        return x * FACTOR * 10\n",
        "FACTOR = 2\nclass Model:\n    def pre",
    ],
    ids=["a constant", "a method", "half a line"],
)
def test_an_edit_without_a_reload_goes_as_it_was_imported_and_says_so(
    home: Home, tmp_path: pathlib.Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    home.write("mymodel.py", "FACTOR = 2\nclass Model:\n    def predict(self, x):\n        return x * FACTOR\n")
    model = home.module("mymodel").Model()
    home.write("mymodel.py", text)
    with caplog.at_level(logging.WARNING):
        assert elsewhere(model, tmp_path) == "6"
    assert "['mymodel'] were edited since they were imported" in caplog.text


def test_an_edited_module_that_cannot_go_by_value_is_to_be_reloaded(home: Home) -> None:
    text = "import threading\nLOCK = threading.Lock()\ndef predict(x):\n    with LOCK:\n        return x\n"
    home.write("mymodel.py", text)
    predict = home.module("mymodel").predict
    assert resolve("toy", predict).payload
    home.write("mymodel.py", text.replace("return x", "return x + 1"))
    with pytest.raises(ModelLoadError, match=r"\['mymodel'\] were edited .* need importlib.reload"):
        resolve("toy", predict)


def test_a_function_of_a_notebook_that_uses_a_module(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("mymodel.py", "def double(x):\n    return x * 2\n")
    home.module("mymodel")
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec("import mymodel\ndef outer(x): return mymodel.double(x)\n", cell)
    exec("def inner(x):\n    from mymodel import double\n    return double(x)\n", cell)
    assert elsewhere(cell["outer"], tmp_path) == "6"
    assert elsewhere(cell["inner"], tmp_path) == "6"


def test_a_traceback_quotes_the_lines_and_files_beside_it_are_found(home: Home, tmp_path: pathlib.Path) -> None:
    home.write("words.txt", "hello")
    home.write(
        "mymodel.py",
        """
        import pathlib, traceback
        def predict(x):
            assert pathlib.Path(__file__).with_name("words.txt").read_text() == "hello"
            try:
                raise ValueError("no")
            except ValueError:
                return 'raise ValueError("no")' in traceback.format_exc()
        """,
    )
    assert elsewhere(home.module("mymodel").predict, tmp_path) == "True"


def test_libraries_do_not_travel() -> None:
    assert own_modules(["numpy", "pandas.core.frame", "json", "sparkmodel.errors", "pyspark.sql", "__main__"]) == {}
    assert edited(["numpy", "json", "sparkmodel.errors", "no_such_module"]) == []
    assert pickle.loads(dumps(len)) is len
    assert b"own_modules" not in dumps(os.path.join)


def test_what_travels_is_left_alone_where_it_is_already(home: Home) -> None:
    home.write("mymodel.py", "class Model:\n    def predict(self, x):\n        return x\n")
    module = home.module("mymodel")
    payload = dumps(module.Model())
    assert b"own_modules" in payload
    assert type(pickle.loads(payload)) is module.Model
    assert b"own_modules" not in dumps(models.FactorModel(3))  # cloudpickle was told to take it by value


def test_where_it_is_already_an_edit_counts(home: Home) -> None:
    home.write("mymodel.py", "class Model:\n    def predict(self, x):\n        return x\n")
    payload = dumps(home.module("mymodel").Model())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "meta_path", list(sys.meta_path))
        pickle.loads(payload)
        home.write("mymodel.py", "class Model:\n    def predict(self, x):\n        return x + 1\n")
        assert importlib.reload(sys.modules["mymodel"]).Model().predict(1) == 2
        del sys.modules["mymodel"]
        assert home.module("mymodel").Model().predict(1) == 2
        assert pickle.loads(payload).predict(1) == 1, "what came is another text than what is here now"


def test_a_constant_that_was_set_from_outside_counts_a_counter_does_not(home: Home, tmp_path: pathlib.Path) -> None:
    home.write(
        "mymodel.py",
        "FACTOR = 2\nCALLS = 0\ndef predict(x):\n    return x * FACTOR\ndef count():\n"
        "    global CALLS\n    CALLS += 1\n",
    )
    module = home.module("mymodel")
    module.count()
    assert edited(["mymodel"]) == []
    module.FACTOR = 4
    assert elsewhere(module.predict, tmp_path) == "12"


def test_the_path_has_what_is_not_installed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("")
    monkeypatch.chdir(home.path)
    paths = own_path()
    assert paths[0] == str(home.path)
    assert not any("site-packages" in path or path.endswith("lib-dynload") for path in paths)
    assert all(os.path.isabs(path) for path in paths)


def test_threads_may_pickle_at_the_same_time(home: Home) -> None:
    home.write("mymodel.py", "def predict(x):\n    return x\n")
    predict = home.module("mymodel").predict
    home.write("mymodel.py", "def predict(x):\n    return x + 1\n")
    given: list[bytes] = []
    threads = [threading.Thread(target=lambda: given.append(dumps(predict))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == 1
