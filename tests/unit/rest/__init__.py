# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the gateway: real workers on real sockets, real HTTP, no Ray."""
