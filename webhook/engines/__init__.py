"""The same service under another engine: Ray Serve, RunPod."""
