"""What the operator tells about itself: JSON logs, Prometheus metrics, health endpoints."""
