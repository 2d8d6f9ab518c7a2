"""`python -m infra.local`: the embedded mode.

Child processes import this module anew, so it must not drag in more than they need.
"""

if __name__ == "__main__":
    from infra.local.embedded import main

    main()
