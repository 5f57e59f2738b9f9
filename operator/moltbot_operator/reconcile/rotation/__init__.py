"""Rotations in a cluster: where they are kept, what gateways say, and what runs them.

==========  =================================================================
`objects`   the Secrets: one for each version, and the one that gateways mount
`store`     both of these in the cluster
`gateways`  evidence of all gateway pods of all routes that use the backend
`reader`    what a spec refers to
`rotations` a rotation for each backend, `consumers` one for each consumer's Secret
`tasks`     what runs them: a task for each that has something to do
==========  =================================================================
"""
