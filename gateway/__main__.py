"""Runs the gateway program: ``python -m gateway``."""

if __name__ == "__main__":
    from gateway.main import main

    main()
