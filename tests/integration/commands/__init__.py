# SPDX-License-Identifier: Apache-2.0
"""The commands of the control service, over HTTP and with real pools."""
