# SPDX-License-Identifier: Apache-2.0
"""The errors a user can see: one class for each condition.

An error reads ``[CONDITION] Cannot <verb> <object> '<value>': <fact>. Hint: <one action>.`` and carries, where a
model was at fault, that model's own traceback. The parts live in ``args``, so an error survives pickling (Ray) and
JSON (the wire) and arrives as the class it left as.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class SparkModelError(Exception):
    """Base of all sparkmodel errors.

    Args:
        what: The action that failed, ``Cannot <verb> <object> '<value>'``, without a final stop.
        fact: What was seen, a sentence with values.
        hint: One action that helps, a sentence; empty where there is none.
        details: Text from elsewhere that explains the fact, such as a model's traceback.
    """

    condition: ClassVar[str] = "INTERNAL_ERROR"
    _by_condition: ClassVar[dict[str, type[SparkModelError]]] = {}

    def __init__(self, what: str, fact: str, hint: str = "", details: str = "") -> None:
        super().__init__(what, fact, hint, details)
        self.what, self.fact, self.hint, self.details = what, fact, hint, details

    def __init_subclass__(cls) -> None:
        SparkModelError._by_condition[cls.condition] = cls

    @property
    def message(self) -> str:
        """The error in one line, without details."""
        text = f"[{self.condition}] {self.what}: {_sentence(self.fact)}"
        return f"{text} Hint: {_sentence(self.hint)}" if self.hint else text

    def __str__(self) -> str:
        return f"{self.message}\n\n{self.details.rstrip()}" if self.details else self.message

    def to_dict(self) -> dict[str, str]:
        """The error as JSON-ready strings; `from_dict` is the way back."""
        return {
            "condition": self.condition,
            "what": self.what,
            "fact": self.fact,
            "hint": self.hint,
            "details": self.details,
        }

    @staticmethod
    def from_dict(parts: dict[str, str]) -> SparkModelError:
        """The error that `to_dict` described, as its own class; an unknown condition stays readable."""
        condition = str(parts.get("condition", ""))
        cls = SparkModelError._by_condition.get(condition, SparkModelError)
        fact = str(parts.get("fact", ""))
        if cls is SparkModelError and condition != SparkModelError.condition:
            fact = f"{condition}: {fact}"
        return cls(
            str(parts.get("what", "Cannot talk to a worker")),
            fact,
            str(parts.get("hint", "")),
            str(parts.get("details", "")),
        )


def _sentence(text: str) -> str:
    text = " ".join(text.split())  # a model's own message may have several lines
    return text if text.endswith((".", "!", "?")) else f"{text}."


def suggest(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """A hint that names the nearest known name; where none is near, all of them, or what to do otherwise."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean '{near[0]}'? Known are {names}"
    if otherwise is not None:
        return otherwise
    return f"known are {names}" if names else "there are none yet"


class InvalidOptionError(SparkModelError):
    """An option is unknown, has a wrong type, or cannot be met here."""

    condition = "INVALID_OPTION"


class InvalidNameError(SparkModelError):
    """A model name that SQL could not call as a function."""

    condition = "INVALID_NAME"


class NameTakenError(SparkModelError):
    """Another pool or SQL function has the name."""

    condition = "NAME_TAKEN"


class ModelNotFoundError(SparkModelError):
    """No pool, file, or registry entry of that name."""

    condition = "MODEL_NOT_FOUND"


class UntrustedModelFileError(SparkModelError):
    """A loose pickle file was not declared as trusted."""

    condition = "UNTRUSTED_MODEL_FILE"


class UnsupportedSourceError(SparkModelError):
    """The source is of no kind that a loader knows."""

    condition = "UNSUPPORTED_SOURCE"


class ModelLoadError(SparkModelError):
    """The model could not be loaded; `details` has its own traceback."""

    condition = "MODEL_LOAD_FAILED"


class ModelCorruptError(SparkModelError):
    """A stored model is damaged or incomplete: pieces are missing, doubled, changed, or would land elsewhere."""

    condition = "MODEL_CORRUPT"


class ModelProbeError(SparkModelError):
    """The model loaded but could not predict its own input example."""

    condition = "MODEL_PROBE_FAILED"


class ResultTypeError(SparkModelError):
    """No result type is known, or a new version would change it."""

    condition = "RESULT_TYPE_UNKNOWN"


class ResultTypeChangedError(SparkModelError):
    """A new version has another result type than the registered function."""

    condition = "RESULT_TYPE_CHANGED"


class UnsupportedTypeError(SparkModelError):
    """A type has no counterpart in Arrow, Spark or the model."""

    condition = "UNSUPPORTED_TYPE"


class SchemaMismatchError(SparkModelError):
    """The columns of a call do not fit the model's signature."""

    condition = "SCHEMA_MISMATCH"


class PredictError(SparkModelError):
    """The model raised; `details` has its own traceback."""

    condition = "PREDICT_FAILED"


class PredictTimeoutError(SparkModelError):
    """One batch took the model longer than `timeout_s`."""

    condition = "PREDICT_TIMEOUT"


class DeadlineExceededError(SparkModelError):
    """A call was not answered within its deadline."""

    condition = "DEADLINE_EXCEEDED"


