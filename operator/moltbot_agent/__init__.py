"""What stands beside Envoy in each gateway pod: configuration, credentials, evidence, metrics, its end."""
