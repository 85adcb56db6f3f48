"""Where RunPod's Hub looks for the worker; it is webhook/engines/runpod_worker.py."""

import sys

from webhook.engines.runpod_worker import main

if __name__ == "__main__":
    sys.exit(main())
