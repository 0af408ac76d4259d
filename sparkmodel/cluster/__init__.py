# SPDX-License-Identifier: Apache-2.0
"""Ray: the connection, the actors, and the pools they make. The only folder that imports it."""
