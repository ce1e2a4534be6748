"""What is counted for Prometheus: a listener of events, gauges of the moment, and their text."""
