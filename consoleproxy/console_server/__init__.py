"""The daemon of the console proxy: browsers on one side, consoles of guests on the other.

It is configured by one JSON file, read again on SIGHUP, and knows nothing of documents. One process, the
desk, has tickets and sessions; the others, a relay per processor, carry the traffic.
"""
