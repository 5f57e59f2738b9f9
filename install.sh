#!/bin/sh
# Installs MoltBot for one user (or for the machine, as root): its own Python environment, `moltbot` on PATH, and
# nothing else. Run it again to upgrade; `install.sh uninstall` takes away all that it made.
set -eu

NAME=moltbot
GLIBC_NEEDED=2.31
IMAGE_HINT="use the container image instead: build it with 'make image', then
  docker run --rm -p 8080:8080 -v \$PWD:/m IMAGE moltbot serve /m --address 0.0.0.0"

usage() {
    cat <<'EOF'
usage: install.sh [install|check|uninstall] [options]

  install     check this machine, then install or upgrade (the default)
  check       only check
  uninstall   remove everything that install made, the service included

options
  --prefix DIR    where it lives            [~/.local/share/moltbot; as root /opt/moltbot]
  --bin DIR       where `moltbot` is linked [~/.local/bin; as root /usr/local/bin]
  --bundle PATH   install offline, from a bundle (folder or .tar.gz) that scripts/make-bundle made
  --from SPEC     what pip installs: a folder, a wheel, or name==version [the checkout that this file is in]
  --python PATH   which Python (3.11 or newer) [the newest on PATH; else one that uv provides]
  --service       also register `moltbot service install` for the manifests in ~/.config/moltbot
  --keep-state    uninstall: leave state, signing keys among it
EOF
}

say() { printf '%s\n' "$*"; }
ok() { say "  ok    $*"; }
warn() { say "  note  $*"; }
die() {
    say "error: $*" >&2
    exit 1
}

# -- this machine -----------------------------------------------------------------------------------------------------

# $1 >= $2, both like 2.31
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -t. -k1,1n -k2,2n | head -n 1)" = "$2" ]
}

check_system() {
    system=$(uname -s)
    machine=$(uname -m)
    case "$system" in
    Linux) check_linux ;;
    Darwin)
        command -v envoy >/dev/null 2>&1 || die "Envoy is not installed: brew install envoy, then run this again"
        ok "macOS, $machine, Envoy of the system: $(command -v envoy)"
        ;;
    *) die "$system is not supported: Linux, macOS, or WSL2 on Windows" ;;
    esac
}

check_linux() {
    case "$machine" in
    x86_64 | aarch64) ;;
    arm64) machine=aarch64 ;;
    *) die "no Envoy for the architecture $machine: x86_64 and aarch64 only; $IMAGE_HINT" ;;
    esac
    release=$(uname -r)
    case "$release" in
    *Microsoft*) die "this is WSL 1, which can't run Envoy: wsl --set-version DISTRIBUTION 2" ;;
    *microsoft*) warn "WSL 2: a service needs systemd=true under [boot] in /etc/wsl.conf" ;;
    esac
    glibc=$(glibc_version)
    [ -n "$glibc" ] || die "this system has no glibc (musl?), which Envoy needs; $IMAGE_HINT"
    at_least "$glibc" "$GLIBC_NEEDED" ||
        die "glibc $glibc is too old, Envoy needs $GLIBC_NEEDED (Debian 11, Ubuntu 20.04, RHEL 9 or later); $IMAGE_HINT"
    ok "Linux $release, $machine, glibc $glibc"
}

glibc_version() {
    if [ -n "${MOLTBOT_TEST_GLIBC+given}" ]; then # tests of old systems
        say "$MOLTBOT_TEST_GLIBC"
        return
    fi
    found=$(getconf GNU_LIBC_VERSION 2>/dev/null || true)
    say "${found#glibc }"
}

# Sets $python; empty where uv shall provide one.
find_python() {
    python=
    for each in "${given_python:-}" python3.15 python3.14 python3.13 python3.12 python3.11 python3; do
        [ -n "$each" ] || continue
        command -v "$each" >/dev/null 2>&1 || continue
        if "$each" -c 'import sys, venv, ssl; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            python=$(command -v "$each")
            ok "Python $("$python" -c 'import platform; print(platform.python_version())'): $python"
            return
        fi
        [ -z "${given_python:-}" ] || [ "$each" != "$given_python" ] || die "$each is no Python 3.11 or newer with venv and ssl"
    done
    [ -z "${given_python:-}" ] || die "--python $given_python: there is no such program"
    if [ -z "$bundle" ] && command -v uv >/dev/null 2>&1; then
        warn "no Python 3.11 or newer here: uv gets one"
        return
    fi
    die "no Python 3.11 or newer: install it with the system's package manager, or install uv, which brings its own"
}

