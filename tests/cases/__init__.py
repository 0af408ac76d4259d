# SPDX-License-Identifier: Apache-2.0
"""What people bring: a table for each kind, and every row of it through every way to call a model."""
