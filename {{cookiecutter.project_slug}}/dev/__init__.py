"""Development parts: what `svc run` starts around the service on a machine that has nothing.

`model` and `ticketing` are stand-ins: real HTTP, switchable faults, labelled as stand-ins wherever they show.
`vault` is a real OpenBao. `supervisor` starts everything and takes it down again. None of this is in the image.
"""
