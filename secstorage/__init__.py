"""What makes a system VM secondary storage: templates, ISOs, volumes and snapshots on stores."""
