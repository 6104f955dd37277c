"""The jobs: the only place where catalog and models meet."""
