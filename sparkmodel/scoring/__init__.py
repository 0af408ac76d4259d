# SPDX-License-Identifier: Apache-2.0
"""A batch becomes what the model takes, and what it gives becomes Arrow; in a worker, and for local data."""
