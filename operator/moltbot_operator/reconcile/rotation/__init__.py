"""Rotations in a cluster: where they are kept, what gateways say, and what runs them.

==========  =================================================================
`status`    a rotation's state ↔ `status.credential`
`objects`   the Secrets: one for each version, and the one that gateways mount
`store`     both of these in the cluster
`gateways`  evidence of all gateway pods of all routes that use the backend
`policies`  what a spec asks for
`opened`    the issuer, opened anew for each call
`rotations` a rotation for each backend, `consumers` one for each consumer's Secret
`tasks`     what runs them: a task for each that has something to do
==========  =================================================================
"""
