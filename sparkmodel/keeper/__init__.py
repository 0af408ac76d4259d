# SPDX-License-Identifier: Apache-2.0
"""The keeper: a child process that holds Ray, so that its driver does not.

A process that is connected to Ray ends a minute after Ray's head was lost. So the driver imports no Ray: it starts
`python -m sparkmodel.keeper` and asks it over a socket that only the two of them have. `connection`, `early` and
`pools` are what the rest of the package asks of Ray; `link` and `process` are the driver's end, `server` and
`commands` the keeper's.
"""
