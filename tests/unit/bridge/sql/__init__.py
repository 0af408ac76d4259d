# SPDX-License-Identifier: Apache-2.0
"""Statements about models, and SQL that is Spark's."""
