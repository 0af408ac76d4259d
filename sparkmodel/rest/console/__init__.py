# SPDX-License-Identifier: Apache-2.0
"""The console: one page for people who would rather look than read, and the live figures that it draws."""
