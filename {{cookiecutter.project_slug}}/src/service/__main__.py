"""`python -m service ...` is the same command as `svc ...`."""

from service.cli import main

if __name__ == "__main__":
    main()
