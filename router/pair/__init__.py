"""The process beside keepalived and conntrackd on each router of a redundant pair.

It counts the faults that decide which of the two is the primary, keeps the other informed of leases and
fetched passwords, has conntrackd repeat what is alive, looks for a second primary, and answers for
the state.
"""
