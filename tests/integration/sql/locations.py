# SPDX-License-Identifier: Apache-2.0
"""Locations within and outside of those that `closed.py` allows; `{home}` is one."""

from __future__ import annotations

WITHIN = [
    "{home}/none",
    "file:{home}/none",
    "file://{home}/none",
    "file://localhost{home}/none",
    "{home}",
    "models:/none/1",
    "table:sales.none",
    "table:sales.none@3",
    "python:team.models:Model",
    "python:team:Model",
]

OUTSIDE = [
    "/etc/model",
    "/",
    "{home}-of-others/model",
    "file:{home}-of-others/model",
    "{home}/../model",
    "{home}/x/../../model",
    "file:{home}/../model",
    "file://{home}/x/../../model",
    "{home}/./model",
    "{home}/%2e%2e/model",
    "file:{home}/%2e%2e/model",
    "file:{home}/%252e%252e/model",
    "file:{home}%2f..%2fmodel",
    "file:{home}/x?/../../../etc/model",
    "file:{home}/x#/../../../etc/model",
    "file://host{home}/model",
    "//host{home}/model",
    "FILE:{home}/model",
    "file:model",
    "model",
    "..",
    "runs:/0/model",
    "s3://bucket/models-of-others/model",
    "s3://bucket/models/../others/model",
    "s3://bucket/models/%2e%2e/others",
    "s3://bucket/models/%2E%2E%2Fothers",
    "s3://other/models/model",
    "s3://bucket@other/models/model",
    "table:other.model",
    "table:sales_of_others.model",
    "python:teams.models:Model",
    "python:team_of_others:Model",
    "python:os:system",
]


def create(location: str) -> str:
    return f"CREATE MODEL x LOCATION '{location}'"


FORMS = {
    "CREATE MODEL x USING table LOCATION 'other.model'": True,
    "CREATE MODEL x USING table LOCATION 'sales.none'": False,
    "CREATE MODEL x USING python LOCATION 'os:system'": True,
    "CREATE MODEL x USING python LOCATION 'team:Model'": False,
    "CREATE MODEL x USING sparkml LOCATION '/etc/model'": True,
    "CREATE MODEL x USING sparkml LOCATION '{home}/none'": False,
    "CREATE TEMPORARY MODEL x USING pickle LOCATION '/etc/model.pkl'": True,
    "REGISTER MODEL '/etc/model' AS x": True,
    "CREATE OR REPLACE MODEL wine LOCATION '/etc/model'": True,
    "CREATE MODEL IF NOT EXISTS wine LOCATION '/etc/model'": True,
    "ALTER MODEL wine SET LOCATION '{home}/../line.pkl'": True,
    "ALTER MODEL wine SET LOCATION '{home}/none.pkl'": False,
}
REFUSED = "LOCATION_NOT_ALLOWED"
WITH_DDL = [*map(create, WITHIN + OUTSIDE), *FORMS, "SELECT own.x(a) FROM t", "SELECT theirs.x(a) FROM t"]
CALLS = ["SELECT wine(a, b) FROM t", "SHOW MODELS", "DESCRIBE MODEL wine", "SHOW CREATE MODEL wine"]
WITHOUT = ["SELECT theirs.x(a) FROM t WHERE b > 0", *CALLS]
