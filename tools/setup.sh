#!/usr/bin/env bash
# Prepares .venv: Python 3.11 and the packages of pyproject.toml at the versions of constraints.txt.
# `tools/setup.sh core` installs what generates (and trains on data that is there); without an argument everything else
# comes with it: Blender and its system libraries to render with, and what the tests need. Other arguments are further
# extras of pyproject.toml (`tools/setup.sh docs`). What is there is remembered and stays until .venv is removed.
# Started by `make setup` and others, which keep caches inside the project and explain TORCH, BPY and PYTHON.
# Quick when there is nothing to do; may be interrupted anywhere and started again; mends a half-made .venv.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin # ldconfig, for an ordinary user of Debian

# What bpy and open3d load from the system, and the Debian package that has it; gp3d_core/cli/doctor.py looks for the same.
libraries="\
libX11.so.6 libx11-6
libXrender.so.1 libxrender1
libXxf86vm.so.1 libxxf86vm1
libXfixes.so.3 libxfixes3
libXi.so.6 libxi6
libXext.so.6 libxext6
libxkbcommon.so.0 libxkbcommon0
libSM.so.6 libsm6
libICE.so.6 libice6
libGL.so.1 libgl1
libEGL.so.1 libegl1
libgomp.so.1 libgomp1
libusb-1.0.so.0 libusb-1.0-0"

say() { echo "setup: $*"; }
die() {
    echo "setup: $*" >&2
    exit 1
}

missing_libraries() {
    local loadable soname package
    loadable=$(ldconfig -p)
    while read -r soname package; do
        [[ $loadable == *$'\t'"$soname "* ]] || echo "$package"
    done <<<"$libraries"
}

# Installs Debian packages, or says what to type.
install_packages() {
    local command="apt-get install -y --no-install-recommends $*"
    command -v apt-get >/dev/null || die "these Debian packages, or your system's equivalents, are missing: $*"
    [ "$(id -u)" = 0 ] || die "system packages are missing; type: sudo $command"
    say "installing system packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >.cache/apt.log 2>&1 || say "apt-get update failed; going on with the package lists at hand"
    $command -qq -o DPkg::Lock::Timeout=300 >.cache/apt.log 2>&1 </dev/null ||
        die "'$command' failed: $(tail -n 1 .cache/apt.log)"
}

# Prints the first Python 3.11 on the path, or $PYTHON, that can make virtual environments.
find_python() {
    local candidate probe='import ensurepip, sys, venv; print(sys.version_info[:2])'
    while read -r candidate; do
        if [ "$("$candidate" -c "$probe" 2>/dev/null)" = "(3, 11)" ]; then
            echo "$candidate"
            return
        fi
    done < <(if [ -n "${PYTHON:-}" ]; then type -P "$PYTHON"; else type -aP python3.11 python3; fi)
    return 1
}

# Whether .venv can be kept: its Python and pip run, and it was made in this very folder, whose path its scripts hold.
venv_works() {
    grep -qsF -- "$PWD/.venv" .venv/pyvenv.cfg &&
        .venv/bin/python -c 'import sys, pip._internal.cli.main; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

make_venv() {
    local python
    if ! python=$(find_python); then
        [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is no Python 3.11 with the modules venv and ensurepip"
        grep -qs 'VERSION_CODENAME=bookworm' /etc/os-release || # where python3 is 3.11
            die "needs Python 3.11 with venv, as bpy does; install it, or name it: make setup PYTHON=/path/to/python3.11"
        install_packages python3 python3-venv
        python=$(find_python) || die "no working Python 3.11; name one: make setup PYTHON=/path/to/python3.11"
    fi
    say "making .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
}

# Everything that decides what .venv should hold, and what it holds at its top level.
state() {
    {
        pwd
        echo "$torch $bpy $extras"
        cat pyproject.toml constraints.txt tools/setup.sh
        ls -I __pycache__ .venv/lib/python3.11/site-packages .venv/bin
    } 2>/dev/null | sha256sum
}

install_project() {
    local constraints=.cache/constraints.txt chosen=$extras
    say "installing packages into .venv; some minutes the first time, to be watched in .cache/pip.log"
    if [ -n "$torch" ]; then grep -vE '^(torch|triton)==' constraints.txt; else cat constraints.txt; fi >$constraints
    rm -rf .cache/tmp/pip-* .cache/pip.log
    .venv/bin/python tools/forget_broken.py .venv/lib/python3.11/site-packages
    pip_install -c $constraints pip
    # The wheels of Blender 4.5 and 5.0 ask for numpy below 2, run with newer ones, and come last, without their wishes.
    [ -z "$bpy" ] || chosen=${extras/synthetic/renderer}
    pip_install -c $constraints --build-constraint $constraints ${torch:+"$torch"} -e ".${chosen:+[$chosen]}"
    [ -z "$bpy" ] || pip_install --no-deps "bpy==$bpy"
}

pip_install() {
    .venv/bin/python -m pip install "$@" >>.cache/pip.log 2>&1 </dev/null && return
    tail -n 20 .cache/pip.log >&2
    die "the package installation failed, see above and .cache/pip.log; the same command goes on from here"
}

mkdir -p .cache/tmp
exec 9>.cache/setup.lock
flock 9 # two `make`s at once take turns

torch=${TORCH:-$(cat .venv/.torch 2>/dev/null || true)}
bpy=${BPY:-$(cat .venv/.bpy 2>/dev/null || true)}
case $bpy in
    '' | 4.[2-9].* | 5.0.*) ;;
    [5-9].*) die "BPY=$bpy: from Blender 5.1 on its wheel needs Python 3.13, GP3D's environment has 3.11; docs/rendering.md" ;;
    *) die "BPY=$bpy: expected a version of the wheel bpy in full, such as 4.5.15 or 5.0.1" ;;
esac
case ${1:-all} in
    all) wanted=(synthetic dev) ;;
    core) wanted=(${BPY:+synthetic}) ;;
    docs) wanted=(docs) ;;
    *) die "expected core, docs, all or nothing, found '$1'" ;;
esac
extras=$({ cat .venv/.extras 2>/dev/null || true; printf '%s\n' "${wanted[@]}"; } | sed '/^$/d' | sort -u | paste -sd, -)
packages=
[[ ,$extras, != *,synthetic,* ]] || packages=$(missing_libraries)
# shellcheck disable=SC2086  # one word per package
[ -z "$packages" ] || install_packages $packages
if [ "$(state)" = "$(cat .venv/.state 2>/dev/null)" ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi

venv_works || make_venv
rm -f .venv/.state
[ -z "$torch" ] || echo "$torch" >.venv/.torch
[ -z "$bpy" ] || echo "$bpy" >.venv/.bpy
tr , '\n' <<<"$extras" >.venv/.extras
install_project
state >.venv/.state.new
mv .venv/.state.new .venv/.state
say "ready"
