# SPDX-License-Identifier: Apache-2.0
"""The figures of pools and gateways, as Prometheus reads them."""

from __future__ import annotations

from sparkmodel.metrics.server import start_http_server

__all__ = ["start_http_server"]
