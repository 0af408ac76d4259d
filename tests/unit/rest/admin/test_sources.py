# SPDX-License-Identifier: Apache-2.0
"""Which sources may be registered through REST."""

from __future__ import annotations

import pathlib

import pytest

from sparkmodel.errors import UnsupportedSourceError
from sparkmodel.rest.admin.sources import check_source


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory that is allowed, beside one that is not."""
    for name in ("models/wine", "models2", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "models" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "models"


@pytest.mark.parametrize("source", ["models:/wine@champion", "models:/wine/3", "models:/m-1a2b", "runs:/0a1b/model/x"])
def test_models_of_the_registry_are_taken(source: str) -> None:
    assert check_source("m", source, ()) == source


@pytest.mark.parametrize(
    "source",
    [
        "models:/../../etc",
        "models:/wine/../../x",
        "models:/%2e%2e/x",
        "models://profile@host/wine",
        "models:/wine\n",
        "models:/wine?x=1",
        "runs:/0a1b/../../../etc",
        "runs:///x",
        "MODELS:/wine/1",
        "/etc/passwd",
        "../model.pkl",
        "model.pkl",
        ".",
        "~/model",
        "file:///etc",
        "file://host/etc",
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/model",
        "s3://bucket/model",
        "python:os:system",
        "table:db.models",
        "mlflow-artifacts:/1/model",
        "dbfs:/x",
        "\\\\host\\share",
    ],
)
def test_nothing_else_is(source: str) -> None:
    with pytest.raises(UnsupportedSourceError):
        check_source("m", source, ())


def test_paths_below_a_root_are_taken_without_links_and_dots(root: pathlib.Path) -> None:
    allowed = (str(root),)
    for given in (f"{root}/wine", f"file://{root}/wine", f"{root}/../models/wine"):
        assert check_source("m", given, allowed) == f"{root}/wine"
    for given in (f"{root}/link", f"{root}/../secret", f"{root}2", f"file://{root}/%2e%2e/secret", "wine", "/"):
        with pytest.raises(UnsupportedSourceError):
            check_source("m", given, allowed)


def test_uris_and_import_paths_are_taken_where_they_were_allowed(root: pathlib.Path) -> None:
    allowed = ("s3://bucket/models", "python:", str(root))
    for given in ("s3://bucket/models/wine", "python:pkg.module:Model"):
        assert check_source("m", given, allowed) == given
    for given in ("s3://bucket/models2/x", "s3://bucket/models/../x", "s3://other/models/x", "gs://bucket/models/x"):
        with pytest.raises(UnsupportedSourceError):
            check_source("m", given, allowed)
