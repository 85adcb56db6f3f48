"""`python -m bench NAME …`: runs bench/NAME.py."""

import os
import sys
from importlib import import_module
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("[!_]*.py") if "def main(" in path.read_text()
)

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m bench {{{','.join(NAMES)}}} [options]")
    # As in the service: a waiting thread of torch sleeps instead of spinning, which beside other
    # work costs many times what is computed. Read when torch loads its OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import_module(f"bench.{sys.argv.pop(1)}").main()
