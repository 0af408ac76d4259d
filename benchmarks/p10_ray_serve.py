# SPDX-License-Identifier: Apache-2.0
"""What people write by hand for P10: a deployment of Ray Serve for each model, with one replica and no FastAPI."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import mlflow
import pandas as pd
import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Served:
    """A model of MLflow's."""

    def __init__(self, uri: str) -> None:
        self._model = mlflow.pyfunc.load_model(uri)

    async def __call__(self, request: Any) -> Any:
        """The answer to a body of MLflow's scoring protocol."""
        frame = pd.DataFrame(**(await request.json())["dataframe_split"])
        return {"predictions": self._model.predict(frame).tolist()}


def main() -> None:
    """Serve until this process ends."""
    given = json.loads(sys.argv[1])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": given["port"]})
    for name, uri in given["models"].items():
        serve.run(Served.bind(uri), name=name, route_prefix=f"/models/{name}")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
