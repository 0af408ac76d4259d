# SPDX-License-Identifier: Apache-2.0
"""Hosts with a Spark and a Ray: who is called from where, by which address, and what a cable that is pulled costs."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.hosts import Host, Hosts, hosts, wait_for
from tests.integration.several import RAY, Cluster, Driver

PATHS = {"bridge": "true", "python": "false"}
PAUSE_S = 30.0  # longest time that a query may stand still when a host has gone dark
WORK_S = 120.0


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Hosts without anything."""
    with hosts(4, tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="module")
def three(four: Hosts) -> Sequence[Host]:
    """Those on which Spark and Ray are, or will be."""
    found: Sequence[Host] = four[:3]
    return found


@pytest.fixture(scope="module", autouse=True)
def coming(three: Sequence[Host]) -> Iterator[Future[Cluster]]:
    """A Spark and a Ray on three of them; they start while the first test waits for the fourth."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(Cluster, three)


@pytest.fixture(scope="module")
def cluster(coming: Future[Cluster]) -> Cluster:
    """Both, up."""
    return coming.result()


@pytest.fixture(scope="module")
def driver(cluster: Cluster) -> Iterator[Driver]:
    """A program on the first, with a pool that has a worker on each of the others."""
    made = cluster.driver()
    try:
        made.ask('twice = sm.register(spark, "twice", Double(), result_type="double", workers=2, num_cpus=0.2)')
        yield made
    finally:
        made.end()


def calls(host: Host) -> list[tuple[float, int]]:
    """When its worker was called, and for how many rows."""
    lines = [line.split() for line in host.log("calls").rpartition("\n")[0].splitlines()]
    return [(float(when), int(rows)) for when, rows in lines]


_WORKER = """
import sys, time
from sparkmodel.wire.server import Server
from tests.unit.wire.toys import ToyService, double

def slowly(batch):
    time.sleep(0.05)
    return double(batch)

service = ToyService()
service.predict = slowly
Server(service, sys.argv[1], port=7000)
time.sleep(600)
"""
_CALLER = """
import sys, time, types
from tests.unit.wire.toys import HandleClient, handle_of, numbers

workers = [types.SimpleNamespace(endpoint=(host, 7000)) for host in sys.argv[1:]]
client = HandleClient(handle_of(*workers, timeout_s=5.0))
batches = (numbers(float(i)) for i in range(200))
last, longest, right = time.monotonic(), 0.0, 0
for number, answer in enumerate(client.predict(batches, False)):
    right += answer.to_pylist() == [2.0 * number]
    longest, last = max(longest, time.monotonic() - last), time.monotonic()
    print(number, flush=True)
