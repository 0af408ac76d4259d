# SPDX-License-Identifier: Apache-2.0
"""The data plane: Arrow record batches over TCP, with no Ray, Spark, MLflow or pandas. See docs/protocol.md."""
