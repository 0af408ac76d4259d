# SPDX-License-Identifier: Apache-2.0
"""The one place where the version is written; setup.py reads it from here."""

from __future__ import annotations

__version__ = "0.1.0"
