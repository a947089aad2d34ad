"""Scale-out over Ray: unmasking by coordinate range and cohorts by shard, as Ray tasks.

    ray.init()
    opened = server_session.result(ray_map, pieces=64, elsewhere=True)      # a stretch of the sum to a task
    total = run_shards(config, 10, model_hash, source, apply=ray_map)       # a shard of the cohort to a task

``ray_map`` takes the place of the ``map`` of a process pool, which does the same on one machine without Ray.
"""

from secagg.integrations.ray.tasks import ray_map

__all__ = ["ray_map"]
