# SPDX-License-Identifier: Apache-2.0
"""Statements about models and calls of them, in SQL."""