class WrongRowCountError(SparkModelError):
    """The model gave more or fewer rows than it was given."""

    condition = "WRONG_ROW_COUNT"


class WrongResultTypeError(SparkModelError):
    """The model's result does not fit the declared type without loss."""

    condition = "WRONG_RESULT_TYPE"


class ErrorThresholdError(SparkModelError):
    """More rows were at fault than `error_threshold` allows."""

    condition = "ERROR_THRESHOLD_EXCEEDED"


class ModelEnvironmentError(SparkModelError):
    """The model's own Python environment could not be made."""

    condition = "MODEL_ENVIRONMENT"


class WorkerLostError(SparkModelError):
    """A batch lost its worker again and again."""

    condition = "WORKER_LOST"


class PoisonBatchError(SparkModelError):
    """A batch ends the worker that scores it, each time."""

    condition = "POISON_BATCH"


class BisectBudgetError(SparkModelError):
    """The search for the rows at fault in a batch took too many calls of the model, or too long."""

    condition = "BISECT_BUDGET"


class CredentialExpiredError(SparkModelError):
    """What a caller shows has expired; its pool's master may renew it."""

    condition = "CREDENTIAL_EXPIRED"


class WorkerStoppingError(SparkModelError):
    """A worker is on its way out and takes no more batches; the client goes elsewhere."""

    condition = "WORKER_STOPPING"


class PoolBusyError(SparkModelError):
    """All queues of the pool were full until the deadline."""

    condition = "POOL_BUSY"


class PoolGoneError(SparkModelError):
    """The pool of a function was dropped or died."""

    condition = "POOL_GONE"


class PoolNotPlacedError(SparkModelError):
    """The cluster has no room for the workers asked for."""

    condition = "POOL_NOT_PLACED"


class PoolNotReadyError(SparkModelError):
    """The workers were not ready within `ready_timeout_s`."""

    condition = "POOL_NOT_READY"


class NoPreviousVersionError(SparkModelError):
    """There is nothing to roll back to."""

    condition = "NO_PREVIOUS_VERSION"


class InputsChangedError(SparkModelError):
    """A new version's inputs or output differ in a way that plans of before get wrong."""

    condition = "INPUTS_CHANGED"


class WrongVersionError(SparkModelError):
    """A worker was asked for a version that it does not hold; clients go to one that does, so users seldom see it."""

    condition = "WRONG_VERSION"


class VersionRetiredError(SparkModelError):
    """The version that a query or a plan is held to has ended, and cannot be started again."""

    condition = "VERSION_RETIRED"


class RevisionChangedError(SparkModelError):
    """A change was asked for on what the pool was, and somebody else changed it first."""

    condition = "REVISION_CHANGED"


class ControlTimeoutError(SparkModelError):
    """A change was not answered in time. It is cancelled: it is not applied later."""

    condition = "CONTROL_TIMEOUT"


class ProtocolError(SparkModelError):
    """The other side broke the wire protocol."""

    condition = "PROTOCOL_ERROR"


class ProtocolVersionError(SparkModelError):
    """The two sides speak different versions of the wire protocol."""

    condition = "PROTOCOL_VERSION_MISMATCH"


class AuthenticationError(SparkModelError):
    """The other side has no key of the pool."""

    condition = "AUTHENTICATION_FAILED"


class BatchTooLargeError(SparkModelError):
    """A message is larger than the worker accepts."""

    condition = "BATCH_TOO_LARGE"


class TokenRequiredError(SparkModelError):
    """A request over HTTP shows no token, and what it asks for needs one."""

    condition = "TOKEN_REQUIRED"


class AccessRefusedError(SparkModelError):
    """A request over HTTP shows a token that is not known, or not good for what it asks."""

    condition = "ACCESS_REFUSED"


class TooManyRequestsError(SparkModelError):
    """A caller, or all callers together, ask for more than the gateway takes at once."""

    condition = "TOO_MANY_REQUESTS"
    retry_after_s = 1


class UnsupportedMediaTypeError(SparkModelError):
    """The body of a request over HTTP is of a type, or packed in a way, that is not read."""

    condition = "UNSUPPORTED_MEDIA_TYPE"


class MalformedRequestError(SparkModelError):
    """The text of a request is not what its protocol has."""

    condition = "MALFORMED_REQUEST"


class RequestIncompleteError(SparkModelError):
    """The body of a request over HTTP did not come in time, or its sender left."""

    condition = "REQUEST_INCOMPLETE"


class ExecutorEnvironmentError(SparkModelError):
    """Spark's Python workers cannot run the function or reach the pool."""

    condition = "EXECUTOR_ENVIRONMENT"


class RayUnavailableError(SparkModelError):
    """No Ray cluster could be started or reached."""

    condition = "RAY_UNAVAILABLE"


class BridgeNotBuiltError(SparkModelError):
    """The package was installed without the jar of the bridge."""

    condition = "BRIDGE_NOT_BUILT"


class BridgeWrongSparkError(SparkModelError):
    """The jar of the bridge is built for another minor version of Spark."""

    condition = "BRIDGE_WRONG_SPARK"
