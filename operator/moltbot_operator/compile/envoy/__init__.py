"""From the intermediate form to Envoy 1.40."""
