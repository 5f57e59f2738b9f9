"""Install, ask and uninstall in a fresh root, as a user without rights and without a network.

Run by test_install.py in namespaces of its own (mount, process, network). Prints what it saw as JSON.
"""

import contextlib
import http.client
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

USER = 1000
PATH = "/usr/local/bin:/usr/bin:/bin"
MODELS = ("dialog-pro", "dialog-max", "code-model-v2")
BODY = '{"model":"auto","messages":[{"role":"user","content":"hi"}],"max_tokens":2}'


def prepare(root):
    """What a machine has that a bare root has not; all of it goes with the namespaces."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", f"{root}/proc"], check=True)
    subprocess.run(["mount", "--rbind", "/dev", f"{root}/dev"], check=True)
    with (root / "etc/passwd").open("a") as accounts:
        accounts.write(f"user:x:{USER}:{USER}::/home/user:/bin/sh\n")
    home = root / "home/user"
    home.mkdir()
    os.chown(home, USER, USER)
    (root / "tmp").chmod(0o1777)


def as_user(root, *command, **options):
    """Run in the root as the user."""
    enter = ["chroot", f"--userspec={USER}:{USER}", str(root), "/usr/bin/env", "-i"]
    variables = ["HOME=/home/user", f"PATH={PATH}", "LANG=C.UTF-8", *options.pop("variables", ())]
    return [*enter, *variables, *command]


def said(root, *command, **options):
    done = subprocess.run(as_user(root, *command, **options), capture_output=True, text=True, check=False)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def files(root):
    """Everything below the folders that a user can write to."""
    return sorted(str(path) for top in ("home", "tmp", "opt", "var/tmp") for path in (root / top).rglob("*"))


def asked(root):
    """The answer to the README's first request."""
    endpoints = [
        part
        for number, name in enumerate(MODELS)
        for part in ("--endpoint", f"{name}=http://127.0.0.1:{9001 + number}")
    ]
    command = as_user(
        root, "/home/user/.local/bin/moltbot", "serve", "/bundle/models.config.json", "-p", "8088", *endpoints
    )
    began = time.monotonic()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while time.monotonic() < began + 300:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", 8088, timeout=5)
                headers = {"content-type": "application/json"}
                connection.request("POST", "/tech/v1/chat/completions", BODY, headers)
                answer = connection.getresponse()
                return {
                    "status": answer.status,
                    "backend": answer.headers.get("x-moltbot-backend"),
                    "body": answer.read().decode(),
                }
            time.sleep(0.02)
        return {"status": None}
    finally:
        server.terminate()
        server.communicate(timeout=30)


def main():
    root, bundle = Path(sys.argv[1]), sys.argv[2]
    prepare(root)
    subprocess.run(["mount", "--bind", bundle, f"{root}/bundle"], check=True)
    installer = ("sh", "/bundle/install.sh")
    before = files(root)
    seen = {
        "old glibc": said(root, *installer, "check", variables=["MOLTBOT_TEST_GLIBC=2.28"]),
        "no glibc": said(root, *installer, "check", variables=["MOLTBOT_TEST_GLIBC="]),
        "wrong option": said(root, *installer, "--bogus"),
        "check": said(root, *installer, "check"),
        "untouched": files(root) == before,
    }
    seen["install"] = said(root, *installer)
    seen["version"] = said(root, "/home/user/.local/bin/moltbot", "version")
    models = [
        subprocess.Popen(
            [sys.executable, "-m", "moltbot_provider", "--name", name, "--port", str(9001 + number),
             "--admin-port", str(9011 + number)],
            stdout=subprocess.DEVNULL,
        )
        for number, name in enumerate(MODELS)
    ]  # fmt: skip
    try:
        seen["answer"] = asked(root)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # checks, installation and first answer
        seen["CPU seconds"] = used.ru_utime + used.ru_stime
    finally:
        for model in models:
            model.kill()
            model.wait()
    seen["again"] = said(root, *installer)
    seen["environments"] = len(list(root.glob("home/user/.local/share/moltbot/envs/*")))
    seen["uninstall"] = said(root, "sh", "/home/user/.local/share/moltbot/install.sh", "uninstall")
    seen["left"] = sorted(set(files(root)) - set(before))
    seen["uninstall again"] = said(root, *installer, "uninstall")
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
