"""What `python -m webhook` can be told to do, one file or folder a command; no engine needs it."""
