# SPDX-License-Identifier: Apache-2.0
"""The steps from what was asked for to a pool that serves it."""
