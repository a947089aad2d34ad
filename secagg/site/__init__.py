"""A site: trains its own code on its own data, masks the update, and never says anything twice differently."""
