#!/usr/bin/env bash
# What pip cannot install: check that it is there; where it is missing, install it with apt.
#   scripts/system_packages.sh venv PYTHON   PYTHON is new enough and can create virtual environments
#   scripts/system_packages.sh gl PYTHON     MuJoCo, in PYTHON's environment, can render off screen
set -euo pipefail

apt_install() {  # apt_install REASON PACKAGE...
  local reason=$1 as_root=()
  shift
  if [ "$(id -u)" -ne 0 ] && sudo -n true 2>/dev/null; then as_root=(sudo -n); fi
  if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || [ ${#as_root[@]} -gt 0 ]; }; then
    echo "$reason: installing $*"
    if "${as_root[@]}" apt-get -qq update &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$@" >/dev/null; then
      return
    fi
  fi
  cat >&2 <<MESSAGE
$reason. On Debian or Ubuntu run this as root, then make again:

    apt-get update && apt-get install -y $*

MESSAGE
  exit 1
}

renders() {  # renders PYTHON: does a context open, and is anything drawn in it?
  local backend
  for backend in ${MUJOCO_GL:-egl osmesa}; do
    if MUJOCO_GL=$backend "$1" - >/dev/null 2>&1 <<'PROGRAM'
import mujoco

model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom size="1"/></worldbody></mujoco>'
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, height=8, width=8) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any()
PROGRAM
    then return 0; fi
  done
  return 1
}

what=${1:-} python=${2:-python3}
case $what in
  venv)
    if ! version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
      echo "No Python at '$python'. Name one: make PYTHON=python3.12" >&2
      exit 1
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      echo "Python 3.11 or newer is needed, '$python' is $version. Name another: make PYTHON=python3.12" >&2
      exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      apt_install "Python $version cannot create virtual environments" "python$version-venv"
    fi
    ;;
  gl)
    if [ "$(uname)" != Linux ] || renders "$python"; then exit 0; fi
    packages=(libegl1 libgl1-mesa-dri libopengl0)
    if [ "${MUJOCO_GL:-}" = osmesa ]; then packages=(libosmesa6 libopengl0); fi
    apt_install "MuJoCo cannot render off screen (MUJOCO_GL=${MUJOCO_GL:-unset})" "${packages[@]}"
    if ! renders "$python"; then
      echo "${packages[*]} are installed, but MuJoCo still cannot render:" >&2
      export MUJOCO_GL=${MUJOCO_GL:-egl}
      "$python" -c 'import mujoco; mujoco.GLContext(8, 8).make_current()' 2>&1 | tail -n 1 >&2 || true
      exit 1
    fi
    ;;
  *)
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
    ;;
esac