check_ports() {
    for port in 8080 9090; do
        if [ -n "$python" ] && ! "$python" -c 'import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))' "$port" 2>/dev/null; then
            case "$port" in
            8080) warn "port 8080 is taken: choose another with moltbot serve -p PORT" ;;
            9090) warn "port 9090 is taken: metrics will be on another, or say --metrics-port" ;;
            esac
        fi
    done
}

check_space() {
    mkdir -p "$1"
    free=$(df -Pk "$1" | awk 'NR == 2 {print $4}')
    [ "$free" -ge 600000 ] || die "$1: only $((free / 1024)) MB are free, 600 MB are needed: choose another with --prefix"
}

# -- install ----------------------------------------------------------------------------------------------------------

install() {
    say "Checking this machine"
    check_system
    open_bundle
    find_python
    check_ports
    [ "$action" = install ] || return 0
    made_prefix=0
    [ -d "$prefix" ] || made_prefix=1
    check_space "$prefix"
    say "Installing into $prefix"
    new=$prefix/envs/$(date +%Y%m%d%H%M%S).$$
    trap give_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$prefix/envs" "$bin"
    fill "$new"
    "$new/bin/$NAME" version >/dev/null || die "the installed program does not start"
    version=$("$new/bin/$NAME" version)
    warm "$new"
    cp "$0" "$prefix/install.sh" 2>/dev/null || true
    old=$(readlink "$prefix/current" 2>/dev/null || true)
    ln -sfn "$new" "$prefix/current.new"
    mv -f "$prefix/current.new" "$prefix/current" 2>/dev/null || {
        rm -f "$prefix/current"
        ln -s "$new" "$prefix/current"
        rm -f "$prefix/current.new"
    }
    link
    printf '%s\n' "$bin/$NAME" >"$prefix/links"
    trap - EXIT
    [ -z "${unpacked:-}" ] || rm -rf "$unpacked"
    [ -z "$old" ] || [ "$old" = "$new" ] || rm -rf "$old"
    ok "moltbot $version, linked as $bin/$NAME"
    [ -z "$service" ] || register
    report
}

# Leave things as they were.
give_up() {
    rm -rf "$new" "${unpacked:-}"
    [ "$made_prefix" = 0 ] || rm -rf "$prefix"
    [ "$made_prefix" = 0 ] || parents "$(dirname "$prefix")"
    parents "$bin"
}

