# SPDX-License-Identifier: Apache-2.0
"""Errors as HTTP statuses. How a body says it is each protocol's."""

from __future__ import annotations

from sparkmodel import errors as e

REQUEST, BUSY, FAULT = 400, 429, 500
RETRY_AFTER_S = 1

# conditions that are not here are faults of the gateway's own: 500
STATUS: dict[type[e.SparkModelError], int] = {
    e.InvalidOptionError: 400,
    e.InvalidNameError: 400,
    e.SchemaMismatchError: 400,
    e.MalformedRequestError: 400,
    e.UnsupportedTypeError: 400,
    e.UnsupportedSourceError: 400,
    e.UntrustedModelFileError: 400,
    e.ResultTypeError: 400,
    e.ModelLoadError: 400,
    e.ModelProbeError: 400,
    e.ModelEnvironmentError: 400,
    e.TokenRequiredError: 401,
    e.AuthenticationError: 403,
    e.AccessRefusedError: 403,
    e.ModelNotFoundError: 404,
    e.VersionRetiredError: 404,
    e.RequestIncompleteError: 408,
    e.NoPreviousVersionError: 409,
    e.NameTakenError: 409,
    e.RevisionChangedError: 409,
    e.InputsChangedError: 409,
    e.ResultTypeChangedError: 409,
    e.BatchTooLargeError: 413,
    e.UnsupportedMediaTypeError: 415,
    e.PoolBusyError: 429,
    e.TooManyRequestsError: 429,
    e.PredictError: 500,
    e.WrongRowCountError: 500,
    e.WrongResultTypeError: 500,
    e.PoisonBatchError: 500,
    e.UnsupportedRequestError: 501,
    e.WorkerLostError: 503,
    e.PoolGoneError: 503,
    e.PoolNotReadyError: 503,
    e.PoolNotPlacedError: 503,
    e.RayUnavailableError: 503,
    e.WorkerStoppingError: 503,
    e.PredictTimeoutError: 504,
    e.DeadlineExceededError: 504,
    e.ControlTimeoutError: 504,
}


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    return STATUS.get(type(error), FAULT) if isinstance(error, e.SparkModelError) else FAULT


def headers_of(error: e.SparkModelError, status: int) -> dict[str, str]:
    """Headers that go with an error."""
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="sparkmodel"'}
    if status in (429, 503):
        return {"Retry-After": str(getattr(error, "retry_after_s", RETRY_AFTER_S))}
    return {}


def without_values(error: e.SparkModelError) -> e.SparkModelError:
    """An error without what a model, or Arrow, said about the values that it was given; itself where it has none."""
    if not isinstance(error, _MAY_TELL) and type(error) is not e.SparkModelError:
        return error
    fact = error.fact.partition(": ")[0]
    return type(error)(error.what, fact, "the gateway's log says more, by the id of the request")


_MAY_TELL = (e.PredictError, e.WrongResultTypeError)


def body_of(protocol: str, error: e.SparkModelError, request_id: str) -> dict[str, object]:
    """What the body of an error says, in the words of the protocol; no traceback, and no input."""
    text = error.message
    if protocol == "mlflow":
        code, state = _MLFLOW.get(status_of(error), "INTERNAL_ERROR"), {}
        if isinstance(error, e.SchemaMismatchError | e.UnsupportedTypeError | e.InvalidOptionError):
            code, state = "INVALID_PARAMETER_VALUE", {"sqlstate": "KAM01", "error_class": "SCHEMA_ENFORCEMENT_FAILED"}
        elif isinstance(error, e.MalformedRequestError):
            state = {"sqlstate": "KAM00", "error_class": "INVALID_PARAMETER_VALUE"}
        return {"error_code": code, "message": text, **state, "request_id": request_id}
    if protocol in ("oip", "tensorflow"):
        return {"error": text}
    return {"condition": error.condition, "message": text, "request_id": request_id}


def schema_of(protocol: str, status: int) -> dict[str, object]:
    """JSON Schema of what `body_of` gives."""
    message, text = {"type": "string", "pattern": r"^\[[A-Z0-9_]+\] Cannot "}, {"type": "string"}
    if protocol in ("oip", "tensorflow"):
        return _object({"error": message})
    if protocol != "mlflow":
        return _object({"condition": text, "message": message, "request_id": text})
    codes = {_MLFLOW.get(status, "INTERNAL_ERROR"), *(["INVALID_PARAMETER_VALUE"] if status == REQUEST else [])}
    more = {"sqlstate": text, "error_class": text} if status == REQUEST else {}
    return _object({"error_code": {"enum": sorted(codes)}, "message": message, "request_id": text}, **more)


def _object(required: dict[str, object], **more: object) -> dict[str, object]:
    fields = {**required, **more}
    return {"type": "object", "required": [*required], "properties": fields, "additionalProperties": False}


def unrouted(protocol: str, text: str) -> dict[str, object]:
    """What the body says where no route is, or none for the method; as FastAPI does, and so MLflow's server."""
    return {"error": text} if protocol == "oip" else {"detail": text}


# as in mlflow/exceptions.py
_MLFLOW = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "BAD_REQUEST",
    409: "RESOURCE_CONFLICT",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
