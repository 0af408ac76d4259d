# SPDX-License-Identifier: Apache-2.0
"""`sparkmodel doctor`: what is installed, reachable and left over, here and on a cluster, and what to do about it."""
