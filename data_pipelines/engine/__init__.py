"""From a plan to the files of a store: one task a shard, a ledger of what is done, and workers that share the tasks."""
