# SPDX-License-Identifier: Apache-2.0
"""Generated cases, run through several ways that must agree: `python -m tests.fuzz --plans 2000`."""
