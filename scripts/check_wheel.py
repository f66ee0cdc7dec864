"""Check the wheel in a folder: what it contains, and that it works where there is no checkout."""

import fnmatch
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def expected_files() -> set[str]:
    """Every module and data file of the mapped folders, by the name it has once installed."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    names = set()
    for package, folder in setuptools["package-dir"].items():
        globs = ["*.py", *setuptools["package-data"].get(package, [])]
        for glob in globs:
            files = [path for path in (ROOT / folder).glob(glob) if path.is_file()]
            if not files:
                raise SystemExit(f"{folder}/{glob}: pyproject.toml promises it, no file matches")
            prefix = package.replace(".", "/")
            names |= {f"{prefix}/{path.relative_to(ROOT / folder)}" for path in files}
    return names


def check_contents(wheel: Path) -> None:
    """The package and its metadata, every file of the folders, and nothing else."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    tops = {name.split("/")[0] for name in names}
    foreign = {top for top in tops if top != "gqn_transfer" and not top.endswith(".dist-info")}
    packaged = {name for name in names if name.startswith("gqn_transfer/")}
    faults = [f"top-level name {name}" for name in sorted(foreign)]
    faults += [f"missing {name}" for name in sorted(expected_files() - packaged)]
    faults += [f"unexpected {name}" for name in sorted(packaged - expected_files())]
    if not fnmatch.filter(names, "*.dist-info/licenses/LICENSE"):
        faults.append("missing LICENSE")
    if faults:
        raise SystemExit(f"{wheel.name}:\n  " + "\n  ".join(faults))
    print(f"{wheel.name}: {len(packaged)} files, as in the checkout")


def check_installed(wheel: Path) -> None:
    """Install the wheel in a clean environment and use it from an empty directory."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "venv", "bin", "python")
        elsewhere = Path(folder, "elsewhere")
        elsewhere.mkdir()
        venv.create(python.parents[1], with_pip=True)
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        install = [*pip, "-c", ROOT / "constraints.txt", wheel.resolve()]
        for command in (install, [python, ROOT / "tests" / "smoke_wheel.py"]):
            if subprocess.run(command, cwd=elsewhere, check=False).returncode:
                raise SystemExit(f"failed outside the checkout: {' '.join(map(str, command))}")


def main() -> None:
    wheels = list(Path(sys.argv[1]).glob("*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"one wheel is expected in {sys.argv[1]}, there are {len(wheels)}")
    check_contents(wheels[0])
    check_installed(wheels[0])


if __name__ == "__main__":
    main()
