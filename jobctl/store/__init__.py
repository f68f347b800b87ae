"""The Redis side: keys, records, one Lua script per transition, and the executors that run them."""
