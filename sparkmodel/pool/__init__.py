# SPDX-License-Identifier: Apache-2.0
"""The control plane as plain classes, with no Ray: a master, its workers, and what it asks of the cluster."""
