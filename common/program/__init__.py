"""What gateway, worker and embedded service have in common as programs."""
