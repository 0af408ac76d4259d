# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol, over real workers."""
