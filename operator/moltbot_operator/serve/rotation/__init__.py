"""Rotations on one machine: the same steps as in a cluster, kept in a folder.

===========  ==================================================================
`store`      state and versions of one backend's credential, on disk
`around`     what the files say, what running revisions use, the published keys
`rotations`  a task for each backend whose credential is rotated
===========  ==================================================================
"""
