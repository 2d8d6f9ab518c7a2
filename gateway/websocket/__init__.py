"""The WebSocket `factorline.v1`: a sans-I/O protocol, the hub that feeds it, and the socket's shell."""
