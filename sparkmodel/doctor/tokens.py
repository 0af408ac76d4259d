# SPDX-License-Identifier: Apache-2.0
"""Ray's token, and who can read what."""

from __future__ import annotations

from collections.abc import Iterator

from sparkmodel.cluster.head_token import MODE, PATH, TOKEN, ask, find_token, refusal
from sparkmodel.doctor.finding import FAIL, OK, WARN, Finding
from sparkmodel.doctor.scene import Scene

_MODES = ("token", "disabled", "k8s")
_OTHERS = 0o077


def check_token_mode(scene: Scene) -> Iterator[Finding]:
    """What this process would show to a cluster."""
    mode, token = scene.environ.get(MODE), find_token(scene.environ, scene.home)
    if mode is not None and mode.lower() not in _MODES:
        yield Finding("token", FAIL, f"{MODE} is '{mode}'", f"set it to one of {', '.join(_MODES)}, or unset it")
    elif PATH in scene.environ and TOKEN not in scene.environ and not token.value and mode != "disabled":
        yield Finding("token", FAIL, token.source, f"let {PATH} name the file with the head's token, or unset it")
    elif mode is not None and mode.lower() == "disabled":
        hint = f"unset {MODE}: clusters of Ray 2.60 and later ask for a token"
        yield Finding("token", WARN, token.source, hint)
    else:
        yield Finding("token", OK, f"taken from {token.source}" if token.value else f"none: {token.source}")
    if scene.environ.get(TOKEN):
        fact = f"{TOKEN} is in the environment, which the code of models can read"
        yield Finding("token", WARN, fact, f"put it into a file with mode 0600, and let {PATH} name that")


def check_head(scene: Scene) -> Iterator[Finding]:
    """Whether the head that was named is there, and lets this process in."""
    if scene.address is None:
        return
    host, _, port = scene.address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return
    host, token = host.strip("[]"), find_token(scene.environ, scene.home)
    try:
        refused = refusal(host, int(port), token, f"Cannot connect to Ray '{scene.address}'")
        answer, bare = ask(host, int(port), token.value), ask(host, int(port))
    except OSError as error:
        fact = f"nobody answers at {scene.address}: {error}"
        yield Finding("ray", FAIL, fact, "check host and port, and that the cluster is running")
        return
    if refused is not None:
        yield Finding("ray", FAIL, f"{scene.address}: {refused.args[1]}", str(refused.args[2]))
    elif answer.status is None:
        yield Finding("ray", WARN, f"what listens at {scene.address} does not answer as a head of Ray does", "check it")
    else:
        yield from _release(scene, answer.release)
        if bare.is_welcome:
            fact = f"{scene.address} asks for no token: whoever reaches it can run code in it"
            yield Finding("ray-open", WARN, fact, "start Ray with RAY_AUTH_MODE=token")


def _release(scene: Scene, there: str) -> Iterator[Finding]:
    here = scene.here["packages"]["ray"]
    if there and here and there != here:
        yield Finding("ray", FAIL, f"{scene.address} runs Ray {there}, here is {here}", f"install ray {there} here")
    else:
        yield Finding("ray", OK, f"{scene.address} answers" + (f", with Ray {there}" if there else ""))


def check_permissions(scene: Scene) -> Iterator[Finding]:
    """Files with secrets that other users can read: Ray writes its token with the mode 0644."""
    for place, facts in scene.machines():
        wrong = []
        for file in facts["token_files"]:
            if file["mode"] & _OTHERS:
                fact = f"others can read Ray's token in '{file['path']}': its mode is {file['mode']:04o}"
                wrong.append(Finding("permissions", WARN, fact, f"run: chmod 600 {file['path']}", place))
        for directory in facts["scratch"]:
            if directory["mode"] & _OTHERS:
                fact = f"others can enter '{directory['path']}': its mode is {directory['mode']:04o}"
                wrong.append(Finding("permissions", FAIL, fact, f"run: chmod 700 {directory['path']}", place))
        count = len(facts["token_files"]) + len(facts["scratch"])
        yield from wrong or [
            Finding("permissions", OK, f"{count} files and directories are this user's alone", "", place)
        ]
