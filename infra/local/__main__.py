"""`python -m infra.local`: the embedded mode."""

if __name__ == "__main__":
    from factor_worker.slots import forkserver

    forkserver.begin()  # in parallel: the imports below take as long as the fork server does to start
    from infra.local.embedded import main

    main()
