# SPDX-License-Identifier: Apache-2.0
"""Spark's side: the function, the types, the session. The only folder that imports pyspark."""
