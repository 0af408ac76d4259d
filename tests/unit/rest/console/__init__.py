# SPDX-License-Identifier: Apache-2.0
"""Tests of the console's routes and figures, without a browser."""
