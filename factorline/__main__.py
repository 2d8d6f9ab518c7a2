"""Runs the command: ``python -m factorline``."""

if __name__ == "__main__":
    from factorline.command.app import main

    main()
