"""Rotations on one machine: the same steps as in a cluster, kept in a folder.

===========  ==================================================================
`store`      state and versions of one backend's credential, on disk
`key_store`  the same for keys of consumers, for clients to read
`around`     what the files say, what running revisions use, the published keys
`task`       one rotation: whose, what is asked of it, and its task
`backends`   a backend's credential
`consumers`  keys of consumers
`rotations`  all of a server
===========  ==================================================================
"""
