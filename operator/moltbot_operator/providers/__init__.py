"""Clients of what stands outside the cluster: the issuers of credentials."""
