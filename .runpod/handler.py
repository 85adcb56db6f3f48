"""Where RunPod's Hub looks for the worker; it is webhook/entrypoints/runpod_worker.py."""

import sys

from webhook.entrypoints.runpod_worker import main

if __name__ == "__main__":
    sys.exit(main())
