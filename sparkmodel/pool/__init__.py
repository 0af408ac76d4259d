# SPDX-License-Identifier: Apache-2.0
"""The control plane: a master and workers as plain classes, and the Ray actors that wrap them."""
