#!/bin/sh
# Prints a Python 3.10 to 3.13; with --check-java only looks for a JDK of at least 17. Says what is missing.
set -eu

if [ "${1:-}" = "--check-java" ]; then
    java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
    if ! command -v "$java" >/dev/null 2>&1; then
        echo "Cannot find java: install a JDK 17 and put it on the PATH, or set JAVA_HOME." >&2
        exit 1
    fi
    major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    if [ "${major:-0}" -lt 17 ]; then
        echo "Cannot use java $major: Spark 4 needs a JDK 17 or newer." >&2
        exit 1
    fi
    exit 0
fi

for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "Cannot find a Python 3.10 to 3.13: install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
exit 1
