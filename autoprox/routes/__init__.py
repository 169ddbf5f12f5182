"""The HTTP and WebSocket face of the bridge: it translates between clients and the manager, and knows no UDP."""
