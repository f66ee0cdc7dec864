#!/usr/bin/env bash
# Type check the package as it installs: mypy cannot follow the folder mapping in the checkout, where
# it would see the folder gqn_transfer/ alone and call that a success. Hence the count at the end, and
# no namespace packages, as which mypy would count the asset folders.
#   scripts/typecheck.sh PYTHON FOLDER...
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD python=$PWD/$1
shift
folders=("$@") installed=build/typecheck

rm -rf build/lib "$installed"  # setuptools would pack modules left over from an earlier build
"$python" -m pip install -qq --disable-pip-version-check --no-deps --target "$installed" .

status=0
output=$(cd "$installed" && "$python" -m mypy --config-file "$root/pyproject.toml" \
  --cache-dir "$root/.mypy_cache" --no-namespace-packages -p gqn_transfer 2>&1) || status=$?
# Name the files as they are in the checkout.
sed -E 's#^gqn_transfer/(envs|agents|benchmarks)/#\1/#' <<<"$output"

checked=$(sed -nE 's/.*(checked|found in) ([0-9]+) source files?.*/\2/p' <<<"$output")
sources=$(find "${folders[@]}" -name '*.py' | wc -l)
if [ "${checked:-0}" -lt "$sources" ]; then
  echo "mypy checked ${checked:-0} of $sources source files in: ${folders[*]}" >&2
  exit 1
fi
exit "$status"
