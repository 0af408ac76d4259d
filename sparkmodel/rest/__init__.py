# SPDX-License-Identifier: Apache-2.0
"""The REST gateway: registered models, called by name over HTTP. No Spark and no Ray in its process."""
