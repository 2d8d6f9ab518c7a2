"""`docker-compose.yml` in containers; `make containers` sees to an engine and images where there are none."""
