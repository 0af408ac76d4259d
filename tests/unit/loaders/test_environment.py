# SPDX-License-Identifier: Apache-2.0
"""What an MLflow model's files say about its environment, or do not say."""

from __future__ import annotations

import logging
import pathlib
import sys

import mlflow
import pytest
import yaml
from sklearn.linear_model import LinearRegression

from sparkmodel.errors import InvalidOptionError, ModelEnvironmentError
from sparkmodel.loaders import resolve
from sparkmodel.loaders.environment import requirements_of

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def saved(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "model"
    mlflow.sklearn.save_model(
        LinearRegression().fit([[1.0]], [1.0]),
        path,
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return path


def with_conda(saved: pathlib.Path, *dependencies: object, keeps_requirements: bool = False) -> pathlib.Path:
    (saved / "conda.yaml").write_text(yaml.safe_dump({"name": "env", "dependencies": list(dependencies)}))
    if not keeps_requirements:
        (saved / "requirements.txt").unlink()
    return saved


def needs(path: pathlib.Path, env_manager: str) -> tuple[str, ...]:
    return requirements_of("toy", resolve("toy", path), env_manager)


def test_local_needs_no_environment_file(saved: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in ("requirements.txt", "conda.yaml", "python_env.yaml"):
        (saved / file).unlink()
    with caplog.at_level(logging.WARNING, "sparkmodel"):
        assert needs(saved, "local") == ()
    assert "toy" not in caplog.text
    with pytest.raises(ModelEnvironmentError):
        needs(saved, "uv")


def test_local_needs_no_section_of_pip(saved: pathlib.Path) -> None:
    assert needs(with_conda(saved, "python=3.8", "numpy=1.26"), "local") == ()


def test_a_flavor_that_names_no_environment(saved: pathlib.Path) -> None:
    content = yaml.safe_load((saved / "MLmodel").read_text())
    del content["flavors"]["python_function"]["env"]
    (saved / "MLmodel").write_text(yaml.safe_dump(content))
    assert needs(saved, "local") == ()
    assert needs(saved, "uv")[-1] == "scikit-learn"


@pytest.mark.parametrize("env_manager", ["virtualenv", "uv"])
@pytest.mark.parametrize("dependencies", [["python=3.8"], ["numpy=1.26", "pip"], ["numpy", {"pip": []}]])
def test_nothing_for_pip_is_refused(saved: pathlib.Path, env_manager: str, dependencies: list[object]) -> None:
    with pytest.raises(InvalidOptionError, match="names nothing for pip") as caught:
        needs(with_conda(saved, *dependencies), env_manager)
    assert "env_manager='local'" in caught.value.hint


@pytest.mark.parametrize("keeps_requirements", [True, False])
def test_what_pip_cannot_install_is_told(
    saved: pathlib.Path, keeps_requirements: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dependencies = ["python=3.8.10", "pip<=24", "conda-forge::cudatoolkit=11.8", "gdal", {"pip": ["scikit-learn"]}]
    path = with_conda(saved, *dependencies, keeps_requirements=keeps_requirements)
    with caplog.at_level(logging.WARNING, "sparkmodel"):
        assert needs(path, "uv")[-1] == "scikit-learn"
    assert f"logged with Python 3.8.10, its workers have {HERE}" in caplog.text
    assert "does not install: conda-forge::cudatoolkit=11.8, gdal." in caplog.text


@pytest.mark.parametrize("python", [f"python={HERE}", f"python={HERE}.2", f"python=={HERE}.2", "python", "python=3"])
def test_this_python_is_nothing_to_tell(saved: pathlib.Path, python: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sparkmodel"):
        assert needs(with_conda(saved, python, {"pip": ["scikit-learn"]}), "uv") == ("scikit-learn",)
    assert caplog.text == ""
