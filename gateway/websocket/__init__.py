"""The WebSocket `factorline.v1`: its messages, a protocol without I/O, and the session around it."""
