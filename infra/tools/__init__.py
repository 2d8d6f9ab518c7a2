"""Tools that regenerate what is made from the code, and check what is shipped."""
