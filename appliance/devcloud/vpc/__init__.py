"""The development cloud as a VPC: two tiers, a load balancer, another site and a user on the road; on one
router, or on a redundant pair whose primary is killed."""