open_bundle() {
    [ -n "$bundle" ] || return 0
    [ -e "$bundle" ] || die "--bundle $bundle: there is no such file or folder"
    if [ ! -d "$bundle" ]; then
        unpacked=$(mktemp -d)
        trap 'rm -rf "$unpacked"' EXIT
        tar -xzf "$bundle" -C "$unpacked" || die "--bundle $bundle: this is no .tar.gz"
        bundle=$unpacked
        [ -d "$bundle/wheels" ] || bundle=$(echo "$unpacked"/*/)
    fi
    [ -d "$bundle/wheels" ] || die "--bundle $bundle: it holds no folder wheels: make it with scripts/make-bundle"
    ok "bundle $bundle"
}

# A new environment in $1 with the packages in it.
fill() {
    if [ -n "$bundle" ]; then
        "$python" -m venv --without-pip "$1"
        pip=$(echo "$bundle"/wheels/pip-*.whl)
        [ -f "$pip" ] || die "$bundle/wheels holds no pip: make the bundle anew"
        "$1/bin/python" "$pip/pip" install --quiet --no-index --no-compile --disable-pip-version-check \
            --find-links "$bundle/wheels" --require-hashes -r "$bundle/requirements.txt" ||
            die "the bundle does not fit this machine (Python or architecture): make one here with scripts/make-bundle"
        "$1/bin/python" "$pip/pip" install --quiet --no-index --no-compile --no-deps --disable-pip-version-check \
            "$bundle"/wheels/moltbot_operator-*.whl
    elif [ -z "$python" ] || command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "${python:-3.11}" "$1"
        [ -z "$lock" ] || uv pip install --quiet --python "$1/bin/python" --require-hashes -r "$lock"
        uv pip install --quiet --python "$1/bin/python" ${lock:+--no-deps} "$from"
    else
        "$python" -m venv "$1" 2>/dev/null || {
            rm -rf "$1"
            die "$python has no ensurepip: install python3-venv with the system's package manager, or uv"
        }
        [ -z "$lock" ] || "$1/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
            --require-hashes -r "$lock"
        "$1/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check ${lock:+--no-deps} "$from"
    fi
}

# What `moltbot serve` needs is compiled and read once: the first start is then as fast as any other.
warm() {
    "$1/bin/python" -c 'import moltbot_operator.convert, moltbot_operator.serve, moltbot_operator.serve.view
import moltbot_agent.fetching, moltbot_agent.metrics, moltbot_agent.server, moltbot_agent.signing'
    "$1/bin/python" -c 'from moltbot_agent.envoy import binary
import subprocess
subprocess.run([binary(), "--version"], check=True, stdout=subprocess.DEVNULL)' || die "Envoy does not run here; $IMAGE_HINT"
    "$1/bin/$NAME" serve --help >/dev/null
    ok "caches are warm, Envoy runs"
}

link() {
    if [ -e "$bin/$NAME" ] && [ ! -L "$bin/$NAME" ]; then
        die "$bin/$NAME exists and is not ours: move it away, or choose another folder with --bin"
    fi
    ln -sfn "$prefix/current/bin/$NAME" "$bin/$NAME"
}

register() {
    if [ "$(id -u)" = 0 ]; then
        "$bin/$NAME" service install --system
    else
        "$bin/$NAME" service install
    fi
}

report() {
    say "Installed"
    say "  programs   $prefix"
    say "  command    $bin/$NAME"
    case ":$PATH:" in
    *":$bin:"*) ;;
    *) warn "$bin is not on your PATH; add it: export PATH=\"$bin:\$PATH\"" ;;
    esac
    say "  try it     moltbot serve models.config.json --endpoint MODEL=http://127.0.0.1:9001"
    say "  undo it    sh $prefix/install.sh uninstall"
}

# -- uninstall --------------------------------------------------------------------------------------------------------

uninstall() {
    [ -d "$prefix" ] || die "$prefix: nothing is installed there (--prefix says where)"
    [ -d "$prefix/envs" ] || die "$prefix: this was not made by install.sh, and is left alone"
    if [ -x "$prefix/current/bin/$NAME" ]; then
        "$prefix/current/bin/$NAME" service uninstall >/dev/null 2>&1 || true
        [ "$(id -u)" != 0 ] || "$prefix/current/bin/$NAME" service uninstall --system >/dev/null 2>&1 || true
    fi
    if [ -f "$prefix/links" ]; then
        while IFS= read -r link; do
            case "$(readlink "$link" 2>/dev/null || true)" in
            "$prefix"/*) rm -f "$link" && say "removed $link" ;;
            esac
            parents "$(dirname "$link")"
        done <"$prefix/links"
    fi
    rm -rf "$prefix"
    say "removed $prefix"
    if [ -z "$keep_state" ]; then
        state=${XDG_STATE_HOME:-$HOME/.local/state}/moltbot
        if [ -d "$state" ]; then
            rm -rf "$state"
            say "removed $state"
        fi
        parents "$(dirname "$state")"
    fi
    parents "$(dirname "$prefix")"
    say "Your manifests were not touched."
}

# Folders that became empty, up to the home folder.
parents() {
    case "$1" in
    "$HOME"/*) if rmdir "$1" 2>/dev/null; then parents "$(dirname "$1")"; fi ;;
    esac
}

# -- command line -----------------------------------------------------------------------------------------------------

: "${HOME:=/root}"
if [ "$(id -u)" = 0 ]; then
    prefix=/opt/moltbot bin=/usr/local/bin
else
    prefix=${XDG_DATA_HOME:-$HOME/.local/share}/moltbot bin=$HOME/.local/bin
fi
action=install
bundle='' from='' given_python='' service='' keep_state='' lock=''
case "${1-}" in
install | check | uninstall)
    action=$1
    shift
    ;;
esac
while [ $# -gt 0 ]; do
    case "$1" in
    --prefix | --bin | --bundle | --from | --python)
        [ $# -ge 2 ] || die "$1 needs a value"
        case "$1" in
        --prefix) prefix=$2 ;;
        --bin) bin=$2 ;;
        --bundle) bundle=$2 ;;
        --from) from=$2 ;;
        --python) given_python=$2 ;;
        esac
        shift 2
        ;;
    --service) service=1 && shift ;;
    --keep-state) keep_state=1 && shift ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        say "error: unknown argument $1" >&2
        exit 2
        ;;
    esac
done
case "$prefix" in /*) ;; *) prefix=$PWD/$prefix ;; esac
case "$bin" in /*) ;; *) bin=$PWD/$bin ;; esac

here=$(cd "$(dirname "$0")" && pwd)
[ -n "$bundle" ] || [ -n "$from" ] || [ ! -d "$here/wheels" ] || bundle=$here
if [ -z "$from" ]; then
    from=moltbot-operator
    if [ -f "$here/pyproject.toml" ]; then
        from=$here
        lock=$here/requirements.lock
    fi
fi
case "$action" in
uninstall) uninstall ;;
*) install ;;
esac
