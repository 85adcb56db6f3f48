"""Ask the advisory database about every pinned package: `make audit`.

Without an answer nothing is known: that is said aloud, and is no failure of the code.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
_FILES = (
    "requirements/dev.txt",  # it holds production's, too
    "requirements/cuda.txt",  # torch, and what the image has for CUDA
    "requirements/runpod.txt",
    "requirements/ray.txt",
)
_AUDITOR = "pip-audit==2.10.1"  # in an environment of its own: it never meets our packages
_PIN = re.compile(r"^[\w.-]+(?:\[[\w,-]+\])?==[\w.!]+", re.MULTILINE)
_NO_NETWORK = ("ConnectionError", "ConnectTimeout", "Failed to fetch", "network was disabled")
_TIMEOUT_S = 60


class _Unreachable(Exception):
    """The index or the database can't be asked."""


def main() -> int:
    """Print what is known of the packages; return 1 if one is vulnerable, 2 if we can't ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report-only", action="store_true", help="never fail")
    report_only = parser.parse_args().report_only
    try:
        packages = _look_up()
    except _Unreachable as exc:
        _say_aloud(str(exc))
        return 0
    except (RuntimeError, ValueError, LookupError) as exc:
        _say_aloud(f"the auditor failed: {exc}")
        return 0 if report_only else 2
    known = [package for package in packages if "skip_reason" not in package]
    vulnerable = [package for package in known if package["vulns"]]
    for package in vulnerable:
        for advisory in package["vulns"]:
            fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {advisory['id']}, fixed in {fixed}")
    if len(known) < len(packages):
        unknown = len(packages) - len(known)
        _say_aloud(f"the database knows nothing of {unknown} of {len(packages)} packages")
    print(f"{len(known)} packages audited, {len(vulnerable)} vulnerable")
    return 1 if vulnerable and not report_only else 0


def _look_up() -> list[dict[str, Any]]:
    pins = {pin for name in _FILES for pin in _PIN.findall((_ROOT / name).read_text("utf-8"))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"  # without hashes: it's all or nothing
        file.write_text("\n".join(sorted(pins)))
        command = [sys.executable, "-m", "uv", "tool", "run", "--quiet", _AUDITOR]
        command += ["--format", "json", "--progress-spinner", "off", "--disable-pip", "--no-deps"]
        try:
            finished = subprocess.run(
                [*command, "--requirement", str(file)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _Unreachable(f"no answer within {_TIMEOUT_S} s") from None
    if finished.stdout.startswith("{"):
        packages: list[dict[str, Any]] = json.loads(finished.stdout)["dependencies"]
        return packages
    if any(sign in finished.stderr for sign in _NO_NETWORK):
        raise _Unreachable("neither index nor database can be reached")
    raise RuntimeError((finished.stderr.strip().splitlines() or ["it said nothing"])[-1])


def _say_aloud(what: str) -> None:
    print(f"!!! NOT AUDITED: {what}. Run `make audit` where the advisories can be reached.")


if __name__ == "__main__":
    sys.exit(main())
