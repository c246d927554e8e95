"""Who the appliance's own daemon is, also to NFS servers, which know users by number."""

USER = 850
"""User and group of files on stores: the same in every image, for stores outlive appliances."""
GROUP = "sysvm-storage"
