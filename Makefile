# Two commands do all their own set-up: `make demo` and `make test`. They need Python 3.10 to 3.13 and a JDK 17.

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The whole of tests/unit, and one kind of source through all ways to call it on a real Ray and a real Spark
FAST := tests/unit 'tests/conformance/test_conformance.py::test_the_same_rows_give_the_same_values[object]'

.PHONY: help venv demo test test-fast lint bench chaos soak clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

venv: $(STAMP) ## Make the environment in .venv, and the jar
	@$(RUN) jvm-bridge/build.py --if-changed

$(STAMP): setup.py pyproject.toml tools/find_python.sh
	@sh tools/find_python.sh --check-java
	test -x $(RUN) || "$$(sh tools/find_python.sh)" -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip setuptools
	$(RUN) -m pip install --quiet 'pyspark>=4.1'
	$(RUN) -m pip install --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

demo: venv ## Train, register and score all flights of 2013 from New York (under two minutes)
	$(RUN) demo/flights.py

test: venv ## Run all tests, two at a time, and show the slowest
	$(RUN) tools/fetch.py delta $(VENV)/delta
	$(RUN) tools/fetch.py spark41 $(VENV)/spark41
	$(RUN) tools/fetch.py kafka $(VENV)/kafka
	$(RUN) tools/services.py fetch $(VENV)/postgresql
	$(RUN) tools/archive_classes.py $(VENV)/spark.jsa
	$(RUN) tools/chromium.py $(VENV)/chromium
	$(RUN) -m pytest --numprocesses 2 --junit-xml $(VENV)/tests.xml

test-fast: lint ## Lint, all unit tests, and one source by all ways to call it (some minutes)
	$(RUN) -m pytest --numprocesses 2 $(FAST)

lint: venv ## ruff and mypy --strict
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: venv ## Measure against mlflow's spark_udf and others; writes benchmarks/README.md
	$(RUN) -m benchmarks

chaos: venv ## Ten minutes of faults of all kinds under load, from a seed (SEED=n): exact rows, no error, nothing left
	$(RUN) -m tests.endurance chaos --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

soak: venv ## Half an hour of steady load: memory, descriptors, threads, connections and directories must not grow
	$(RUN) -m tests.endurance soak --seconds $(or $(SECONDS),1800)

clean: ## Remove the environment and what tools left
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