print("right", right, f"{longest:.1f}", flush=True)
"""


def test_a_caller_goes_on_with_the_other_host(four: Hosts) -> None:
    """Without Spark and Ray: one worker is known by IPv4, the other, which goes dark, by IPv6."""
    first, second, _, fourth = four
    for host, address in ((second, second.address), (fourth, fourth.address6)):
        host.start("worker.log", sys.executable, "-c", _WORKER, address)
        wait_for(lambda host=host: ":7000 " in host.run("ss", "-Hltn"), "a worker", WORK_S)
    caller = first.start("caller.log", sys.executable, "-c", _CALLER, second.address, fourth.address6)
    wait_for(lambda: len(first.log("caller.log").splitlines()) > 20, "answers", WORK_S)
    assert f"[{fourth.address6}]:7000" in first.run("ss", "-Htn"), "the caller talks to both"
    four.unplug(fourth)
    try:
        assert caller.wait(WORK_S) == 0, first.log("caller.log")
    finally:
        four.plug(fourth)
    *_, last = first.log("caller.log").splitlines()
    _, right, longest = last.split()
    print(f"a caller without Spark stood still for {longest} s")
    assert right == "200"
    assert float(longest) < PAUSE_S


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_both_paths_answer_right(driver: Driver, path: str) -> None:
    total, count, plan = driver.ask(f"""
        spark.conf.set("spark.sparkmodel.bridge.enabled", "{PATHS[path]}")
        frame = spark.range(0, 2000, 1, 8).selectExpr("twice(id) AS x")
        sums = frame.selectExpr("sum(x)", "count(x)").first()
        answer = [*sums, frame._jdf.queryExecution().executedPlan().toString()]
    """)
    assert (total, count) == (1999 * 2000.0, 2000)
    assert ("ArrowEvalPython" in plan) is (path == "python")


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_an_executor_asks_the_worker_on_its_own_host(driver: Driver, path: str) -> None:
    rows = driver.ask(f"""
        spark.conf.set("spark.sparkmodel.bridge.enabled", "{PATHS[path]}")
        where = sm.register(spark, "place", Where(), result_type="string", workers=2, num_cpus=0.2, replace=True)
        frame = spark.range(0, 640, 1, 8)  # a partition is a batch
        frame = frame.selectExpr("place(id) AS worker", "reflect('java.net.InetAddress', 'getLocalHost') AS executor")
        answer = [list(row) for row in frame.groupBy("worker", "executor").count().collect()]
        where.drop()
    """)
    executors = {executor.partition("/")[0] for _, executor, _ in rows}
    near = sum(count for worker, executor, count in rows if executor.startswith(f"{worker}/"))
    assert executors == {"host2", "host3"}
    assert sum(count for *_, count in rows) == 640
    assert near >= 480, rows


@pytest.mark.slow
def test_callers_are_told_another_address_than_the_one_that_is_bound(three: Sequence[Host], driver: Driver) -> None:
    _, second, third = three
    endpoints = driver.ask("answer = twice.describe()['endpoints']")
    told = {endpoint.rpartition(":")[0]: endpoint for endpoint in endpoints}
    assert set(told) == {second.other, f"[{third.other6}]"}
    at_second, at_third = told[second.other], told[f"[{third.other6}]"]
    for host, endpoint, bound in ((second, at_second, "0.0.0.0"), (third, at_third, "*")):
        port = endpoint.rpartition(":")[2]
        assert f"{bound}:{port} " in host.run("ss", "-Hltn"), "it listens on all addresses of its host"
    assert driver.ask("answer = [twice.predict([{'x': float(i)}])[0] for i in range(20)]") == [
        2.0 * i for i in range(20)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_tls_between_hosts(driver: Driver, path: str) -> None:
    total, plain, shown = driver.ask(f"""
        import ssl
        spark.conf.set("spark.sparkmodel.bridge.enabled", "{PATHS[path]}")
        secret = sm.register(spark, "secret", Double(), result_type="double", workers=2, num_cpus=0.2, tls=True)
        handle = secret.handle
        shown = {{ssl.get_server_certificate(endpoint).strip() for endpoint in handle.pool.directory.endpoints}}
        answer = [
            spark.range(0, 200, 1, 4).selectExpr("sum(secret(id))").first()[0],
            handle.credential.tls.strip(),
            sorted(shown),
        ]
        secret.drop()
    """)
    assert total == 199 * 200.0
    assert shown == [plain]


@pytest.mark.slow
def test_a_driver_without_the_token_is_told_at_once(three: Sequence[Host], cluster: Cluster) -> None:
    first = three[0]
    code = f"import sparkmodel as sm; sm.init('{first.address}:{RAY}')"
    said = first.start("refused.log", sys.executable, "-c", code, env={"RAY_AUTH_TOKEN": "another"})
    assert said.wait(60) == 1
    assert "it refuses the token of RAY_AUTH_TOKEN" in first.log("refused.log")


@pytest.mark.slow
def test_the_doctor_sees_all_hosts(three: Sequence[Host], driver: Driver) -> None:
    first, second, third = three
    options = ["--json", "--address", f"{first.address}:{RAY}", "--master", f"spark://{first.address}:7077"]
    doctor = first.start("doctor.log", sys.executable, "-m", "sparkmodel", "doctor", *options)
    assert doctor.wait(120) == 0, first.log("doctor.log")
    text = first.log("doctor.log")
    found = json.loads(text[text.index("{\n") : text.rindex("}") + 1])["findings"]
    places = {finding["place"] for finding in found if finding["check"] == "python"}
    assert {place.split(" (")[0] for place in places} == {
        "here",
        *(f"node {host.address}" for host in three),
        *(f"executor {host.name}" for host in (second, third)),
    }
    reach = [finding for finding in found if finding["check"] == "reach"]
    assert len(reach) == 3
    assert {finding["status"] for finding in reach} == {"ok"}
    assert any("model 'twice' is ready" in finding["fact"] for finding in found)


@pytest.mark.slow
def test_a_cable_that_is_pulled_costs_no_row(four: Hosts, driver: Driver) -> None:
    """Both paths and a caller without Spark have batches at the host that goes dark.

    Spark's own executor there is taken away before: Spark waits two minutes for one that is silent.
    """
    _, second, third, _ = four
    third.run("pkill", "-f", "spark.deploy.worker.Worker")
    for host in (second, third):
        (host.tmp / "calls").unlink(missing_ok=True)
    driver.begin("""
        slow = sm.register(spark, "slow", Double(0.05), result_type="double", workers=2, num_cpus=0.2)
        calls, results, done = [], {}, threading.Event()

        def call():
            while not done.is_set():
                began = time.monotonic()
                assert slow.predict([{"x": 4.0}]) == [8.0]
                calls.append(time.monotonic() - began)

        def query(path):
            session = spark.newSession()
            session.conf.set("spark.sparkmodel.bridge.enabled", path)
            sm.get("slow", session)
            frame = session.range(0, 1000000, 1, 1).selectExpr("id", "slow(id) AS x")
            results[path] = list(frame.selectExpr("count(x)", "count_if(x = 2 * id)", "sum(x)").first())

        threads = [threading.Thread(target=query, args=(path,)) for path in ("true", "false")]
        caller = threading.Thread(target=call)
        for thread in (caller, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        caller.join()
        answer = [results, len(calls), max(calls)]
    """)
    wait_for(lambda: all(len(calls(host)) > 30 for host in (second, third)), "calls on both hosts", WORK_S)
    four.unplug(third)
    dark = time.time()
    ended = threading.Event()
    watchdog = threading.Timer(WORK_S, lambda: None if ended.is_set() else four.plug(third))
    watchdog.start()
    try:
        results, number, longest = driver.answer()
    finally:
        ended.set()
        watchdog.cancel()
        four.plug(third)
    times = [dark, *(when for when, _ in calls(second) if when > dark)]
    pause = max(after - before for before, after in itertools.pairwise(times))
    print(f"host 2 stood still for {pause:.1f} s; the longest of {number} calls took {longest:.1f} s")
    assert results == {path: [1000000, 1000000, 999999 * 1000000.0] for path in ("true", "false")}
    assert longest < PAUSE_S
    assert pause < PAUSE_S
