# SPDX-License-Identifier: Apache-2.0
"""The one way from a source to a pool that serves it, whoever asks: `settle` it, make its spec, `serve` that."""
