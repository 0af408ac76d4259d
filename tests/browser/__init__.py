# SPDX-License-Identifier: Apache-2.0
"""Tests of the console in a headless Chromium, over a real gateway of this process."""
