# SPDX-License-Identifier: Apache-2.0
"""Models with libraries of their own, beside a driver and executors that have other versions of them."""

from __future__ import annotations

import site
import subprocess
import sys

import pytest

from tests.integration.scripts import Script

PROGRAM = """
    import logging, mlflow, numpy as np, pandas as pd, sys, toolz
    import sparkmodel as sm
    from concurrent.futures import ThreadPoolExecutor
    from mlflow.models import infer_signature
    from pyspark.sql import SparkSession, functions as F

    class Version(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            import toolz
            return [toolz.__version__] * len(model_input)

    def save(name, *requirements):
        frame = pd.DataFrame({"id": np.array([1, 2])})
        signature = infer_signature(frame, ["text"])
        mlflow.pyfunc.save_model(name, python_model=Version(), pip_requirements=list(requirements), signature=signature)
        return name

    if __name__ == "__main__":
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        spark = sm.configure_spark(builder).getOrCreate()
        sm.init(num_cpus=4)
        asked = {
            "f": dict(source=save("d", "toolz==999.0"), env_manager="virtualenv"),
            "old": dict(source=save("a", "toolz==0.12.0"), env_manager="virtualenv", workers=2),
            "new": dict(source=save("b", "toolz==0.12.1"), env_manager="uv"),
            "here": dict(source=save("c", "toolz==0.11.0")),
        }
        with ThreadPoolExecutor(len(asked)) as threads:  # an installer waits for the network most of the time
            made = {k: threads.submit(sm.register, spark, k, num_cpus=0.5, **options) for k, options in asked.items()}
        error = made.pop("f").exception()
        print(error.condition, "toolz==999.0" in error.details)
        assert sorted(future.result().name for future in made.values()) == sorted(sm.models())
        print(*sorted(spark.sql("SELECT old(id), new(id), here(id) FROM range(100)").distinct().collect()[0]))
        print(spark.sql("SELECT count(DISTINCT old(id)) AS n FROM range(100)").first().n, toolz.__version__)
        udf = sm.spark_udf(spark, "a", env_manager="virtualenv", workers=1)  # the environment is there already
        print(spark.range(1).select(udf(F.col("id")).alias("v")).first().v)

        @F.udf("string")
        def executors(_):
            import toolz
            return toolz.__version__

        print(spark.range(1).select(executors("id").alias("v")).first().v)
        spark.stop()
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An almost empty virtual environment that sees this one's packages.

    Ray copies the environment that it runs in for each model's: this one can be copied in no time.
    """
    home = tmp_path_factory.mktemp("environment") / "slim"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (folder,) = home.glob("lib/python*/site-packages")
    (folder / "parent.pth").write_text(
        "\n".join(f"import site; site.addsitedir({path!r})" for path in site.getsitepackages())
    )
    return str(home / "bin" / "python")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, python: str) -> tuple[list[str], str]:
    """What the program prints, and what it logs."""
    once = {"RUNTIME_ENV_RETRY_TIMES": "1"}  # else Ray has the installer try three times what it cannot do
    script = Script(PROGRAM, tmp_path_factory.mktemp("program"), once, python=python)
    try:
        out, err = script.process.communicate(timeout=1000)
    finally:
        script.kill()
    assert script.process.returncode == 0, err[-3000:]
    return out.splitlines(), err


@pytest.mark.slow
def test_two_models_with_two_versions_of_a_library_in_one_query(shown: tuple[list[str], str]) -> None:
    out = shown[0][1:]
    here = out[1].split()[1]
    assert here not in ("0.12.0", "0.12.1", "0.11.0"), "the test needs a newer one of its own"
    assert out == [f"0.12.0 0.12.1 {here}", f"1 {here}", "0.12.0", here]


@pytest.mark.slow
def test_requirements_that_cannot_be_met_are_an_error_with_the_installers_words(shown: tuple[list[str], str]) -> None:
    assert shown[0][0] == "MODEL_ENVIRONMENT True"


@pytest.mark.slow
def test_requirements_that_the_workers_do_not_meet_are_a_warning(shown: tuple[list[str], str]) -> None:
    said = "Model 'here' was logged with other versions of its libraries than its workers have: toolz==0.11.0"
    assert said in shown[1]
