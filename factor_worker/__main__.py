"""`python -m factor_worker`.

Child processes may import this module again, so it must not import more than they need.
"""

if __name__ == "__main__":
    from factor_worker.slots import forkserver

    forkserver.begin()  # what follows takes as long to load as the server does
    from factor_worker.main import main

    main()
