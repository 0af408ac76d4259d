# SPDX-License-Identifier: Apache-2.0
"""A master that is killed, and the next one that takes over."""

from __future__ import annotations

import pytest

from tests import models
from tests.unit.pool.toys import Killed, RunningPool, eventually


def test_first(pool: RunningPool) -> None:
    assert pool.deploy(models.FactorModel(2), workers=2) == 1
    assert pool.score("q") == 2
    assert pool.directory.state == "ready"
    assert pool.update(models.FactorModel(3)).version == 2
    assert pool.score("q") == 2
    assert pool.score("q2") == 3
    pool.serving[0].kill()
    eventually(lambda: len(pool.serving) == 2 and pool.directory.state == "ready")
    assert pool.change("size", workers=3).version == 2
    assert len(pool.serving) == 3
    pool.change("options", options={"timeout_s": 7.0})
    assert pool.directory.limits.timeout_s == 7
    old = pool.of(1)
    pids = set(map(id, pool.house.alive))
    assert pool.next_master()
    assert set(map(id, pool.house.alive)) == pids
    assert pool.score("q") == 2
    assert pool.directory.revision.incarnation == 2
    assert pool.rollback() == 1
    assert pool.score("q3") == 2
    assert len(pool.serving) == 3
    assert set(old) <= set(pool.serving)
    assert [v["state"] for v in pool.master.versions()] == ["serving", "rolled back"]
    print(pool.master.versions())


@pytest.mark.parametrize("step", ["reserved", "started", "loaded", "recorded", "published"])
def test_dies(pool: RunningPool, step: str) -> None:
    pool.deploy(models.FactorModel(2), workers=2)
    before = set(pool.house.alive)
    assert pool.score("q") == 2
    pool.die_at = step
    with pytest.raises(Killed):
        pool.update(models.FactorModel(3))
    assert pool.next_master()
    done = step in ("recorded", "published")
    assert pool.directory.version == (2 if done else 1)
    assert pool.score("q") == 2
    assert pool.score("q2") == (3 if done else 2)
    assert before <= set(pool.house.alive)
