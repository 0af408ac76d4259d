# SPDX-License-Identifier: Apache-2.0
"""What must hold for long and under load: each show runs small in the suite, and as long as wanted from the shell."""
