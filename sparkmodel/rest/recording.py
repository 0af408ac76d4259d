# SPDX-License-Identifier: Apache-2.0
"""The record of the calls that a gateway answers: each once, where the gateway records, else where its model does."""

from __future__ import annotations

import logging

from sparkmodel.errors import InvalidOptionError
from sparkmodel.records import CallRecorder
from sparkmodel.rest.asked import Context
from sparkmodel.rest.settings import Settings

_log = logging.getLogger(__name__)


class Recording:
    """Is told of each request that is answered. Workers leave out what comes from a gateway, so none is there twice.

    Args:
        settings: How the gateway serves.

    Raises:
        InvalidOptionError: nothing can be recorded where the settings say, or a library is missing.
    """

    def __init__(self, settings: Settings) -> None:
        self._uri, self._sample = settings.record, settings.record_sample
        self._recorders: dict[str, CallRecorder | None] = {}
        if self._uri is not None:
            self._recorders[self._uri] = CallRecorder(self._uri)

    def __call__(self, context: Context) -> None:
        """Record a request, if it was one for predictions and got as far as a model."""
        if context.served is None or context.protocol == "admin" or not (context.asked or context.condition):
            return
        options = context.served.spec.options
        uri, sample = (self._uri, self._sample) if self._uri is not None else (options.record, options.record_sample)
        recorder = self._of(uri) if uri is not None else None
        if recorder is not None:
            recorder.tell(context, sample)

    def close(self) -> None:
        """Write what waits."""
        for recorder in self._recorders.values():
            if recorder is not None:
                recorder.close()

    def _of(self, uri: str) -> CallRecorder | None:
        """What records there; None, said once, where this host cannot although the model's can."""
        if uri not in self._recorders:
            try:
                self._recorders[uri] = CallRecorder(uri)
            except InvalidOptionError as error:
                self._recorders[uri] = None
                _log.warning("calls of this gateway are not recorded: %s", error.message)
        return self._recorders[uri]
