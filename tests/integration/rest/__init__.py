# SPDX-License-Identifier: Apache-2.0
"""The gateway with real Ray, Spark, MLflow, and real clients of its protocols."""
