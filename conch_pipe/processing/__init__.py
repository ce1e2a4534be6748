"""The runner, its workers and the chains of stages."""
