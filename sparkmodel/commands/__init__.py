# SPDX-License-Identifier: Apache-2.0
"""The commands of `sparkmodel`, a module for each. What is heavy is imported by the command that needs it."""
