"""The workers of a route: what Envoy can't do. See protocol.py for how gateway and worker talk."""
