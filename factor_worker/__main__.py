"""`python -m factor_worker`."""

if __name__ == "__main__":
    from factor_worker.slots import forkserver

    forkserver.begin()  # what follows takes as long to load as the server does
    from factor_worker.main import main

    main()
