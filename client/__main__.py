"""Runs the command: ``python -m client``."""

if __name__ == "__main__":
    from client.command.app import main

    main()
